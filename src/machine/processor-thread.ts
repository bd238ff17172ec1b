/**
 * A processor: a thread of its own that runs vCPUs of the machine's partitions as the scheduler says, until the machine
 * ends. It shares the machine's memory; it blocks when there is nothing to run, and is woken through that memory. The host
 * starts the thread, hands it a ProcessorStart, and has it call `runProcessor`.
 *
 *     next -> vCPU -> slice, slice, ... -> nothing to do, or another's turn -> next
 *          -> nobody -> sleep until the bell rings or a timer is due ---------> next
 */
import { must } from '../base/assert.ts';
import type { QuickDisk } from '../devices/index.ts';
import { type EngineCode, type MemoryShape, Processor } from '../engine/index.ts';
import { NOBODY, type Runner, type Vcpu } from '../hypervisor/index.ts';
import { AttachedBoards } from './attached-boards.ts';
import { Board } from './board.ts';
import { boardRunner, SLICE_STEPS, tellOfFrames, translatorOf } from './board-runner.ts';
import type { BoardConfig } from './board-shape.ts';
import { Commons } from './commons.ts';
import { quickSlot } from './quick-slots.ts';
import { slotLayout } from './slots.ts';
import { TICKS_PER_MS } from './virt-map.ts';

/** What every thread of a machine gets: plain data and what threads may share. */
export interface ThreadStart {
  /** Of the machine's first partition. */
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
  stopped(partition: number, hart: number): void;
  /** The disk of a device of the machine's first partition, where its requests may be done at once. Default: none. */
  quickDisk?(id: string): QuickDisk | undefined;
  /** Now, on the clock of deadlines; `suspendedMs` as the thread knows it that set one. Where machines have them. */
  readonly deadlineClockMs?: (suspendedMs: number) => number;
  /** Collects garbage on this thread, at once; where the host cannot be asked it does so when it likes. */
  readonly collectGarbage?: (() => void) | undefined;
}

interface Attached {
  readonly board: Board;
  readonly runner: Runner;
}

/** Returns when the machine has ended. Only on threads that may block. */
export function runProcessor(start: ProcessorStart, ports: ProcessorThreadPorts): void {
  const { ticks } = ports;
  const { config, processor: self, signatures } = start;
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => ports.wallMs() };
  const commons = Commons.attach(config, start.memory, start.shape);
  const scheduler = must(commons.scheduler);
  const processor = new Processor(start.module, start.memory, { width: config.width, ticks });
  processor.collectGarbage = ports.collectGarbage;
  const translator = translatorOf({ memory: commons.memory, config }, processor, ports, signatures, start.translates);
  const attach = (partition: number): Attached => {
    const disk = (id: string): QuickDisk | undefined => (partition === 0 ? ports.quickDisk?.(id) : undefined);
    const { deadlineClockMs } = ports;
    const slot = quickSlot({ board: () => board, processor: self, disk, deadlineClockMs });
    const board: Board = Board.attach(commons, partition, { clock, slot, slotLayout });
    const stopped = (vcpu: Vcpu): void => ports.stopped(partition, vcpu.id);
    const options = { budget: SLICE_STEPS, clock: 'real', processor: self } as const;
    const runner = boardRunner(board, processor, { ticks, stopped }, options, signatures, translator);
    return { board, runner };
  };
  const boards = new AttachedBoards(commons, self, attach, ({ board }) => {
    for (const vcpu of board.vcpus) translator?.stop(vcpu.state);
    commons.interrupts?.forget(board.partition);
  });
  if (commons.interrupts) commons.interrupts.attach = (partition) => void boards.of(partition);
  tellOfFrames(processor, (partition) => boards.of(partition).board);
  const nowMs = (): number => ticks() / TICKS_PER_MS;

  /** Runs the vCPU until it has nothing to do, or another's turn has come: which one's. */
  const runVcpu = (number: number): number => {
    const { partition, hart } = commons.ownerOf(number);
    const { board, runner } = boards.of(partition);
    const vcpu = must(board.vcpus[hart]);
    for (;;) {
      const slice = runner.slice(vcpu);
      boards.refresh();
      if (slice.kind === 'idle') {
        vcpu.hart.sleeps++;
        return scheduler.block(self, nowMs(), slice.untilTicks / TICKS_PER_MS, vcpu);
      }
      if (slice.kind === 'ended') return scheduler.end(self, nowMs());
      if (slice.kind === 'barrier') commons.exclusion.awaitBarrier();
      else if (scheduler.mustLook(self, nowMs())) {
        const next = scheduler.next(self, nowMs());
        if (next !== number) return next;
      }
    }
  };

  let number = scheduler.next(self, nowMs());
  for (;;) {
    // Behind the scheduler's word: who changes something rings the bell that this one then sleeps on.
    boards.refresh();
    if (commons.hasEnded) return;
    if (number !== NOBODY) number = runVcpu(number);
    else {
      scheduler.sleep(self, nowMs);
      number = scheduler.next(self, nowMs());
    }
  }
}
