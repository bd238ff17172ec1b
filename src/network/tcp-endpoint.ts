/**
 * One TCP connection of a guest: our end of it towards the guest, joined to a socket of the host (RFC 9293, 3.10).
 * The halves are in tcp-sender.ts and tcp-receiver.ts; here are the handshake, the close, resets and the join.
 *
 *     guest's SYN -> connecting --host connected--> syn-received --ACK--> open      host failed: RST or unreachable
 *     host client -> syn-sent   --guest's SYN-ACK------------------------> open
 *     open: ESTABLISHED, FIN-WAIT-1 and -2, CLOSE-WAIT, CLOSING and LAST-ACK, told apart by which FINs are through
 *     both FINs through -> time-wait when ours was first -> closed
 *
 * A guest's SYN is answered only once the host's connection stands, so a refused port is refused to the guest too.
 * Left out: selective acknowledgements, timestamps, urgent data, data on a SYN.
 */
// hot: `segment` and `data`
import { Alarm } from './alarm.ts';
import { type BufferBudget, type ByteRing, MAX_CHUNK_BYTES } from './byte-ring.ts';
import type { GuestLink, WaitingSender } from './guest-link.ts';
import type { Clock, SocketFailure, TcpSocket, TcpSocketEvents, Timers } from './ports.ts';
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, type TcpHeader } from './tcp.ts';
import { Acknowledgement } from './tcp-acknowledgement.ts';
import { TcpOpening } from './tcp-opening.ts';
import type { ConnectionTuple, TcpOutput } from './tcp-output.ts';
import { type ByteSink, FIRST_WINDOW_BYTES, TcpReceiver } from './tcp-receiver.ts';
import { type SegmentSink, TcpSender } from './tcp-sender.ts';

/** What a connection needs of its network. */
export interface TcpContext {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly link: GuestLink;
  readonly output: TcpOutput;
  readonly budget: BufferBudget;
  /** Tries to free buffers of other connections until `sizeBytes` fit the budget; false when it cannot. */
  makeRoom(sizeBytes: number, asker: TcpEndpoint): boolean;
  /** Tells the guest that the host of its SYN cannot be reached. */
  unreachable(tuple: ConnectionTuple, sequence: number): void;
  /** The connection is over; take it out of the table. */
  closed(endpoint: TcpEndpoint): void;
}

export type TcpState = 'connecting' | 'syn-sent' | 'syn-received' | 'open' | 'time-wait' | 'closed';

const NEVER = Number.POSITIVE_INFINITY;

export class TcpEndpoint implements ConnectionTuple, TcpSocketEvents, SegmentSink, ByteSink, WaitingSender {
  readonly guest: number;
  readonly guestPort: number;
  readonly remote: number;
  readonly remotePort: number;
  /** When the guest or the host last sent something, for eviction. */
  lastActiveMs: number;
  readonly #context: TcpContext;
  readonly #alarm: Alarm;
  #socket: TcpSocket | undefined;
  #state: TcpState;
  #sender: TcpSender | undefined;
  #receiver: TcpReceiver | undefined;
  readonly #opening: TcpOpening;
  #ack = new Acknowledgement(0);
  #closeDueMs = NEVER;
  #hostPaused = true;
  #guestEndedFirst = false;

  /** `state` says which side opened it; `first` is our initial sequence number. */
  constructor(context: TcpContext, tuple: ConnectionTuple, state: 'connecting' | 'syn-sent', first: number) {
    this.#context = context;
    this.guest = tuple.guest;
    this.guestPort = tuple.guestPort;
    this.remote = tuple.remote;
    this.remotePort = tuple.remotePort;
    this.#state = state;
    const { mtu, limits } = context.link.config;
    this.#opening = new TcpOpening(first, mtu, limits.tcpBufferBytes);
    this.lastActiveMs = context.clock.nowMs();
    this.#alarm = new Alarm(context, this.#onAlarm);
  }

  get state(): TcpState {
    return this.#state;
  }

