/**
 * A machine of the simulated world: a process that runs one guest, obeys its lease's deadline by its host's clock, and now and
 * then writes and sends. Between the look at the deadline and the act it can be stopped, as any process can.
 */
import type { Method } from '../model.ts';
import { Process } from './process.ts';
import type { SimGuest } from './sim-guest.ts';
import type { SimHost } from './sim-host.ts';

export class SimMachine {
  readonly process = new Process();
  readonly host: SimHost;
  readonly guest: SimGuest;
  readonly generation: number;
  readonly incarnation: number;
  readonly startedMs: number;
  /** By the host's clock. */
  deadlineMs: number;
  isBooting = true;
  isApplicationWell = true;
  isHung = false;
  cores = 0;
  epoch: number;
  isCold = false;
  /** Output waits for the acknowledgement of the standby there. */
  syncHost: string | undefined;
  readonly replicas = new Map<string, Method>();

  constructor(
    host: SimHost,
    guest: SimGuest,
    from: { readonly generation: number; readonly incarnation: number; readonly deadlineMs: number },
  ) {
    this.host = host;
    this.guest = guest;
    this.generation = from.generation;
    this.incarnation = from.incarnation;
    this.deadlineMs = from.deadlineMs;
    this.startedMs = host.world.queue.nowMs;
    this.epoch = guest.lastOutput;
    this.#loop();
    this.#beats();
  }

  /** It could write or send, were its process not stopped. */
  mayAct(): boolean {
    if (this.process.isDead) return false;
    return this.host.world.broken === 'guard' || this.host.nowMs() < this.deadlineMs;
  }

  boot(ms: number): void {
    this.isBooting = true;
    this.isHung = false;
    this.isApplicationWell = true;
    const { process } = this;
    this.host.after(process, ms, () => {
      this.isBooting = false;
      // The agent says hello as soon as it is there.
      if (this.mayAct()) this.host.slaveBeat(this);
    });
  }

  /** A checkpoint goes to its hot standbys; whether the one that output waits for has it now. */
  replicateNow(): boolean {
    let isSafe = false;
    for (const [to, method] of this.replicas) {
      const standby = method === 'hot' ? this.host.standbyAt(to, this.guest.spec.name) : undefined;
      if (standby?.epoch === undefined) continue;
      standby.epoch = this.epoch;
      if (to === this.syncHost) isSafe = true;
    }
    return isSafe;
  }

  #loop(): void {
    const { host, process } = this;
    const { actMs, random } = host.world;
    host.after(process, actMs * (0.5 + random.next()), () => {
      if (this.mayAct() && !this.isBooting && !this.isHung) this.#act();
      this.#loop();
    });
  }

  /** Checked; now it writes and sends, unless it is stopped just here. */
  #act(): void {
    const stopped = this.process.stopped;
    this.host.after(this.process, this.host.world.random.between(0, 2), () => {
      if (!this.process.isDead) this.host.world.acted(this, this.process.stopped !== stopped);
    });
    const { freezeAtActMs } = this.host;
    this.host.freezeAtActMs = 0;
    if (freezeAtActMs > 0) this.host.freeze(freezeAtActMs);
  }

  #beats(): void {
    this.host.after(this.process, 1000, () => {
      if (!this.isBooting && !this.isHung && this.mayAct()) this.host.slaveBeat(this);
      this.#beats();
    });
  }
}
