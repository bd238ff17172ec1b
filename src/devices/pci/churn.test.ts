import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { CHURN_WORDS, churn, joinChurn } from './churn.testing.ts';

const THREADS = 3;
const STEPS = 12_000;

test('threads that use a fabric at once keep every pin in order, and leave it usable', async () => {
  const words = new Int32Array(new SharedArrayBuffer(4 * CHURN_WORDS.count));
  const machine = joinChurn(undefined, words);
  const { buffer } = machine;
  const others = Array.from({ length: THREADS }, async (_, i) => {
    const worker = new Worker(new URL('./churn-worker.testing.ts', import.meta.url), {
      workerData: { buffer, words, seed: i + 2, steps: STEPS },
    });
    await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    await worker.terminate();
  });
  churn(machine, 1, STEPS);
  await Promise.all(others);
  assert.equal(Atomics.load(words, CHURN_WORDS.violations), 0, 'assertions and deassertions alternate');
  assert.ok(Atomics.load(words, CHURN_WORDS.asserts) > 100, 'pins were asserted');
  assert.ok(Atomics.load(words, CHURN_WORDS.messages) > 10, 'messages were sent');
  // What pins show at the end is what their functions want.
  for (const { func } of machine.endpoints) {
    const shown = Atomics.load(words, func.requester & 1023);
    assert.equal(func.interrupts.state.asserted, shown, func.name);
  }
  for (const { func, slot } of machine.fabric.ports) {
    func.lock.with(() => slot.plug());
    assert.equal(
      func.lock.with(() => slot.isPresent),
      true,
    );
  }
  // No lock was left behind.
  churn(machine, 99, 500);
});
