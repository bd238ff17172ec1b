/**
 * What functions asked for and nobody has served: a record for each, the levels of its pins and its messages. Where the
 * records lie decides who must be asked for them: in a relay they are its interrupt indicator (relay.ts), behind a plain wire
 * they are registers of the functions themselves, which the VMM polls.
 *
 *     pins       the level of each, as the function has it, and which rose: in one word, so that they are of one moment
 *     messages   the last different ones, address and data, a place each; pending: a bit for each place
 *
 * A message is put in a place before its bit is set, and stays there while the bit is: so the VMM reads the place, then
 * clears the bit, then delivers. A message that comes again before that is merged with it, as in an interrupt file.
 * So is a pin that rises again. One that rose and fell before anybody looked did rise: it is not lost.
 *
 *     held       whose function interrupts too often: kinds of transactions that the VMM need not be told of, for it looks
 *                by itself when the function's window has ended. Lifted before the record is read, looked at after it is
 *                written: so one of the two sees the other.
 *
 * A requester's record is found by hashing: from its first place on, until it is there or none was ever used.
 *
 * Transactions of one function are noted one after the other (`TransactionPort`), those of several at once.
 */
import { array, type Layout, struct, structs } from '../../base/struct.ts';
import { counted, countUp, type Words, wordOffsets } from '../../base/words.ts';
import { INTX_PINS, type InterruptTransaction, type RequesterId } from './transaction.ts';

/** How many different messages of one function may wait. */
export const MOST_IDENTIFIERS = 64;

const message = struct('interruptMessage', { addressLow: 'u32', addressHigh: 'u32', data: 'u32' });

/** Bit of a port's wire, and of `held`, that stands for messages; bits 0 to 3 are lines, as pins are numbered. */
export const MESSAGE_KIND = 1 << INTX_PINS;

/** The bit of its kind; 0: there is no such pin. */
export function kindOf({ kind, data }: InterruptTransaction): number {
  return kind === 'message' ? MESSAGE_KIND : (1 << (data - 1)) & (MESSAGE_KIND - 1);
}

/** Addresses are exact and a multiple of 4. */
function isAddress(address: number): boolean {
  return Number.isSafeInteger(address) && address >= 0 && address % 4 === 0;
}

function fields(identifiers: number) {
  return {
    /** Whose record it is, + 1; 0: it never was anybody's; GONE: it was. */
    requester: 'u32',
    /** Bit n: pin n + 1 is asserted. Bit 4 + n: it was, since that was last taken. */
    pins: 'u32',
    /** When the oldest was noted that nobody has served, in 100 ns; 0: there is none. */
    since: 'u32',
    /** Bit n: transactions of pin n + 1 are held back; above them, messages are. */
    held: 'u32',
    pending: array('u32', Math.ceil(identifiers / 32)),
    /** Asserts and messages. */
    interrupts: 'u64',
    /** Of these, those that found themselves waiting already. */
    merged: 'u64',
    /** Messages that found no place: too many different ones waited. */
    overflows: 'u64',
    /** Pins that do not exist, addresses that no message has. */
    garbage: 'u64',
    messages: structs(message, identifiers),
  } as const;
}

export type RecordFields = ReturnType<typeof fields>;

export function recordLayout(identifiers: number): Layout<RecordFields> {
  return struct('interruptRecord', fields(identifiers));
}

/** From `interrupts` to `garbage`. */
export const RECORD_COUNTER_WORDS = 8;

const GONE = 0xffff_ffff;

/** Zero says that nothing waits. */
const stampOf = (ticks: number): number => ticks | 1;

export class InterruptRecords {
  readonly #words: Words;
  readonly #identifiers: number;
  readonly #functions: number;
  /** In words: the first record, from one to the next, and its fields. */
  readonly #at: number;
  readonly #stride: number;
  readonly #field: { readonly [name in keyof RecordFields]: number };

  /** `at`: bytes, of as many records as there are functions. */
  constructor(words: Words, at: number, functions: number, identifiers: number) {
    const layout = recordLayout(identifiers);
    this.#words = words;
    this.#functions = functions;
    this.#identifiers = identifiers;
    this.#at = at / 4;
    this.#stride = layout.sizeBytes / 4;
    this.#field = wordOffsets(layout);
  }

