/**
 * The three-way handshake of one connection (RFC 9293, 3.5): initial sequence numbers, the options that both SYNs
 * carry, and when our SYN or SYN-ACK is sent again.
 */
import { TCP_ACK, TCP_SYN, type TcpHeader } from './tcp.ts';

const DEFAULT_SEGMENT_BYTES = 536;
const MIN_SEGMENT_BYTES = 64;
/** IPv4 and TCP headers without options. */
const HEADERS_BYTES = 40;
const MAX_SHIFT = 14;
const FIRST_TIMEOUT_MS = 1000;
/** 1 + 2 + 4 + ... s: a guest may be booting when a client connects to a published port. */
const MAX_ATTEMPTS = 6;
const NEVER = Number.POSITIVE_INFINITY;

export class TcpOpening {
  /** Our initial sequence number. */
  readonly first: number;
  /** The guest's initial sequence number, once its SYN is here. */
  guestFirst = 0;
  /** The largest payload of a segment that the guest takes and the link carries. */
  segmentBytes = DEFAULT_SEGMENT_BYTES;
  /** Window scale shifts: the guest's, and ours; both 0 once the guest's SYN has offered none (RFC 7323, 2.2). */
  guestShift = 0;
  ourShift = 0;
  /** When our SYN is due again; infinity when it is not. */
  dueMs = NEVER;
  readonly #mtu: number;
  #scaled = true;
  #attempts = 0;

  constructor(first: number, mtu: number, bufferLimitBytes: number) {
    this.first = first | 0;
    this.#mtu = mtu;
    while (0xffff * 2 ** this.ourShift < bufferLimitBytes && this.ourShift < MAX_SHIFT) this.ourShift += 1;
  }

  /** The sequence number of our first byte. */
  get firstByte(): number {
    return (this.first + 1) | 0;
  }

  /** The sequence number of the guest's first byte. */
  get guestFirstByte(): number {
    return (this.guestFirst + 1) | 0;
  }

  get exhausted(): boolean {
    return this.#attempts >= MAX_ATTEMPTS;
  }

  /** How often our SYN was sent. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Takes what the guest's SYN says. */
  readSyn(syn: TcpHeader): void {
    const offered = syn.maximumSegmentBytes === 0 ? DEFAULT_SEGMENT_BYTES : syn.maximumSegmentBytes;
    this.segmentBytes = Math.max(MIN_SEGMENT_BYTES, Math.min(offered, this.#mtu - HEADERS_BYTES));
    this.guestFirst = syn.sequence;
    this.#scaled = syn.windowShift >= 0;
    this.guestShift = Math.max(0, syn.windowShift);
    if (!this.#scaled) this.ourShift = 0;
  }

  /** Whether our SYN must be sent now. */
  isDue(nowMs: number): boolean {
    return this.#attempts === 0 || nowMs >= this.dueMs;
  }

  /** Fills the options of our SYN, which is sent now, and returns its flags; the next one comes twice as late. */
  attempt(header: TcpHeader, answers: boolean, nowMs: number): number {
    this.dueMs = nowMs + FIRST_TIMEOUT_MS * 2 ** this.#attempts;
    this.#attempts += 1;
    header.maximumSegmentBytes = this.#mtu - HEADERS_BYTES;
    header.windowShift = this.#scaled ? this.ourShift : -1;
    return answers ? TCP_SYN | TCP_ACK : TCP_SYN;
  }

  /** Counts attempts anew: the SYN was sent, now a SYN-ACK will be. */
  restart(): void {
    this.#attempts = 0;
    this.dueMs = NEVER;
  }

  /** While the guest cannot receive nothing is due. */
  postpone(nowMs: number): void {
    this.dueMs = nowMs + FIRST_TIMEOUT_MS;
  }

  /** The connection stands. */
  finish(): void {
    this.dueMs = NEVER;
  }
}
