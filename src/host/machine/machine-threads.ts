/**
 * The worker threads of a machine's process: its processors, and one that translates for them. Those are
 * started before there is a machine, because to load their modules takes them as long as the main thread needs to build
 * it; each waits for the message with what it is to do. The one that translates has time until something is hot: it
 * does not compete with these.
 */
import { availableParallelism } from 'node:os';
import type { HeapInfo } from 'node:v8';
import type { Worker } from 'node:worker_threads';
import { HostError } from '../../base/errors.ts';
import { translationWorker } from '../package-files.ts';
import type { StoppedMessage, WorkerStart } from './processor-worker.ts';
import { startWorker, takeProcessorWorker } from './processor-worker-start.ts';
import type { TranslationWorkerStart } from './translation-worker.ts';

export interface ThreadHeap {
  readonly thread: string;
  readonly heap: HeapInfo;
}

export interface ThreadEvents {
  /** A thread failed, and with it the machine. */
  failed(error: HostError): void;
  /** A hart of that partition stopped it. */
  stopped(partition: number): void;
}

export class MachineThreads {
  readonly #processors: readonly Worker[];
  /** One of them translates for the others. */
  readonly translates: boolean;
  #translation: TranslationWorkerStart | undefined;
  #translator: Worker | undefined;
  #later: NodeJS.Timeout | undefined;
  #events: ThreadEvents | undefined;
  #failure: HostError | undefined;

  /** On a host with a single processor nobody could translate while a vCPU runs: there, vCPUs do it themselves. */
  constructor(options: { readonly processors: number; readonly translates: boolean }) {
    this.#processors = Array.from({ length: options.processors }, (_, id) =>
      this.#watched(takeProcessorWorker(id), `processor${id}`),
    );
    for (const worker of this.#processors)
      worker.on('message', ({ partition }: StoppedMessage) => this.#events?.stopped(partition));
    this.translates = options.translates && availableParallelism() > 1;
  }

  /** The processors begin to run vCPUs. */
  start(start: Omit<WorkerStart, 'processor' | 'translates'>, events: ThreadEvents): void {
    this.#events = events;
    if (this.#failure !== undefined) events.failed(this.#failure);
    const translates = this.translates ? 'elsewhere' : 'here';
    for (const [processor, worker] of this.#processors.entries())
      worker.postMessage({ ...start, processor, translates } satisfies WorkerStart);
    this.#translation = start;
  }

  /** Starts the thread that translates, now or in a while: what it loads would hold up whoever makes the machine. */
  startTranslator({ delayMs }: { readonly delayMs: number }): void {
    if (delayMs > 0) {
      this.#later = setTimeout(() => this.startTranslator({ delayMs: 0 }), delayMs).unref();
      return;
    }
    if (!this.translates || this.#translation === undefined || this.#translator !== undefined) return;
    this.#translator = this.#watched(startWorker(translationWorker, 'translator'), 'translator');
    this.#translator.postMessage(this.#translation);
  }

  async terminate(): Promise<void> {
    clearTimeout(this.#later);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** What V8 says of the heaps of threads that live. */
  async heaps(): Promise<readonly ThreadHeap[]> {
    const heaps = await Promise.allSettled(this.#workers.map(async (worker) => await worker.getHeapStatistics()));
    return heaps.flatMap((heap, i) =>
      heap.status === 'fulfilled'
        ? [{ thread: i < this.#processors.length ? `processor${i}` : 'translator', heap: heap.value }]
        : [],
    );
  }

  get #workers(): readonly Worker[] {
    return this.#translator === undefined ? this.#processors : [...this.#processors, this.#translator];
  }

  #watched(worker: Worker, name: string): Worker {
    worker.on('error', (error) => {
      const text = `thread ${name} failed: ${error instanceof Error ? error.message : error}`;
      this.#failure = new HostError('worker-failed', text, { cause: error });
      this.#events?.failed(this.#failure);
    });
    return worker;
  }
}
