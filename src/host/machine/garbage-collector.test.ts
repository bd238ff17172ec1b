import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

const THREADS = 6;
const source = `
  const { parentPort } = require('node:worker_threads');
  import(${JSON.stringify(new URL('./garbage-collector.ts', import.meta.url).href)}).then(({ garbageCollector }) => {
    for (let i = 0; i < 100; i++) garbageCollector();
    garbageCollector()();
    parentPort.postMessage('collected');
  });
`;

test('threads that ask for it at the same time all get a collector', async () => {
  const workers = Array.from({ length: THREADS }, () => new Worker(source, { eval: true }));
  const answers = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]));
  assert.deepEqual(answers, Array(THREADS).fill('collected'));
});
