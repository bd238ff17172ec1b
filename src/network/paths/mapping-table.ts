/**
 * The table of mechanism 9: for each virtual interface its uplinks in order, which of them is in force, since when and
 * why. It is read for every frame and may be edited at any time; who decides what is in force is `choose`.
 */
import { OperatorError } from '../../base/errors.ts';
import { type MappingCounters, newMappingCounters } from './counters.ts';
import type { Failback } from './ports.ts';

export interface MappingRow<U> {
  readonly interface: string;
  /** The preferred one first. */
  uplinks: readonly U[];
  inForce: U | undefined;
  /** Milliseconds since 1970. */
  sinceWallMs: number;
  why: string;
  failback: Failback;
  readonly counters: MappingCounters;
}

/** An uplink may be in no more rows and a row have no more uplinks than this. */
const MOST_ROWS = 1024;
export const MOST_UPLINKS = 16;

export class MappingTable<U> {
  readonly #rows = new Map<string, MappingRow<U>>();

  /** A row with nothing in force. Errors: `interface-exists`, `too-many-interfaces`. */
  add(name: string, failback: Failback, wallMs: number): MappingRow<U> {
    if (this.#rows.has(name))
      throw new OperatorError('interface-exists', `There is an interface ${name} already`, 'Give it another name');
    if (this.#rows.size >= MOST_ROWS)
      throw new OperatorError('too-many-interfaces', `There are ${MOST_ROWS} interfaces already`, 'End some guests');
    const row: MappingRow<U> = {
      interface: name,
      uplinks: [],
      inForce: undefined,
      sinceWallMs: wallMs,
      why: 'nothing was mapped yet',
      failback,
      counters: newMappingCounters(),
    };
    this.#rows.set(name, row);
    return row;
  }

  /** Errors: `no-such-interface`. */
  row(name: string): MappingRow<U> {
    const row = this.#rows.get(name);
    if (row !== undefined) return row;
    const names = [...this.#rows.keys()].join(', ');
    const fix = names === '' ? 'The guests have no network' : `Name one of ${names}`;
    throw new OperatorError('no-such-interface', `There is no interface ${name}`, fix);
  }

  rows(): IterableIterator<MappingRow<U>> {
    return this.#rows.values();
  }

  remove(name: string): void {
    this.#rows.delete(name);
  }
}
