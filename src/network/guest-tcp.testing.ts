/** A guest's end of a TCP connection in tests: go-back-N, a fixed timeout, a receive buffer read on demand. */
import type { GuestStack } from './guest-stack.testing.ts';
import { newTcpHeader, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, type TcpHeader } from './tcp.ts';

export interface GuestTcpOptions {
  readonly segmentBytes?: number;
  /** -1 for no window scaling. */
  readonly windowShift?: number;
  readonly bufferBytes?: number;
  /** False: received bytes stay in the buffer until `read`. */
  readonly reads?: boolean;
  /** The largest payload of a frame sent; above the MTU it is what segmentation offload sends. */
  readonly sendBytes?: number;
}

const RETRY_MS = 300;
const EMPTY = new Uint8Array(0);

export class GuestTcp {
  readonly remote: number;
  readonly remotePort: number;
  readonly localPort: number;
  /** 'reset' and 'unreachable' are how it may end before its time. */
  state: 'syn-sent' | 'syn-received' | 'open' | 'reset' | 'unreachable' = 'syn-sent';
  readonly received: Uint8Array[] = [];
  receivedBytes = 0;
  /** The network's FIN has come. */
  remoteEnded = false;
  resends = 0;
  /** The largest payload that came in one segment. */
  largestPayloadBytes = 0;
  readonly #stack: GuestStack;
  readonly #options: Required<GuestTcpOptions>;
  readonly #first: number;
  #remoteNext = 0;
  #scaled = false;
  #remoteShift = 0;
  #remoteWindow = 0;
  #remoteSegmentBytes = 536;
  /** Bytes from `#una` on. */
  #outgoing: Uint8Array = EMPTY;
  #una: number;
  #next: number;
  #ending = false;
  #finAcked = false;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  readonly #early = new Map<number, { payload: Uint8Array; fin: boolean }>();
  #generation = 0;

  constructor(stack: GuestStack, remote: number, remotePort: number, localPort: number, options: GuestTcpOptions) {
    this.#stack = stack;
    this.remote = remote;
    this.remotePort = remotePort;
    this.localPort = localPort;
    this.#options = { segmentBytes: 1460, windowShift: 7, bufferBytes: 262144, reads: true, sendBytes: 0, ...options };
    this.#first = stack.world.random() | 0;
    this.#una = this.#next = (this.#first + 1) | 0;
  }

