/**
 * One stream between guest and host (virtio 1.2, section 5.10.6): its state, its credit in both directions, and what it is
 * to say next. Each side tells how large its receive buffer is and how much it has taken out of it; the other sends no more
 * than fits (section 5.10.6.3).
 *
 *     requesting  we asked, the guest answers        requested  the guest asked, the host decides
 *     open        bytes go both ways, until a side shuts down one direction, or both
 *     closing     we will do nothing more; the guest's RST ends it          gone
 */
import { ChunkQueue } from './chunk-queue.ts';
import { SHUTDOWN, VIRTIO_VSOCK_OP, type VsockHeader, type VsockOp } from './vsock-packet.ts';
import type { VsockEvents, VsockFailure, VsockStream } from './vsock-port.ts';

/** Our receive buffer, as Linux's vhost has it. */
export const VSOCK_BUFFER_BYTES = 256 << 10;
/** The guest is told of room once this much more is free than it knows of. */
const CREDIT_STEP_BYTES = VSOCK_BUFFER_BYTES / 4;
const PIECE_BYTES = 1 << 16;

/** Packets without bytes, in the order in which they are said. */
const SAID_FIRST = [
  VIRTIO_VSOCK_OP.REQUEST,
  VIRTIO_VSOCK_OP.RESPONSE,
  VIRTIO_VSOCK_OP.CREDIT_UPDATE,
  VIRTIO_VSOCK_OP.CREDIT_REQUEST,
] as const;

type State = 'requesting' | 'requested' | 'open' | 'closing' | 'gone';

/** What a connection asks of the device. */
export interface VsockLine {
  /** It has something to say to the guest. */
  wants(connection: VsockConnection): void;
  /** It is over and forgotten; `tell`: the guest is to get an RST. */
  gone(connection: VsockConnection, tell: boolean): void;
}

export class VsockConnection implements VsockStream {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly #line: VsockLine;
  #state: State;
  #events: VsockEvents | undefined;
  /** Packets to be sent, a bit for each op. */
  #pending = 0;
  readonly #outgoing = new ChunkQueue();
  readonly #incoming = new ChunkQueue();
  #paused = false;
  /** Of the guest: its buffer, what it took out of it, what we sent, all modulo 2^32. */
  #peerBufferBytes = 0;
  #peerForwarded = 0;
  #sent = 0;
  #askedForCredit = false;
  /** Of ours: what came, what the host took, and what of that the guest knows. */
  #received = 0;
  #forwarded = 0;
  #forwardedTold = 0;
  /** The host has written its last byte; the guest was told so. */
  #ended = false;
  #shutDown = false;
  /** SHUTDOWN flags of the guest. */
  #peerShutdown = 0;
  #endTold = false;
  /** Bytes that the host wrote and the guest will never read; the host is told that they have left. */
  #discarded = 0;

  constructor(line: VsockLine, ports: { guest: number; host: number }, events: VsockEvents | undefined) {
    this.guestPort = ports.guest;
    this.hostPort = ports.host;
    this.#line = line;
    this.#events = events;
    this.#state = events === undefined ? 'requested' : 'requesting';
    if (events !== undefined) this.#say(VIRTIO_VSOCK_OP.REQUEST);
  }

  // The host's door.

