import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BareMachine, START } from './bare-machine.testing.ts';
import { boardStats } from './board-stats.ts';

const program = `
    li s0, 0
outer:
    li s1, 1500
inner:
    addi s1, s1, -1
    bnez s1, inner
    addi s0, s0, 1
    li a7, 0x10
    ecall
    j outer`;

test('counters of translated code: made, standing, dropped by writes, evicted with all code', () => {
  const machine = new BareMachine(program, { hotThreshold: 20 }).run(40);
  const { translation, memory } = boardStats(machine.board);
  assert.ok(translation.regions > 0 && translation.inUse > 0 && translation.instructions >= translation.inUse);
  assert.ok(translation.modules > 0 && translation.moduleBytes > 100);
  assert.equal(translation.hostBytes % translation.moduleBytes, 0);
  assert.ok(memory.codeBytes > translation.moduleBytes + translation.hostBytes);
  assert.deepEqual([translation.dropped, translation.evicted, memory.codeFlushes], [0, 0, 0]);

  const { board } = machine;
  board.guestMemory.setUp(START, board.guestMemory.spans(START, 64, 'read')?.[0]?.slice() ?? assert.fail());
  const written = boardStats(board).translation;
  assert.deepEqual([written.dropped, written.inUse], [translation.inUse, 0]);

  // Counters of jumps that were hot before have to go round.
  machine.run(400);
  const { inUse } = boardStats(board).translation;
  assert.ok(inUse > 0);
  board.memory.dropCode();
  const after = boardStats(board);
  assert.deepEqual([after.translation.evicted, after.translation.inUse, after.memory.codeFlushes], [inUse, 0, 1]);
  assert.deepEqual([after.translation.modules, after.translation.moduleBytes, after.memory.codeBytes], [0, 0, 0]);
});

test('exits are counted by cause, by hart and together', () => {
  const machine = new BareMachine(program, { hotThreshold: 20, cpus: 2 }).run(40);
  const { exits, vcpus } = boardStats(machine.board);
  assert.ok((exits['budget'] ?? 0) > 0 && (exits['call'] ?? 0) > 0);
  for (const [cause, count] of Object.entries(exits))
    assert.equal(
      vcpus.reduce((sum, vcpu) => sum + (vcpu.exits[cause] ?? 0), 0),
      count,
      cause,
    );
});
