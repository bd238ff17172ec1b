/** How one guest is joined to the paths of its machine: its interface, its NIC, its user-mode network if it has one. */
import { OperatorError } from '../../base/errors.ts';
import {
  type Failback,
  type FrameOffload,
  type GuestAddress,
  type GuestOffload,
  type InterfacePort,
  type Mac,
  type NetdevOptions,
  type NetworkPaths,
  type PublishRule,
  parseMac,
  type UplinkPort,
  type UserNetwork,
} from '../../network/index.ts';
import type { OpenedLink } from './uplinks/index.ts';

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
  /** What the guest was known to answer to where it came from. */
  readonly addresses?: readonly GuestAddress[];
}

/** An uplink that a guest has for itself, or shares with others. */
export interface SharedUplink {
  readonly name: string;
  readonly network: string;
  readonly options: NetdevOptions;
  readonly opened: OpenedLink;
  readonly port: UplinkPort;
  users: number;
}

/** Of guests whose uplinks carry more than they need. */
const MTU_BYTES = 1500;

export class GuestNetwork {
  /** The NIC's other end. */
  readonly port: InterfacePort;
  readonly interface: string;
  /** Its hardware address, as text, and its six bytes. */
  readonly mac: string;
  readonly macBytes: Uint8Array;
  /** The user-mode network that was opened for it, whose state is the guest's. */
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
    { owner, mac, failback, addresses }: GuestNetworkOptions,
    uplinks: readonly SharedUplink[],
    release: () => void,
  ) {
    this.#paths = paths;
    this.#uplinks = uplinks;
    this.#release = release;
    this.interface = `${owner}/net0`;
    this.mac = mac;
    this.macBytes = Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
    const own = uplinks.find(({ options }) => options.kind === 'user');
    this.user = own !== undefined && 'network' in own.opened ? (own.opened.network as UserNetwork) : undefined;
    this.mtuBytes = Math.min(...uplinks.map(({ options, opened }) => guestMtu(options, opened)));
    this.port = paths.addInterface(
      {
        name: this.interface,
        mac: macOf(mac),
        uplinks: uplinks.map(({ name }) => name),
        ...(failback === undefined ? {} : { failback }),
        ...(addresses === undefined ? {} : { addresses }),
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

  /** For a twin: a user-mode network anew, with its original's state, the other uplinks shared. */
  forTwin(): NetdevOptions[] {
    const isAlone = this.#uplinks.length === 1;
    return this.#uplinks.map(({ name, network, options }) => {
      if (options.kind !== 'user') return { kind: 'shared', id: name };
      const { id: _, ...anew } = options;
      return isAlone ? anew : { ...anew, network };
    });
  }

  receive(frame: Uint8Array, offload?: FrameOffload): void {
    this.port.receive(frame, offload);
  }

  setGuestOffload(offload: GuestOffload): void {
    this.port.setGuestOffload(offload);
  }

  /** What the guest is known to answer to. */
  get addresses(): readonly GuestAddress[] {
    return this.#paths.guestAddresses(this.interface);
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

function guestMtu({ mtuBytes, kind }: NetdevOptions, { facts }: OpenedLink): number {
  return mtuBytes ?? (kind === 'macvtap' ? facts.mtuBytes : MTU_BYTES);
}

function macOf(text: string): Mac {
  const mac = parseMac(text);
  if (mac !== undefined && mac % 2 ** 48 !== 0 && (Math.floor(mac / 2 ** 40) & 1) === 0) return mac;
  throw new OperatorError('bad-usage', `${text} is no hardware address of a guest`, 'Write it as 52:54:00:12:34:57');
}
