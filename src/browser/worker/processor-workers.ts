/**
 * The workers of a machine's processors, made before there is a machine: they load their code meanwhile. One more
 * translates for them, made when the machine starts: nothing is hot before.
 */

import type { WebProcessorStart } from './processor-worker.ts';
import type { WebTranslationStart } from './translation-worker.ts';

export class ProcessorWorkers {
  readonly #workers: readonly Worker[];
  #translator: Worker | undefined;
  #failure: string | undefined;
  #onFailure: ((message: string) => void) | undefined;

  constructor(processors: number) {
    this.#workers = Array.from({ length: processors }, (_, id) => {
      const worker = new Worker(new URL('./processor-worker.ts', import.meta.url), {
        type: 'module',
        name: `processor${id}`,
      });
      return this.#watch(worker, `processor ${id}`);
    });
  }

  /** `onFailure` hears of a worker that fails, or has failed already. */
  start(start: Omit<WebProcessorStart, 'processor' | 'translates'>, onFailure: (message: string) => void): void {
    this.#onFailure = onFailure;
    if (this.#failure !== undefined) onFailure(this.#failure);
    const isElsewhere = start.config.translation !== undefined && navigator.hardwareConcurrency > 1;
    const translates = isElsewhere ? 'elsewhere' : 'here';
    for (const [processor, worker] of this.#workers.entries())
      worker.postMessage({ ...start, processor, translates } satisfies WebProcessorStart);
    if (!isElsewhere) return;
    const url = new URL('./translation-worker.ts', import.meta.url);
    this.#translator = this.#watch(new Worker(url, { type: 'module', name: 'translator' }), 'the translator');
    this.#translator.postMessage(start satisfies WebTranslationStart);
  }

  end(): void {
    for (const worker of this.#workers) worker.terminate();
    this.#translator?.terminate();
  }

  #watch(worker: Worker, name: string): Worker {
    worker.addEventListener('error', (event) => {
      this.#failure ??= `${name} failed: ${event.message || 'its code could not be loaded'}`;
      this.#onFailure?.(this.#failure);
    });
    return worker;
  }
}