  write(bytes: Uint8Array): void {
    if (this.#state === 'gone' || this.#ended) return;
    if (this.#state === 'closing' || (this.#peerShutdown & SHUTDOWN.RCV) !== 0) this.#discarded += bytes.length;
    else this.#outgoing.push(bytes);
    this.#line.wants(this);
  }

  end(): void {
    this.#ended = true;
    this.#line.wants(this);
  }

  reset(): void {
    this.#leave(true);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#line.wants(this);
  }

  /** The host takes a stream that the guest asked for. */
  accept(events: VsockEvents): void {
    if (this.#state !== 'requested') return;
    this.#events = events;
    this.#state = 'open';
    this.#say(VIRTIO_VSOCK_OP.RESPONSE);
  }

  get isRequested(): boolean {
    return this.#state === 'requested';
  }

  get isRequesting(): boolean {
    return this.#state === 'requesting';
  }

  // For the device, within a service.

  /** Tells the host that the stream is gone, for another reason than that it gave it up. The guest knows. */
  fail(reason: VsockFailure): void {
    if (this.#state === 'gone') return;
    const isOver = this.#state === 'closing' && this.#endTold;
    const events = this.#events;
    this.#leave(false);
    if (!isOver) events?.failed(reason);
  }

  /** What any packet of the guest's says: how much room it has. */
  noteCredit(header: VsockHeader): void {
    this.#peerBufferBytes = header.bufferBytes;
    this.#peerForwarded = header.forwardedBytes;
    // A guest that has no room answers so; it tells by itself once it has some.
    if (this.credit > 0) this.#askedForCredit = false;
    if (this.#outgoing.sizeBytes > 0) this.#line.wants(this);
  }

  /** A packet of the guest's without bytes, and not REQUEST. One that makes no sense now resets the stream. */
  receive(header: VsockHeader): void {
    switch (header.op) {
      case VIRTIO_VSOCK_OP.RESPONSE:
        if (this.#state !== 'requesting') this.#break();
        else {
          this.#state = 'open';
          this.#events?.connected?.();
          this.#line.wants(this);
        }
        break;
      case VIRTIO_VSOCK_OP.RST:
        this.#resetByGuest();
        break;
      case VIRTIO_VSOCK_OP.SHUTDOWN:
        this.#shutDownByGuest(header.flags);
        break;
      case VIRTIO_VSOCK_OP.CREDIT_REQUEST:
        this.#say(VIRTIO_VSOCK_OP.CREDIT_UPDATE);
        break;
      case VIRTIO_VSOCK_OP.CREDIT_UPDATE:
        break;
      default:
        this.#break();
    }
  }

  /** Whether so many bytes may come now: the stream is open for them, and they fit. */
  takes(byteCount: number): boolean {
    const isOpen = this.#state === 'open' || this.#state === 'closing';
    const room = VSOCK_BUFFER_BYTES - ((this.#received - this.#forwarded) >>> 0);
    return isOpen && (this.#peerShutdown & SHUTDOWN.SEND) === 0 && byteCount <= room;
  }

  /** Bytes of the guest's, of which `takes` said yes. */
  take(bytes: Uint8Array): void {
    this.#received = (this.#received + bytes.length) >>> 0;
    if (this.#paused || this.#incoming.sizeBytes > 0) this.#incoming.push(bytes);
    else this.#hand(bytes);
  }

  /** The guest broke the protocol: the stream ends, for both. */
  break(): void {
    this.#break();
  }

  /** Gives the host what waits for it; before packets are made. */
  catchUp(scratch: Uint8Array): void {
    if (this.#discarded > 0) {
      const byteCount = this.#discarded;
      this.#discarded = 0;
      this.#events?.drained?.(byteCount);
    }
    while (!this.#paused && this.#incoming.sizeBytes > 0 && this.#state !== 'gone') {
      this.#hand(scratch.subarray(0, this.#incoming.take(scratch.subarray(0, PIECE_BYTES))));
    }
    this.#tellEnd();
  }

  /** What is to be said to the guest next. */
  get next(): VsockOp | undefined {
    if (this.#state === 'gone' || this.#state === 'requested') return undefined;
    if (this.#pending !== 0) return SAID_FIRST.find((op) => ((this.#pending >>> op) & 1) !== 0);
    if (this.#state !== 'open') return undefined;
    if (this.#outgoing.sizeBytes > 0) {
      if (this.credit > 0) return VIRTIO_VSOCK_OP.RW;
      return this.#askedForCredit ? undefined : VIRTIO_VSOCK_OP.CREDIT_REQUEST;
    }
    return this.#ended && !this.#shutDown ? VIRTIO_VSOCK_OP.SHUTDOWN : undefined;
  }

  /** Bytes that the guest has room for. */
  get credit(): number {
    const onTheWay = (this.#sent - this.#peerForwarded) >>> 0;
    return Math.max(0, this.#peerBufferBytes - onTheWay);
  }

  /** Flags of the next packet, which is said now; the guest learns from it what the host took. */
  said(op: VsockOp): { flags: number; bufferBytes: number; forwardedBytes: number } {
    this.#pending &= ~(1 << op);
    this.#forwardedTold = this.#forwarded;
    this.#pending &= ~(1 << VIRTIO_VSOCK_OP.CREDIT_UPDATE);
    let flags = 0;
    if (op === VIRTIO_VSOCK_OP.CREDIT_REQUEST) this.#askedForCredit = true;
    if (op === VIRTIO_VSOCK_OP.SHUTDOWN) {
      this.#shutDown = true;
      flags = (this.#peerShutdown & SHUTDOWN.SEND) === 0 ? SHUTDOWN.SEND : SHUTDOWN.BOTH;
      if (flags === SHUTDOWN.BOTH) this.#state = 'closing';
    }
    return { flags, bufferBytes: VSOCK_BUFFER_BYTES, forwardedBytes: this.#forwarded };
  }

  /** Moves bytes for the guest into `into`; how many: the guest has room for them. */
  send(into: Uint8Array): number {
    const byteCount = this.#outgoing.take(into);
    this.#sent = (this.#sent + byteCount) >>> 0;
    this.#events?.drained?.(byteCount);
    return byteCount;
  }

  #hand(bytes: Uint8Array): void {
    this.#forwarded = (this.#forwarded + bytes.length) >>> 0;
    if ((this.#forwarded - this.#forwardedTold) >>> 0 >= CREDIT_STEP_BYTES) this.#say(VIRTIO_VSOCK_OP.CREDIT_UPDATE);
    this.#events?.data(bytes);
  }

  #say(op: VsockOp): void {
    this.#pending |= 1 << op;
    this.#line.wants(this);
  }

  #resetByGuest(): void {
    // Bytes that came before are the host's, and an orderly end is no failure.
    const isOrderly = this.#state === 'closing' || (this.#peerShutdown & SHUTDOWN.SEND) !== 0;
    if (isOrderly) this.#flushAndLeave(false);
    else this.fail(this.#state === 'requesting' ? 'refused' : 'reset');
  }

  #shutDownByGuest(flags: number): void {
    if (this.#state === 'requested' || this.#state === 'requesting') {
      this.#break();
      return;
    }
    this.#peerShutdown |= flags & SHUTDOWN.BOTH;
    if ((this.#peerShutdown & SHUTDOWN.RCV) !== 0) this.#discardOutgoing();
    // The guest has closed its socket and waits for our RST.
    if (this.#peerShutdown === SHUTDOWN.BOTH) this.#flushAndLeave(true);
    else this.#tellEnd();
  }

  /** The stream is over for the guest; what it sent is still given to the host, and that it ended. */
  #flushAndLeave(tell: boolean): void {
    this.#state = 'closing';
    this.#pending = 0;
    this.#peerShutdown = SHUTDOWN.BOTH;
    this.#discardOutgoing();
    this.#line.gone(this, tell);
    this.#tellEnd();
    this.#line.wants(this);
  }

  #discardOutgoing(): void {
    this.#discarded += this.#outgoing.sizeBytes;
    this.#outgoing.clear();
    this.#line.wants(this);
  }

  #tellEnd(): void {
    if (this.#endTold || (this.#peerShutdown & SHUTDOWN.SEND) === 0 || this.#incoming.sizeBytes > 0) return;
    this.#endTold = true;
    this.#events?.ended();
  }

  #break(): void {
    const events = this.#events;
    this.#leave(true);
    events?.failed('reset');
  }

  #leave(tell: boolean): void {
    if (this.#state === 'gone') return;
    this.#state = 'gone';
    this.#pending = 0;
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#events = undefined;
    this.#line.gone(this, tell);
  }
}
