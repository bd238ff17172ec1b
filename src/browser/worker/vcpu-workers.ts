/** The workers of a machine's processors, made before there is a machine: they load their code meanwhile. */
import type { WebVcpuStart } from './vcpu-worker.ts';

export class VcpuWorkers {
  readonly #workers: readonly Worker[];
  #failure: string | undefined;
  #onFailure: ((message: string) => void) | undefined;

  constructor(harts: number) {
    this.#workers = Array.from({ length: harts }, (_, id) => {
      const worker = new Worker(new URL('./vcpu-worker.ts', import.meta.url), { type: 'module', name: `vcpu${id}` });
      worker.addEventListener('error', (event) => {
        this.#failure ??= `processor ${id} failed: ${event.message || 'its code could not be loaded'}`;
        this.#onFailure?.(this.#failure);
      });
      return worker;
    });
  }

  /** `onFailure` hears of a worker that fails, or has failed already. */
  start(start: Omit<WebVcpuStart, 'vcpu' | 'translates'>, onFailure: (message: string) => void): void {
    this.#onFailure = onFailure;
    if (this.#failure !== undefined) onFailure(this.#failure);
    for (const [vcpu, worker] of this.#workers.entries())
      worker.postMessage({ ...start, vcpu, translates: 'here' } satisfies WebVcpuStart);
  }

  end(): void {
    for (const worker of this.#workers) worker.terminate();
  }
}
