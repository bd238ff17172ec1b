/**
 * The worker thread that translates for a machine's processors (src/machine/translation-thread.ts). Where there are not
 * enough of the host's, it is the one that waits: what it makes saves time later, what they execute is wanted now.
 */
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { machineHeader, runTranslation, type ThreadStart } from '../../machine/index.ts';
import { garbageCollector } from './garbage-collector.ts';
import { ticksSince } from './thread-clock.ts';

export interface TranslationWorkerStart extends ThreadStart {
  readonly epoch: bigint;
}

/** As nice(1) counts: a third of an ordinary thread's share, while others want it. */
const NICE = 5;

// On Linux it is the calling thread's alone.
if (process.platform === 'linux') setPriority(0, NICE);
parentPort?.once('message', (start: TranslationWorkerStart) => {
  runTranslation(start, {
    ticks: ticksSince(start.epoch, machineHeader(start.memory.buffer)),
    collectGarbage: garbageCollector(),
  });
});
