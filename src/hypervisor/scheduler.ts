/**
 * Decides which vCPU a processor runs next. All processors share one state and one lock; each asks when its vCPU has
 * nothing to do, and between slices where `mustLook` says so. What time it is they say themselves.
 *
 * Fair by weight: a share (a partition's claim) gathers the time that its vCPUs use, divided by its weight; the share that
 * has least is next, and within it the vCPU that used least. Who wakes is placed a little before those that compete with
 * it: it starts soon, but what it did not use while it slept is gone (shares.ts). Caps: a share that used up its time in a
 * period waits for the next one. Pins: the processors that may run a share's vCPUs.
 *
 *     wake ----> an idle processor that may run it? --yes--> handed over, and that one is woken
 *                                     |no
 *     ready, looked at by processors between slices; none stays idle while somebody waits whom it may run
 *
 * An idle processor sleeps in Atomics.wait. Of the timers of blocked vCPUs each is kept by one processor that may run the
 * vCPU, not by all: nothing wakes that has nothing to do. While all that may are busy, they look between slices. A timer that
 * is due in a moment is waited for awake.
 */
import { assert } from '../base/assert.ts';
import { SharedLock } from '../base/lock.ts';
import { NOBODY, SCHEDULE, type SchedulerBlock, type SchedulerShape, schedulerLayout } from './scheduler-block.ts';
import { type ShareOptions, Shares } from './shares.ts';

/** How long a vCPU runs while others with the same claim wait, in milliseconds. */
export const QUANTUM_MS = 4;
/** Who woke runs at once if its claim is older by so much than that of who runs, which has at least had its MIN_RUN. */
const PREEMPT_MS = 1;
const MIN_RUN_MS = 0.5;
/** How old the account may be that is shown of a vCPU that nobody else waits for. */
const ACCOUNT_MS = 50;
/**
 * Who has to wait no longer than this spins: to fall asleep and to be woken takes the host's processor as long. And so much
 * before its time a sleeper asks to be woken: Linux comes 50 us late (timer slack), and threads take their time to begin. A
 * guest's nap of 100 us takes 180 us in place of 330, with a tenth less of the host's processor; one of 1 ms 1.17 ms in place
 * of 1.26, with as much (measured).
 */
const SPIN_MOST_MS = 0.1;
const EARLY_MS = 0.08;
/** The longest sleep: a bound on what a lost wake-up could cost. */
const SLEEP_MOST_MS = 1000;

/** Whether a vCPU was woken since it last looked (Vcpu.isAwake). */
export interface Sleeper {
  readonly isAwake: boolean;
}

export class Scheduler {
  readonly shares: Shares;
  readonly #shape: SchedulerShape;
  readonly #block: SchedulerBlock;
  readonly #waiting: Int32Array;
  readonly #unkept: Int32Array;
  readonly #arrivals: Int32Array;
  readonly #lock: SharedLock;
  /** Up to which arrival this thread's processor considered whether somebody else comes first. */
  #seenArrivals = 0;
  /** What this thread's processor's bell said when it went to sleep. */
  #heard = 0;

  static sizeBytes(shape: SchedulerShape): number {
    return schedulerLayout(shape).sizeBytes;
  }

