/**
 * Shares: what a partition may claim of the processors' time. Its vCPUs' time, over its weight, is its runtime; the share
 * with the least runtime is next. Called by the scheduler, under its lock.
 *
 * Claims stay bounded, or one that gathered for an hour would starve others for as long:
 * - who slept is placed BOOST_MS before its competitors, at most: of these, the processor counts that has come furthest,
 *   so that it starves nobody there, and is not starved itself;
 * - a share that runs and has nobody waiting cannot use more (one vCPU on two processors, whatever its weight): its
 *   runtime does not fall behind that of who waits by more than a turn of theirs.
 */
import { assert } from '../base/assert.ts';
import { MOST_PROCESSORS, NOBODY, SCHEDULE, type SchedulerBlock, type SchedulerShape } from './scheduler-block.ts';

/** A share of this weight has runtime that passes as time does. The range is docker's and Linux's. */
export const DEFAULT_WEIGHT = 1024;
export const LEAST_WEIGHT = 2;
export const MOST_WEIGHT = 262_144;

/** In which caps are counted. */
export const PERIOD_MS = 100;
/** How much before its competitors one is placed who woke. */
const BOOST_MS = 3;
/** Two turns of the scheduler's: how far one who is ahead may be, over its weight. */
const TURNS_MS = 8;

export interface ShareOptions {
  /** LEAST_WEIGHT to MOST_WEIGHT; DEFAULT_WEIGHT is everybody's. */
  readonly weight?: number;
  /** Processors' worth of time at most: 0.5 is half of one, 2 is all of two. Undefined: no cap. */
  readonly cap?: number;
  /** Processors that may run its vCPUs, a bit for each; undefined: all. */
  readonly pins?: number;
}

export class Shares {
  readonly #block: SchedulerBlock;
  readonly #shape: SchedulerShape;

  constructor(block: SchedulerBlock, shape: SchedulerShape) {
    this.#block = block;
    this.#shape = shape;
    assert(shape.processors >= 1 && shape.processors <= MOST_PROCESSORS, 'a set of processors is a word');
  }

  add(share: number, options: ShareOptions): void {
    const block = this.#block;
    assert(block.isShare[share] === 0, 'the share is new');
    block.isShare[share] = 1;
    block.shareRuntime[share] = Number.NEGATIVE_INFINITY;
    block.shareUsed[share] = 0;
    block.throttles[share] = 0;
    block.switches[share] = 0;
    block.periodEnds[share] = Number.NEGATIVE_INFINITY;
    this.change(share, options);
  }

  change(share: number, { weight = DEFAULT_WEIGHT, cap, pins = 0xffff_ffff }: ShareOptions): void {
    const block = this.#block;
    const all = 2 ** this.#shape.processors - 1;
    assert(weight >= LEAST_WEIGHT && weight <= MOST_WEIGHT, 'a weight within bounds');
    assert((pins & all) !== 0, 'some processor may run it');
    const quota = cap === undefined ? Number.POSITIVE_INFINITY : cap * PERIOD_MS;
    block.weight[share] = weight;
    block.pins[share] = pins;
    block.quota[share] = quota;
    block.left[share] = quota;
    block.throttled[share] = 0;
  }

  remove(share: number): void {
    this.#block.isShare[share] = 0;
    this.#block.throttled[share] = 0;
  }

