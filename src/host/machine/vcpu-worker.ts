/**
 * A processor: a worker thread that runs one vCPU until the machine ends. It shares the machine's memory; it blocks
 * when its vCPU has nothing to do, and is woken through that memory.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { must } from '../../base/assert.ts';
import { type MemoryShape, Processor } from '../../engine/index.ts';
import { Runner } from '../../hypervisor/index.ts';
import { Board, type BoardConfig } from '../../machine/index.ts';
import { bareSlot, slotLayout } from './slots.ts';
import { TICKS_PER_MS, ticksSince } from './thread-clock.ts';

export interface WorkerStart {
  readonly config: BoardConfig;
  readonly memory: WebAssembly.Memory;
  readonly shape: MemoryShape;
  readonly module: WebAssembly.Module;
  readonly vcpu: number;
  readonly epoch: bigint;
  readonly budget: number;
}

/** What a processor tells the machine's main thread. */
export interface StoppedMessage {
  readonly vcpu: number;
  readonly reason: 'breakpoint' | 'step';
}

/** The longest sleep: a bound on what a lost wake-up could cost. */
const SLEEP_MOST_MS = 1000;

function main(start: WorkerStart): void {
  const ticks = ticksSince(start.epoch);
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => Date.now() };
  const board = Board.attach(start.config, start.memory, start.shape, { clock, slot: bareSlot, slotLayout });
  const processor = new Processor(start.module, start.memory, { width: start.config.width, ticks });
  const vcpu = must(board.vcpus[start.vcpu]);
  const runner = new Runner(
    board.memory,
    processor,
    board.world,
    {
      mmio: board.mmio,
      ticks,
      stopped: (_, reason) => parentPort?.postMessage({ vcpu: vcpu.id, reason } satisfies StoppedMessage),
      sbi: {
        consoleWrite: (bytes) => board.consoleWrite(bytes),
        consoleRead: (limit) => board.consoleRead(limit),
        readMemory: (gpa, into) => board.guestMemory.read(gpa, into),
        writeMemory: (gpa, from) => board.guestMemory.write(gpa, from),
        finish: (wish) =>
          board.finish(
            wish === 'failure' ? { kind: 'failure', code: 1 } : { kind: wish === 'reboot' ? 'reset' : 'poweroff' },
          ),
      },
    },
    { budget: start.budget, clock: 'real' },
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

main(workerData as WorkerStart);
