/** The other thread of a test: reads decoded entries over and over, and counts those that are neither empty nor whole. */
import { parentPort } from 'node:worker_threads';

export interface ReaderStart {
  readonly buffer: ArrayBufferLike;
  /** Of the first entry, and how many there are. */
  readonly at: number;
  readonly entries: number;
  readonly whole: bigint;
  /** Words: 0 stops it when it is not 0; 1 is how often it has read all; 2 counts entries that were torn. */
  readonly words: Int32Array;
}

parentPort?.once('message', ({ buffer, at, entries, whole, words }: ReaderStart) => {
  const list = new BigUint64Array(buffer, at, entries);
  while (Atomics.load(words, 0) === 0) {
    for (let i = 0; i < entries; i++) {
      const entry = Atomics.load(list, i);
      if (entry !== 0n && entry !== whole) Atomics.add(words, 2, 1);
    }
    Atomics.add(words, 1, 1);
  }
  parentPort?.close();
});
