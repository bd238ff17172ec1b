/** Operations run without a turn of the event loop where they can, and as promises where they cannot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Operation, run, waitFor } from './operation.ts';

function* add(a: number, later: Promise<number> | undefined): Operation<number> {
  return a + (later === undefined ? 0 : yield* waitFor(later));
}

test('what waits for nothing is done at once', () => {
  assert.equal(run(add(1, undefined)), 1);
});

test('what waits goes on with what came', async () => {
  const result = run(add(1, Promise.resolve(2)));
  assert.ok(result instanceof Promise);
  assert.equal(await result, 3);
});

test('errors are thrown where the operation stands: it may go on, and its last words are heard', async () => {
  const heard: string[] = [];
  function* careful(first: Promise<number>, second: Promise<number>): Operation<number> {
    try {
      try {
        return yield* add(1, first);
      } catch {
        heard.push('first failed');
        return yield* add(10, second);
      }
    } finally {
      heard.push('finally');
    }
  }
  assert.equal(await run(careful(Promise.reject(new Error('no')), Promise.resolve(5))), 15);
  await assert.rejects(
    async () => await run(careful(Promise.reject(new Error('no')), Promise.reject(new Error('never')))),
    /never/,
  );
  assert.deepEqual(heard, ['first failed', 'finally', 'first failed', 'finally']);
  assert.throws(() => run(throwing()), /at once/);
});

// biome-ignore lint/correctness/useYield: it fails before it could wait
function* throwing(): Operation<number> {
  throw new Error('at once');
}
