/** A thread of churn.test.ts. */
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
