/** Switches thrown while a guest runs: what it sees is the same, and what is promoted follows. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BareMachine } from './bare-machine.testing.ts';
import { boardStats, type PromotionStats } from './board-stats.ts';
import { promotedSites } from './promoted-sites.ts';
import { PROMOTION_MODES, switchesOf, throwSwitches } from './switches.ts';

/** A CSR, the time and a device's register in a loop, and what became of them in registers. */
const program = `
start:
    li s0, 0x10000000
loop:
    csrrw a1, sscratch, s1
    rdtime a2
    lbu a3, 5(s0)
    add s2, s2, a1
    add s3, s3, a3
    addi s1, s1, 1
    j loop`;

const SLICES = 200;

function promotion({ board }: BareMachine): PromotionStats {
  return boardStats(board).promotion;
}

/** What the guest can see of itself. */
function seen({ board }: BareMachine): unknown {
  return board.vcpus.map(({ state }) => [state.pc, state.instret, [...state.x]]);
}

/** Runs, with these modes one after the other. */
function ran(...modes: readonly (typeof PROMOTION_MODES)[number][]): BareMachine {
  const machine = new BareMachine(program, { promotion: 'auto' });
  for (const mode of modes) {
    throwSwitches(machine.board, { promotion: mode });
    machine.run(SLICES);
  }
  return machine;
}

describe('promotion', () => {
  test('off: everything is demoted, and its bytes are given back; on again, it is promoted again', () => {
    const machine = ran('always');
    const on = promotion(machine);
    assert.deepEqual([on.mode, on.promoted >= 3, on.demoted, on.bytes > 0], ['always', true, 0, true]);
    assert.ok(on.executions > 1000 && on.accesses > 300, JSON.stringify(on));
    const sites = promotedSites(machine.board, 10);
    const texts = sites.map(({ text }) => text);
    for (const wanted of [/sscratch/, /time/, /^lbu a3, 5\(s0\)/])
      assert.ok(
        texts.some((one) => wanted.test(one)),
        texts.join('; '),
      );
    assert.equal(sites.length, on.promoted);
    assert.ok(sites.every(({ executions, at, physical }) => executions > 100 && at === physical));
    assert.equal(promotedSites(machine.board, 1).length, 1);

    throwSwitches(machine.board, { promotion: 'off' });
    machine.run(SLICES);
    const off = promotion(machine);
    assert.deepEqual(switchesOf(machine.board), { promotion: 'off' });
    assert.deepEqual(promotedSites(machine.board, 10), []);
    assert.deepEqual([off.mode, off.promoted, off.demoted, off.bytes], ['off', on.promoted, on.promoted, 0]);
    const { mmio = 0 } = boardStats(machine.board).exits;
    machine.run(SLICES);
    assert.equal(promotion(machine).accesses, off.accesses, 'nothing is done by promotion code any more');
    assert.ok((boardStats(machine.board).exits['mmio'] ?? 0) > mmio + 300, 'it leaves the engine each time');

    throwSwitches(machine.board, { promotion: 'always' });
    machine.run(SLICES);
    const again = promotion(machine);
    assert.ok(again.promoted > off.promoted && again.bytes > 0, JSON.stringify(again));
  });

  test('whatever is switched when, the guest runs the same', () => {
    const alone = seen(new BareMachine(program, { promotion: 'off' }).run(4 * SLICES));
    for (const modes of [
      ['off', 'always', 'off', 'auto'],
      ['always', 'off', 'off', 'always'],
      ['auto', 'auto', 'off', 'always'],
    ] as const)
      assert.deepEqual(seen(ran(...modes)), alone, modes.join(', '));
  });

  test('is what the machine was made with until it is switched', () => {
    for (const mode of PROMOTION_MODES)
      assert.deepEqual(switchesOf(new BareMachine(program, { promotion: mode }).board), { promotion: mode });
  });

  test('belongs to translation: without, there is no such switch', () => {
    const { board } = new BareMachine(program, { translate: false });
    assert.deepEqual(switchesOf(board), {});
    assert.throws(() => throwSwitches(board, { promotion: 'off' }), { code: 'translation-off' });
    throwSwitches(board, {});
  });
});
