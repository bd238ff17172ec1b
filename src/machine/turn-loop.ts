/**
 * A machine of one hart on a thread that may not block, with memory that no other thread sees: a browser without
 * SharedArrayBuffer. The hart runs a few slices, then the host's events have their turn, then the hart again; while
 * it has nothing to do, the loop waits for a timer or for whatever may have woken it.
 *
 *     slice, serve | slice, serve | ... until TURN_MS or idle -> host's events -> idle? wait -> slice, serve | ...
 *
 * Everything that comes from outside passes through `host` (timers, completions) or is followed by `poke`.
 */
import { assert, must } from '../base/assert.ts';
import type { Runner, Slice, Vcpu } from '../hypervisor/index.ts';
import type { Board } from './board.ts';
import type { HostPorts } from './host-ports.ts';
import type { IoThread } from './io-thread.ts';
import { TICKS_PER_MS } from './virt-map.ts';

/** How long the host's events may have to wait. */
const TURN_MS = 8;
/** Timers of browsers are late by this much; what is due sooner is waited for by looking again and again. */
const COARSE_MS = 5;

export interface TurnParts {
  readonly board: Board;
  readonly runner: Runner;
  readonly io: IoThread;
  /** Timebase ticks now. */
  ticks(): number;
}

export class TurnLoop {
  /** What the machine's devices are to be given in place of the host's own. */
  readonly host: HostPorts;
  readonly #after: HostPorts['after'];
  readonly #nextTurn: () => Promise<void>;
  #deferred: (() => void)[] = [];
  #seenBell = 0;
  #wake: (() => void) | undefined;

  /** `nextTurn` resolves once the host's waiting events (messages, timers that are due) have been handled. */
  constructor(host: HostPorts, nextTurn: () => Promise<void>) {
    this.#after = (delayMs, callback) => host.after(delayMs, callback);
    this.#nextTurn = nextTurn;
    this.host = {
      wallMs: () => host.wallMs(),
      fillRandom: (into) => host.fillRandom(into),
      after: (delayMs, callback) =>
        host.after(delayMs, () => {
          callback();
          this.poke();
        }),
      defer: (callback) => {
        this.#deferred.push(callback);
        this.poke();
      },
    };
  }

  /** Something happened that may concern the machine: if it waits, it looks again. */
  poke(): void {
    this.#wake?.();
  }

  /** Resolves when the machine has ended. Rejects with what a device or the engine throws. */
  async run(parts: TurnParts): Promise<void> {
    const { board, ticks } = parts;
    assert(board.vcpus.length === 1, 'one hart, for there is one thread');
    const vcpu = must(board.vcpus[0]);
    for (;;) {
      const slice = this.#turn(vcpu, parts);
      if (slice.kind === 'ended') return;
      await this.#nextTurn();
      if (slice.kind !== 'idle') continue;
      for (;;) {
        const ms = (slice.untilTicks - ticks()) / TICKS_PER_MS;
        if (ms <= 0 || this.#hasWork(vcpu, board)) break;
        await (ms > COARSE_MS ? this.#sleep(ms - COARSE_MS) : this.#nextTurn());
      }
    }
  }

  #turn(vcpu: Vcpu, { board, runner, io, ticks }: TurnParts): Slice {
    const until = ticks() + TURN_MS * TICKS_PER_MS;
    for (;;) {
      const slice = runner.slice(vcpu);
      this.#serve(board, io);
      if (slice.kind === 'ended') return slice;
      if (slice.kind === 'idle' && !this.#hasWork(vcpu, board)) return slice;
      if (ticks() >= until) return { kind: 'ran' };
    }
  }

  /** Devices that rang, and what they put off. What rings meanwhile is served after the next slice. */
  #serve(board: Board, io: IoThread): void {
    this.#seenBell = board.world.ioBell;
    io.serve();
    const due = this.#deferred;
    this.#deferred = [];
    for (const callback of due) callback();
  }

  #hasWork(vcpu: Vcpu, board: Board): boolean {
    return vcpu.isAwake || this.#deferred.length > 0 || board.world.ioBell !== this.#seenBell;
  }

  async #sleep(ms: number): Promise<void> {
    const woken = Promise.withResolvers<void>();
    this.#wake = woken.resolve;
    const drop = Number.isFinite(ms) ? this.#after(ms, woken.resolve) : () => {};
    await woken.promise;
    drop();
    this.#wake = undefined;
  }
}
