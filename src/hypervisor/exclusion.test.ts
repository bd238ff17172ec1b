import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineMemory } from '../engine/index.ts';
import { Exclusion, exclusionBlock } from './exclusion.ts';

function exclusion(): Exclusion {
  const buffer = new SharedArrayBuffer(exclusionBlock.sizeBytes);
  return new Exclusion({ buffer } as unknown as MachineMemory, 0);
}

test('what is done within counts as inside, and no longer', () => {
  const barrier = exclusion();
  const done: string[] = [];
  const isInside = (): boolean => !barrier.within(1, () => false) && barrier.isUp;
  assert.equal(
    barrier.within(0, () => done.push('done') === 1),
    true,
  );
  assert.equal(
    barrier.within(0, () => false),
    false,
    'its result',
  );
  assert.throws(() => barrier.within(0, () => assert.fail('of the act')));
  // It waits for nobody.
  assert.ok(barrier.exclude(() => done.push('excluded')));
  assert.deepEqual(done, ['done', 'excluded']);
  assert.equal(isInside(), false);
});

test('a processor that is inside stays inside, also while somebody waits for it', () => {
  const barrier = exclusion();
  assert.ok(barrier.tryEnter(3));
  let excluded = false;
  // The other side of the barrier, on this thread: it is up, and its act has to wait.
  assert.ok(
    barrier.within(3, () => {
      assert.equal(excluded, false);
      return true;
    }),
  );
  barrier.leave(3);
  assert.ok(
    barrier.exclude(() => {
      excluded = true;
      assert.equal(
        barrier.within(3, () => assert.fail('nobody is let in')),
        false,
      );
    }),
  );
  assert.ok(excluded);
});