  /** `at`: a zeroed block of `sizeBytes`, which all threads wrap. */
  constructor(buffer: ArrayBufferLike, at: number, shape: SchedulerShape) {
    const layout = schedulerLayout(shape);
    this.#shape = shape;
    this.#block = layout.view(buffer, at);
    const words = new Int32Array(buffer);
    this.#waiting = new Int32Array(buffer, at + layout.offset.waiting, 1);
    this.#unkept = new Int32Array(buffer, at + layout.offset.unkept, 1);
    this.#arrivals = new Int32Array(buffer, at + layout.offset.arrivals, 1);
    this.#lock = new SharedLock(words, (at + layout.offset.lock) / 4);
    this.shares = new Shares(this.#block, shape);
  }

  /** By whoever made the block, before anybody else wraps it. */
  start(): void {
    this.#block.current.fill(NOBODY);
    this.#block.lastShare.fill(NOBODY);
    this.#block.nextEvent = Number.POSITIVE_INFINITY;
  }

  get processors(): number {
    return this.#shape.processors;
  }

  /** The share is new, without vCPUs. */
  addShare(share: number, options: ShareOptions): void {
    this.#lock.with(() => this.shares.add(share, options));
  }

  /** Takes effect from each processor's next slice on. */
  changeShare(share: number, options: ShareOptions): void {
    this.#lock.with(() => {
      this.shares.change(share, options);
      this.#dispatch(true);
    });
  }

  /** None of its vCPUs is there any more. */
  removeShare(share: number): void {
    this.#lock.with(() => this.shares.remove(share));
  }

  /** From now on the vCPU wants to run. `home`: the processor that is asked first. */
  add(vcpu: number, share: number, home: number): void {
    this.#lock.with(() => {
      const block = this.#block;
      assert(block.state[vcpu] === SCHEDULE.none && block.isShare[share] === 1, 'there is room for the vCPU');
      block.shareOf[vcpu] = share;
      block.home[vcpu] = home;
      block.runtime[vcpu] = 0;
      block.used[vcpu] = 0;
      this.#wake(vcpu);
      this.#dispatch(true);
    });
  }

  /** The vCPU will run no more; false: it is on a processor, which has to leave it first. */
  remove(vcpu: number): boolean {
    return this.#lock.with(() => {
      const block = this.#block;
      if (block.state[vcpu] === SCHEDULE.running) return false;
      // Who was handed it is on the way, and finds nothing.
      if (block.state[vcpu] === SCHEDULE.handed) block.current[block.current.indexOf(vcpu)] = NOBODY;
      Atomics.store(block.state, vcpu, SCHEDULE.none);
      this.#dispatch(true);
      return true;
    });
  }

  /** Whether a vCPU is scheduled at all. */
  has(vcpu: number): boolean {
    return Atomics.load(this.#block.state, vcpu) !== SCHEDULE.none;
  }

  /** Any thread, at any time. A vCPU that is not blocked stays what it is. */
  wake(vcpu: number): void {
    if (Atomics.load(this.#block.state, vcpu) !== SCHEDULE.blocked) return;
    this.#lock.with(() => {
      if (this.#block.state[vcpu] !== SCHEDULE.blocked) return;
      this.#wake(vcpu);
      this.#dispatch(false);
    });
  }

  /** Between two slices of its vCPU: whether the processor has to ask. */
  mustLook(processor: number, nowMs: number): boolean {
    const block = this.#block;
    if (Atomics.load(this.#unkept, 0) !== 0 || nowMs >= block.nextEvent) return true;
    if (Atomics.load(this.#waiting, 0) !== 0) {
      if (Atomics.load(this.#arrivals, 0) !== this.#seenArrivals) return true;
      if (nowMs - (block.pickedAt[processor] ?? 0) >= QUANTUM_MS) return true;
    }
    if (nowMs - (block.chargedAt[processor] ?? 0) >= ACCOUNT_MS) return true;
    const share = block.shareOf[block.current[processor] ?? 0] ?? 0;
    return (block.quota[share] ?? 0) !== Number.POSITIVE_INFINITY || !this.shares.allows(share, processor);
  }

  /** The vCPU that the processor runs next, perhaps the same; NOBODY: it is to sleep. */
  next(processor: number, nowMs: number): number {
    return this.#lock.with(() => this.#next(processor, nowMs));
  }

  /** As next, where the processor's vCPU has nothing to do before `untilMs`, unless it was woken meanwhile. */
  block(processor: number, nowMs: number, untilMs: number, sleeper: Sleeper): number {
    return this.#lock.with(() => {
      const block = this.#block;
      const vcpu = this.#leave(processor, nowMs);
      block.wakeAt[vcpu] = untilMs;
      Atomics.store(block.state, vcpu, SCHEDULE.blocked);
      // Who wakes it says so first and looks at the state then; here it is the other way round. One sees the other.
      if (sleeper.isAwake) this.#wake(vcpu);
      return this.#next(processor, nowMs);
    });
  }

  /** As next, where the processor's vCPU will run no more. */
  end(processor: number, nowMs: number): number {
    return this.#lock.with(() => {
      Atomics.store(this.#block.state, this.#leave(processor, nowMs), SCHEDULE.none);
      return this.#next(processor, nowMs);
    });
  }

  /**
   * Sleeps until there may be something to do; after `next` said NOBODY. Only on threads that may block. May return a
   * little early: `next` says NOBODY again then. `now`: milliseconds, of a clock that goes on by itself.
   */
  sleep(processor: number, now: () => number): void {
    const { bell, idleUntil } = this.#block;
    const untilMs = idleUntil[processor] ?? 0;
    const ms = untilMs - now();
    if (ms > SPIN_MOST_MS) Atomics.wait(bell, processor, this.#heard, Math.min(ms - EARLY_MS, SLEEP_MOST_MS));
    else while (now() < untilMs && Atomics.load(bell, processor) === this.#heard);
  }

  /** Wakes every processor, so that each looks at the world. */
  ringAll(): void {
    for (let processor = 0; processor < this.#shape.processors; processor++) this.#ring(processor);
  }

  /** To be called when all processors' threads were ended, in the middle of whatever they did. */
  freeLock(): void {
    this.#lock.release();
  }

  /** Milliseconds that the vCPU was on a processor, but for the last moment. */
  used(vcpu: number): number {
    return this.#block.used[vcpu] ?? 0;
  }

  /** Until when an idle processor sleeps; undefined: it does not. For tests in virtual time. */
  idleUntil(processor: number): number | undefined {
    return this.#block.idle[processor] === 1 ? this.#block.idleUntil[processor] : undefined;
  }

  /** Where the vCPU is, and on which processor if it is on one. For tests. */
  look(vcpu: number): { readonly state: number; readonly processor: number } {
    return { state: this.#block.state[vcpu] ?? 0, processor: this.#block.current.indexOf(vcpu) };
  }

  #next(processor: number, nowMs: number): number {
    const block = this.#block;
    block.idle[processor] = 0;
    this.#settle(nowMs);
    const current = block.current[processor] ?? NOBODY;
    if (current !== NOBODY) {
      if (this.#goesOn(processor, current, nowMs)) {
        this.#dispatch(true);
        return current;
      }
      // One that was handed over and may not run after all has not been placed yet.
      const isNew = block.state[current] === SCHEDULE.handed;
      Atomics.store(block.state, current, isNew ? SCHEDULE.woken : SCHEDULE.ready);
      block.current[processor] = NOBODY;
    }
    const best = this.#best(processor);
    if (best !== NOBODY) this.#start(processor, best, nowMs);
    else {
      block.idle[processor] = 1;
      block.idleUntil[processor] = Number.POSITIVE_INFINITY;
      this.#heard = Atomics.load(block.bell, processor);
    }
    // Who begins to run may be done before a timer is due, and keep it itself again.
    this.#dispatch(best === NOBODY, processor);
    return best;
  }

  /** Takes the time into account that was used, the timers that are due, the periods that are over. */
  #settle(nowMs: number): void {
    const block = this.#block;
    for (let processor = 0; processor < this.#shape.processors; processor++) this.#charge(processor, nowMs);
    for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++)
      if (block.state[vcpu] === SCHEDULE.blocked && (block.wakeAt[vcpu] ?? 0) <= nowMs) this.#wake(vcpu);
    this.shares.settle(nowMs);
    for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++)
      if (block.state[vcpu] === SCHEDULE.woken) this.#place(vcpu, SCHEDULE.ready);
  }

  #charge(processor: number, nowMs: number): void {
    const block = this.#block;
    const vcpu = block.current[processor] ?? NOBODY;
    if (vcpu === NOBODY || block.state[vcpu] !== SCHEDULE.running) return;
    // Clocks of threads agree but for microseconds.
    const ms = nowMs - (block.chargedAt[processor] ?? 0);
    if (ms <= 0) return;
    block.chargedAt[processor] = nowMs;
    block.runtime[vcpu] = (block.runtime[vcpu] ?? 0) + ms;
    block.used[vcpu] = (block.used[vcpu] ?? 0) + ms;
    this.shares.charge(block.shareOf[vcpu] ?? 0, ms);
  }

  #wake(vcpu: number): void {
    this.#block.wakeAt[vcpu] = Number.POSITIVE_INFINITY;
    Atomics.store(this.#block.state, vcpu, SCHEDULE.woken);
    Atomics.add(this.#arrivals, 0, 1);
  }

  /** The claim of a vCPU that woke: its share's, if that slept as a whole, and its own within it. */
  #place(vcpu: number, state: number): void {
    this.shares.place(vcpu);
    this.#block.fresh[vcpu] = 1;
    Atomics.store(this.#block.state, vcpu, state);
  }

  /** Takes the vCPU off the processor, with its time charged. */
  #leave(processor: number, nowMs: number): number {
    const vcpu = this.#block.current[processor] ?? NOBODY;
    assert(vcpu !== NOBODY, 'a vCPU is on the processor');
    this.#charge(processor, nowMs);
    this.#block.current[processor] = NOBODY;
    return vcpu;
  }

  #start(processor: number, vcpu: number, nowMs: number): void {
    const block = this.#block;
    block.current[processor] = vcpu;
    block.pickedAt[processor] = nowMs;
    block.chargedAt[processor] = nowMs;
    block.home[vcpu] = processor;
    block.fresh[vcpu] = 0;
    this.shares.countSwitch(processor, block.shareOf[vcpu] ?? 0);
    Atomics.store(block.state, vcpu, SCHEDULE.running);
  }

  /** Whether the processor's vCPU is still the one to run. */
  #goesOn(processor: number, current: number, nowMs: number): boolean {
    const block = this.#block;
    const share = block.shareOf[current] ?? 0;
    if (block.throttled[share] === 1 || !this.shares.allows(share, processor)) return false;
    if (block.state[current] === SCHEDULE.handed) {
      this.#place(current, SCHEDULE.handed);
      this.#start(processor, current, nowMs);
      return true;
    }
    this.shares.forfeit(share);
    const ranMs = nowMs - (block.pickedAt[processor] ?? 0);
    if (ranMs >= MIN_RUN_MS) this.#seenArrivals = Atomics.load(this.#arrivals, 0);
    const best = this.#best(processor);
    if (best === NOBODY) return true;
    // Another processor has nothing to do, and may not run who waits.
    if (this.#idleFor(current) !== NOBODY) return false;
    const ahead = this.shares.ahead(current, best);
    if (ranMs >= QUANTUM_MS) return ahead < 0;
    return !(block.fresh[best] === 1 && ranMs >= MIN_RUN_MS && ahead > PREEMPT_MS);
  }

  /** Of the vCPUs that wait, the one that the processor is to run. */
  #best(processor: number): number {
    const block = this.#block;
    let best = NOBODY;
    for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++) {
      if (!this.#isEligible(vcpu) || !this.shares.allows(block.shareOf[vcpu] ?? 0, processor)) continue;
      const ahead = best === NOBODY ? -1 : this.shares.ahead(vcpu, best);
      if (ahead < 0 || (ahead === 0 && block.home[vcpu] === processor && block.home[best] !== processor)) best = vcpu;
    }
    return best;
  }

  #isEligible(vcpu: number): boolean {
    const block = this.#block;
    const state = block.state[vcpu];
    if (state !== SCHEDULE.ready && state !== SCHEDULE.woken) return false;
    return block.throttled[block.shareOf[vcpu] ?? 0] === 0;
  }

  /** An idle processor that may run the vCPU: the one that ran it last, if that is one. */
  #idleFor(vcpu: number): number {
    const block = this.#block;
    const share = block.shareOf[vcpu] ?? 0;
    const home = block.home[vcpu] ?? 0;
    if (block.idle[home] === 1 && this.shares.allows(share, home)) return home;
    return this.#idleAmong(share);
  }

  #idleAmong(share: number): number {
    for (let processor = 0; processor < this.#shape.processors; processor++)
      if (this.#block.idle[processor] === 1 && this.shares.allows(share, processor)) return processor;
    return NOBODY;
  }

  /**
   * Gives who waits to processors that are idle, and sees to it that timers are kept: by `self`, if that is about to
   * sleep; by one that sleeps already, which has to be woken for that, only if it `mayRing`.
   */
  #dispatch(mayRing: boolean, self = NOBODY): void {
    const block = this.#block;
    let waiting = 0;
    for (;;) {
      let best = NOBODY;
      waiting = 0;
      const isAnyIdle = block.idle.includes(1);
      for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++) {
        if (!this.#isEligible(vcpu)) continue;
        waiting++;
        if (!isAnyIdle || this.#idleFor(vcpu) === NOBODY) continue;
        if (best === NOBODY || this.shares.ahead(vcpu, best) < 0) best = vcpu;
      }
      if (best === NOBODY) break;
      const processor = this.#idleFor(best);
      block.idle[processor] = 0;
      block.current[processor] = best;
      Atomics.store(block.state, best, SCHEDULE.handed);
      this.#ring(processor);
    }
    Atomics.store(this.#waiting, 0, waiting);
    this.#keepTimers(mayRing, self);
  }

  #keepTimers(mayRing: boolean, self: number): void {
    const block = this.#block;
    block.nextEvent = Number.POSITIVE_INFINITY;
    let unkept = 0;
    for (let vcpu = 0; vcpu < this.#shape.vcpus; vcpu++) {
      const share = block.shareOf[vcpu] ?? 0;
      const state = block.state[vcpu];
      const isThrottled = block.throttled[share] === 1 && (state === SCHEDULE.ready || state === SCHEDULE.woken);
      const at = isThrottled ? block.periodEnds[share] : state === SCHEDULE.blocked ? block.wakeAt[vcpu] : undefined;
      if (at === undefined || at === Number.POSITIVE_INFINITY || this.#isKept(share, at)) continue;
      const isSelf = self !== NOBODY && block.idle[self] === 1 && this.shares.allows(share, self);
      const keeper = isSelf ? self : this.#idleFor(vcpu);
      if (keeper !== NOBODY && (isSelf || mayRing)) {
        block.idleUntil[keeper] = at;
        if (!isSelf) this.#ring(keeper);
      } else {
        block.nextEvent = Math.min(block.nextEvent, at);
        if (keeper !== NOBODY) unkept = 1;
      }
    }
    Atomics.store(this.#unkept, 0, unkept);
  }

  /** Whether an idle processor that may run the share's vCPUs wakes by then. */
  #isKept(share: number, atMs: number): boolean {
    const block = this.#block;
    for (let processor = 0; processor < this.#shape.processors; processor++) {
      const wakes = block.idle[processor] === 1 && (block.idleUntil[processor] ?? 0) <= atMs;
      if (wakes && this.shares.allows(share, processor)) return true;
    }
    return false;
  }

  #ring(processor: number): void {
    Atomics.add(this.#block.bell, processor, 1);
    Atomics.notify(this.#block.bell, processor);
  }
}
