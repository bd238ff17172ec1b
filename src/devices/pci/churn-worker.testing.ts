/** A thread of churn.test.ts: joins the fabric in the memory that it is given, and lives a random life of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { churn, joinChurn } from './churn.testing.ts';

const { buffer, words, seed, steps } = workerData as {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly seed: number;
  readonly steps: number;
};

churn(joinChurn(buffer, words), seed, steps);
parentPort?.postMessage('done');
