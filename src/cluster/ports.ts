/**
 * What a host's director needs of the world, as interfaces: the daemon gives it Node's, the simulator its own. All calls
 * return at once; what takes time answers by `done`, never within the call. After `halt()` nothing is heard any more.
 */
import type { Method, Order } from './model.ts';

/**
 * Milliseconds that only go forward, whatever happens to the time of day. They must go on while the host is suspended
 * (CLOCK_BOOTTIME), and be the same for the daemon and the machines of a host: leases' deadlines are told in them.
 */
export interface Clock {
  nowMs(): number;
}

export interface Timer {
  cancel(): void;
}

export interface Timers {
  after(delayMs: number, run: () => void): Timer;
}

/** 0 to just under 1; it spreads retries, and decides nothing else. */
export type Chance = () => number;

/** Datagrams between hosts: lost, doubled, late, reordered. The port proves who sent them, and drops what it cannot prove. */
export interface Datagrams {
  /** `bytes` may be kept: they are not written again. */
  send(toHost: string, bytes: Uint8Array): void;
}

/** A guest's slave, as its host's master sees it: what its last beats said. */
export interface SlaveBeat {
  readonly guest: string;
  readonly generation: number;
  /** The application's own health check. */
  readonly isApplicationWell: boolean;
  readonly role: 'active' | 'standby';
}

export type Done<T = boolean> = (outcome: T) => void;

export interface StartOrder {
  readonly guest: string;
  readonly generation: number;
  readonly incarnation: number;
  /** How: a boot, a checkpoint restored, a standby here promoted; of a pair, the standby that runs here gets generation and deadline. */
  readonly method: Method;
  /** Until when it may run, on the host's clock; renewed by `grant`. */
  readonly deadlineMs: number;
  /** What it has for certain, from the start; changed by `share`. */
  readonly cores: number;
}

export interface HeldMachine {
  readonly guest: string;
  readonly generation: number;
  readonly incarnation: number;
}

export interface HeldStandby {
  readonly guest: string;
  readonly method: Method;
  readonly activeHost: string;
}

/** The machines of this host. A machine obeys its deadline by itself, daemon or no daemon. */
export interface Machines {
  /** Those whose processes are there, with what they were started with: a daemon that returns adopts them. */
  list(): readonly HeldMachine[];
  /** Standbys that are kept here, by an earlier life of the daemon perhaps. */
  standbys(): readonly HeldStandby[];
  /** Tells every machine of that incarnation that it may run until then; it pauses itself when nothing more comes. */
  grant(incarnation: number, deadlineMs: number): void;
  /** On the storage's side of the wire: from now on writes of older generations are refused. */
  fence(guest: string, generation: number, done: Done): void;
  start(order: StartOrder, done: Done): void;
  /** Ends the machine's process, or a start that is under way; true once it is gone. */
  stop(guest: string, generation: number, done: Done): void;
  /** The guest starts again in its machine. */
  restartGuest(guest: string, generation: number): void;
  /** To the guest's slave. */
  order(guest: string, order: Order, generation: number): void;
  /**
   * A standby is kept here from now on, with that method, of a guest that runs there; `undefined`: no more. It takes checkpoints of
   * that host alone: a machine elsewhere that was stopped, and does not know that it is not the guest any more, is not heard.
   */
  keepStandby(guest: string, standby: { readonly method: Method; readonly activeHost: string } | undefined): void;
  /** The active guest here sends its checkpoints there from now on, so often; `undefined`: no more. */
  replicate(
    guest: string,
    toHost: string,
    how: { readonly method: Method; readonly everyMs: number } | undefined,
  ): void;
  /**
   * Output of the active guest here waits for the acknowledgement of its hot standby on that host from now on; `done` once what
   * left before is acknowledged too, or false. Undefined: it need not wait any more, and what waits leaves.
   */
  holdOutput(guest: string, forHost: string | undefined, done: Done): void;
  /** Processor capacity, in cores, that the guest has for certain. */
  share(guest: string, cores: number): void;
}

/** Costs of one guest, measured: figures are those of the last minutes. */
export interface Costs {
  /** From start to the first beat of its slave. */
  readonly bootMs: number;
  /** From a checkpoint in a file to running. */
  readonly restoreMs: number;
  /** For how long the guest stands still for a checkpoint of the usual size, and its size. */
  readonly checkpointMs: number;
  readonly checkpointBytes: number;
  readonly dirtyBytesPerS: number;
  /** To start the application again. */
  readonly applicationRestartMs: number;
}

/** Figures of this host. */
export interface Load {
  /** Cores in use by all, guests included. */
  usedCores(): number;
  /** Of any guest; careful ones (`UNKNOWN_COSTS`) where nothing was measured. */
  costs(guest: string): Costs;
  /** Of the standbys kept here, those that could take over now: complete, as of some moment since they are kept. */
  readyStandbys(): readonly string[];
}
