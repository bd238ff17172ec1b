/**
 * A segment of hosts in namespaces: a learning bridge in one of its own, and a port for each device that is plugged in. Hosts can
 * be cut from each other, silently, or lose their carrier.
 */
import { Namespace, type NamespaceOptions } from '../../bench/network/namespace.ts';
import { must } from '../../src/base/assert.ts';

export const NETWORK = '10.9.0';
/** Nobody has it: what is sent there is lost, and nobody is told. */
const NOBODY = '02:00:00:00:00:01';
/** Device nodes of macvtap are one space for all namespaces: indexes that nobody else takes. */
const FIRST_INDEX = 20_000_000 + (process.pid % 100_000) * 100;

/**
 * Nothing shall be on the wire but what is looked at. And a host hears, and answers, for its address by e0 alone: frames that a
 * device of a guest hands up, because no guest has it open, are not the host's.
 */
const QUIET = `
for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done
echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore`;

/** A host on the segment. */
export interface Seat {
  readonly name: string;
  readonly address: string;
  readonly namespace: Namespace;
}

export class Segment implements Disposable {
  readonly #bridge = new Namespace();
  readonly #namespaces = [this.#bridge];
  #taps = 0;

  constructor() {
    this.#bridge.ip('link add br0 type bridge stp_state 0 forward_delay 0', 'link set br0 up');
  }

  /** A namespace with an interface e0 on the segment. */
  seat(name: string, lastNumber: number, options: NamespaceOptions = {}): Seat {
    const namespace = new Namespace(options);
    this.#namespaces.push(namespace);
    namespace.run('sh', '-c', QUIET);
    const address = `${NETWORK}.${lastNumber}`;
    this.#plug(namespace, 'e0', name);
    namespace.ip('link set lo up', `addr add ${address}/24 dev e0`, 'link set e0 up');
    return { name, address, namespace };
  }

  /** A macvtap device for a guest on a port of its own; its name is the same on each host. */
  tap({ namespace, name }: Seat, guest: string): string {
    const tap = `mt-${guest}`;
    this.#taps += 1;
    this.#plug(namespace, `w-${guest}`, `${name}-${guest}`);
    namespace.ip(
      `link set w-${guest} up`,
      `link add link w-${guest} name ${tap} index ${FIRST_INDEX + this.#taps} type macvtap mode passthru`,
      `link set ${tap} up`,
    );
    return tap;
  }

  /** Frames that came from a guest's device on that host, ever. */
  framesFrom(host: string, guest: string): number {
    const text = this.#bridge.run('ip', '-j', '-s', 'link', 'show', 'dev', `${host}-${guest}`);
    const [link] = JSON.parse(text) as { stats64: { rx: { packets: number } } }[];
    return must(link).stats64.rx.packets;
  }

  /** Neither hears the other any more, and neither is told. */
  cut(one: Seat, others: readonly Seat[]): void {
    one.namespace.ip(...others.map((other) => away(other)));
    for (const other of others) other.namespace.ip(away(one));
  }

  heal(one: Seat, others: readonly Seat[]): void {
    one.namespace.ip(...others.map((other) => `neigh del ${other.address} dev e0`));
    for (const other of others) other.namespace.ip(`neigh del ${one.address} dev e0`);
  }

  /** The host's own interface loses its carrier, or has it again; those of its guests are others. */
  setCarrier({ name }: Seat, isThere: boolean): void {
    this.#bridge.ip(`link set dev ${name} ${isThere ? 'up' : 'down'}`);
  }

  [Symbol.dispose](): void {
    for (const namespace of this.#namespaces) namespace.close();
  }

  #plug(namespace: Namespace, device: string, port: string): void {
    this.#bridge.ip(
      `link add name ${port} type veth peer name ${device} netns ${namespace.pid}`,
      `link set dev ${port} master br0 up`,
    );
  }
}

function away({ address }: Seat): string {
  return `neigh replace ${address} lladdr ${NOBODY} dev e0 nud permanent`;
}
