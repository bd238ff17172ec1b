/**
 * The scheduler's state in shared memory: a column for each thing that is known of processors, vCPUs and shares, so that
 * a look at all of them is a walk through few arrays. Everything but what says otherwise is read and written under the
 * lock. Times are milliseconds of the machine's clock.
 */
import { array, type Layout, struct, type View } from '../base/struct.ts';

/** What the scheduler has room for. */
export interface SchedulerShape {
  /** 1 to MOST_PROCESSORS. */
  readonly processors: number;
  readonly vcpus: number;
  readonly shares: number;
}

/** A set of processors is a bit for each. */
export const MOST_PROCESSORS = 32;

/**
 * Where a vCPU is. Woken: it is to run, and its claim on time is to be settled first. Handed: a processor that had nothing
 * to do was given it, and is waking up.
 *
 *      none -- add --> woken --> ready <--> running -- block --> blocked -- wake, timer --> woken
 *                        |                     ^
 *                        +------> handed ------+
 */
export const SCHEDULE = { none: 0, blocked: 1, woken: 2, ready: 3, handed: 4, running: 5 } as const;

/** No vCPU is on the processor. */
export const NOBODY = -1;

const FIELDS = {
  lock: 'i32',
  /** vCPUs that could run and have no processor. Read without the lock, atomically. */
  waiting: 'i32',
  /** How often a vCPU woke. Read without the lock, atomically. */
  arrivals: 'i32',
  /** When something is to be done that no idle processor waits for. Read without the lock: an old value costs a slice. */
  nextEvent: 'f64',
  /** 1: an idle processor could wait for that, but was not told yet. Read without the lock, atomically. */
  unkept: 'i32',
} as const;

/** Rows are numbered from 0. */
function fields({ processors, vcpus, shares }: SchedulerShape) {
  return {
    ...FIELDS,
    /** Processors. Each sleeps on its bell's number. */
    bell: array('i32', processors),
    /** The vCPU that is on it, or was handed to it. */
    current: array('i32', processors),
    /** 1: it sleeps, or is about to, until `idleUntil` at the latest. */
    idle: array('u32', processors),
    idleUntil: array('f64', processors),
    pickedAt: array('f64', processors),
    /** Up to when its vCPU's time was taken into account. */
    chargedAt: array('f64', processors),
    /** The share whose vCPU it ran last; NOBODY: none. */
    lastShare: array('i32', processors),

    /** vCPUs: SCHEDULE. Read without the lock, atomically. */
    state: array('i32', vcpus),
    shareOf: array('u32', vcpus),
    /** The processor that ran it last. */
    home: array('u32', vcpus),
    /** Time that it used, forwarded while it slept: of the vCPUs of a share the one with the least is next. */
    runtime: array('f64', vcpus),
    /** What its runtime counts as at least where others are placed who wake: not what it was boosted to. */
    base: array('f64', vcpus),
    /** Blocked: when it wakes by itself. */
    wakeAt: array('f64', vcpus),
    /** 1: it woke and has not run since. */
    fresh: array('u32', vcpus),
    used: array('f64', vcpus),

    /** Shares: 1 if there is such a one. */
    isShare: array('u32', shares),
    weight: array('f64', shares),
    /** As a vCPU's, over the weight. */
    shareRuntime: array('f64', shares),
    shareBase: array('f64', shares),
    /** Processors that may run its vCPUs. */
    pins: array('u32', shares),
    /** Time that it may use in a period, infinite: no cap; what is left of it, negative where it was overdrawn; the period's end. */
    quota: array('f64', shares),
    left: array('f64', shares),
    periodEnds: array('f64', shares),
    /** 1: nothing is left. */
    throttled: array('u32', shares),
    shareUsed: array('f64', shares),
    /** Periods in which it was throttled. */
    throttles: array('u32', shares),
    /** How often a processor came to it from another share. */
    switches: array('u32', shares),
  } as const;
}

export type SchedulerFields = ReturnType<typeof fields>;
export type SchedulerBlock = View<SchedulerFields>;

export function schedulerLayout(shape: SchedulerShape): Layout<SchedulerFields> {
  return struct('scheduler', fields(shape));
}
