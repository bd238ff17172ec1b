/**
 * The worker threads of a machine's process: one for each vCPU, and one that translates for them. Those of vCPUs are
 * started before there is a machine, because to load their modules takes them as long as the main thread needs to build
 * it; each waits for the message with what it is to do. The one that translates has time until something is hot: it
 * does not compete with these.
 */
import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import type { HeapInfo } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { HostError } from '../../base/errors.ts';
import { translationWorker, vcpuWorker } from '../package-files.ts';
import type { TranslationWorkerStart } from './translation-worker.ts';
import type { StoppedMessage, WorkerStart } from './vcpu-worker.ts';

/** A thread makes little garbage, and that for a moment. By default V8 lets it have 48 (measured: bench/memory.ts). */
const YOUNG_MIB = 3;

export interface ThreadHeap {
  readonly thread: string;
  readonly heap: HeapInfo;
}

export interface ThreadEvents {
  /** A thread failed, and with it the machine. */
  failed(error: HostError): void;
  /** A vCPU stopped the machine. */
  stopped(): void;
}

export class MachineThreads {
  readonly #vcpus: readonly Worker[];
  readonly #translates: boolean;
  #translator: Worker | undefined;
  #events: ThreadEvents | undefined;
  #failure: HostError | undefined;

  /** On a host with a single processor nobody could translate while a vCPU runs: there, vCPUs do it themselves. */
  constructor(options: { readonly vcpus: number; readonly translates: boolean }) {
    this.#vcpus = Array.from({ length: options.vcpus }, (_, id) => this.#make(vcpuWorker, `vcpu${id}`));
    for (const worker of this.#vcpus) worker.on('message', (_: StoppedMessage) => this.#events?.stopped());
    this.#translates = options.translates && availableParallelism() > 1;
  }

  /** Runs the vCPUs, each on its thread. */
  start(start: Omit<WorkerStart, 'vcpu' | 'translates'>, events: ThreadEvents): void {
    this.#events = events;
    if (this.#failure !== undefined) events.failed(this.#failure);
    const translates = this.#translates ? 'elsewhere' : 'here';
    for (const [vcpu, worker] of this.#vcpus.entries())
      worker.postMessage({ ...start, vcpu, translates } satisfies WorkerStart);
    if (!this.#translates) return;
    this.#translator = this.#make(translationWorker, 'translator');
    this.#translator.postMessage(start satisfies TranslationWorkerStart);
  }

  async terminate(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** What V8 says of the heaps of threads that live. */
  async heaps(): Promise<readonly ThreadHeap[]> {
    const heaps = await Promise.allSettled(this.#workers.map(async (worker) => await worker.getHeapStatistics()));
    return heaps.flatMap((heap, i) =>
      heap.status === 'fulfilled'
        ? [{ thread: i < this.#vcpus.length ? `vcpu${i}` : 'translator', heap: heap.value }]
        : [],
    );
  }

  get #workers(): readonly Worker[] {
    return this.#translator === undefined ? this.#vcpus : [...this.#vcpus, this.#translator];
  }

  #make(entry: URL, name: string): Worker {
    const worker = new Worker(entry, {
      name,
      env: { ...process.env, ...compileCache() },
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    worker.on('error', (error) => {
      const text = `thread ${name} failed: ${error instanceof Error ? error.message : error}`;
      this.#failure = new HostError('worker-failed', text, { cause: error });
      this.#events?.failed(this.#failure);
    });
    return worker;
  }
}

/** Where this process keeps compiled modules its threads do, too: they are told by their environment alone. */
function compileCache(): { NODE_COMPILE_CACHE?: string } {
  const folder = getCompileCacheDir();
  // The folder within is the one of this Node's version.
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}
