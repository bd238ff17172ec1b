/**
 * The socket device (virtio 1.2, section 5.10): streams between programs in the guest and the host, without a network. The
 * guest is a context ID, the host is 2, and both have ports of 32 bits.
 *
 *     guest -> transmit queue -> connection -> host's events          at the service, in the queue's order
 *     host: listen, connect, write -> connection -> receive queue -> guest, a packet of each in turn
 *
 * Streams end when the driver resets, and are not saved: a restored guest is told by an event (section 5.10.6.7) that all
 * of its streams are gone. Left out: seqpacket, datagrams.
 */
import { struct, type View } from '../../base/struct.ts';
import { Chain } from './chain.ts';
import type { Queue } from './queue.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';
import { VsockConnection, type VsockLine } from './vsock-connection.ts';
import {
  CID_HOST,
  VIRTIO_VSOCK_OP,
  VIRTIO_VSOCK_TYPE_STREAM,
  VSOCK_HEADER_BYTES,
  VsockHeader,
  type VsockOp,
} from './vsock-packet.ts';
import type { VsockEvents, VsockRequest, VsockStream } from './vsock-port.ts';

const VIRTIO_ID_VSOCK = 19;
const VIRTIO_VSOCK_F_STREAM = 0;
const CONFIG = { guestCid: 0, end: 8 } as const;
const RECEIVE = 0;
const TRANSMIT = 1;
const EVENT = 2;
const QUEUE_SIZE = 128;
const EVENT_BYTES = 4;
/** VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
const TRANSPORT_RESET = 0;
const SERVICE_BYTES = 1 << 20;
/** What a packet counts for besides its bytes. */
const PACKET_COST_BYTES = 512;
const PIECE_BYTES = 1 << 16;
export const VSOCK_CONNECTIONS_MAX = 1024;
/** While so many refusals wait for buffers of the guest's, nothing more is taken from it. */
const REFUSALS_MAX = 256;
/** Host ports of streams that the host begins, as Firecracker's: so many from here on. */
const FIRST_OWN_PORT = 2 ** 30;
const OWN_PORTS = 2 ** 30;

const fields = {
  ...virtioFields(3, CONFIG.end),
  /** The guest is to be told that all its streams are gone. */
  resetNews: 'u32',
  /** Host ports taken for streams that the host begins, modulo 2^30; kept over resets, saved: see #ownPort. */
  ownPorts: 'u32',
} as const;
const layout = struct('virtio-vsock', fields);

export interface VsockIo extends IoPorts {
  /** The guest's context ID, CID_FIRST_GUEST or more. */
  readonly cid: number;
}

/** Plain numbers of the I/O thread's instance, since its construction. */
export interface VsockCounters {
  /** Streams made, by either side; and those that were refused or could not be made. */
  streams: number;
  refused: number;
  sentPackets: number;
  sentBytes: number;
  receivedPackets: number;
  receivedBytes: number;
  /** Packets of the guest's to or from somebody else, or of no kind that there is. */
  strangePackets: number;
}

interface Refusal {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly type: number;
}

