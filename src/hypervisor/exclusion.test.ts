import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MachineMemory } from '../engine/index.ts';
import { Exclusion, exclusionBlock } from './exclusion.ts';

function exclusion(): { readonly of: Exclusion; readonly buffer: SharedArrayBuffer } {
  const buffer = new SharedArrayBuffer(exclusionBlock.sizeBytes);
  return { of: new Exclusion({ buffer } as unknown as MachineMemory, 0), buffer };
}

test('what is done within counts as inside, and no longer', () => {
  const barrier = exclusion();
  const done: string[] = [];
  const inside = new Int32Array(barrier.buffer, exclusionBlock.offset.inside, 2);
  const act = (): boolean => {
    done.push(`inside ${inside.join()}`);
    return true;
  };
  assert.equal(barrier.of.within(1, act), true);
  assert.equal(
    barrier.of.within(0, () => false),
    false,
    'its result',
  );
  assert.throws(() => barrier.of.within(0, () => assert.fail('of the act')));
  assert.deepEqual([...inside], [0, 0]);
  // So it waits for nobody.
  assert.ok(barrier.of.exclude(() => done.push('excluded')));
  assert.deepEqual(done, ['inside 0,1', 'excluded']);
});

test('a processor that is inside stays inside; one that is outside is not let in while others are kept out', () => {
  const { of } = exclusion();
  assert.ok(of.tryEnter(3));
  assert.ok(of.within(3, () => true));
  let waited = false;
  of.leave(3);
  assert.ok(
    of.exclude(() => {
      waited = true;
      assert.equal(
        of.within(3, () => assert.fail('nobody is let in')),
        false,
      );
    }),
  );
  assert.ok(waited);
});
