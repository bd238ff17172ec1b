/**
 * The interrupt relay of a port (mechanism 4, docs/mechanisms/interrupt-relay.md). It stands between functions and their
 * bridge, notes each interrupt transaction in its indicator, by requester, and forwards it unmodified: drivers and
 * functions know nothing of it. From the indicator the VMM reads who asked, and for what; it polls no function.
 *
 * A function that interrupts too often is held back here: what it asks for is noted, and nobody is told of it until the
 * VMM, which looks by itself when the function's window has ended. So its storm costs others nothing.
 *
 * Where it is off, a plain wire stands in its place. What a function asked for is then known to the function alone, in
 * registers of its own, and the VMM, told of the line or the message, must ask each.
 */
import { countUp, type Words } from '../../base/words.ts';
import type { InterruptRecords } from './interrupt-records.ts';
import type { InterruptTransaction, TransactionPort } from './transaction.ts';

/** What stands on the way from a port's functions. */
interface WayParts {
  readonly words: Words;
  readonly records: InterruptRecords;
  /** Index of the count of transactions from requesters that the port does not know. */
  readonly unknown: number;
  ticks(): number;
}

export class Relay implements TransactionPort {
  readonly #parts: WayParts & { readonly indicator: number };
  readonly #out: TransactionPort;

  /** `indicator`: index of its first word. `out`: the port's bridge. */
  constructor(parts: WayParts & { readonly indicator: number }, out: TransactionPort) {
    this.#parts = parts;
    this.#out = out;
  }

  send(transaction: InterruptTransaction): void {
    if (this.note(transaction)) this.forward(transaction);
  }

  /** First the identifier, in the requester's record, then the requester. False: it is held back. */
  note(transaction: InterruptTransaction): boolean {
    const { words, records, indicator, unknown, ticks } = this.#parts;
    const row = records.rowOf(transaction.requester);
    if (row === undefined) {
      countUp(words, unknown);
      return true;
    }
    records.note(row, transaction, ticks());
    if (records.isHeld(row, transaction)) return false;
    words.setBits(indicator + (row >> 5), 1 << (row & 31));
    return true;
  }

  forward(transaction: InterruptTransaction): void {
    this.#out.send(transaction);
  }

  /** Requesters whose records changed, 32 x `word` and on; from now on, they did not. */
  take(word: number): number {
    return this.#parts.words.exchange(this.#parts.indicator + word, 0);
  }
}

/** The functions' ends of a wire, with their registers, and the wire. */
export class PlainWire implements TransactionPort {
  readonly #parts: WayParts;
  readonly #out: TransactionPort;

  constructor(parts: WayParts, out: TransactionPort) {
    this.#parts = parts;
    this.#out = out;
  }

  send(transaction: InterruptTransaction): void {
    const { words, records, unknown, ticks } = this.#parts;
    const row = records.rowOf(transaction.requester);
    if (row === undefined) countUp(words, unknown);
    else records.note(row, transaction, ticks());
    this.#out.send(transaction);
  }
}