export class VirtioVsock extends VirtioDevice<View<typeof fields>> implements VsockLine {
  static readonly layout = layout;
  readonly counters: VsockCounters = {
    streams: 0,
    refused: 0,
    sentPackets: 0,
    sentBytes: 0,
    receivedPackets: 0,
    receivedBytes: 0,
    strangePackets: 0,
  };
  readonly #io: VsockIo | undefined;
  readonly #chain: Chain | undefined;
  readonly #header = new VsockHeader();
  readonly #scratch = new Uint8Array(PIECE_BYTES);
  readonly #connections = new Map<string, VsockConnection>();
  /** Connections that may have something to say, or to give to the host; in turn. */
  readonly #ready = new Set<VsockConnection>();
  readonly #refusals: Refusal[] = [];
  readonly #listeners = new Map<number, (request: VsockRequest) => void>();
  #anyPort: ((request: VsockRequest) => void) | undefined;
  /** Events that have to come later than the call that they follow from. */
  readonly #notes: (() => void)[] = [];
  #resetsSeen = 0;

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: VsockIo) {
    super(VIRTIO_ID_VSOCK, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
    if (io === undefined) return;
    this.#chain = new Chain(io.memory);
    this.strap();
  }

  // The host's door.

  /** Streams that the guest asks for go to `handler`, of one port or of all that have none; until the function returned is called. */
  listen(hostPort: number | 'any', handler: (request: VsockRequest) => void): () => void {
    if (hostPort === 'any') this.#anyPort = handler;
    else this.#listeners.set(hostPort, handler);
    return () => {
      if (hostPort === 'any' && this.#anyPort === handler) this.#anyPort = undefined;
      else if (hostPort !== 'any' && this.#listeners.get(hostPort) === handler) this.#listeners.delete(hostPort);
    };
  }

  /** A stream to a port of the guest's; `connected` or `failed` follows. */
  connect(guestPort: number, events: VsockEvents): VsockStream {
    const ports = { guest: guestPort, host: this.#ownPort(guestPort) };
    const connection = new VsockConnection(this, ports, events);
    if (this.#connections.size >= VSOCK_CONNECTIONS_MAX) {
      this.#later(() => connection.fail('too-many'));
      return connection;
    }
    this.#add(connection);
    this.ring();
    return connection;
  }

  /** Streams that there are, of whatever state. */
  get streams(): number {
    return this.#connections.size;
  }

  override resume(): void {
    this.#dropAll();
    this.#resetsSeen = this.state.resets;
    this.state.resetNews = 1;
    super.resume();
  }

  // For connections.

  wants(connection: VsockConnection): void {
    this.#ready.add(connection);
    this.ring();
  }

  gone(connection: VsockConnection, tell: boolean): void {
    const { guestPort, hostPort } = connection;
    if (this.#connections.get(keyOf(guestPort, hostPort)) !== connection) return;
    this.#connections.delete(keyOf(guestPort, hostPort));
    if (tell) this.#refuse({ guestPort, hostPort, type: VIRTIO_VSOCK_TYPE_STREAM });
  }

  protected override strap(): void {
    if (this.#io === undefined) return;
    this.offer([VIRTIO_VSOCK_F_STREAM], [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE]);
    this.setConfig(CONFIG.guestCid, 8, this.#io.cid);
  }

  protected override resetState(): void {
    this.state.resetNews = 0;
  }

  protected override hostEvents(): void {
    if (this.#resetsSeen !== this.state.resets || !this.live) this.#dropAll();
    this.#resetsSeen = this.state.resets;
    for (const note of this.#notes.splice(0)) note();
    for (const connection of [...this.#ready]) {
      connection.catchUp(this.#scratch);
      if (connection.next === undefined) this.#ready.delete(connection);
    }
  }

  protected override serve(notified: number): void {
    // First, so that no stream begins before the guest gives up those of old.
    if (this.state.resetNews !== 0) this.#sendReset();
    if ((notified >>> TRANSMIT) & 1) this.#transmit();
    if (this.#ready.size > 0 || this.#refusals.length > 0) this.#deliver();
  }

  /** Guest to host. */
  #transmit(): void {
    const queue = this.openQueue(TRANSMIT);
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return;
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      while (budget > 0 && this.#refusals.length < REFUSALS_MAX && queue.pop(chain)) {
        budget -= PACKET_COST_BYTES + chain.readableBytes;
        if (!this.#receive(chain)) return;
        queue.push(chain.head, 0);
      }
      this.publish(queue);
      if (this.#refusals.length >= REFUSALS_MAX) {
        // Goes on when the guest has made room for them, of which it tells.
        this.keepNotified(1 << TRANSMIT);
        return;
      }
      if (budget <= 0) {
        this.serveAgain(1 << TRANSMIT);
        return;
      }
    } while (queue.arm());
  }

  /** False after a violation. */
  #receive(chain: Chain): boolean {
    const header = this.#header;
    if (chain.readableBytes < VSOCK_HEADER_BYTES) return this.#broken('chain-format');
    if (!chain.read(0, header.bytes)) return this.#broken('dma');
    if (header.lengthBytes > chain.readableBytes - VSOCK_HEADER_BYTES) return this.#broken('chain-format');
    this.counters.receivedPackets++;
    if (!header.isBetween(this.#io?.cid ?? 0, CID_HOST)) {
      this.counters.strangePackets++;
      return true;
    }
    const { sourcePort: guestPort, destinationPort: hostPort, op, type } = header;
    const connection =
      type === VIRTIO_VSOCK_TYPE_STREAM ? this.#connections.get(keyOf(guestPort, hostPort)) : undefined;
    if (connection === undefined) {
      if (op === VIRTIO_VSOCK_OP.REQUEST && type === VIRTIO_VSOCK_TYPE_STREAM) this.#request(guestPort, hostPort);
      else if (op !== VIRTIO_VSOCK_OP.RST) {
        this.counters.strangePackets++;
        this.#refuse({ guestPort, hostPort, type });
      }
      return true;
    }
    connection.noteCredit(header);
    if (op !== VIRTIO_VSOCK_OP.RW) {
      connection.receive(header);
      return true;
    }
    if (connection.takes(header.lengthBytes)) return this.#take(connection, chain, header.lengthBytes);
    connection.break();
    return true;
  }

  #take(connection: VsockConnection, chain: Chain, byteCount: number): boolean {
    for (let done = 0; done < byteCount; done += PIECE_BYTES) {
      const piece = this.#scratch.subarray(0, Math.min(PIECE_BYTES, byteCount - done));
      if (!chain.read(VSOCK_HEADER_BYTES + done, piece)) return this.#broken('dma');
      this.counters.receivedBytes += piece.length;
      connection.take(piece);
    }
    return true;
  }

  /** The guest asks for a stream. */
  #request(guestPort: number, hostPort: number): void {
    const handler = this.#listeners.get(hostPort) ?? this.#anyPort;
    if (handler === undefined || this.#connections.size >= VSOCK_CONNECTIONS_MAX) {
      this.#refuse({ guestPort, hostPort, type: VIRTIO_VSOCK_TYPE_STREAM });
      this.counters.refused++;
      return;
    }
    const connection = new VsockConnection(this, { guest: guestPort, host: hostPort }, undefined);
    this.#add(connection);
    connection.noteCredit(this.#header);
    handler({
      ...{ guestPort, hostPort },
      accept: (events) => {
        if (connection.isRequested) connection.accept(events);
        else this.#later(() => events.failed('reset'));
        return connection;
      },
      refuse: () => {
        if (!connection.isRequested) return;
        this.counters.refused++;
        connection.reset();
      },
    });
  }

  /** Host to guest: refusals first, then a packet of each connection in turn. */
  #deliver(): void {
    const queue = this.openQueue(RECEIVE);
    if (queue === undefined) return;
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      for (let speaker = this.#speaker(); speaker !== undefined && budget > 0; speaker = this.#speaker()) {
        const sent = this.#send(queue, speaker);
        if (sent === 'wait') break;
        if (sent === 'broken') return;
        budget -= PACKET_COST_BYTES + sent;
      }
      this.publish(queue);
      if (this.#speaker() === undefined) return;
      if (budget <= 0) {
        this.serveAgain(1 << RECEIVE);
        return;
      }
    } while (queue.arm());
  }

  /** Who is next to say something. */
  #speaker(): Refusal | VsockConnection | undefined {
    const [refusal] = this.#refusals;
    if (refusal !== undefined) return refusal;
    for (const connection of this.#ready) {
      if (connection.next !== undefined) return connection;
      this.#ready.delete(connection);
    }
    return undefined;
  }

  #send(queue: Queue, speaker: Refusal | VsockConnection): number | 'wait' | 'broken' {
    const chain = this.#chain;
    if (chain === undefined || !queue.pop(chain)) return this.live ? 'wait' : 'broken';
    const room = chain.writableBytes - VSOCK_HEADER_BYTES;
    const isConnection = speaker instanceof VsockConnection;
    const op = isConnection ? (speaker.next ?? VIRTIO_VSOCK_OP.RST) : VIRTIO_VSOCK_OP.RST;
    if (room < (op === VIRTIO_VSOCK_OP.RW ? 1 : 0)) {
      this.violated('chain-format');
      return 'broken';
    }
    const byteCount = isConnection ? this.#sendOf(speaker, op, chain, room) : this.#sendRefusal(speaker, chain);
    if (byteCount < 0) {
      this.violated('dma');
      return 'broken';
    }
    this.counters.sentPackets++;
    queue.push(chain.head, VSOCK_HEADER_BYTES + byteCount);
    return byteCount;
  }

  /** Bytes behind the header, or -1 where the chain is out of the device's reach. */
  #sendOf(connection: VsockConnection, op: VsockOp, chain: Chain, room: number): number {
    let byteCount = 0;
    if (op === VIRTIO_VSOCK_OP.RW) {
      const piece = this.#scratch.subarray(0, Math.min(room, PIECE_BYTES, connection.credit));
      byteCount = connection.send(piece);
      if (!chain.write(VSOCK_HEADER_BYTES, piece.subarray(0, byteCount))) return -1;
      this.counters.sentBytes += byteCount;
    }
    const { guestPort, hostPort } = connection;
    this.#header.set({
      ...{ sourceCid: CID_HOST, destinationCid: this.#io?.cid ?? 0, sourcePort: hostPort, destinationPort: guestPort },
      ...{ op, lengthBytes: byteCount, ...connection.said(op) },
    });
    // Who comes next has the turn.
    this.#ready.delete(connection);
    this.#ready.add(connection);
    return chain.write(0, this.#header.bytes) ? byteCount : -1;
  }

  #sendRefusal({ guestPort, hostPort, type }: Refusal, chain: Chain): number {
    this.#refusals.shift();
    this.#header.set({
      ...{ sourceCid: CID_HOST, destinationCid: this.#io?.cid ?? 0, sourcePort: hostPort, destinationPort: guestPort },
      ...{ op: VIRTIO_VSOCK_OP.RST, type },
    });
    return chain.write(0, this.#header.bytes) ? 0 : -1;
  }

  /** Tells the guest, as soon as it has a buffer for that, that all its streams are gone. */
  #sendReset(): void {
    const queue = this.openQueue(EVENT);
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return;
    do {
      if (this.state.resetNews !== 0 && queue.pop(chain)) {
        if (chain.writableBytes < EVENT_BYTES) {
          this.violated('chain-format');
          return;
        }
        if (!chain.write(0, new Uint8Array(Uint32Array.of(TRANSPORT_RESET).buffer))) {
          this.violated('dma');
          return;
        }
        this.state.resetNews = 0;
        queue.push(chain.head, EVENT_BYTES);
      }
      this.publish(queue);
    } while (this.state.resetNews !== 0 && queue.arm());
  }

  #add(connection: VsockConnection): void {
    this.counters.streams++;
    this.#connections.set(keyOf(connection.guestPort, connection.hostPort), connection);
  }

  #refuse(refusal: Refusal): void {
    this.#refusals.push(refusal);
    this.ring();
  }

  #later(note: () => void): void {
    this.#notes.push(note);
    this.ring();
  }

  /** The driver is gone, or another one. */
  #dropAll(): void {
    for (const connection of [...this.#connections.values()])
      connection.fail(connection.isRequesting ? 'no-driver' : 'reset');
    this.#refusals.length = 0;
  }

  /**
   * A host port that was not used lately, not by the machine that this one was restored from either: its guest may still
   * have a socket of the stream that was there (Linux keeps one that it has closed for 8 s, until our RST), and refuse ours.
   */
  #ownPort(guestPort: number): number {
    const { state } = this;
    let port: number;
    do {
      state.ownPorts = (state.ownPorts + 1) % OWN_PORTS;
      port = FIRST_OWN_PORT + state.ownPorts;
    } while (this.#connections.has(keyOf(guestPort, port)));
    return port;
  }

  #broken(what: 'chain-format' | 'dma'): false {
    this.violated(what);
    return false;
  }
}

function keyOf(guestPort: number, hostPort: number): string {
  return `${guestPort}:${hostPort}`;
}
