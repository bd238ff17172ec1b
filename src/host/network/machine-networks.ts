/**
 * The networks of a machine's process: one table of paths for all of its guests, the uplinks that they share or have for
 * themselves, and what each guest is joined by.
 *
 *     guest's NIC <--GuestNetwork--> NetworkPaths <--uplink--> user network | stream socket | macvtap device
 */
import { OperatorError } from '../../base/errors.ts';
import {
  checkNetdev,
  type Failback,
  type FrameOffload,
  type GuestOffload,
  type InterfacePort,
  type Mac,
  type NetdevOptions,
  type NetworkOptions,
  NetworkPaths,
  type PublishRule,
  parseIpv4,
  parseMac,
  parseNetdevUser,
  type UplinkPort,
  type UserNetwork,
} from '../../network/index.ts';
import { nodeNetworkPorts } from './index.ts';
import { type OpenedLink, openLink } from './uplinks/index.ts';

/** What a network device has to offer; VirtioNet's own shape. */
export interface Nic {
  receive(frame: Uint8Array, offload?: FrameOffload): boolean;
  setLinkUp(up: boolean): void;
}

export interface GuestNetworkOptions {
  /** The guest's name; its interface is NAME/net0. */
  readonly owner: string;
  /** The hardware address, as text. */
  readonly mac: string;
  /** Its uplinks, the preferred one first. */
  readonly netdevs: readonly NetdevOptions[];
  readonly failback?: Failback;
  /** Of the first user-mode network among them. */
  readonly publish?: readonly PublishRule[];
}

interface SharedUplink {
  readonly name: string;
  readonly network: string;
  readonly options: NetdevOptions;
  readonly opened: OpenedLink;
  readonly port: UplinkPort;
  users: number;
}

/** Of guests whose uplinks carry more than they need. */
const MTU_BYTES = 1500;

export class MachineNetworks {
  readonly paths: NetworkPaths;
  readonly #uplinks = new Map<string, SharedUplink>();
  readonly #owners = new Set<string>();

  constructor(options: { readonly failover?: boolean } = {}) {
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
    const opened = await openLink(netdev, { ...userOptions(netdev), ...(publish.length === 0 ? {} : { publish }) });
    try {
      checkAddress(name, opened, mac);
      return this.#join(name, netdev.network ?? owner, netdev, opened);
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** As it was given; of a network of its own behind the guest's name, where another guest has the same. */
  #nameOf(netdev: NetdevOptions, owner: string, index: number): string {
    const { id, ifname, kind } = netdev;
    const isTaken = id !== undefined && this.#uplinks.has(id);
    if (kind === 'user' && isPrivate(netdev) && isTaken) return `${owner}/${id}`;
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
      opened.link,
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

/** How one guest is joined: its interface, its NIC, its user-mode network if it has one. */
export class GuestNetwork {
  /** The NIC's other end. */
  readonly port: InterfacePort;
  readonly interface: string;
  /** Its hardware address, as text, and its six bytes. */
  readonly mac: string;
  readonly macBytes: Uint8Array;
  /** The user-mode network that it has for itself, whose state is the guest's. */
  readonly user: UserNetwork | undefined;
  /** The largest packet that all of its uplinks carry. */
  readonly mtuBytes: number;
  readonly #paths: NetworkPaths;
  readonly #uplinks: readonly SharedUplink[];
  readonly #release: () => void;
  #nic: Nic | undefined;
  #hasPath = false;
  #isHeldDown = false;

  constructor(
    paths: NetworkPaths,
    { owner, mac, failback }: GuestNetworkOptions,
    uplinks: readonly SharedUplink[],
    release: () => void,
  ) {
    this.#paths = paths;
    this.#uplinks = uplinks;
    this.#release = release;
    this.interface = `${owner}/net0`;
    this.mac = mac;
    this.macBytes = Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
    const own = uplinks.find(({ options }) => options.kind === 'user' && isPrivate(options));
    this.user = own !== undefined && 'network' in own.opened ? (own.opened.network as UserNetwork) : undefined;
    this.mtuBytes = Math.min(...uplinks.map(({ options, opened }) => guestMtu(options, opened)));
    this.port = paths.addInterface(
      {
        name: this.interface,
        mac: macOf(mac),
        uplinks: uplinks.map(({ name }) => name),
        ...(failback === undefined ? {} : { failback }),
      },
      {
        deliver: (frame, offload) => this.#nic?.receive(frame, offload) ?? false,
        setLinkUp: (up) => {
          this.#hasPath = up;
          this.#showCarrier();
        },
      },
    );
  }

  /** From now on frames and carrier are this device's. */
  connect(nic: Nic): void {
    this.#nic = nic;
    this.#showCarrier();
  }

  /** What holds the carrier down, or lets it be as the paths are: a twin's, until it has an address of its own. */
  readonly carrier: Pick<Nic, 'setLinkUp'> = {
    setLinkUp: (up) => {
      this.#isHeldDown = !up;
      this.#showCarrier();
    },
  };

  /** The same uplinks for a twin: those of its own anew, the others shared. */
  forTwin(): NetdevOptions[] {
    return this.#uplinks.map(({ name, options }) =>
      options.kind === 'user' && isPrivate(options) ? options : { kind: 'shared', id: name },
    );
  }

  receive(frame: Uint8Array, offload?: FrameOffload): void {
    this.port.receive(frame, offload);
  }

  setGuestOffload(offload: GuestOffload): void {
    this.port.setGuestOffload(offload);
  }

  setGuestReady(ready: boolean): void {
    this.port.setGuestReady(ready);
  }

  /** The table as the guest's owner sees it: names without a guest's name in front are this guest's. */
  named(name: string): string {
    const { interfaces, uplinks } = this.#paths.report();
    const all = [...interfaces, ...uplinks].map((one) => one.name);
    const own = `${this.interface.slice(0, -'/net0'.length)}/${name}`;
    return !all.includes(name) && all.includes(own) ? own : name;
  }

  close(): void {
    this.#nic = undefined;
    this.port.remove();
    this.#release();
  }

  #showCarrier(): void {
    this.#nic?.setLinkUp(this.#hasPath && !this.#isHeldDown);
  }
}

/** Of user-mode networks: whether it is one guest's, and its state the guest's. */
function isPrivate({ network }: NetdevOptions): boolean {
  return network === undefined;
}

function guestMtu({ mtuBytes, kind }: NetdevOptions, { facts }: OpenedLink): number {
  return mtuBytes ?? (kind === 'macvtap' ? facts.mtuBytes : MTU_BYTES);
}

function macOf(text: string): Mac {
  const mac = parseMac(text);
  if (mac !== undefined && mac % 2 ** 48 !== 0 && (Math.floor(mac / 2 ** 40) & 1) === 0) return mac;
  throw new OperatorError('bad-usage', `${text} is no hardware address of a guest`, 'Write it as 52:54:00:12:34:57');
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
