/**
 * Runs a machine by the instruction clock, on the calling thread: harts take turns of one slice each, and a backend's
 * work is waited for, so that it takes no time the guest can see.
 */

import { must } from '../../base/assert.ts';
import { RUN, type Runner, type Slice, type Vcpu } from '../../hypervisor/index.ts';
import { type Board, boardRunner, type IoSlots, type IoThread, SLICE_STEPS } from '../../machine/index.ts';
import { garbageCollector } from './garbage-collector.ts';
import type { LogFiles } from './log-files.ts';
import type { MachineBody } from './machine-body.ts';
import { endProcessorAhead } from './processor-worker-start.ts';

/** Turns after which the host's events (console, sockets, signals) come in. */
const TURNS = 16;

export interface InstructionClockParts {
  readonly board: Board;
  readonly runner: Runner;
  readonly io: IoThread;
  readonly slots: IoSlots;
  readonly logs: LogFiles;
}

/** Who runs the machine's harts on this thread; its clock counts what they do. `stopped`: one of them did. */
export function instructionRunner({ board, clock, home, processor }: MachineBody, stopped: () => void): Runner {
  endProcessorAhead();
  processor.collectGarbage = garbageCollector();
  const options = { budget: SLICE_STEPS, clock: 'instructions' } as const;
  const runner = boardRunner(board, processor, { ticks: clock.ticks, stopped }, options, home.parts.signatures);
  clock.countBy(() => runner.ticks(must(board.vcpus[0])));
  return runner;
}

/** Resolves when the machine has ended. */
export async function runInstructionClock({ board, runner, io, slots, logs }: InstructionClockParts): Promise<void> {
  // Whoever made the machine is to hear its first words.
  await hostEvents();
  for (let turn = 0; ; turn++) {
    const slices = new Map<Vcpu, Slice>();
    for (const vcpu of board.vcpus) slices.set(vcpu, runner.slice(vcpu));
    logs.write();
    if (board.world.run !== RUN.running) return;
    io.serve();
    while (slots.underWay > 0) await hostEvents();
    io.serve();
    const isIdle = [...slices.values()].every((slice) => slice.kind === 'idle');
    if (isIdle) {
      const until = Math.min(
        ...[...slices.values()].map((slice) => (slice.kind === 'idle' ? slice.untilTicks : Number.POSITIVE_INFINITY)),
      );
      if (Number.isFinite(until)) for (const vcpu of board.vcpus) runner.skipTo(vcpu, Math.ceil(until));
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (turn % TURNS === 0 || isIdle) await hostEvents();
  }
}

function hostEvents(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
