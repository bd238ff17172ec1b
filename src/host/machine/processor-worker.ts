/** The worker thread of a processor: waits for its machine, runs vCPUs until that ends (src/machine/processor-thread.ts). */
import { parentPort } from 'node:worker_threads';
import { machineHeader, type ProcessorStart, runProcessor } from '../../machine/index.ts';
import { QuickFile, type QuickFilePlace } from '../storage/quick-file.ts';
import { garbageCollector } from './garbage-collector.ts';
import { LeaseClock } from './lease-clock.ts';
import { ticksSince } from './thread-clock.ts';

export interface WorkerStart extends ProcessorStart {
  readonly epoch: bigint;
  /** Files of the machine's disks of which small requests may be done at once, by device. */
  readonly disks: Readonly<Record<string, QuickFilePlace>>;
}

/** What a processor tells the machine's main thread: that a vCPU stopped the machine. Why is in shared memory. */
export interface StoppedMessage {
  readonly partition: number;
  readonly hart: number;
}

let clock: LeaseClock | undefined;

/** Milliseconds of the clock that deadlines are of. */
function deadlineClockMs(suspendedMs: number): number {
  clock ??= new LeaseClock(suspendedMs);
  return clock.nowMs();
}

parentPort?.once('message', (start: WorkerStart) => {
  runProcessor(start, {
    ticks: ticksSince(start.epoch, machineHeader(start.memory.buffer)),
    wallMs: () => Date.now(),
    quickDisk: (id) => {
      const place = start.disks[id];
      return place && QuickFile.open(place);
    },
    deadlineClockMs,
    collectGarbage: garbageCollector(),
    stopped: (partition, hart) => parentPort?.postMessage({ partition, hart } satisfies StoppedMessage),
  });
});
