/**
 * A processor: a thread of its own that runs one vCPU until the machine ends. It shares the machine's memory; it
 * blocks when its vCPU has nothing to do, and is woken through that memory. The host starts the thread, hands it a
 * VcpuStart, and has it call `runVcpu`.
 */
import { must } from '../base/assert.ts';
import { type EngineCode, type MemoryShape, Processor } from '../engine/index.ts';
import { Board, type BoardConfig } from './board.ts';
import { boardRunner, SLICE_STEPS } from './board-runner.ts';
import { bareSlot, slotLayout } from './slots.ts';
import { TICKS_PER_MS } from './virt-map.ts';

/** What every thread of a machine gets: plain data and what threads may share. */
export interface ThreadStart {
  readonly config: BoardConfig;
  readonly memory: WebAssembly.Memory;
  readonly shape: MemoryShape;
  readonly module: WebAssembly.Module;
  /** What the module exports for translated code to call. */
  readonly signatures: EngineCode['signatures'];
}

/** To be sent in the host's first message to the thread. */
export interface VcpuStart extends ThreadStart {
  readonly vcpu: number;
  /** Where this vCPU's hot code is translated. */
  readonly translates: 'here' | 'elsewhere';
}

export interface VcpuThreadPorts {
  /** Timebase ticks, the same on all threads of the machine; a fraction is cut off where guests read it. */
  ticks(): number;
  wallMs(): number;
  /** The vCPU reached a breakpoint, or made the step that it was asked for. */
  stopped(vcpu: number): void;
  /** Collects garbage on this thread, at once; where the host cannot be asked it does so when it likes. */
  readonly collectGarbage?: (() => void) | undefined;
}

/** The longest sleep: a bound on what a lost wake-up could cost. */
const SLEEP_MOST_MS = 1000;

/** Returns when the machine has ended. Only on threads that may block. */
export function runVcpu(start: VcpuStart, ports: VcpuThreadPorts): void {
  const { ticks } = ports;
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => ports.wallMs() };
  const board = Board.attach(start.config, start.memory, start.shape, { clock, slot: bareSlot, slotLayout });
  const processor = new Processor(start.module, start.memory, { width: start.config.width, ticks });
  processor.collectGarbage = ports.collectGarbage;
  const vcpu = must(board.vcpus[start.vcpu]);
  const stopped = (): void => ports.stopped(vcpu.id);
  const runner = boardRunner(
    board,
    processor,
    { ticks, stopped },
    { budget: SLICE_STEPS, clock: 'real' },
    start.signatures,
    start.translates,
  );
  processor.contextChanged(vcpu.at);
  for (;;) {
    const slice = runner.slice(vcpu);
    if (slice.kind === 'ended') return;
    if (slice.kind === 'barrier') board.world.awaitBarrier();
    else if (slice.kind === 'idle') {
      const ms = (slice.untilTicks - ticks()) / TICKS_PER_MS;
      if (ms > 0) vcpu.sleep(Math.min(ms, SLEEP_MOST_MS));
    }
  }
}
