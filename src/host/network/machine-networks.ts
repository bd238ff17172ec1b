/**
 * The networks of a machine's process: one table of paths for all of its guests, the uplinks that they share or have for
 * themselves, and what each guest is joined by.
 *
 *     guest's NIC <--GuestNetwork--> NetworkPaths <--uplink--> user network | stream socket | macvtap device
 */
import { OperatorError } from '../../base/errors.ts';
import {
  checkNetdev,
  type NetdevOptions,
  type NetworkOptions,
  NetworkPaths,
  type PublishRule,
  parseIpv4,
  parseMac,
  parseNetdevUser,
} from '../../network/index.ts';
import { GuestNetwork, type GuestNetworkOptions, type SharedUplink } from './guest-network.ts';
import { nodeNetworkPorts } from './index.ts';
import { type OpenedLink, openLink } from './uplinks/index.ts';

export class MachineNetworks {
  readonly paths: NetworkPaths;
  readonly #uplinks = new Map<string, SharedUplink>();
  readonly #owners = new Set<string>();
  readonly #mayLeave: () => boolean;

  /** Frames leave while `mayLeave` says so, which is asked for each in the step that sends it; others are lost. */
  constructor({ mayLeave = () => true, ...options }: { failover?: boolean; mayLeave?: () => boolean } = {}) {
    this.#mayLeave = mayLeave;
    const { clock, timers, random } = nodeNetworkPorts();
    this.paths = new NetworkPaths({ clock, timers, random, wallMs: () => Date.now() }, options);
  }

  /**
   * Opens the uplinks of a guest, or takes those that are there, and maps it to them. Rejects with an OperatorError, and
   * leaves nothing open then.
   */
  async attach(options: GuestNetworkOptions): Promise<GuestNetwork> {
    const owner = this.#ownerOf(options.owner);
    const taken: SharedUplink[] = [];
    const release = (): void => {
      for (const one of taken) this.#release(one);
      this.#owners.delete(owner);
    };
    try {
      const isUser = ({ kind }: NetdevOptions): boolean => kind === 'user';
      const first = options.netdevs.findIndex(isUser);
      for (const [i, netdev] of options.netdevs.entries()) {
        const publish = i === first ? (options.publish ?? []) : [];
        taken.push(await this.#take(netdev, { owner, index: i, publish, mac: options.mac }));
      }
      return new GuestNetwork(this.paths, { ...options, owner }, taken, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Another uplink, for `map`. Rejects with an OperatorError. */
  async addUplink(netdev: NetdevOptions, owner: string): Promise<string> {
    const index = this.#uplinks.size;
    return (await this.#take(netdev, { owner, index, publish: [], mac: undefined })).name;
  }

  /** Ends all that is left. */
  close(): void {
    for (const one of this.#uplinks.values()) {
      one.port.remove('the machine has ended');
      one.opened.close();
    }
    this.#uplinks.clear();
    this.paths.close();
  }

  /** Guests without a name of their own are told apart. */
  #ownerOf(name: string): string {
    let owner = name;
    for (let i = 2; this.#owners.has(owner); i += 1) owner = `${name}-${i}`;
    this.#owners.add(owner);
    return owner;
  }

  async #take(
    netdev: NetdevOptions,
    {
      owner,
      index,
      publish,
      mac,
    }: { owner: string; index: number; publish: readonly PublishRule[]; mac: string | undefined },
  ): Promise<SharedUplink> {
    checkNetdev(netdev);
    const name = this.#nameOf(netdev, owner, index);
    const known = this.#uplinks.get(name);
    if (netdev.kind === 'shared') {
      if (known !== undefined) {
        known.users += 1;
        return known;
      }
      const names = [...this.#uplinks.keys()].join(', ') || 'none';
      throw new OperatorError(
        'no-such-uplink',
        `There is no uplink ${name} in this machine`,
        `Those that are: ${names}`,
      );
    }
    if (known !== undefined)
      throw new OperatorError(
        'uplink-exists',
        `There is an uplink ${name} already`,
        `Share it with -netdev shared,id=${name}, or give this one another id`,
      );
    const user = { ...userOptions(netdev), ...(publish.length === 0 ? {} : { publish }) };
    const opened = await openLink(netdev, user, this.#mayLeave);
    try {
      checkAddress(name, opened, mac);
      return this.#join(name, netdev.network ?? owner, netdev, opened);
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** As it was given; a user-mode network's behind the guest's name, where another guest says the same. */
  #nameOf(netdev: NetdevOptions, owner: string, index: number): string {
    const { id, ifname, kind } = netdev;
    const isTaken = id !== undefined && this.#uplinks.has(id);
    if (kind === 'user' && isTaken) return `${owner}/${id}`;
    return id ?? ifname ?? `${owner}/${kind}${index}`;
  }

  #join(name: string, network: string, options: NetdevOptions, opened: OpenedLink): SharedUplink {
    const { facts } = opened;
    const { kind, speedMbps } = options;
    const probing = options.probing ?? facts.probing;
    const port = this.paths.addUplink(
      {
        ...{ name, kind, network },
        mtuBytes: options.mtuBytes ?? facts.mtuBytes,
        targets: (options.targets ?? []).flatMap((text) => parseIpv4(text) ?? []),
        ...(speedMbps === undefined ? {} : { speedMbps }),
        ...(probing === undefined ? {} : { probing }),
        ...(facts.offloads === undefined ? {} : { offloads: facts.offloads }),
        ...(facts.carrier === undefined ? {} : { carrier: facts.carrier }),
      },
      {
        ...opened.link,
        // The guest's frames, and what is said in its name: announcements, probes.
        send: (frame, offload) => this.#mayLeave() && opened.link.send(frame, offload),
      },
    );
    const joined: SharedUplink = { name, network, options, opened, port, users: 1 };
    this.#uplinks.set(name, joined);
    opened.join({
      receive: (frame, offload) => port.receive(frame, offload),
      setCarrier: (up, cause) => port.setCarrier(up, cause),
      remove: (cause) => {
        if (this.#uplinks.get(name) === joined) this.#uplinks.delete(name);
        port.remove(cause);
      },
    });
    return joined;
  }

  #release(one: SharedUplink): void {
    one.users -= 1;
    if (one.users > 0) return;
    if (this.#uplinks.get(one.name) === one) this.#uplinks.delete(one.name);
    one.port.remove('no guest uses it any more');
    one.opened.close();
  }
}

function checkAddress(name: string, { facts }: OpenedLink, mac: string | undefined): void {
  const { onlyAddress } = facts;
  if (onlyAddress === undefined || mac === undefined || parseMac(onlyAddress) === parseMac(mac)) return;
  throw new OperatorError(
    'other-address',
    `${name} hands over frames for its own address ${onlyAddress} alone`,
    `Give the guest that address (--mac ${onlyAddress}), or make the device in mode passthru`,
  );
}

function userOptions({ kind, user }: NetdevOptions): NetworkOptions {
  return kind === 'user' && user !== undefined ? parseNetdevUser(user) : {};
}
