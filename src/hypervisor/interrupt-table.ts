/**
 * Whose function a requester is, and what its interrupts are there: (requester, identifier) to a partition's source, or to a
 * guest's message. Functions are assigned and taken back while others interrupt. Everything here is read and written under
 * the interrupt service's lock.
 *
 *     (requester, pin)               -> source of the partition's interrupt controller
 *     (requester, address and data)  -> the same message in the partition, or what a route says
 *
 * A route serves where the machine programmed the function's message, for several functions alike, say, and the guest's
 * address and data are known to the VMM alone.
 */
import { assert } from '../base/assert.ts';
import { array, type Layout, struct, structs } from '../base/struct.ts';
import { lowestBit, type Words, wordOffsets } from '../base/words.ts';

/** Pins of a function. */
export const PINS = 4;
/** Routes of all functions together. */
const ROUTES = 256;
/** Of latencies: bucket n counts those below 2^n x 100 ns, and not below half of it. */
export const LATENCY_BUCKETS = 24;

export interface InterruptMessage {
  readonly address: number;
  readonly data: number;
}

/** Where a message of a function goes. */
export type RouteTarget =
  | { readonly kind: 'message'; readonly address: number; readonly data: number }
  | { readonly kind: 'source'; readonly source: number };

/** A function becomes a partition's. */
export interface Assignment {
  readonly partition: number;
  /** The source of each pin that it uses, from INTA on; 0: it does not use that pin. */
  readonly sources: readonly number[];
}

export const functionRow = struct('assignedFunction', {
  /** The partition's number + 1; 0: it is nobody's. */
  partition: 'u32',
  sources: array('u32', PINS),
  /** Pins whose level the partition sees. */
  shown: 'u32',
  /** How many routes it has. */
  routes: 'u32',
  /** The throttle's window: when it began, and how many interrupts it had. */
  windowAt: 'u32',
  windowCount: 'u32',
  /** Its rate: since when, how many, and what it was a second before. */
  rateAt: 'u32',
  rateCount: 'u32',
  rate: 'u32',
  delivered: 'u64',
  /** Of nobody's functions, and messages that reached nothing. */
  dropped: 'u64',
  polls: 'u64',
  /** How often it had to wait for the end of a window. */
  deferrals: 'u64',
  latency: array('u32', LATENCY_BUCKETS),
});

const routeRow = struct('interruptRoute', {
  /** The function's row + 1; 0: the place is free. */
  owner: 'u32',
  addressLow: 'u32',
  addressHigh: 'u32',
  data: 'u32',
  /** 0: to a message, else to this source. */
  source: 'u32',
  toLow: 'u32',
  toHigh: 'u32',
  toData: 'u32',
});

function fields(rows: number) {
  return {
    /** A bit for each row. */
    assigned: array('u32', rows / 32),
    rows: structs(functionRow, rows),
    routes: structs(routeRow, ROUTES),
  } as const;
}

export function tableLayout(rows: number): Layout<ReturnType<typeof fields>> {
  assert(rows % 32 === 0, 'rows come in words');
  return struct('interruptTable', fields(rows));
}

/** A row's counters: from `delivered` to its end. */
export const ROW_COUNTER_WORDS = (functionRow.sizeBytes - functionRow.offset.delivered) / 4;

const FIELD = wordOffsets(functionRow);
const ROW_WORDS = functionRow.sizeBytes / 4;
const ROUTE = wordOffsets(routeRow);
const ROUTE_WORDS = routeRow.sizeBytes / 4;

export class InterruptTable {
  /** A multiple of 32. */
  readonly rows: number;
  readonly #words: Words;
  readonly #assigned: number;
  readonly #rows: number;
  readonly #routes: number;

  /** `at`: bytes, a zeroed block of `tableLayout`. */
  constructor(words: Words, at: number, rows: number) {
    const offset = wordOffsets(tableLayout(rows));
    this.rows = rows;
    this.#words = words;
    this.#assigned = at / 4 + offset.assigned;
    this.#rows = at / 4 + offset.rows;
    this.#routes = at / 4 + offset.routes;
  }

  /** Index of a field of a row. */
  index(row: number, name: keyof typeof FIELD): number {
    return this.#rows + row * ROW_WORDS + FIELD[name];
  }

  get(row: number, name: keyof typeof FIELD): number {
    return this.#words.load(this.index(row, name)) >>> 0;
  }

  set(row: number, name: keyof typeof FIELD, value: number): void {
    this.#words.store(this.index(row, name), value);
  }

  /** Whose it is; undefined: nobody's. */
  partitionOf(row: number): number | undefined {
    const partition = this.get(row, 'partition');
    return partition === 0 ? undefined : partition - 1;
  }

  /** `pin`: from 0 on. */
  source(row: number, pin: number): number {
    return this.#words.load(this.index(row, 'sources') + pin);
  }

  /** Bits of the rows that are assigned, 32 x `word` and on. */
  assigned(word: number): number {
    return this.#words.load(this.#assigned + word);
  }

  /** The row is nobody's. */
  assign(row: number, { partition, sources }: Assignment): void {
    assert(this.partitionOf(row) === undefined, 'the function is assigned to nobody');
    this.set(row, 'partition', partition + 1);
    for (let pin = 0; pin < PINS; pin++) this.#words.store(this.index(row, 'sources') + pin, sources[pin] ?? 0);
    this.set(row, 'shown', 0);
    this.#words.setBits(this.#assigned + (row >> 5), 1 << (row & 31));
  }

