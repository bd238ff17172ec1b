/**
 * UDP between guests and the world (RFC 4787): every address and port of a guest has one socket of the host's, used
 * for all destinations (endpoint-independent mapping); only hosts that the guest has addressed may answer
 * (address-dependent filtering). Published ports have sockets of their own, and a guest's answer to one of their
 * clients leaves through the socket that the client wrote to. Flows end when they are idle; tables are bounded and
 * the one idle for longest goes first.
 */

import type { Ipv4 } from './addresses.ts';
import { Alarm } from './alarm.ts';
import { visibleAddress } from './destinations.ts';
import type { GuestLink } from './guest-link.ts';
import type { NetworkPorts, UdpSocket } from './ports.ts';
import { sendUdp } from './udp-output.ts';

interface UdpFlow {
  readonly guest: Ipv4;
  readonly guestPort: number;
  readonly socket: UdpSocket;
  /** Who may answer, as the guest sees them; the oldest first. */
  readonly peers: Set<Ipv4>;
  lastActiveMs: number;
}

/** A client of a published port: where the guest's answers to it go. */
interface UdpClient {
  readonly socket: UdpSocket;
  readonly address: string;
  readonly port: number;
}

export class UdpNat {
  readonly #link: GuestLink;
  readonly #ports: NetworkPorts;
  readonly #flows = new Map<number, UdpFlow>();
  readonly #clients = new Map<string, UdpClient>();
  readonly #sweep: Alarm;

  constructor(link: GuestLink, ports: NetworkPorts) {
    this.#link = link;
    this.#ports = ports;
    this.#sweep = new Alarm(ports, () => this.#expire());
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Sends a guest's datagram to a client of a published port; false when it is addressed to none. */
  answerClient(guest: Ipv4, guestPort: number, remote: Ipv4, remotePort: number, payload: Uint8Array): boolean {
    if (this.#clients.size === 0) return false;
    const client = this.#clients.get(clientKey(guest, guestPort, remote, remotePort));
    if (client === undefined) return false;
    this.#countOut(payload);
    client.socket.send(payload, client.address, client.port);
    return true;
  }

  /** Sends a guest's datagram on; `address` is where the host finds `remote`. */
  send(guest: Ipv4, guestPort: number, remote: Ipv4, remotePort: number, address: string, payload: Uint8Array): void {
    this.#countOut(payload);
    const flow = this.#flows.get(guest * 65536 + guestPort) ?? this.#open(guest, guestPort);
    flow.lastActiveMs = this.#ports.clock.nowMs();
    if (!flow.peers.has(remote)) {
      if (flow.peers.size >= this.#link.config.limits.udpPeers) dropFirst(flow.peers);
      flow.peers.add(remote);
    }
    flow.socket.send(payload, address, remotePort);
  }

  /** A datagram from a client of a published port, through `socket`. */
  fromClient(
    socket: UdpSocket,
    guest: Ipv4,
    guestPort: number,
    address: string,
    port: number,
    payload: Uint8Array,
  ): void {
    const source = visibleAddress(this.#link.config, address);
    const key = clientKey(guest, guestPort, source, port);
    // The order of the map is that of the last use.
    this.#clients.delete(key);
    if (this.#clients.size >= this.#link.config.limits.udpPeers) dropFirst(this.#clients);
    this.#clients.set(key, { socket, address, port });
    this.#link.counters.publish.udpDatagrams += 1;
    this.#deliver(source, port, guest, guestPort, payload);
  }

  /** Forgets the clients of a published port that is closed. */
  forgetClients(socket: UdpSocket): void {
    for (const [key, client] of this.#clients) if (client.socket === socket) this.#clients.delete(key);
  }

  /** Ends all flows and forgets all clients. */
  close(): void {
    this.#sweep.stop();
    for (const flow of this.#flows.values()) flow.socket.close();
    this.#flows.clear();
    this.#clients.clear();
  }

  #countOut(payload: Uint8Array): void {
    this.#link.counters.udp.datagramsOut += 1;
    this.#link.counters.udp.bytesOut += payload.length;
  }

  #open(guest: Ipv4, guestPort: number): UdpFlow {
    const { udp } = this.#link.counters;
    const { udpFlows, udpIdleMs } = this.#link.config.limits;
    if (this.#flows.size >= udpFlows) this.#evict();
    const key = guest * 65536 + guestPort;
    const socket = this.#ports.udp.open(undefined, {
      listening: () => {},
      message: (bytes, address, port) => this.#answer(key, bytes, address, port),
      failed: () => {
        udp.flowsFailed += 1;
        this.#flows.delete(key);
      },
    });
    const flow = { guest, guestPort, socket, peers: new Set<Ipv4>(), lastActiveMs: this.#ports.clock.nowMs() };
    this.#flows.set(key, flow);
    udp.flowsOpened += 1;
    if (this.#sweep.dueMs === Number.POSITIVE_INFINITY) this.#sweep.set(flow.lastActiveMs + udpIdleMs);
    return flow;
  }

  #answer(key: number, bytes: Uint8Array, address: string, port: number): void {
    const flow = this.#flows.get(key);
    const source = visibleAddress(this.#link.config, address);
    if (flow === undefined || !flow.peers.has(source)) {
      this.#link.counters.udp.unsolicited += 1;
      return;
    }
    flow.lastActiveMs = this.#ports.clock.nowMs();
    this.#deliver(source, port, flow.guest, flow.guestPort, bytes);
  }

  #deliver(source: Ipv4, sourcePort: number, guest: Ipv4, guestPort: number, payload: Uint8Array): void {
    const { udp } = this.#link.counters;
    if (!sendUdp(this.#link, { source, sourcePort, guest, guestPort }, payload)) {
      udp.undeliverable += 1;
      return;
    }
    udp.datagramsIn += 1;
    udp.bytesIn += payload.length;
  }

  #evict(): void {
    let oldest: [number, UdpFlow] | undefined;
    for (const entry of this.#flows)
      if (oldest === undefined || entry[1].lastActiveMs < oldest[1].lastActiveMs) oldest = entry;
    if (oldest === undefined) return;
    this.#link.counters.udp.flowsEvicted += 1;
    oldest[1].socket.close();
    this.#flows.delete(oldest[0]);
  }

  #expire(): void {
    const { udpIdleMs } = this.#link.config.limits;
    const nowMs = this.#ports.clock.nowMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [key, flow] of this.#flows) {
      const dueMs = flow.lastActiveMs + udpIdleMs;
      if (dueMs > nowMs) {
        nextMs = Math.min(nextMs, dueMs);
        continue;
      }
      this.#link.counters.udp.flowsExpired += 1;
      flow.socket.close();
      this.#flows.delete(key);
    }
    this.#sweep.set(nextMs);
  }
}

function clientKey(guest: Ipv4, guestPort: number, remote: Ipv4, remotePort: number): string {
  return `${guest}:${guestPort}>${remote}:${remotePort}`;
}

function dropFirst<K>(collection: Set<K> | Map<K, unknown>): void {
  for (const key of collection.keys()) {
    collection.delete(key);
    return;
  }
}
