/**
 * The thread that translates for all vCPUs of a machine, of whatever partition, so that none waits for it. It shares the
 * machine's memory and sleeps while there is nothing hot. The host starts the thread and has it call `runTranslation`.
 */
import { must } from '../base/assert.ts';
import { Processor } from '../engine/index.ts';
import { TranslationService } from '../translator/index.ts';
import { AttachedBoards } from './attached-boards.ts';
import { Board } from './board.ts';
import { guestCode } from './board-runner.ts';
import { Commons, TRANSLATOR } from './commons.ts';
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
  const commons = Commons.attach(config, memory, shape);
  const processor = new Processor(module, memory, { width: config.width, ticks });
  processor.collectGarbage = collectGarbage;
  const service = new TranslationService(
    commons.memory,
    processor,
    guestCode(config, signatures),
    [],
    must(config.translation),
    () => ticks() / TICKS_PER_MS,
  );
  const attach = (partition: number) => ({
    board: Board.attach(commons, partition, { clock, slot: bareSlot, slotLayout }),
  });
  const boards = new AttachedBoards(commons, TRANSLATOR, attach, () => {});
  const serveAll = (): void =>
    service.serves(commons.partitions.flatMap((partition) => boards.of(partition).board.vcpus));
  while (!commons.hasEnded) {
    boards.refresh(serveAll);
    service.wait();
  }
}