  /** Both directions are closed, or it has ended otherwise. */
  get closed(): boolean {
    return this.state === 'reset' || this.state === 'unreachable' || (this.remoteEnded && this.#finAcked);
  }

  get unacknowledgedBytes(): number {
    return this.#outgoing.length;
  }

  open(): void {
    this.#sendSyn(TCP_SYN);
    this.#retryLater(() => this.state === 'syn-sent' && this.#sendSyn(TCP_SYN));
  }

  accept(syn: TcpHeader): void {
    this.state = 'syn-received';
    this.#readSyn(syn);
    this.#sendSyn(TCP_SYN | TCP_ACK);
    this.#retryLater(() => this.state === 'syn-received' && this.#sendSyn(TCP_SYN | TCP_ACK));
  }

  send(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#outgoing.length + bytes.length);
    joined.set(this.#outgoing);
    joined.set(bytes, this.#outgoing.length);
    this.#outgoing = joined;
    if (this.state === 'open') this.#push();
  }

  /** No more data: a FIN. */
  end(): void {
    this.#ending = true;
    if (this.state === 'open') this.#push();
  }

  reset(): void {
    this.#segment(TCP_RST, this.#next, EMPTY);
    this.state = 'reset';
  }

  /** Reads what lies in the buffer, and says so. */
  read(): void {
    this.#consume();
    this.#segment(TCP_ACK, this.#next, EMPTY);
  }

  /** Reads what lies in the buffer and tells nobody. */
  readSilently(): void {
    this.#consume();
  }

  /** The next sequence number to be sent. */
  get next(): number {
    return this.#next;
  }

  contents(): Uint8Array {
    const all = new Uint8Array(this.receivedBytes);
    let at = 0;
    for (const chunk of this.received) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  receiveIcmp(type: number, quoted: Uint8Array): void {
    if (type !== 3 || this.state !== 'syn-sent' || quoted[9] !== 6) return;
    const view = new DataView(quoted.buffer, quoted.byteOffset);
    const mine = view.getUint16(20) === this.localPort && view.getUint16(22) === this.remotePort;
    if (mine && view.getInt32(24) === this.#first) this.state = 'unreachable';
  }

  receive(header: TcpHeader, payload: Uint8Array): void {
    this.largestPayloadBytes = Math.max(this.largestPayloadBytes, payload.length);
    if ((header.flags & TCP_RST) !== 0) {
      const exact = header.sequence === this.#remoteNext;
      const answersSyn = this.state === 'syn-sent' && header.acknowledgement === ((this.#first + 1) | 0);
      if (exact || answersSyn) this.state = 'reset';
      else this.#segment(TCP_ACK, this.#next, EMPTY);
      return;
    }
    if (this.state === 'syn-sent') {
      if ((header.flags & (TCP_SYN | TCP_ACK)) !== (TCP_SYN | TCP_ACK)) return;
      if (header.acknowledgement !== ((this.#first + 1) | 0)) return;
      this.#readSyn(header);
      this.#remoteWindow = header.window;
      this.#opened();
      this.#segment(TCP_ACK, this.#next, EMPTY);
      this.#push();
      return;
    }
    if ((header.flags & TCP_SYN) !== 0) {
      this.#segment(this.state === 'syn-received' ? TCP_SYN | TCP_ACK : TCP_ACK, this.#next, EMPTY);
      return;
    }
    if (this.state === 'syn-received') this.#opened();
    this.#acknowledged(header);
    const fin = (header.flags & TCP_FIN) !== 0;
    if (payload.length > 0 || fin) {
      this.#take(header.sequence, payload, fin);
      this.#segment(TCP_ACK, this.#next, EMPTY);
    }
    this.#push();
  }

  #readSyn(header: TcpHeader): void {
    this.#remoteNext = (header.sequence + 1) | 0;
    this.#scaled = header.windowShift >= 0 && this.#options.windowShift >= 0;
    this.#remoteShift = this.#scaled ? header.windowShift : 0;
    if (header.maximumSegmentBytes > 0) this.#remoteSegmentBytes = header.maximumSegmentBytes;
  }

  #opened(): void {
    this.state = 'open';
    this.#retryLater(() => this.#resend());
  }

  #acknowledged(header: TcpHeader): void {
    const acked = (header.acknowledgement - this.#una) | 0;
    const sent = (this.#next - this.#una) | 0;
    if (acked >= 0 && acked <= this.#outgoing.length + 1) {
      this.#remoteWindow = header.window << this.#remoteShift;
      const bytes = Math.min(acked, this.#outgoing.length);
      this.#outgoing = this.#outgoing.subarray(bytes);
      if (acked > bytes) this.#finAcked = true;
      this.#una = (this.#una + acked) | 0;
      if (acked > sent) this.#next = this.#una;
    }
  }

  #push(): void {
    const limit = this.#options.sendBytes > 0 ? this.#options.sendBytes : Math.min(this.#remoteSegmentBytes, 1460);
    for (;;) {
      const sent = (this.#next - this.#una) | 0;
      const unsent = this.#outgoing.length - sent;
      const length = Math.min(limit, unsent, this.#remoteWindow - sent);
      if (length <= 0) {
        if (unsent === 0 && this.#ending && !this.#finAcked && sent <= this.#outgoing.length) {
          this.#segment(TCP_ACK | TCP_FIN, this.#next, EMPTY);
          this.#next = (this.#next + 1) | 0;
        }
        return;
      }
      this.#segment(
        TCP_ACK | (length === unsent ? TCP_PSH : 0),
        this.#next,
        this.#outgoing.subarray(sent, sent + length),
      );
      this.#next = (this.#next + length) | 0;
    }
  }

  #resend(): void {
    if (this.state !== 'open' || this.#finAcked || (this.#outgoing.length === 0 && !this.#ending)) return;
    this.resends += 1;
    this.#next = this.#una;
    if (this.#remoteWindow === 0 && this.#outgoing.length > 0)
      this.#segment(TCP_ACK, this.#una, this.#outgoing.subarray(0, 1));
    else this.#push();
  }

  #take(sequence: number, payload: Uint8Array, fin: boolean): void {
    const offset = (sequence - this.#remoteNext) | 0;
    if (offset > 0) {
      if (offset < this.#options.bufferBytes) this.#early.set(sequence, { payload: payload.slice(), fin });
      return;
    }
    if (this.remoteEnded) return;
    const fresh = payload.subarray(Math.min(payload.length, -offset));
    const room = this.#options.bufferBytes - this.#unreadBytes;
    const taken = fresh.subarray(0, room);
    if (taken.length > 0) {
      this.#unread.push(taken.slice());
      this.#unreadBytes += taken.length;
      this.#remoteNext = (this.#remoteNext + taken.length) | 0;
    }
    if (this.#options.reads) this.#consume();
    if (taken.length < fresh.length) return;
    if (fin && offset + payload.length >= 0) {
      this.#remoteNext = (this.#remoteNext + 1) | 0;
      this.remoteEnded = true;
      return;
    }
    for (const [early, segment] of this.#early) {
      if (((early - this.#remoteNext) | 0) > 0) continue;
      this.#early.delete(early);
      this.#take(early, segment.payload, segment.fin);
      return;
    }
  }

  #consume(): void {
    for (const chunk of this.#unread) {
      this.received.push(chunk);
      this.receivedBytes += chunk.length;
    }
    this.#unread = [];
    this.#unreadBytes = 0;
  }

  #retryLater(retry: () => void): void {
    this.#generation += 1;
    const generation = this.#generation;
    const again = (): void => {
      if (this.#generation !== generation || this.closed) return;
      retry();
      this.#stack.world.after(RETRY_MS, again);
    };
    this.#stack.world.after(RETRY_MS, again);
  }

  #sendSyn(flags: number): void {
    const header = newTcpHeader();
    header.sourcePort = this.localPort;
    header.destinationPort = this.remotePort;
    header.sequence = this.#first;
    header.acknowledgement = (flags & TCP_ACK) !== 0 ? this.#remoteNext : 0;
    header.flags = flags;
    header.window = Math.min(65535, this.#options.bufferBytes);
    header.maximumSegmentBytes = this.#options.segmentBytes;
    header.windowShift = flags === TCP_SYN || this.#scaled ? this.#options.windowShift : -1;
    this.#stack.sendTcp(this.remote, header, EMPTY);
  }

  #segment(flags: number, sequence: number, payload: Uint8Array): void {
    if ((flags & TCP_SYN) !== 0) {
      this.#sendSyn(flags);
      return;
    }
    const header = newTcpHeader();
    header.sourcePort = this.localPort;
    header.destinationPort = this.remotePort;
    header.sequence = sequence;
    header.acknowledgement = this.#remoteNext;
    header.flags = flags;
    const free = this.#options.bufferBytes - this.#unreadBytes;
    header.window = Math.min(65535, free >>> (this.#scaled ? this.#options.windowShift : 0));
    this.#stack.sendTcp(this.remote, header, payload);
  }
}
