/**
 * A hypervisor of its own on a whole board (bare-hypervisor.testing.ts): guest-page faults with what htval and htinst must
 * hold, virtual interrupts, timers of both levels, and fences that one hart asks another for; in each mode of the second stage.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RUN } from '../hypervisor/index.ts';
import { BareHypervisor, checkHypervisor, STAGE_MODES, type StageMode } from './bare-hypervisor.testing.ts';
import { BareMachine, START } from './bare-machine.testing.ts';
import type { BoardOptions } from './board-config.ts';

const MOST_SLICES = 2000;

/** Runs it to its end; its memory behind START then. */
function memoryAfter(hypervisor: BareHypervisor, options: BoardOptions): DataView {
  const machine = new BareMachine('start: j start', { nested: true, cpus: 2, ...options });
  const { board } = machine;
  assert.ok(board.guestMemory.setUp(START, hypervisor.bytes));
  for (let i = 0; i < MOST_SLICES && board.world.run === RUN.running; i++) machine.run(1);
  const memory = new Uint8Array(hypervisor.bytes.length);
  assert.ok(board.guestMemory.read(START, memory));
  const view = new DataView(memory.buffer);
  assert.equal(board.world.run, RUN.poweroff, `ended by itself; trapped: ${hypervisor.trapped(view).length}`);
  return view;
}

const switches: readonly BoardOptions[] = [
  {},
  { combinedShadows: false },
  { translate: false, shadows: 1 },
  { promotion: 'always', protection: false },
];

for (const mode of Object.keys(STAGE_MODES) as StageMode[])
  describe(`a hypervisor with two guests, ${mode}`, () => {
    for (const options of switches)
      test(JSON.stringify(options), () => {
        const hypervisor = new BareHypervisor(mode);
        const memory = memoryAfter(hypervisor, options);
        checkHypervisor(hypervisor, memory);
      });
  });
