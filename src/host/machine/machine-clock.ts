/** A machine's clock as its main thread reads it: the host's time since the machine was made, or instructions begun. */
import { type BoardPorts, TICKS_PER_MS, TIMEBASE_HZ } from '../../machine/index.ts';
import { clockEpoch, ticksSince } from './thread-clock.ts';

/** The instruction clock's wall clock starts here, so that runs are alike. */
const EPOCH_MS = Date.UTC(2026, 0, 1);
const NS_PER_TICK = 1_000_000_000n / BigInt(TIMEBASE_HZ);

export class MachineClock {
  /** Of all threads that read it (thread-clock.ts). */
  readonly epoch: bigint;
  /** In ticks of the timebase. */
  readonly ticks: () => number;
  readonly #isReal: boolean;
  #header: { readonly clockShiftMs: number } = { clockShiftMs: 0 };
  #steps = (): number => 0;

  constructor(kind: 'real' | 'instructions', epoch: bigint) {
    this.epoch = epoch;
    this.#isReal = kind === 'real';
    this.ticks = this.#isReal ? ticksSince(epoch, this) : () => this.#steps();
  }

  /** The epoch of a machine that is made now, and goes on from where a clock stood at so many ticks. */
  static epochBehind(ticks: bigint): bigint {
    return clockEpoch() - ticks * NS_PER_TICK;
  }

  /** For the board's devices. */
  get ports(): BoardPorts['clock'] {
    const { ticks } = this;
    return {
      ticks: () => BigInt(Math.floor(ticks())),
      wallMs: () => (this.#isReal ? Date.now() : EPOCH_MS + ticks() / TICKS_PER_MS),
    };
  }

  /** There is a memory, whose header says by how much the clock is shifted. */
  shiftBy(header: { readonly clockShiftMs: number }): void {
    this.#header = header;
  }

  get clockShiftMs(): number {
    return this.#header.clockShiftMs;
  }

  /** By the instruction clock: there is who counts them. Until then nothing has run, and the clock stands at zero. */
  countBy(steps: () => number): void {
    this.#steps = steps;
  }
}
