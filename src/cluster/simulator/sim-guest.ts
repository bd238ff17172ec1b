/**
 * A guest as the outside world sees it: its storage with the gate in front, and what it has sent. What can be told from here
 * without asking the cluster is what the invariants are about.
 */
import type { GuestSpec } from '../model.ts';
import type { Costs } from '../ports.ts';

export class SimGuest {
  readonly spec: GuestSpec;
  readonly costs: Costs;
  /** What hosts take for its costs, where that is not what it costs. */
  believed: Partial<Costs> = {};
  /** Phase of what its figures do by the minute. */
  readonly phase: number;
  /** The gate refuses older generations. */
  least = 0;
  /** The latest generation that wrote, and that sent. */
  wrote = 0;
  sent = 0;
  writes = 0;
  refused = 0;
  /** Output that left: a hot standby must have its epoch. */
  lastOutput = 0;
  /** When it last did something, by true time. */
  actedMs = 0;
  /** The longest that it did nothing since it first ran. */
  longestGapMs = 0;
  changesInForce: number[] = [];

  constructor(spec: GuestSpec, costs: Costs, phase: number) {
    this.spec = spec;
    this.costs = costs;
    this.phase = phase;
  }

  /** Its figures at that time: they go up and down, as a server's do. */
  costsAt(nowMs: number): Costs {
    const factor = 1 + 0.7 * Math.sin(nowMs / 4000 + this.phase);
    const { dirtyBytesPerS, checkpointBytes } = this.costs;
    const [rate, size] = [dirtyBytesPerS * factor, checkpointBytes * factor];
    return { ...this.costs, dirtyBytesPerS: rate, checkpointBytes: size, ...this.believed };
  }

  acted(nowMs: number): void {
    if (this.actedMs > 0) this.longestGapMs = Math.max(this.longestGapMs, nowMs - this.actedMs);
    this.actedMs = nowMs;
  }
}
