import assert from 'node:assert/strict';
import { test } from 'node:test';
import { untilDeadline } from './quick-slots.ts';

test('a disk is written at once up to the deadline, as the clock has it when it is written, and read whenever', () => {
  const world = { deadlineMs: 0, suspendedMs: 5 };
  const written: number[] = [];
  const disk = {
    read: () => true,
    write: (offset: number) => {
      written.push(offset);
      return true;
    },
    flush: () => true,
  };
  let nowMs = 100;
  const bounded = untilDeadline(
    disk,
    () => world,
    (suspendedMs) => nowMs + suspendedMs,
  );
  assert.equal(bounded.write(0, []), true, 'there is no deadline');
  world.deadlineMs = 1000;
  nowMs = 994.9;
  assert.equal(bounded.write(1, []), true);
  nowMs = 995;
  assert.deepEqual([bounded.write(2, []), bounded.read(2, [])], [false, true]);
  world.deadlineMs = 2000;
  assert.equal(bounded.write(3, []), true, 'a later one');
  assert.equal(untilDeadline(disk, () => world, undefined).write(4, []), false, 'nobody knows the time');
  assert.deepEqual(written, [0, 1, 3]);
});
