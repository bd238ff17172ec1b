/**
 * What the operator is told of disks that fail: the guest gets every error, and of many alike nobody wants to read each. The
 * first of a disk at once, then one in ten seconds, with how many there were.
 */
const PAUSE_MS = 10_000;

export class DiskWarnings {
  readonly #tell: (text: string) => void;
  readonly #nowMs: () => number;
  readonly #disks = new Map<string, { toldMs: number; untold: number }>();

  constructor(tell: (text: string) => void, nowMs: () => number) {
    this.#tell = tell;
    this.#nowMs = nowMs;
  }

  failed(disk: string, operation: string, cause: unknown): void {
    const nowMs = this.#nowMs();
    const state = this.#disks.get(disk) ?? { toldMs: Number.NEGATIVE_INFINITY, untold: 0 };
    this.#disks.set(disk, state);
    if (nowMs - state.toldMs < PAUSE_MS) {
      state.untold++;
      return;
    }
    const more = state.untold === 0 ? '' : ` (and ${state.untold} more since the last warning)`;
    this.#tell(`${disk}: ${operation} failed: ${cause instanceof Error ? cause.message : String(cause)}${more}`);
    state.toldMs = nowMs;
    state.untold = 0;
  }
}
