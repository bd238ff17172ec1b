/**
 * Processors and vCPUs in virtual time, around the real scheduler: processors run slices, vCPUs run and sleep as they are
 * told. After each step what must always hold is checked. A processor that sleeps sees what a thread would: its bell, and
 * the time until when it wanted to sleep when it fell asleep.
 */
import { assert, must } from '../base/assert.ts';
import { Scheduler } from './scheduler.ts';
import { NOBODY, SCHEDULE, type SchedulerBlock, type SchedulerShape, schedulerLayout } from './scheduler-block.ts';
import type { ShareOptions } from './shares.ts';

export interface SimulatedVcpu {
  readonly share: number;
  /** How long it wants to run before it sleeps; by default for ever. */
  readonly runMs?: () => number;
  /** How long it sleeps then; until somebody wakes it by default. */
  readonly sleepMs?: () => number;
}

/** How long a thread takes to wake up. */
const WAKE_MS = 0.05;
/** The longest slice, and to wake up. */
const LATE_MS = 0.6;

interface Thread {
  /** The vCPU that is on it. */
  vcpu: number;
  /** When something happens: its slice is over, it wakes by itself, or has woken up. */
  at: number;
  /** Its bell when it fell asleep; undefined: it does not sleep. */
  heard: number | undefined;
  startedAt: number;
}

interface Life {
  readonly what: SimulatedVcpu;
  leftMs: number;
  isAwake: boolean;
  usedMs: number;
  wokenAt: number | undefined;
  ended: boolean;
}

export class SimulatedProcessors {
  readonly scheduler: Scheduler;
  readonly block: SchedulerBlock;
  /** From being woken to running, of all vCPUs, in milliseconds. */
  readonly latencies: number[] = [];
  /** How often processors woke up. */
  wakes = 0;
  now = 0;
  readonly #threads: Thread[];
  readonly #lives = new Map<number, Life>();
  readonly #random: () => number;
  readonly #shape: SchedulerShape;

