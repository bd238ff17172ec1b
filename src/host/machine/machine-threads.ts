/**
 * The worker threads of a machine's process. They are started before there is a machine, because to load their modules
 * takes them as long as the main thread needs to build it; each waits for the message with what it is to do.
 */
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { must } from '../../base/assert.ts';
import { HostError } from '../../base/errors.ts';
import type { StoppedMessage, WorkerStart } from './vcpu-worker.ts';

export interface ThreadEvents {
  /** A thread failed, and with it the machine. */
  failed(error: HostError): void;
  /** A vCPU stopped the machine. */
  stopped(): void;
}

export class MachineThreads {
  readonly #workers: readonly Worker[];
  #events: ThreadEvents | undefined;
  #failure: HostError | undefined;

  /** A thread for each of so many vCPUs. */
  constructor(vcpus: number) {
    this.#workers = Array.from({ length: vcpus }, (_, id) => this.#make(id));
  }

  /** Runs the vCPUs, each on its thread. */
  start(starts: readonly WorkerStart[], events: ThreadEvents): void {
    this.#events = events;
    if (this.#failure !== undefined) events.failed(this.#failure);
    starts.forEach((start, i) => must(this.#workers[i]).postMessage(start));
  }

  async terminate(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #make(id: number): Worker {
    const worker = new Worker(new URL('./vcpu-worker.ts', import.meta.url), {
      name: `vcpu${id}`,
      env: { ...process.env, ...compileCache() },
    });
    worker.on('error', (error) => {
      const text = `processor ${id} failed: ${error instanceof Error ? error.message : error}`;
      this.#failure = new HostError('worker-failed', text, { cause: error });
      this.#events?.failed(this.#failure);
    });
    worker.on('message', (_: StoppedMessage) => this.#events?.stopped());
    return worker;
  }
}

/** Where this process keeps compiled modules its threads do, too: they are told by their environment alone. */
function compileCache(): { NODE_COMPILE_CACHE?: string } {
  const folder = getCompileCacheDir();
  // The folder within is the one of this Node's version.
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}
