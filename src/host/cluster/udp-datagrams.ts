/**
 * Datagrams between the hosts of a cluster, over UDP. Each proves who sent it and whom it is for by the cluster's secret,
 * and what does not is dropped and counted. They are not secret: they tell of heartbeats, not of data. An old one that is
 * sent again proves the same; its reader must tell by its contents (incarnation and sequence number) that it is old.
 *
 *      0  sender (u64): the first bytes of SHA-256 of its name
 *      8  HMAC-SHA-256 of sender, receiver's name and payload, its first 16 bytes
 *     24  payload
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { HostError } from '../../base/errors.ts';
import type { Datagrams } from '../../cluster/index.ts';

const PROOF_AT = 8;
const PAYLOAD_AT = 24;
/** UDP's and IP's heads in front of each packet, and ours: what a packet has on the wire besides its payload (IPv4). */
export const OVERHEAD_BYTES = 20 + 8 + PAYLOAD_AT;
const MOST_BYTES = 1400;

export interface UdpAddress {
  /** An IP address. */
  readonly host: string;
  readonly port: number;
}

export interface UdpOptions {
  /** This host's name in the cluster. */
  readonly self: string;
  /** The cluster's, at least 32 bytes. */
  readonly secret: Uint8Array;
  readonly listen: UdpAddress;
  received(from: string, bytes: Uint8Array): void;
}

export interface UdpCounters {
  sentPackets: number;
  sentBytes: number;
  receivedPackets: number;
  receivedBytes: number;
  /** Of nobody that is known, or not proved. */
  refused: number;
  /** To hosts without an address, or that the system did not take. */
  unsent: number;
}

interface Peer {
  readonly address: UdpAddress;
  readonly name: string;
}

export class UdpDatagrams implements Datagrams {
  /** Bytes with all heads, as on the wire. */
  readonly counters: UdpCounters = {
    ...{ sentPackets: 0, sentBytes: 0, receivedPackets: 0, receivedBytes: 0, refused: 0, unsent: 0 },
  };
  readonly #options: UdpOptions;
  readonly #sender: Buffer;
  readonly #socket: Socket;
  #peers = new Map<string, Peer>();
  /** By what they call themselves in packets. */
  #senders = new Map<string, Peer>();
  #isClosed = false;

  /** Rejects with HostError `cannot-listen`. */
  static async open(options: UdpOptions): Promise<UdpDatagrams> {
    const socket = createSocket({ type: isIPv6(options.listen.host) ? 'udp6' : 'udp4' });
    await new Promise<void>((resolve, reject) => {
      const { host, port } = options.listen;
      socket.once('error', (error) =>
        reject(
          new HostError('cannot-listen', `no datagrams at ${host} port ${port}: ${error.message}`, { cause: error }),
        ),
      );
      socket.bind(port, host, resolve);
    });
    return new UdpDatagrams(socket, options);
  }

  private constructor(socket: Socket, options: UdpOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#sender = senderOf(options.self);
    socket.removeAllListeners('error');
    // Of a send before (a port where nobody listens): the other side's silence says as much.
    socket.on('error', () => undefined);
    socket.on('message', (packet) => this.#receive(packet));
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Whom datagrams are sent to and taken from, by name. */
  setPeers(addresses: ReadonlyMap<string, UdpAddress>): void {
    this.#peers = new Map([...addresses].map(([name, address]) => [name, { name, address }]));
    this.#senders = new Map([...this.#peers.values()].map((peer) => [senderOf(peer.name).toString('latin1'), peer]));
  }

  send(toHost: string, bytes: Uint8Array): void {
    const peer = this.#peers.get(toHost);
    if (peer === undefined || this.#isClosed || bytes.length > MOST_BYTES) {
      this.counters.unsent += 1;
      return;
    }
    const packet = Buffer.concat([this.#sender, this.#proof(this.#sender, toHost, bytes), bytes]);
    this.counters.sentPackets += 1;
    this.counters.sentBytes += OVERHEAD_BYTES + bytes.length;
    this.#socket.send(packet, peer.address.port, peer.address.host, (error) => {
      if (error) this.counters.unsent += 1;
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }

  #receive(packet: Buffer): void {
    const peer = packet.length < PAYLOAD_AT ? undefined : this.#senders.get(packet.toString('latin1', 0, PROOF_AT));
    const payload = packet.subarray(PAYLOAD_AT);
    const isProved =
      peer !== undefined &&
      timingSafeEqual(
        packet.subarray(PROOF_AT, PAYLOAD_AT),
        this.#proof(senderOf(peer.name), this.#options.self, payload),
      );
    if (!isProved) {
      this.counters.refused += 1;
      return;
    }
    this.counters.receivedPackets += 1;
    this.counters.receivedBytes += OVERHEAD_BYTES + payload.length;
    this.#options.received(peer.name, payload);
  }

  #proof(sender: Uint8Array, receiver: string, payload: Uint8Array): Buffer {
    const proof = createHmac('sha256', this.#options.secret)
      .update(sender)
      .update(`${receiver}\0`)
      .update(payload)
      .digest();
    return proof.subarray(0, PAYLOAD_AT - PROOF_AT);
  }
}

function senderOf(name: string): Buffer {
  return createHash('sha256').update(name).digest().subarray(0, PROOF_AT);
}