  constructor(shape: SchedulerShape, random: () => number = () => 0.5) {
    const layout = schedulerLayout(shape);
    const buffer = new SharedArrayBuffer(layout.sizeBytes);
    this.#shape = shape;
    this.scheduler = new Scheduler(buffer, 0, shape);
    this.scheduler.start();
    this.block = layout.view(buffer, 0);
    this.#random = random;
    this.#threads = Array.from({ length: shape.processors }, () => ({
      vcpu: NOBODY,
      at: 0,
      heard: undefined,
      startedAt: 0,
    }));
  }

  addShare(share: number, options: ShareOptions = {}): void {
    this.scheduler.addShare(share, options);
  }

  add(vcpu: number, what: SimulatedVcpu): void {
    const leftMs = what.runMs?.() ?? Number.POSITIVE_INFINITY;
    this.#lives.set(vcpu, { what, leftMs, isAwake: false, usedMs: 0, wokenAt: this.now, ended: false });
    this.scheduler.add(vcpu, what.share, vcpu % this.#shape.processors);
    this.check();
  }

  /** As another thread would: what there is to do first, then the word. */
  wake(vcpu: number): void {
    const life = must(this.#lives.get(vcpu));
    life.isAwake = true;
    if (this.block.state[vcpu] === SCHEDULE.blocked) life.wokenAt = this.now;
    this.scheduler.wake(vcpu);
    this.check();
  }

  /** The vCPU will run no more: at once, or when it leaves its processor. */
  end(vcpu: number): void {
    must(this.#lives.get(vcpu)).ended = true;
    if (this.scheduler.remove(vcpu)) this.#lives.delete(vcpu);
    this.check();
  }

  usedMs(vcpu: number): number {
    return this.#lives.get(vcpu)?.usedMs ?? 0;
  }

  shareMs(share: number): number {
    let sum = 0;
    for (const life of this.#lives.values()) if (life.what.share === share) sum += life.usedMs;
    return sum;
  }

  /** Time goes on; `each` is called after every step. */
  run(ms: number, each?: () => void): void {
    const until = this.now + ms;
    for (;;) {
      this.#hearBells();
      const thread = this.#threads.reduce((first, next) => (next.at < first.at ? next : first));
      if (thread.at > until) break;
      this.now = Math.max(this.now, thread.at);
      this.#step(this.#threads.indexOf(thread), thread);
      this.check();
      each?.();
    }
    this.now = until;
  }

  /** What must hold between any two steps. */
  check(): void {
    const { block, scheduler } = this;
    const seen = new Set<number>();
    const holds = (condition: boolean, vcpu: number, what: string): void => {
      if (!condition) throw new Error(`vCPU ${vcpu} ${what}, at ${this.now} ms`);
    };
    block.current.forEach((vcpu, processor) => {
      if (vcpu === NOBODY) return;
      holds(!seen.has(vcpu), vcpu, 'is on two processors');
      seen.add(vcpu);
      holds(block.idle[processor] === 0, vcpu, 'is on an idle processor');
      const thread = must(this.#threads[processor]);
      if (thread.vcpu === vcpu)
        holds(scheduler.shares.allows(must(block.shareOf[vcpu]), processor), vcpu, 'is where it may not run');
    });
    let waiting = 0;
    for (const [vcpu, life] of this.#lives) {
      const { state, processor } = scheduler.look(vcpu);
      holds(state !== SCHEDULE.none, vcpu, 'is lost');
      const isOn = state === SCHEDULE.running || state === SCHEDULE.handed;
      holds(isOn === (processor !== NOBODY), vcpu, 'is on a processor and says it is not, or the other way round');
      holds(state !== SCHEDULE.blocked || !life.isAwake, vcpu, 'sleeps although it was woken');
      const isLate = state === SCHEDULE.blocked && must(block.wakeAt[vcpu]) < this.now - LATE_MS;
      holds(!isLate, vcpu, 'sleeps beyond its time');
      const share = life.what.share;
      const isThrottled = block.throttled[share] === 1;
      if ((state !== SCHEDULE.ready && state !== SCHEDULE.woken) || isThrottled) continue;
      waiting++;
      if (block.idle.includes(1))
        for (let idle = 0; idle < this.#shape.processors; idle++)
          holds(block.idle[idle] === 0 || !scheduler.shares.allows(share, idle), vcpu, 'waits for an idle processor');
    }
    assert(block.waiting === waiting, 'those who wait are counted');
  }

  #hearBells(): void {
    this.#threads.forEach((thread, processor) => {
      if (thread.heard === undefined || thread.heard === this.block.bell[processor]) return;
      thread.heard = undefined;
      thread.at = Math.min(thread.at, this.now + WAKE_MS);
    });
  }

  #step(processor: number, thread: Thread): void {
    const { scheduler, now } = this;
    const vcpu = thread.vcpu;
    if (vcpu === NOBODY) {
      this.wakes++;
      this.#begin(processor, thread, scheduler.next(processor, now));
      return;
    }
    const life = must(this.#lives.get(vcpu));
    const ms = now - thread.startedAt;
    life.leftMs -= ms;
    life.usedMs += ms;
    thread.startedAt = now;
    if (life.ended) {
      this.#lives.delete(vcpu);
      this.#begin(processor, thread, scheduler.end(processor, now));
    } else if (life.leftMs <= 1e-9) {
      const until = now + (life.what.sleepMs?.() ?? Number.POSITIVE_INFINITY);
      life.wokenAt = life.isAwake ? now : Number.isFinite(until) ? until : undefined;
      const sleeper = { isAwake: life.isAwake };
      life.leftMs = life.what.runMs?.() ?? Number.POSITIVE_INFINITY;
      this.#begin(processor, thread, scheduler.block(processor, now, until, sleeper));
    } else if (scheduler.mustLook(processor, now)) {
      this.#begin(processor, thread, scheduler.next(processor, now));
    } else this.#slice(thread, life);
  }

  #begin(processor: number, thread: Thread, vcpu: number): void {
    thread.vcpu = vcpu;
    thread.startedAt = this.now;
    if (vcpu === NOBODY) {
      thread.heard = must(this.block.bell[processor]);
      thread.at = Math.max(this.now, must(this.scheduler.idleUntil(processor)));
      return;
    }
    thread.heard = undefined;
    const life = must(this.#lives.get(vcpu));
    // As a slice does: from here on only later words count.
    life.isAwake = false;
    if (life.wokenAt !== undefined) this.latencies.push(this.now - life.wokenAt);
    life.wokenAt = undefined;
    this.#slice(thread, life);
  }

  #slice(thread: Thread, life: Life): void {
    thread.at = this.now + Math.max(0, Math.min(life.leftMs, 0.1 + 0.4 * this.#random()));
  }
}