  allows(share: number, processor: number): boolean {
    return (((this.#block.pins[share] ?? 0) >>> processor) & 1) === 1;
  }

  /** Periods in which it used up what its cap allows. */
  throttles(share: number): number {
    return this.#block.throttles[share] ?? 0;
  }

  /** How often a processor turned to one of its vCPUs from another share's. */
  switches(share: number): number {
    return this.#block.switches[share] ?? 0;
  }

  /** A vCPU of the share begins to run on the processor. */
  countSwitch(processor: number, share: number): void {
    const block = this.#block;
    const last = block.lastShare[processor];
    if (last === share) return;
    block.lastShare[processor] = share;
    if (last !== NOBODY) block.switches[share] = (block.switches[share] ?? 0) + 1;
  }

  /** How far one vCPU's claim is behind the other's in the order: below 0, it comes first. */
  ahead(vcpu: number, other: number): number {
    const block = this.#block;
    const share = block.shareOf[vcpu] ?? 0;
    const otherShare = block.shareOf[other] ?? 0;
    if (share === otherShare) return (block.runtime[vcpu] ?? 0) - (block.runtime[other] ?? 0);
    return (block.shareRuntime[share] ?? 0) - (block.shareRuntime[otherShare] ?? 0);
  }

  charge(share: number, ms: number): void {
    const block = this.#block;
    block.shareRuntime[share] = (block.shareRuntime[share] ?? 0) + this.#overWeight(share, ms);
    block.shareUsed[share] = (block.shareUsed[share] ?? 0) + ms;
    block.left[share] = (block.left[share] ?? 0) - ms;
  }

  /** Periods that are over, caps that are reached. */
  settle(nowMs: number): void {
    for (let share = 0; share < this.#shape.shares; share++) this.#settleCap(share, nowMs);
  }

  /** A share that runs and has nobody waiting has no claim that others would have to make good. */
  forfeit(share: number): void {
    const block = this.#block;
    let floor = Number.POSITIVE_INFINITY;
    for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++) {
      const state = block.state[vcpu];
      const other = block.shareOf[vcpu] ?? 0;
      if (state !== SCHEDULE.ready || block.throttled[other] === 1) continue;
      if (other === share) return;
      if (((block.pins[share] ?? 0) & (block.pins[other] ?? 0)) === 0) continue;
      floor = Math.min(floor, (block.shareRuntime[other] ?? 0) - this.#overWeight(other, TURNS_MS));
    }
    if (floor !== Number.POSITIVE_INFINITY) block.shareRuntime[share] = Math.max(block.shareRuntime[share] ?? 0, floor);
  }

  /** The claim of a vCPU that slept, and of its share if all of that did. */
  place(vcpu: number): void {
    const block = this.#block;
    const share = block.shareOf[vcpu] ?? 0;
    let level = Number.POSITIVE_INFINITY;
    for (let other = 0; other < this.#shape.vcpus; other++)
      if (other !== vcpu && block.shareOf[other] === share && this.#isActive(other))
        level = Math.min(level, Math.max(block.runtime[other] ?? 0, block.base[other] ?? 0));
    if (level === Number.POSITIVE_INFINITY) {
      this.#placeShare(share);
      level = block.runtime[vcpu] ?? 0;
    }
    block.base[vcpu] = level;
    block.runtime[vcpu] = Math.max(block.runtime[vcpu] ?? 0, level - BOOST_MS);
  }

  #settleCap(share: number, nowMs: number): void {
    const block = this.#block;
    const quota = block.quota[share] ?? 0;
    if (block.isShare[share] === 0 || quota === Number.POSITIVE_INFINITY) return;
    const ends = block.periodEnds[share] ?? 0;
    if (nowMs >= ends) {
      const periods = ends === Number.NEGATIVE_INFINITY ? 1 : Math.floor((nowMs - ends) / PERIOD_MS) + 1;
      block.periodEnds[share] = ends === Number.NEGATIVE_INFINITY ? nowMs + PERIOD_MS : ends + periods * PERIOD_MS;
      block.left[share] = Math.min(quota, (block.left[share] ?? 0) + periods * quota);
      if (block.throttled[share] === 1 && (block.left[share] ?? 0) > 0) {
        block.throttled[share] = 0;
        this.#placeShare(share);
      }
    }
    if ((block.left[share] ?? 0) > 0 || block.throttled[share] === 1) return;
    block.throttled[share] = 1;
    block.throttles[share] = (block.throttles[share] ?? 0) + 1;
  }

  #placeShare(share: number): void {
    const block = this.#block;
    let level = Number.NEGATIVE_INFINITY;
    for (let processor = 0; processor < this.#shape.processors; processor++)
      if (this.allows(share, processor)) level = Math.max(level, this.#level(processor, share));
    if (level === Number.NEGATIVE_INFINITY) level = Math.max(block.shareRuntime[share] ?? 0, 0);
    block.shareBase[share] = level;
    block.shareRuntime[share] = Math.max(block.shareRuntime[share] ?? 0, level - BOOST_MS);
  }

  /** The least runtime of the other shares that compete for the processor; negative infinity: none does. */
  #level(processor: number, share: number): number {
    const block = this.#block;
    let least = Number.POSITIVE_INFINITY;
    for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++) {
      const other = block.shareOf[vcpu] ?? 0;
      if (other === share || block.throttled[other] === 1 || !this.#isActive(vcpu)) continue;
      if (this.allows(other, processor))
        least = Math.min(least, Math.max(block.shareRuntime[other] ?? 0, block.shareBase[other] ?? 0));
    }
    return least === Number.POSITIVE_INFINITY ? Number.NEGATIVE_INFINITY : least;
  }

  #isActive(vcpu: number): boolean {
    const state = this.#block.state[vcpu];
    return state === SCHEDULE.ready || state === SCHEDULE.running;
  }

  #overWeight(share: number, ms: number): number {
    return (ms * DEFAULT_WEIGHT) / (this.#block.weight[share] ?? DEFAULT_WEIGHT);
  }
}
