/**
 * What the network needs of the world around it: frames to and from a guest, time, chance, and the host's sockets
 * and resolver. The logic is synchronous: an event comes in, effects go out. Therefore no port calls back from
 * within a call made to it; connect, listen, exchange and the timers report later, from the host's event loop.
 * Bytes that are passed in either direction are lent for the duration of the call; whoever keeps them copies them.
 */

/** What the sender of a frame vouches for, as far as the two ends agreed on offloads (virtio's header says the same). */
export interface FrameOffload {
  /**
   * The transport checksum need not be verified. Where it is set on frames towards the guest, the TCP checksum field
   * holds the pseudo header's sum, as virtio's NEEDS_CSUM asks (csum_start 34, csum_offset 16).
   */
  readonly checksumValid: boolean;
  /** Above 0: the frame is a TCP packet to be cut into segments of this many bytes of payload (virtio's gso_size). */
  readonly segmentBytes: number;
}

/** One direction of an Ethernet link. `frame` is lent: copy what must outlive the call. */
export interface FramePort {
  send(frame: Uint8Array, offload?: FrameOffload): void;
}

export interface Clock {
  /** Milliseconds since some fixed moment; never runs backwards. */
  nowMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Calls `fire` once, not before `delayMs` have passed. */
  after(delayMs: number, fire: () => void): Timer;
}

/** Why a host connection could not be made or has ended early. */
export type SocketFailure = 'refused' | 'unreachable' | 'timed-out' | 'reset' | 'failed';

export interface TcpSocketEvents {
  /** The connection stands. It delivers nothing before the first `resume`. */
  connected(): void;
  /** At most 64 KiB at once. */
  data(bytes: Uint8Array): void;
  /** Of the bytes written, this many more were taken over by the host's kernel. */
  drained(byteCount: number): void;
  /** The peer will send no more (FIN). */
  ended(): void;
  /** The connection is gone; no other event follows. */
  failed(reason: SocketFailure): void;
}

export interface TcpSocket {
  /** Queues a copy of `bytes`; `drained` tells when it has left. */
  write(bytes: Uint8Array): void;
  /** No more writes: a FIN follows the queued bytes. */
  end(): void;
  /** Gives the connection up at once, with a RST where the host can; no event follows. */
  reset(): void;
  /** No more `data` until `resume`. */
  pause(): void;
  resume(): void;
}

export interface TcpListenEvents {
  /** The port is bound; `port` is the one in use when 0 was asked for. */
  listening(port: number): void;
  /** It cannot be bound; the error is for the operator. No other event follows. */
  failed(error: Error): void;
  /** A client connected. The socket is paused until `resume`; `accept` must be called within this call. */
  connection(client: IncomingTcp): void;
}

export interface IncomingTcp {
  /** The client's address as text (IPv4 or IPv6) and port. */
  readonly address: string;
  readonly port: number;
  /** Takes the connection; a client that is not accepted is reset. */
  accept(events: TcpSocketEvents): TcpSocket;
}

export interface Listener {
  close(): void;
}

export interface TcpPort {
  connect(address: string, port: number, events: TcpSocketEvents): TcpSocket;
  listen(address: string, port: number, events: TcpListenEvents): Listener;
}

export interface UdpSocketEvents {
  /** The socket is bound (only for sockets with an address of their own); `port` is the one in use. */
  listening(port: number): void;
  message(bytes: Uint8Array, address: string, port: number): void;
  /** The socket is gone; no other event follows. */
  failed(error: Error): void;
}

export interface UdpSocket {
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

export interface UdpPort {
  /** A socket bound to `address` and `port`, or to an arbitrary port of every address when `bind` is absent. */
  open(bind: { readonly address: string; readonly port: number } | undefined, events: UdpSocketEvents): UdpSocket;
}

export interface DnsPort {
  /** The host table's IPv4 addresses of a lower-case name, as text; undefined when it has no such name. */
  hostsLookup(name: string): readonly string[] | undefined;
  /** Whether the host has a nameserver at all. */
  available(): boolean;
  /** Sends the query to the host's nameservers; `done` gets the response, or undefined when none came. */
  exchange(query: Uint8Array, done: (response: Uint8Array | undefined) => void): void;
  /** Where DNS over TCP goes: a nameserver's address and port. */
  tcpServer(): { readonly address: string; readonly port: number } | undefined;
}

export interface IcmpPort {
  /** Sends an echo request with `data` to `address`; `done(true)` when the reply came. */
  echo(address: string, data: Uint8Array, done: (answered: boolean) => void): void;
}

export interface NetworkPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  /** An unpredictable unsigned 32-bit number (initial sequence numbers, ports); seeded in simulations. */
  readonly random: () => number;
  readonly tcp: TcpPort;
  readonly udp: UdpPort;
  readonly dns: DnsPort;
  /** Absent where the host cannot send echo requests; guests then get "destination unreachable". */
  readonly icmp?: IcmpPort;
}
