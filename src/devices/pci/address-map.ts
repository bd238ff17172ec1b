/**
 * Who answers which address, as one thread knows it: a list made from the fabric's registers, and made anew when the epoch
 * in shared memory says that some of them changed. Accesses in between cost a comparison.
 */
import type { SharedLock } from '../../base/lock.ts';
import type { AccessBytes, Route } from '../device.ts';
import type { AddressRange, AddressSpace, Answer, Bus } from './bus.ts';
import { allOnes } from './config-space.ts';
import type { PciFunction } from './function.ts';
import type { AddressEpoch } from './function-wiring.ts';

/** The epoch, a word of shared memory. */
export class SharedEpoch implements AddressEpoch {
  readonly #words: Int32Array;
  readonly #index: number;

  constructor(buffer: ArrayBufferLike, at: number) {
    this.#words = new Int32Array(buffer);
    this.#index = at / 4;
  }

  get now(): number {
    return Atomics.load(this.#words, this.#index);
  }

  advance(): void {
    Atomics.add(this.#words, this.#index, 1);
  }
}

/** An address space of the root bus, or a part of it. */
export class AddressMap {
  readonly #root: Bus;
  readonly #space: AddressSpace;
  readonly #within: AddressRange;
  readonly #epoch: SharedEpoch;
  #routes: readonly BarRoute[] = [];
  #last: BarRoute | undefined;
  #seen: number | undefined;

  constructor(root: Bus, space: AddressSpace, within: AddressRange, epoch: SharedEpoch) {
    this.#root = root;
    this.#space = space;
    this.#within = within;
    this.#epoch = epoch;
  }

  /** Who answers at `offset` from the start of the part. */
  find(offset: number): Route | undefined {
    const { now } = this.#epoch;
    if (now !== this.#seen) this.#look(now);
    if (this.#last?.holds(offset) === true) return this.#last;
    const found = this.#routes.find((route) => route.holds(offset));
    if (found !== undefined) this.#last = found;
    return found;
  }

  /** Registers that change meanwhile advance the epoch afterwards, and the list is made again. */
  #look(now: number): void {
    const { start } = this.#within;
    const answers = this.#root.answers(this.#space, [this.#within]);
    this.#routes = answers.map((answer) => new BarRoute(answer, start, () => this.#epoch.now === now));
    this.#last = undefined;
    this.#seen = now;
  }
}

class BarRoute implements Route {
  readonly lock: SharedLock;
  readonly isCurrent: () => boolean;
  readonly #answer: Answer;
  /** In offsets of the window. */
  readonly #start: number;
  readonly #end: number;
  readonly #base: number;

  constructor(answer: Answer, windowStart: number, isCurrent: () => boolean) {
    this.lock = answer.func.lock;
    this.isCurrent = isCurrent;
    this.#answer = answer;
    this.#start = answer.start - windowStart;
    this.#end = answer.end - windowStart;
    this.#base = answer.base - windowStart;
  }

  holds(offset: number): boolean {
    return offset >= this.#start && offset < this.#end;
  }

  isPosted(offset: number): boolean {
    const { func, bar } = this.#answer;
    return func.isBarPosted(bar, offset - this.#base);
  }

  read(offset: number, bytes: AccessBytes): number {
    const { func, bar } = this.#answer;
    if (offset + bytes > this.#end) return allOnes(bytes);
    return func.readBar(bar, offset - this.#base, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    const { func, bar } = this.#answer;
    if (offset + bytes <= this.#end) func.writeBar(bar, offset - this.#base, bytes, value);
  }
}

/** Configuration accesses to one function. */
export class ConfigRoute implements Route {
  readonly lock: SharedLock;
  readonly #func: PciFunction;
  readonly #isCurrent: () => boolean;

  constructor(func: PciFunction, isCurrent: () => boolean) {
    this.lock = func.lock;
    this.#func = func;
    this.#isCurrent = isCurrent;
  }

  isCurrent(): boolean {
    return this.#isCurrent();
  }

  isPosted(): boolean {
    return false;
  }

  read(offset: number, bytes: AccessBytes): number {
    return this.#func.read(offset % this.#func.sizeBytes, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.#func.write(offset % this.#func.sizeBytes, bytes, value);
  }
}