  /** Its routes are gone, too. Its levels are no longer shown: the caller says so. */
  unassign(row: number): void {
    this.set(row, 'partition', 0);
    this.set(row, 'shown', 0);
    this.#words.clearBits(this.#assigned + (row >> 5), 1 << (row & 31));
    for (let i = 0; i < ROUTES && this.get(row, 'routes') > 0; i++) if (this.#owner(i) === row) this.#free(i);
  }

  /** Its counters are gone, too: another function may have the row. It is nobody's. */
  clear(row: number): void {
    const at = this.index(row, 'partition');
    for (let word = 0; word < ROW_WORDS; word++) this.#words.store(at + word, 0);
  }

  /** The or of the levels that the partition's functions have on that line. */
  isHigh(partition: number, source: number): boolean {
    for (let word = 0; word < this.rows / 32; word++) {
      for (let bits = this.assigned(word); bits !== 0; bits &= bits - 1) {
        const row = word * 32 + lowestBit(bits);
        if (this.partitionOf(row) !== partition) continue;
        const shown = this.get(row, 'shown');
        for (let pin = 0; pin < PINS; pin++)
          if ((shown & (1 << pin)) !== 0 && this.source(row, pin) === source) return true;
      }
    }
    return false;
  }

  /** False: there are too many routes. */
  route(row: number, from: InterruptMessage, to: RouteTarget): boolean {
    let place = this.#find(row, from);
    if (place === undefined) {
      place = Array.from({ length: ROUTES }, (_, i) => i).find((i) => this.#owner(i) === -1);
      if (place === undefined) return false;
      this.set(row, 'routes', this.get(row, 'routes') + 1);
    }
    this.#setRoute(place, {
      ...{ owner: row + 1, data: from.data, source: to.kind === 'source' ? to.source : 0 },
      ...{ addressLow: lowOf(from.address), addressHigh: highOf(from.address) },
      ...(to.kind === 'message'
        ? { toLow: lowOf(to.address), toHigh: highOf(to.address), toData: to.data }
        : { toLow: 0, toHigh: 0, toData: 0 }),
    });
    return true;
  }

  unroute(row: number, from: InterruptMessage): void {
    const place = this.#find(row, from);
    if (place !== undefined) this.#free(place);
  }

  /** What becomes of a message that has a route; undefined: it goes where it says itself. */
  target(row: number, address: number, data: number): RouteTarget | undefined {
    if (this.get(row, 'routes') === 0) return undefined;
    const place = this.#find(row, { address, data });
    return place === undefined ? undefined : this.#targetOf(place);
  }

  /** All its routes. */
  routesOf(row: number): readonly { readonly from: InterruptMessage; readonly to: RouteTarget }[] {
    if (this.get(row, 'routes') === 0) return [];
    const places = Array.from({ length: ROUTES }, (_, place) => place).filter((place) => this.#owner(place) === row);
    return places.map((place) => {
      const field = (name: keyof typeof ROUTE): number => this.#routeField(place, name);
      const from = { address: field('addressLow') + field('addressHigh') * 2 ** 32, data: field('data') };
      return { from, to: this.#targetOf(place) };
    });
  }

  #find(row: number, { address, data }: InterruptMessage): number | undefined {
    let left = this.get(row, 'routes');
    for (let place = 0; left > 0 && place < ROUTES; place++) {
      if (this.#owner(place) !== row) continue;
      left--;
      const isIt =
        this.#routeField(place, 'data') === data &&
        this.#routeField(place, 'addressLow') === lowOf(address) &&
        this.#routeField(place, 'addressHigh') === highOf(address);
      if (isIt) return place;
    }
    return undefined;
  }

  #targetOf(place: number): RouteTarget {
    const source = this.#routeField(place, 'source');
    if (source !== 0) return { kind: 'source', source };
    const address = this.#routeField(place, 'toLow') + this.#routeField(place, 'toHigh') * 2 ** 32;
    return { kind: 'message', address, data: this.#routeField(place, 'toData') };
  }

  /** The row whose route it is; -1: it is free. */
  #owner(place: number): number {
    return this.#words.load(this.#routes + place * ROUTE_WORDS + ROUTE.owner) - 1;
  }

  #routeField(place: number, name: keyof typeof ROUTE): number {
    return this.#words.load(this.#routes + place * ROUTE_WORDS + ROUTE[name]) >>> 0;
  }

  #setRoute(place: number, route: Record<keyof typeof ROUTE, number>): void {
    const at = this.#routes + place * ROUTE_WORDS;
    for (const [name, offset] of Object.entries(ROUTE))
      this.#words.store(at + offset, route[name as keyof typeof ROUTE]);
  }

  #free(place: number): void {
    const row = this.#owner(place);
    this.#words.store(this.#routes + place * ROUTE_WORDS + ROUTE.owner, 0);
    this.set(row, 'routes', this.get(row, 'routes') - 1);
  }
}

function lowOf(address: number): number {
  return (address % 2 ** 32) >>> 0;
}

function highOf(address: number): number {
  return Math.floor(address / 2 ** 32);
}