  /** Starts a connection that the guest's SYN asked for; `connect` makes the host's socket for these events. */
  openFromGuest(syn: TcpHeader, connect: (events: TcpSocketEvents) => TcpSocket): void {
    this.#opening.readSyn(syn);
    this.#socket = connect(this);
  }

  /** Starts a connection to the guest for a client that the host has accepted. */
  openToGuest(socket: TcpSocket): void {
    this.#socket = socket;
    this.#transmit(this.#context.clock.nowMs());
  }

  /** A segment of the guest; its payload is `bytes[at, end)`. */
  segment(header: TcpHeader, bytes: Uint8Array, at: number, end: number): void {
    const nowMs = this.#context.clock.nowMs();
    this.lastActiveMs = nowMs;
    switch (this.#state) {
      case 'connecting':
        // The host is being asked. A guest that gives up meanwhile takes its question back; one that has started
        // anew asks with another number.
        if ((header.flags & TCP_SYN) !== 0) this.#opening.readSyn(header);
        else if ((header.flags & TCP_RST) !== 0 && header.sequence === this.#opening.guestFirstByte)
          this.#resetByGuest();
        return;
      case 'syn-sent':
        this.#answerToSyn(header);
        break;
      case 'syn-received':
      case 'open':
      case 'time-wait':
        this.#synchronized(header, bytes, at, end, nowMs);
        break;
      case 'closed':
        return;
    }
    this.#transmit(nowMs);
  }

  connected(): void {
    if (this.#state !== 'connecting') return;
    if (!this.#openHalves()) {
      this.#context.link.counters.tcp.overLimit += 1;
      this.abort();
      return;
    }
    this.#state = 'syn-received';
    this.#transmit(this.#context.clock.nowMs());
  }

  data(bytes: Uint8Array): void {
    if (this.#state !== 'open' || this.#sender === undefined) return;
    const nowMs = this.#context.clock.nowMs();
    this.lastActiveMs = nowMs;
    if (!this.#sender.ring.push(bytes)) {
      this.#context.link.counters.tcp.overLimit += 1;
      this.abort();
      return;
    }
    this.#transmit(nowMs);
    if (!this.#hostPaused && !this.#sender.ring.wantsMore()) {
      this.#hostPaused = true;
      this.#socket?.pause();
    }
  }

  drained(byteCount: number): void {
    this.#receiver?.drained(byteCount);
    if (this.#state !== 'open' || this.#receiver === undefined || !this.#receiver.wantsUpdate()) return;
    this.#ack.demand();
    this.#transmit(this.#context.clock.nowMs());
  }

  ended(): void {
    if (this.#state !== 'open' || this.#sender === undefined) return;
    this.#sender.finish();
    if (this.#receiver?.ended === true) this.#guestEndedFirst = true;
    this.#transmit(this.#context.clock.nowMs());
  }

  failed(reason: SocketFailure): void {
    if (this.#state === 'closed') return;
    const { tcp } = this.#context.link.counters;
    this.#socket = undefined;
    if (this.#state === 'time-wait') return;
    if (this.#state !== 'connecting') {
      tcp.resetByHost += 1;
      this.abort();
    } else if (reason === 'unreachable' || reason === 'timed-out') {
      tcp.unreachable += 1;
      this.#context.unreachable(this, this.#opening.guestFirst);
      this.#close();
    } else {
      tcp.refused += 1;
      this.abort();
    }
  }

  /** Ends the connection at once: RST to both sides. */
  abort(): void {
    if (this.#state === 'closed') return;
    if (this.#state !== 'time-wait') this.#sendReset();
    this.#socket?.reset();
    this.#close();
  }

  /** Ends the connection without a word to the guest: the network is going away, or the guest opens it anew. */
  discard(): void {
    if (this.#state === 'closed') return;
    this.#socket?.reset();
    this.#close();
  }

  /** Gives back storage that a burst made grow. */
  trim(): void {
    this.#sender?.ring.trim();
  }

  /** The sequence numbers with which a restored network resets this connection. */
  resetNumbers(): { readonly sequence: number; readonly acknowledgement: number } {
    return { sequence: this.#nextSequence(), acknowledgement: this.#receiver?.next ?? this.#opening.guestFirstByte };
  }

  sendWaiting(): boolean {
    this.#transmit(this.#context.clock.nowMs());
    return this.#context.link.ready;
  }

  sendData(
    sequence: number,
    ring: ByteRing,
    offset: number,
    lengthBytes: number,
    fin: boolean,
    push: boolean,
  ): boolean {
    if (!this.#context.link.ready) return false;
    const flags = TCP_ACK | (fin ? TCP_FIN : 0) | (push && lengthBytes > 0 ? TCP_PSH : 0);
    this.#ack.answered(this.#context.clock.nowMs());
    this.#send(flags, sequence, ring, offset, lengthBytes);
    return true;
  }

  take(bytes: Uint8Array, at: number, end: number): void {
    this.#context.link.counters.tcp.bytesToHost += end - at;
    this.#socket?.write(bytes.subarray(at, end));
  }

  #openHalves(): boolean {
    const { budget, link } = this.#context;
    const { tcpBufferBytes, tcpOutOfOrderSegments } = link.config.limits;
    if (!this.#context.makeRoom(MAX_CHUNK_BYTES + FIRST_WINDOW_BYTES, this)) return false;
    budget.reserve(FIRST_WINDOW_BYTES);
    const { guestFirstByte, firstByte, segmentBytes } = this.#opening;
    this.#receiver = new TcpReceiver(guestFirstByte, segmentBytes, tcpBufferBytes, tcpOutOfOrderSegments, budget);
    const sender = new TcpSender(firstByte, segmentBytes, tcpBufferBytes, budget, link.counters.tcp);
    this.#ack = new Acknowledgement(guestFirstByte);
    this.#sender = sender;
    return sender.ring.wantsMore();
  }

  #establish(header: TcpHeader): void {
    const shift = (header.flags & TCP_SYN) !== 0 ? 0 : this.#opening.guestShift;
    this.#sender?.open(header.window * 2 ** shift, header.sequence, header.acknowledgement);
    this.#state = 'open';
    this.#opening.finish();
    this.#hostPaused = false;
    this.#context.link.counters.tcp.established += 1;
    this.#socket?.resume();
  }

  /** SYN-SENT (RFC 9293, 3.10.7.3). */
  #answerToSyn(header: TcpHeader): void {
    const acks = (header.flags & TCP_ACK) !== 0;
    const ackIsOurs = header.acknowledgement === this.#opening.firstByte;
    if (acks && !ackIsOurs) {
      if ((header.flags & TCP_RST) === 0) this.#sendBare(TCP_RST, header.acknowledgement, 0);
      return;
    }
    if ((header.flags & TCP_RST) !== 0) {
      if (acks) this.#resetByGuest();
      return;
    }
    if ((header.flags & TCP_SYN) === 0) return;
    this.#opening.readSyn(header);
    if (!this.#openHalves()) {
      this.#context.link.counters.tcp.overLimit += 1;
      this.abort();
      return;
    }
    if (acks) {
      this.#establish(header);
      this.#ack.demand();
    } else {
      // Simultaneous open.
      this.#state = 'syn-received';
      this.#opening.restart();
    }
  }

  /** Every state with a known peer (RFC 9293, 3.10.7.4), in the order of the checks there. */
  #synchronized(header: TcpHeader, bytes: Uint8Array, at: number, end: number, nowMs: number): void {
    const sender = this.#sender;
    const receiver = this.#receiver;
    if (sender === undefined || receiver === undefined) return;
    const { flags } = header;
    const { tcp } = this.#context.link.counters;
    const fin = (flags & TCP_FIN) !== 0;
    const acceptable = receiver.touches(header.sequence, end - at + (fin ? 1 : 0));
    if ((flags & TCP_RST) !== 0) {
      // RFC 5961, 3.2: only the exact number resets; others within the window are asked back.
      if (header.sequence === receiver.next) this.#resetByGuest();
      else if (acceptable) this.#challenge();
      return;
    }
    if ((flags & TCP_SYN) !== 0) {
      if (this.#state === 'syn-received' && header.sequence === this.#opening.guestFirst) this.#opening.dueMs = nowMs;
      else this.#challenge();
      return;
    }
    if (!acceptable) {
      tcp.outOfWindow += 1;
      this.#ack.demand();
      return;
    }
    if ((flags & TCP_ACK) === 0) return;
    if (this.#state === 'syn-received') {
      if (header.acknowledgement !== this.#opening.firstByte) {
        this.#sendBare(TCP_RST, header.acknowledgement, 0);
        return;
      }
      this.#establish(header);
    }
    if (sender.isBeyond(header.acknowledgement)) {
      this.#ack.demand();
      return;
    }
    const bare = end === at && !fin;
    sender.acknowledge(
      header.acknowledgement,
      header.sequence,
      header.window * 2 ** this.#opening.guestShift,
      bare,
      nowMs,
      this,
    );
    if (!bare) this.#receive(receiver, header, bytes, at, end, fin, nowMs);
    this.#afterAcknowledgement(sender, receiver, nowMs);
  }

  #receive(
    receiver: TcpReceiver,
    header: TcpHeader,
    bytes: Uint8Array,
    at: number,
    end: number,
    fin: boolean,
    nowMs: number,
  ): void {
    const { tcp } = this.#context.link.counters;
    const endedBefore = receiver.ended;
    const gapBefore = receiver.hasGap;
    const acceptance = receiver.accept(header.sequence, bytes, at, end, fin, this);
    if (acceptance === 'early') tcp.outOfOrder += 1;
    if (acceptance === 'dropped') tcp.outOfOrderDropped += 1;
    if (receiver.ended && !endedBefore) {
      if (this.#sender?.finQueued !== true) this.#guestEndedFirst = true;
      this.#socket?.end();
    }
    const urgent = acceptance !== 'in-order' || gapBefore || fin;
    this.#ack.arrived(receiver.next, urgent, (header.flags & TCP_PSH) !== 0, this.#opening.segmentBytes, nowMs);
  }

  #afterAcknowledgement(sender: TcpSender, receiver: TcpReceiver, nowMs: number): void {
    if (this.#state !== 'open') return;
    if (sender.finAcknowledged && receiver.ended) {
      if (this.#guestEndedFirst && !this.#ack.wanted) {
        this.#context.link.counters.tcp.closed += 1;
        this.#close();
        return;
      }
      this.#state = 'time-wait';
      // The host's socket still sends what it has; it needs us no more, nor we the buffers.
      this.#socket = undefined;
      sender.free();
      receiver.free();
      this.#context.link.counters.tcp.closed += 1;
      this.#closeDueMs = nowMs + this.#context.link.config.limits.tcpTimeWaitMs;
      return;
    }
    if (this.#hostPaused && sender.ring.length <= this.#context.link.config.limits.tcpBufferBytes / 2) {
      if (!sender.ring.wantsMore()) return;
      this.#hostPaused = false;
      this.#socket?.resume();
    }
  }

  /** Sends everything that is due: SYNs, data, a FIN, an acknowledgement; then sets the alarm. */
  #transmit(nowMs: number): void {
    if (this.#state === 'closed') return;
    const { link } = this.#context;
    if (!link.ready) {
      link.wait(this);
    } else {
      if (this.#state === 'syn-sent' || this.#state === 'syn-received') this.#transmitSyn(nowMs);
      if (this.state === 'closed') return;
      if (this.#state === 'open' && this.#sender !== undefined) {
        this.#sender.largestBytes = this.#context.output.largestPayloadBytes(this.#opening.segmentBytes);
        if (!this.#sender.transmit(nowMs, this)) link.wait(this);
      }
      if (this.#ack.wanted && link.ready) this.#sendBare(TCP_ACK, this.#nextSequence(), this.#receiver?.next ?? 0);
      else if (this.#ack.wanted) link.wait(this);
    }
    this.#schedule();
  }

  #transmitSyn(nowMs: number): void {
    const opening = this.#opening;
    if (!opening.isDue(nowMs)) return;
    const { tcp } = this.#context.link.counters;
    if (opening.exhausted) {
      tcp.timedOut += 1;
      this.abort();
      return;
    }
    if (opening.attempts > 0) tcp.retransmits += 1;
    const { header } = this.#context.output;
    const flags = opening.attempt(header, this.#state === 'syn-received', nowMs);
    this.#send(flags, opening.first, undefined, 0, 0);
    header.maximumSegmentBytes = 0;
    header.windowShift = -1;
  }

  #sendBare(flags: number, sequence: number, acknowledgement: number): void {
    const { header } = this.#context.output;
    if (flags === TCP_ACK) {
      this.#send(flags, sequence, undefined, 0, 0);
      return;
    }
    this.#context.link.counters.tcp.resetsOut += 1;
    header.flags = flags;
    header.sequence = sequence;
    header.acknowledgement = acknowledgement;
    header.window = 0;
    this.#context.output.send(this, undefined, 0, 0, 0);
  }

  #send(flags: number, sequence: number, ring: ByteRing | undefined, offset: number, lengthBytes: number): void {
    const { header } = this.#context.output;
    const acks = (flags & TCP_ACK) !== 0;
    header.flags = flags;
    header.sequence = sequence;
    header.acknowledgement = acks ? (this.#receiver?.next ?? 0) : 0;
    header.window = this.#receiver?.offer((flags & TCP_SYN) !== 0 ? 0 : this.#opening.ourShift) ?? 0xffff;
    if (acks) this.#ack.sent(header.acknowledgement);
    this.#context.output.send(this, ring, offset, lengthBytes, this.#opening.segmentBytes);
  }

  #sendReset(): void {
    const { sequence, acknowledgement } = this.resetNumbers();
    if (this.#state === 'connecting') this.#sendBare(TCP_RST | TCP_ACK, 0, acknowledgement);
    else if (this.#state === 'syn-sent') this.#sendBare(TCP_RST, sequence, 0);
    else this.#sendBare(TCP_RST | TCP_ACK, sequence, acknowledgement);
  }

  #nextSequence(): number {
    if (this.#sender === undefined || this.#state === 'syn-received') return this.#opening.firstByte;
    return this.#sender.next;
  }

  #challenge(): void {
    this.#context.link.counters.tcp.challengeAcks += 1;
    this.#ack.demand();
  }

  #resetByGuest(): void {
    this.#context.link.counters.tcp.resetByGuest += 1;
    this.#socket?.reset();
    this.#close();
  }

  #close(): void {
    this.#state = 'closed';
    this.#socket = undefined;
    this.#alarm.stop();
    this.#sender?.free();
    this.#receiver?.free();
    this.#context.link.forget(this);
    this.#context.closed(this);
  }

  #schedule(): void {
    if (this.#state === 'closed') return;
    this.#alarm.set(Math.min(this.#sender?.dueMs ?? NEVER, this.#ack.dueMs, this.#opening.dueMs, this.#closeDueMs));
  }

  readonly #onAlarm = (): void => {
    const nowMs = this.#context.clock.nowMs();
    if (this.#closeDueMs <= nowMs) {
      this.#close();
      return;
    }
    this.#ack.onTimer(nowMs);
    const sender = this.#sender;
    if (sender !== undefined && sender.dueMs <= nowMs) {
      if (!this.#context.link.ready) sender.postpone(nowMs);
      else sender.onTimer(nowMs, this);
      if (sender.exhausted) {
        this.#context.link.counters.tcp.timedOut += 1;
        this.abort();
        return;
      }
    }
    if (this.#opening.dueMs <= nowMs && !this.#context.link.ready) this.#opening.postpone(nowMs);
    this.#transmit(nowMs);
  };
}
