/**
 * What the paths of a network join: uplinks on one side (a physical interface, a socket, a network of our own), virtual
 * interfaces of partitions on the other; and what they need of the world. Frames are lent for the call in either
 * direction. Nobody calls back from within a call: a link that has something to say says it later.
 */
import type { Ipv4, Mac } from '../addresses.ts';
import type { GuestOffload } from '../guest-link.ts';
import type { Clock, FrameOffload, Timers } from '../ports.ts';
import type { GuestAddress } from './guest-addresses.ts';

export interface PathPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  /** An unpredictable unsigned 32-bit number. */
  readonly random: () => number;
  /** The time of day of events, in milliseconds since 1970. */
  readonly wallMs: () => number;
}

/** How a path is watched beyond its carrier: ARP requests to hosts, frames from one uplink to the other, or not at all. */
export type Probing = 'arp' | 'mutual' | 'none';

export interface UplinkOptions {
  /** Unique among the uplinks. */
  readonly name: string;
  /** `user`, `macvtap`, `stream`: for those who look at the table. */
  readonly kind: string;
  /** Uplinks of one network lead to one segment; interfaces are mapped within a network. */
  readonly network: string;
  /** The largest packet that the link carries, without Ethernet header and tags. Default 1500. */
  readonly mtuBytes?: number;
  /** For the fail-back policy `better`. */
  readonly speedMbps?: number;
  /** Hosts that answer ARP while the path is well. With some, `probing` is `arp`; without, `mutual` unless said. */
  readonly targets?: readonly Ipv4[];
  readonly probing?: Probing;
  /** The hardware address of probes; made up without one. No guest's: bridges learn it at this uplink. */
  readonly mac?: Mac;
  /** Whether frames may come with checksums left to the link, and larger than its MTU to be cut there. Default false. */
  readonly offloads?: boolean;
  /** Whether there is a carrier when it begins. Default true. */
  readonly carrier?: boolean;
}

/** An uplink as the switch sees it. */
export interface UplinkLink {
  /** False when the frame was lost for want of room. `offload` only where the options said so. */
  send(frame: Uint8Array, offload?: FrameOffload): boolean;
  /** After `receive` answered false: the interface takes frames again. */
  room?(): void;
  /** What the interface that is mapped here takes off the link's hands. */
  setGuestOffload?(offload: GuestOffload): void;
}

/** The switch as an uplink sees it. */
export interface UplinkPort {
  /** A frame of the segment's. False: the one interface it is for has no room, `room` follows. */
  receive(frame: Uint8Array, offload?: FrameOffload): boolean;
  setCarrier(up: boolean, cause: string): void;
  /** The link is gone for good: deleted, or closed. */
  remove(cause: string): void;
}

/** Bonding's `primary_reselect`: when a path that comes before the one in force is well again. */
export type Failback = 'always' | 'better' | 'failure';

export interface InterfaceOptions {
  /** Unique among the interfaces. */
  readonly name: string;
  /** Its hardware address, which nobody else may send from; without one, it has those that it sends from. */
  readonly mac?: Mac;
  /** Uplinks by name, the preferred one first; all of one network. */
  readonly uplinks: readonly string[];
  /** Default `always`. */
  readonly failback?: Failback;
  /** What its guest was known to answer to elsewhere: it is announced here. */
  readonly addresses?: readonly GuestAddress[];
}

/** A virtual interface as the switch sees it. */
export interface InterfaceLink {
  /** A frame for the guest; false when it has no room. */
  deliver(frame: Uint8Array, offload?: FrameOffload): boolean;
  /** Carrier, as the guest sees it. */
  setLinkUp(up: boolean): void;
}

/** The switch as a virtual interface sees it. The shape is that of the user network, which may stand in its place. */
export interface InterfacePort {
  /** A frame of the guest's. `offload`: its checksum is left to us, it is to be cut into segments. */
  receive(frame: Uint8Array, offload?: FrameOffload): void;
  setGuestOffload(offload: GuestOffload): void;
  /** There is room again after `deliver` answered false. */
  setGuestReady(ready: boolean): void;
  remove(): void;
}
