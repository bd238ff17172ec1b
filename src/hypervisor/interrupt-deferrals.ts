/**
 * Functions that interrupted more often than their window lets pass: they wait for its end, when somebody is asked to look.
 * One such call is asked for at a time, the earliest. Under the interrupt service's lock.
 */
import { countUp, lowestBit, type Words } from '../base/words.ts';
import type { InterruptMeter } from './interrupt-meter.ts';
import type { ServicePorts } from './interrupt-outside.ts';
import type { InterruptTable } from './interrupt-table.ts';

/** Indexes of its words. */
export interface DeferralWords {
  /** 1: somebody will be told, at `armedFor`. */
  readonly armed: number;
  readonly armedFor: number;
  /** A bit for each row. */
  readonly deferred: number;
}

export class InterruptDeferrals {
  readonly #words: Words;
  readonly #at: DeferralWords;
  readonly #table: InterruptTable;
  readonly #meter: InterruptMeter;
  readonly #outside: ServicePorts;

  constructor(words: Words, at: DeferralWords, table: InterruptTable, meter: InterruptMeter, outside: ServicePorts) {
    this.#words = words;
    this.#at = at;
    this.#table = table;
    this.#meter = meter;
    this.#outside = outside;
  }

  add(row: number): void {
    const bit = 1 << (row & 31);
    if ((this.#words.or(this.#at.deferred + (row >> 5), bit) & bit) === 0)
      countUp(this.#words, this.#table.index(row, 'deferrals'));
    const now = this.#outside.ticks();
    this.#arm(this.#meter.left(row, now), now);
  }

  /** When somebody is to look, in 100 ns from now; undefined: nobody waits. */
  dueIn(): number | undefined {
    if (this.#words.load(this.#at.armed) === 0) return undefined;
    return Math.max(0, (this.#words.load(this.#at.armedFor) - this.#outside.ticks()) | 0);
  }

  /** Those whose window has ended are served, and may come again; for the others somebody looks once more. */
  look(serve: (row: number) => void): void {
    const now = this.#outside.ticks();
    this.#words.store(this.#at.armed, 0);
    this.each((row) => {
      const left = this.#meter.left(row, now);
      if (left > 0) this.#arm(left, now);
      else {
        this.drop(row);
        serve(row);
      }
    });
  }

  each(body: (row: number) => void): void {
    for (let start = 0; start < this.#table.rows; start += 32)
      for (let bits = this.#words.load(this.#at.deferred + (start >> 5)); bits !== 0; bits &= bits - 1)
        body(start + lowestBit(bits));
  }

  /** It waits no more. */
  drop(row: number): void {
    this.#words.clearBits(this.#at.deferred + (row >> 5), 1 << (row & 31));
  }

  #arm(left: number, now: number): void {
    const isSooner = ((now + left - this.#words.load(this.#at.armedFor)) | 0) < 0;
    if (this.#words.load(this.#at.armed) !== 0 && !isSooner) return;
    this.#words.store(this.#at.armed, 1);
    this.#words.store(this.#at.armedFor, now + left);
    this.#outside.lookAfter(left);
  }
}
