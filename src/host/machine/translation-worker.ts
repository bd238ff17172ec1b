/** The worker thread that translates for a machine's processors (src/machine/translation-thread.ts). */
import { parentPort } from 'node:worker_threads';
import { runTranslation, type ThreadStart } from '../../machine/index.ts';
import { garbageCollector } from './garbage-collector.ts';
import { ticksSince } from './thread-clock.ts';

export interface TranslationWorkerStart extends ThreadStart {
  readonly epoch: bigint;
}

parentPort?.once('message', (start: TranslationWorkerStart) =>
  runTranslation(start, { ticks: ticksSince(start.epoch), collectGarbage: garbageCollector() }),
);
