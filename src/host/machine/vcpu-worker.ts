/** The worker thread of a processor: waits for its vCPU, runs it until the machine ends (src/machine/vcpu-thread.ts). */
import { parentPort } from 'node:worker_threads';
import { runVcpu, type VcpuStart } from '../../machine/index.ts';
import { garbageCollector } from './garbage-collector.ts';
import { ticksSince } from './thread-clock.ts';

export interface WorkerStart extends VcpuStart {
  readonly epoch: bigint;
}

/** What a processor tells the machine's main thread: that its vCPU stopped the machine. Why is in shared memory. */
export interface StoppedMessage {
  readonly vcpu: number;
}

parentPort?.once('message', (start: WorkerStart) => {
  runVcpu(start, {
    ticks: ticksSince(start.epoch),
    wallMs: () => Date.now(),
    collectGarbage: garbageCollector(),
    stopped: (vcpu) => parentPort?.postMessage({ vcpu } satisfies StoppedMessage),
  });
});
