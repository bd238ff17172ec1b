/**
 * From what a function asked for to what its partition sees: levels of lines, guest messages; or nothing yet, where the
 * function is throttled. Under the interrupt service's lock.
 */
import { countUp, lowestBit, type Words } from '../base/words.ts';
import type { InterruptMeter } from './interrupt-meter.ts';
import type { Requests, ServicePorts } from './interrupt-outside.ts';
import { type InterruptTable, PINS } from './interrupt-table.ts';

/** How many interrupts reached the guest, and whether more must wait for the end of the window. */
interface Delivered {
  readonly delivered: number;
  readonly isHeld: boolean;
}

const ALL_PINS = (1 << PINS) - 1;
/** Of kinds of transactions, above the pins. */
const MESSAGES = 1 << PINS;

export class InterruptDelivery {
  readonly #words: Words;
  readonly #table: InterruptTable;
  readonly #meter: InterruptMeter;
  readonly #outside: ServicePorts;

  constructor(words: Words, table: InterruptTable, meter: InterruptMeter, outside: ServicePorts) {
    this.#words = words;
    this.#table = table;
    this.#meter = meter;
    this.#outside = outside;
  }

  /** What the function of that record and row asked for; `held`: some of it waits for the end of the function's window. */
  deliver(records: Requests, record: number, row: number): 'nothing' | 'delivered' | 'held' {
    const now = this.#outside.ticks();
    // Before anything is read: what is noted later is told of.
    records.hold(record, 0);
    const since = records.takeSince(record);
    const partition = this.#table.partitionOf(row);
    if (partition === undefined) {
      this.#drop(records, record, row);
      return 'nothing';
    }
    const pins = this.#showPins(records, record, row, partition, now);
    const messages = this.#sendMessages(records, record, row, partition, now);
    const delivered = pins.delivered + messages.delivered;
    if (delivered > 0) this.#meter.delivered(row, delivered, since, this.#outside.ticks());
    if (!pins.isHeld && !messages.isHeld) return delivered > 0 ? 'delivered' : 'nothing';
    if (since !== 0) records.putSince(record, since);
    // Until its window ends nothing can come of what else it asks for, but of the fall of a pin that is shown.
    records.hold(record, MESSAGES | (ALL_PINS & ~this.#table.get(row, 'shown')));
    return 'held';
  }

  /** The function is nobody's any more: its partition's lines fall, what waited is gone. */
  withdraw(records: Requests, record: number, row: number): void {
    const partition = this.#table.partitionOf(row);
    if (partition === undefined) return;
    records.hold(record, 0);
    const shown = this.#table.get(row, 'shown');
    const sources = Array.from({ length: PINS }, (_, pin) => this.#table.source(row, pin));
    this.#table.unassign(row);
    this.#drop(records, record, row);
    for (const [pin, source] of sources.entries()) {
      if ((shown & (1 << pin)) === 0 || source === 0) continue;
      this.#outside.setLine(partition, source, this.#table.isHigh(partition, source));
    }
  }

  /** Each rise is shown, if only for a moment; a fall at once, even where rises must wait. */
  #showPins(records: Requests, record: number, row: number, partition: number, now: number): Delivered {
    let [delivered, isHeld] = [0, false];
    const pins = records.pins(record);
    const changed = (pins >> PINS) | ((pins & ALL_PINS) ^ this.#table.get(row, 'shown'));
    for (let left = changed; left !== 0; left &= left - 1) {
      const pin = lowestBit(left);
      let isHigh = (pins & (1 << pin)) !== 0;
      if ((pins & (1 << (pin + PINS))) !== 0) {
        if (this.#meter.admit(row, now)) {
          isHigh = records.takeRise(record, pin);
          this.#show(row, partition, pin, false);
          this.#show(row, partition, pin, true);
          delivered++;
        } else {
          isHeld = true;
          if (isHigh) continue;
        }
      }
      this.#show(row, partition, pin, isHigh);
    }
    return { delivered, isHeld };
  }

  /** The partition sees that level of the function's pin; its line is the or of all that share it. */
  #show(row: number, partition: number, pin: number, isHigh: boolean): void {
    const shown = this.#table.get(row, 'shown');
    if (((shown & (1 << pin)) !== 0) === isHigh) return;
    this.#table.set(row, 'shown', shown ^ (1 << pin));
    const source = this.#table.source(row, pin);
    if (source !== 0) this.#outside.setLine(partition, source, isHigh || this.#table.isHigh(partition, source));
  }

  #sendMessages(records: Requests, record: number, row: number, partition: number, now: number): Delivered {
    let delivered = 0;
    for (let word = 0; word < records.pendingWords; word++) {
      for (let bits = records.waiting(record, word); bits !== 0; bits &= bits - 1) {
        if (!this.#meter.admit(row, now)) return { delivered, isHeld: true };
        const place = word * 32 + lowestBit(bits);
        const address = records.addressOf(record, place);
        const data = records.dataOf(record, place);
        records.take(record, place);
        if (this.#send(row, partition, address, data)) delivered++;
        else this.#count(row);
      }
    }
    return { delivered, isHeld: false };
  }

  #send(row: number, partition: number, address: number, data: number): boolean {
    const target = this.#table.target(row, address, data);
    if (target === undefined) return this.#outside.message(partition, address, data);
    if (target.kind === 'message') return this.#outside.message(partition, target.address, target.data);
    // A message is an edge: a source that takes levels sees one that rises and falls.
    this.#outside.setLine(partition, target.source, true);
    this.#outside.setLine(partition, target.source, this.#table.isHigh(partition, target.source));
    return true;
  }

  /** Nobody has the function: its levels stay as they are, its messages and rises are gone. */
  #drop(records: Requests, record: number, row: number): void {
    for (let rises = records.pins(record) >> PINS; rises !== 0; rises &= rises - 1) {
      records.takeRise(record, lowestBit(rises));
      this.#count(row);
    }
    for (let word = 0; word < records.pendingWords; word++) {
      for (let bits = records.waiting(record, word); bits !== 0; bits &= bits - 1) {
        records.take(record, word * 32 + lowestBit(bits));
        this.#count(row);
      }
    }
  }

  #count(row: number): void {
    countUp(this.#words, this.#table.index(row, 'dropped'));
  }
}
