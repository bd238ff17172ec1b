/**
 * The thread that translates for all vCPUs of a machine, so that none waits for it. It shares the machine's memory and
 * sleeps while there is nothing hot. The host starts the thread and has it call `runTranslation`.
 */
import { must } from '../base/assert.ts';
import { Processor } from '../engine/index.ts';
import { RUN } from '../hypervisor/index.ts';
import { TranslationService } from '../translator/index.ts';
import { Board } from './board.ts';
import { guestCode } from './board-runner.ts';
import type { ThreadStart } from './processor-thread.ts';
import { bareSlot, slotLayout } from './slots.ts';
import { TICKS_PER_MS } from './virt-map.ts';

export interface TranslationThreadPorts {
  /** Timebase ticks. */
  ticks(): number;
  /** As in ProcessorThreadPorts. */
  readonly collectGarbage?: (() => void) | undefined;
}

/** Returns when the machine has ended. Only on threads that may block, for machines that translate. */
export function runTranslation(start: ThreadStart, { ticks, collectGarbage }: TranslationThreadPorts): void {
  const { config, memory, shape, module, signatures } = start;
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => 0 };
  const board = Board.attach(config, memory, shape, { clock, slot: bareSlot, slotLayout });
  const processor = new Processor(module, memory, { width: config.width, ticks });
  processor.collectGarbage = collectGarbage;
  const service = new TranslationService(
    board.memory,
    processor,
    guestCode(config, signatures),
    board.vcpus,
    must(config.translation),
    () => ticks() / TICKS_PER_MS,
  );
  while (board.world.run === RUN.running) service.wait();
}