  /** Words of `pending`. */
  get pendingWords(): number {
    return Math.ceil(this.#identifiers / 32);
  }

  /** The record of a requester; undefined: it has none. */
  rowOf(requester: RequesterId): number | undefined {
    let row = this.#firstPlace(requester);
    for (let i = 0; i < this.#functions; i++) {
      const found = this.#words.load(this.#index(row, 'requester')) >>> 0;
      if (found === requester + 1) return row;
      if (found === 0) return undefined;
      row = row + 1 < this.#functions ? row + 1 : 0;
    }
    return undefined;
  }

  /** A zeroed record for a requester that has none, before it sends. Undefined: there is no room. One at a time. */
  attach(requester: RequesterId): number | undefined {
    for (let i = 0; i < this.#functions; i++) {
      const row = (this.#firstPlace(requester) + i) % this.#functions;
      const at = this.#index(row, 'requester');
      const found = this.#words.load(at) >>> 0;
      if (found !== 0 && found !== GONE) continue;
      for (let word = 1; word < this.#stride; word++) this.#words.store(at + word, 0);
      this.#words.store(at, requester + 1);
      return row;
    }
    return undefined;
  }

  /** The requester sends no more. */
  detach(row: number): void {
    this.#words.store(this.#index(row, 'requester'), GONE);
  }

  /** Whose record it is; undefined: nobody's. */
  requesterOf(row: number): RequesterId | undefined {
    const found = this.#words.load(this.#index(row, 'requester')) >>> 0;
    return found === 0 || found === GONE ? undefined : found - 1;
  }

  /** What was counted of it. `dropped`: without a place, or no interrupt at all. */
  counters(row: number): { readonly interrupts: number; readonly merged: number; readonly dropped: number } {
    const count = (name: 'interrupts' | 'merged' | 'overflows' | 'garbage') =>
      counted(this.#words, this.#index(row, name));
    return { interrupts: count('interrupts'), merged: count('merged'), dropped: count('overflows') + count('garbage') };
  }

  /** Index of the first of its counters' words, RECORD_COUNTER_WORDS of them. */
  countersAt(row: number): number {
    return this.#index(row, 'interrupts');
  }

  /** By whoever forwards the function's transaction, before anybody is told of it. `ticks`: the time in 100 ns. */
  note(row: number, transaction: InterruptTransaction, ticks: number): void {
    const { kind, data } = transaction;
    if (kind === 'message' ? !isAddress(transaction.address) : data < 1 || data > INTX_PINS) {
      this.#count(row, 'garbage');
      return;
    }
    this.#words.compareExchange(this.#index(row, 'since'), 0, stampOf(ticks));
    if (kind === 'message') this.#message(row, transaction);
    else this.#setPin(row, data - 1, kind === 'assert');
  }

  /** Bit n: the level of pin n + 1. Bit 4 + n: it rose. */
  pins(row: number): number {
    return this.#words.load(this.#index(row, 'pins'));
  }

  /** That the pin (from 0 on) rose is the VMM's. Its level at that moment. */
  takeRise(row: number, pin: number): boolean {
    const before = this.#words.and(this.#index(row, 'pins'), ~(1 << (pin + INTX_PINS)));
    return (before & (1 << pin)) !== 0;
  }

  /** Bits of the messages that wait: places 32 x `word` and on. */
  waiting(row: number, word: number): number {
    return this.#words.load(this.#index(row, 'pending') + word);
  }

  /** The message in a place whose bit is set. */
  addressOf(row: number, place: number): number {
    const at = this.#placeAt(row, place);
    return (this.#words.load(at) >>> 0) + (this.#words.load(at + 1) >>> 0) * 2 ** 32;
  }

  dataOf(row: number, place: number): number {
    return this.#words.load(this.#placeAt(row, place) + 2) >>> 0;
  }

  /** Kinds of transactions that are held back from now on, as bits of `held`. */
  hold(row: number, kinds: number): void {
    const at = this.#index(row, 'held');
    if (this.#words.load(at) !== kinds) this.#words.store(at, kinds);
  }

  /** Whether nobody is to be told of it. After it was noted. */
  isHeld(row: number, transaction: InterruptTransaction): boolean {
    return (this.#words.load(this.#index(row, 'held')) & kindOf(transaction)) !== 0;
  }

  /** Clears its bit: the place is the function's again. */
  take(row: number, place: number): void {
    this.#words.clearBits(this.#index(row, 'pending') + (place >> 5), 1 << (place & 31));
  }

  /** When the oldest that nobody has served was noted; 0: there is none. It counts as served from now on. */
  takeSince(row: number): number {
    return this.#words.exchange(this.#index(row, 'since'), 0) >>> 0;
  }

  /** It was not served. */
  putSince(row: number, since: number): void {
    this.#words.compareExchange(this.#index(row, 'since'), 0, since);
  }

  #setPin(row: number, pin: number, isHigh: boolean): void {
    const pins = this.#index(row, 'pins');
    if (!isHigh) {
      this.#words.clearBits(pins, 1 << pin);
      return;
    }
    this.#count(row, 'interrupts');
    const rose = 1 << (pin + INTX_PINS);
    if ((this.#words.or(pins, rose | (1 << pin)) & rose) !== 0) this.#count(row, 'merged');
  }

  #message(row: number, { address, data }: InterruptTransaction): void {
    this.#count(row, 'interrupts');
    const low = address | 0;
    const high = Math.floor(address / 2 ** 32);
    const first = (data ^ (low >>> 12)) & 0x7fff_ffff;
    for (let i = 0; i < this.#identifiers; i++) {
      const place = (first + i) % this.#identifiers;
      const at = this.#placeAt(row, place);
      const isSame =
        this.#words.load(at + 2) === (data | 0) && this.#words.load(at) === low && this.#words.load(at + 1) === high;
      if (!isSame) {
        // Only this function's transactions set its bits: a place whose bit is clear stays so until we set it.
        if ((this.waiting(row, place >> 5) & (1 << (place & 31))) !== 0) continue;
        this.#words.store(at, low);
        this.#words.store(at + 1, high);
        this.#words.store(at + 2, data | 0);
      }
      this.#setPending(row, place);
      return;
    }
    this.#count(row, 'overflows');
  }

  #setPending(row: number, place: number): void {
    const bit = 1 << (place & 31);
    const before = this.#words.or(this.#index(row, 'pending') + (place >> 5), bit);
    if ((before & bit) !== 0) this.#count(row, 'merged');
  }

  #count(row: number, name: 'interrupts' | 'merged' | 'overflows' | 'garbage'): void {
    countUp(this.#words, this.#index(row, name));
  }

  #firstPlace(requester: RequesterId): number {
    return (Math.imul(requester, 0x9e37_79b1) >>> 8) % this.#functions;
  }

  #index(row: number, name: keyof RecordFields): number {
    return this.#at + row * this.#stride + this.#field[name];
  }

  #placeAt(row: number, place: number): number {
    return this.#index(row, 'messages') + place * 3;
  }
}
