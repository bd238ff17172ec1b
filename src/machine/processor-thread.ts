/**
 * A processor: a thread of its own that runs vCPUs as the scheduler says, until the machine ends. It shares the machine's
 * memory; it blocks when there is nothing to run, and is woken through that memory. The host starts the thread, hands it
 * a ProcessorStart, and has it call `runProcessor`.
 *
 *     next -> vCPU -> slice, slice, ... -> nothing to do, or another's turn -> next
 *          -> nobody -> sleep until the bell rings or a timer is due ---------> next
 */
import { must } from '../base/assert.ts';
import { type EngineCode, type MemoryShape, Processor } from '../engine/index.ts';
import { NOBODY, RUN } from '../hypervisor/index.ts';
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
export interface ProcessorStart extends ThreadStart {
  /** Its number, from 0. */
  readonly processor: number;
  /** Where hot code of the vCPUs that it runs is translated. */
  readonly translates: 'here' | 'elsewhere';
}

export interface ProcessorThreadPorts {
  /** Timebase ticks, the same on all threads of the machine; a fraction is cut off where guests read it. */
  ticks(): number;
  wallMs(): number;
  /** A vCPU reached a breakpoint, or made the step that it was asked for. */
  stopped(vcpu: number): void;
  /** Collects garbage on this thread, at once; where the host cannot be asked it does so when it likes. */
  readonly collectGarbage?: (() => void) | undefined;
}

/** Returns when the machine has ended. Only on threads that may block. */
export function runProcessor(start: ProcessorStart, ports: ProcessorThreadPorts): void {
  const { ticks } = ports;
  const self = start.processor;
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => ports.wallMs() };
  const board = Board.attach(start.config, start.memory, start.shape, { clock, slot: bareSlot, slotLayout });
  const scheduler = must(board.scheduler);
  const processor = new Processor(start.module, start.memory, { width: start.config.width, ticks });
  processor.collectGarbage = ports.collectGarbage;
  const runner = boardRunner(
    board,
    processor,
    { ticks, stopped: (vcpu) => ports.stopped(vcpu.id) },
    { budget: SLICE_STEPS, clock: 'real', processor: self },
    start.signatures,
    start.translates,
  );
  const nowMs = (): number => ticks() / TICKS_PER_MS;
  let number = scheduler.next(self, nowMs());
  for (;;) {
    if (number === NOBODY) {
      if (board.world.run !== RUN.running) return;
      scheduler.sleep(self, nowMs());
      number = scheduler.next(self, nowMs());
      continue;
    }
    const vcpu = must(board.vcpus[number]);
    const slice = runner.slice(vcpu);
    if (slice.kind === 'ran') {
      if (scheduler.mustLook(self, nowMs())) number = scheduler.next(self, nowMs());
    } else if (slice.kind === 'idle') {
      vcpu.hart.sleeps++;
      number = scheduler.block(self, nowMs(), slice.untilTicks / TICKS_PER_MS, vcpu);
    } else if (slice.kind === 'barrier') board.exclusion.awaitBarrier();
    else number = scheduler.end(self, nowMs());
  }
}
