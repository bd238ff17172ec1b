/**
 * A bus of the fabric: the functions on it, and the bridges that lead further. Which functions there are, and where, is
 * fixed; what a guest decides are bus numbers, forwarding windows and where BARs lie. From these follow who answers a
 * configuration access and who an address.
 *
 *     root bus (0) --- host bridge 00:00.0
 *              +------ root port   00:01.0 === its bus --- function x.0 ... x.7
 *              +------ function    00:02.0
 */
import { assert } from '../../base/assert.ts';
import type { BarRange, PciFunction } from './function.ts';

export type AddressSpace = 'memory' | 'io';

/** Addresses from `start` on, up to the one before `end`. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

/** A function that leads to another bus. */
export interface Bridge {
  readonly behind: Bus;
  /** Bus numbers that are forwarded: the guest's. */
  readonly secondary: number;
  readonly subordinate: number;
  /** The addresses that are forwarded now. */
  windows(space: AddressSpace): AddressRange[];
}

/** A BAR that answers, in a range that its bridges let through. */
export interface Answer extends AddressRange, Pick<BarRange, 'bar' | 'base'> {
  readonly func: PciFunction;
}

const FUNCTIONS = 8;

export class Bus {
  readonly #functions = new Map<number, PciFunction>();
  readonly #bridges = new Map<PciFunction, Bridge>();
  readonly #isUp: () => boolean;

  /** `isUp`: functions on it can be reached now. */
  constructor(isUp: () => boolean = () => true) {
    this.#isUp = isUp;
  }

  /** Puts a function where its requester id says; `bridge`: what it leads to. */
  place(func: PciFunction, bridge?: Bridge): void {
    const place = func.requester & 0xff;
    assert(!this.#functions.has(place), `${func.name}: its place is taken`);
    this.#functions.set(place, func);
    if (bridge !== undefined) this.#bridges.set(func, bridge);
  }

  /** In order of device and function number. */
  get functions(): PciFunction[] {
    return [...this.#functions].sort(([a], [b]) => a - b).map(([, func]) => func);
  }

  /** Throws AssertionError where a device has functions but none with number 0, which software would never find. */
  check(): void {
    for (const [place, { name }] of this.#functions)
      assert(this.#functions.has(place - (place % FUNCTIONS)), `${name}: its device has no function 0`);
  }

  /** Who answers configuration accesses to that bus, device and function; `own` is this bus's number. */
  find(own: number, bus: number, place: number): PciFunction | undefined {
    if (!this.#isUp()) return undefined;
    if (bus === own) return this.#functions.get(place);
    for (const { behind, secondary, subordinate } of this.#bridges.values())
      if (secondary > own && bus >= secondary && bus <= subordinate) return behind.find(secondary, bus, place);
    return undefined;
  }

  /** Who answers which addresses, the first that fits first; `within`: what reaches this bus. */
  answers(space: AddressSpace, within: readonly AddressRange[]): Answer[] {
    if (!this.#isUp()) return [];
    return this.functions.flatMap((func) => {
      const own = func
        .barRanges(space)
        .flatMap(({ bar, base, end }) =>
          common(within, [{ start: base, end }]).map((range) => ({ ...range, bar, base, func })),
        );
      const bridge = this.#bridges.get(func);
      if (bridge === undefined) return own;
      return [...own, ...bridge.behind.answers(space, common(within, bridge.windows(space)))];
    });
  }
}

/** What both lists cover. */
function common(one: readonly AddressRange[], other: readonly AddressRange[]): AddressRange[] {
  return one.flatMap((a) =>
    other.flatMap((b) => {
      const start = Math.max(a.start, b.start);
      const end = Math.min(a.end, b.end);
      return start < end ? [{ start, end }] : [];
    }),
  );
}
