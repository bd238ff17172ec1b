/** A runner for a board's vCPUs: what the hypervisor asks for (devices, the SBI's console, memory, ends), joined. */
import type { Processor } from '../engine/index.ts';
import { Runner, type RunnerOptions, type RunnerPorts } from '../hypervisor/index.ts';
import type { Board } from './board.ts';

/** Steps between looks at the world: about 50 microseconds of interpreted code. */
export const SLICE_STEPS = 20_000;

export function boardRunner(
  board: Board,
  processor: Processor,
  ports: Pick<RunnerPorts, 'ticks' | 'stopped'>,
  options: RunnerOptions,
): Runner {
  return new Runner(
    board.memory,
    processor,
    board.world,
    {
      mmio: board.mmio,
      ticks: ports.ticks,
      stopped: ports.stopped,
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
    options,
  );
}
