import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskWarnings } from './disk-warnings.ts';

test('the first failure of a disk is told at once, more of them together', () => {
  const told: string[] = [];
  let nowMs = 0;
  const warnings = new DiskWarnings(
    (text) => told.push(text),
    () => nowMs,
  );
  for (let i = 0; i < 3; i++) warnings.failed('disk0', `OUT at ${i}`, new Error('no space'));
  warnings.failed('disk1', 'FLUSH at 0', 'gone');
  assert.deepEqual(told.splice(0), ['disk0: OUT at 0 failed: no space', 'disk1: FLUSH at 0 failed: gone']);
  nowMs = 10_000;
  warnings.failed('disk0', 'OUT at 9', new Error('no space'));
  assert.deepEqual(told, ['disk0: OUT at 9 failed: no space (and 2 more since the last warning)']);
});
