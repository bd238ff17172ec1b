/**
 * Until when a machine may run its guest. Whoever else could run it waits for the deadline to pass, and asks nobody: so at
 * it the machine stops by itself, whether or not somebody is there to tell it (docs/cluster.md, "The machine").
 *
 *   none --begin--> running --the deadline has passed--> stopped --a later deadline--> running
 *
 * A timer stops the guest. What it tells the world does not rely on that: whoever lets something out asks `mayAct` in the
 * same step, which looks at the clock; a process that was stopped in between finds that its time is over.
 */
import { HostError, OperatorError } from '../../base/errors.ts';
import type { MachineOptions } from './machine-options.ts';

/** Whose machine it is in a cluster, and until when it may run, in milliseconds since the host's boot (CLOCK_BOOTTIME). */
export interface Lease {
  /** Of the host's membership under which the machine was started: only that one prolongs it. */
  readonly incarnation: number;
  /** Of the guest's owner, as the gates of its disks know it. */
  readonly generation: number;
  readonly deadlineMs: number;
}

/** A later deadline. */
export interface LeaseGrant {
  readonly incarnation: number;
  readonly deadlineMs: number;
}

/** The deadline that is in force then, and whether the guest stands still, for whichever reason. */
export interface LeaseAnswer {
  readonly deadlineMs: number;
  readonly isPaused: boolean;
}

export interface LeaseReport extends Lease {
  /** The deadline has passed: the guest stands still until there is a later one. */
  readonly isExpired: boolean;
}

export interface LeasePorts {
  /** Asked for once there is a deadline. */
  clock(): { nowMs(): number };
  after(delayMs: number, act: () => void): () => void;
}

/** Whom the deadline is for. */
export interface LeasedGuest {
  /** For the machine's other threads: they look at it themselves. */
  tell(deadlineMs: number): void;
  stop(): void;
  goOn(): void;
}

/** Timers stand still while the host is suspended: behind that, the clock is looked at so soon. */
const LOOK_AGAIN_MS = 250;

export class MachineLease {
  readonly #ports: LeasePorts;
  #lease: Lease | undefined;
  #guest: LeasedGuest | undefined;
  #isStopped = false;
  #isOver = false;
  /** Output that came to its turn too late: it leaves, in its order, if there is a later deadline. */
  #waiting: (() => void)[] = [];
  #renewed = Promise.withResolvers<void>();
  #cancel: () => void = () => {};

  /** Throws OperatorError `bad-lease`. */
  constructor(ports: LeasePorts, lease?: Lease) {
    if (lease !== undefined) checkLease(lease);
    this.#ports = ports;
    this.#lease = lease;
    this.#renewed.promise.catch(() => {}); // whoever waits is told
  }

  /** The guest, before it runs: it is stopped at once where the deadline has passed. */
  attach(guest: LeasedGuest): void {
    this.#guest = guest;
    if (this.#lease !== undefined) guest.tell(this.#lease.deadlineMs);
    if (this.#isStopped) guest.stop();
    this.#look();
  }

  /** A machine that stood by has a deadline from now on, before its guest runs. Throws OperatorError `bad-lease`. */
  begin(lease: Lease): void {
    checkLease(lease);
    this.#lease = lease;
    this.#guest?.tell(lease.deadlineMs);
    this.#look();
  }

  /** Whether the guest may tell anybody anything, now. */
  get mayAct(): boolean {
    const lease = this.#lease;
    if (lease === undefined) return true;
    if (this.#isStopped) return false;
    if (this.#ports.clock().nowMs() < lease.deadlineMs) return true;
    this.#stop();
    return false;
  }

  /** What is sent now leaves at once. */
  get isOpen(): boolean {
    return this.#waiting.length === 0 && this.mayAct;
  }

  report(): LeaseReport | undefined {
    return this.#lease === undefined ? undefined : { ...this.#lease, isExpired: !this.mayAct };
  }

  /**
   * Throws OperatorError `no-lease` for a machine that was started without, `lease-incarnation` for another host's life. What is
   * no later deadline than the one in force changes nothing. The one in force then.
   */
  extend({ incarnation, deadlineMs }: LeaseGrant): number {
    const lease = this.#lease;
    if (lease === undefined)
      throw new OperatorError('no-lease', 'the machine was started without a deadline', 'Start it with one.');
    if (incarnation !== lease.incarnation)
      throw new OperatorError(
        'lease-incarnation',
        `the machine is of incarnation ${lease.incarnation} of its host, and not of ${incarnation}`,
        'End it, and start the guest under the incarnation that there is now.',
      );
    if (!(deadlineMs > lease.deadlineMs) || this.#isOver) return lease.deadlineMs;
    this.#lease = { ...lease, deadlineMs };
    this.#guest?.tell(deadlineMs);
    this.#goOn(deadlineMs);
    this.#look();
    return deadlineMs;
  }

  /** Calls `leave` now; or when there is a later deadline, behind what came before. Never if the machine ends first. */
  send(leave: () => void): void {
    if (this.isOpen) leave();
    else if (!this.#isOver) this.#waiting.push(leave);
  }

  /** Resolves when there is a later deadline. Rejects with HostError `lease-expired` if the machine ends first. */
  async renewed(): Promise<void> {
    await this.#renewed.promise;
  }

  /** The machine has ended: what waits never leaves. */
  end(): void {
    this.#isOver = true;
    this.#cancel();
    this.#waiting = [];
    this.#renewed.reject(new HostError('lease-expired', "the machine ended behind its deadline: nobody's any more"));
  }

  #look(): void {
    this.#cancel();
    if (this.#lease === undefined || this.#isOver || !this.mayAct) return;
    const leftMs = this.#lease.deadlineMs - this.#ports.clock().nowMs();
    this.#cancel = this.#ports.after(Math.min(Math.max(leftMs, 0), LOOK_AGAIN_MS), () => this.#look());
  }

  #stop(): void {
    this.#isStopped = true;
    this.#guest?.stop();
  }

  #goOn(deadlineMs: number): void {
    if (!this.#isStopped || this.#ports.clock().nowMs() >= deadlineMs) return;
    this.#isStopped = false;
    const { resolve } = this.#renewed;
    this.#renewed = Promise.withResolvers();
    this.#renewed.promise.catch(() => {});
    while (this.#waiting.length > 0 && this.mayAct) this.#waiting.shift()?.();
    if (this.#isStopped) return;
    this.#guest?.goOn();
    resolve();
  }
}

/** Throws OperatorError `bad-lease`. */
export function checkLease({ incarnation, generation, deadlineMs }: Lease): void {
  const isNumber = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  if (isNumber(incarnation) && isNumber(generation) && Number.isFinite(deadlineMs) && deadlineMs > 0) return;
  throw new OperatorError(
    'bad-lease',
    `incarnation ${incarnation}, generation ${generation}, deadline ${deadlineMs} make no sense`,
    'Give two whole numbers, and milliseconds since the boot of the host.',
  );
}

/** Throws OperatorError where a machine of such options can have no deadline. */
export function checkLeasable({ room, clock }: Pick<MachineOptions, 'room' | 'clock'>): void {
  if (room === undefined && clock !== 'instructions') return;
  throw new OperatorError(
    'bad-lease',
    'only a machine with one guest, with the real clock, has a deadline',
    'Start it without --forks and --clock instructions.',
  );
}
