import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedLock } from './lock.ts';

test('who gives up on a lock does not have it, and who finds it free has', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const lock = new SharedLock(words, 1);
  assert.equal(
    lock.acquireUnless(() => true),
    true,
    'free',
  );
  let asked = 0;
  assert.equal(
    lock.acquireUnless(() => ++asked === 500),
    false,
  );
  assert.equal(asked, 500);
  lock.release();
  assert.deepEqual([...words], [0, 0]);
  // Given back meanwhile.
  lock.acquire();
  asked = 0;
  const isOff = (): boolean => {
    if (++asked === 300) lock.release();
    return false;
  };
  assert.equal(lock.acquireUnless(isOff), true);
  assert.equal(words[1], 1);
});

test('who tries a lock has it at once, or not', () => {
  const lock = new SharedLock(new Int32Array(new SharedArrayBuffer(4)), 0);
  assert.equal(lock.tryAcquire(), true);
  assert.equal(lock.tryAcquire(), false);
  lock.release();
  assert.equal(lock.tryAcquire(), true);
});
