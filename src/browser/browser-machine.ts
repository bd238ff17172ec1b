/**
 * A machine in a web page, as the page sees it. The machine lives in a worker (worker/machine-worker.ts), so the page
 * stays free: with memory that threads share, each hart is a worker beside it; without, the one hart runs in it.
 */
import { must } from '../base/assert.ts';
import { HostError, OperatorError } from '../base/errors.ts';
import type { BoardStats, ExitStatus, PromotionMode } from '../machine/index.ts';
import type { Failure, FromMachine, MachineRequest, Progress, ToMachine } from './messages.ts';

export type MachineStats = BoardStats;

export interface BrowserMachineOptions {
  /** The kernel's address: a Linux Image or ELF, plain or in gzip. */
  readonly kernel: string | URL;
  readonly initrd?: string | URL;
  /** Addresses of raw disk images. What the guest writes stays in the page's memory and goes with the machine. */
  readonly drives?: readonly (string | URL)[];
  /** The kernel's command line. */
  readonly append?: string;
  /** Harts: 1 to 16 where the page can share memory, else 1. Default 1. */
  readonly cpus?: number;
  /** Guest memory in bytes, a multiple of 4096. Default 512 MiB. */
  readonly memoryBytes?: number;
  /** Bytes for decoded and translated code. Default 64 MiB. */
  readonly codeMemoryBytes?: number;
  /** Hot code is translated to WebAssembly. Default true; without, everything is interpreted. */
  readonly translate?: boolean;
  /** How often a jump target is reached before it is translated, 1 to 65535. */
  readonly hotThreshold?: number;
  /** Sensitive instructions that translated code does where they stand: none, the frequent ones (default), all. */
  readonly promotion?: PromotionMode;
  /** `rv64` with switches: `rv64,zba=off`. */
  readonly cpu?: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** Whether threads of this page may share memory: it was served with COOP and COEP headers (crossOriginIsolated). */
export function canShareMemory(): boolean {
  return globalThis.crossOriginIsolated && typeof SharedArrayBuffer === 'function';
}

export class BrowserMachine implements AsyncDisposable {
  /** Resolves when the machine has ended, however. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  readonly #worker: Worker;
  readonly #end = Promise.withResolvers<ExitStatus>();
  readonly #starting = Promise.withResolvers<void>();
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #questions: ((stats: MachineStats) => void)[] = [];
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  #last: MachineStats | undefined;

  /**
   * Fetches, builds and starts the machine. Rejects with OperatorError where the options do not fit or the files do
   * not boot, with HostError where a worker cannot be had, with the signal's reason when it aborts before.
   */
  static async start(options: BrowserMachineOptions): Promise<BrowserMachine> {
    options.signal?.throwIfAborted();
    const request = requestOf(options);
    const machine = new BrowserMachine(options.onProgress);
    const abort = (): void => machine.#starting.reject(options.signal?.reason);
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      machine.#tell({ kind: 'start', request });
      await machine.#starting.promise;
      return machine;
    } catch (error) {
      machine.#close({ reason: 'error', code: 125, message: 'the machine did not start' });
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', abort);
    }
  }

  private constructor(onProgress: ((progress: Progress) => void) | undefined) {
    this.exited = this.#end.promise;
    this.#onProgress = onProgress;
    this.#worker = new Worker(new URL('./worker/machine-worker.ts', import.meta.url), {
      type: 'module',
      name: 'machine',
    });
    this.#worker.addEventListener('message', (event: MessageEvent<FromMachine>) => this.#hear(event.data));
    this.#worker.addEventListener('error', (event) => {
      const message = event.message === '' ? "the machine's worker could not be loaded" : event.message;
      this.#fail({ code: 'worker-failed', message });
    });
  }

  /** Serial console: bytes out go to every listener; the function returned removes it. */
  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  writeConsole(bytes: Uint8Array): void {
    this.#tell({ kind: 'console', bytes });
  }

  pause(): void {
    this.#tell({ kind: 'pause' });
  }

  resume(): void {
    this.#tell({ kind: 'resume' });
  }

  /** Ends the machine at once. */
  async kill(): Promise<ExitStatus> {
    this.#tell({ kind: 'kill' });
    return await this.exited;
  }

  /** The counters that `kage stats` shows; those of its end once it has ended. */
  async stats(): Promise<MachineStats> {
    const answer = Promise.withResolvers<MachineStats>();
    this.#questions.push(answer.resolve);
    this.#tell({ kind: 'stats' });
    return await Promise.race([answer.promise, this.exited.then(() => must(this.#last, 'no counters yet'))]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #tell(message: ToMachine): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromMachine): void {
    switch (message.kind) {
      case 'progress':
        this.#onProgress?.(message.progress);
        break;
      case 'started':
        this.#starting.resolve();
        break;
      case 'failed':
        this.#fail(message.failure);
        break;
      case 'console':
        for (const listener of this.#listeners) listener(message.bytes);
        break;
      case 'stats':
        this.#last = message.stats;
        this.#questions.shift()?.(message.stats);
        break;
      case 'exited':
        this.#close(message.status);
        break;
    }
  }

  #fail(failure: Failure): void {
    const { code, message, fix } = failure;
    this.#starting.reject(fix === undefined ? new HostError(code, message) : new OperatorError(code, message, fix));
    this.#close({ reason: 'error', code: 125, message });
  }

  /** Workers that the machine's worker has started end with it. */
  #close(status: ExitStatus): void {
    this.#worker.terminate();
    this.#end.resolve(status);
  }
}

function requestOf(options: BrowserMachineOptions): MachineRequest {
  const cpus = options.cpus ?? 1;
  const shared = canShareMemory();
  if (!shared && cpus > 1)
    throw new OperatorError(
      'needs-shared-memory',
      `this page cannot share memory between threads, so ${cpus} harts are not possible`,
      'Serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or ask for one hart.',
    );
  const absolute = (address: string | URL): string => new URL(address, document.baseURI).href;
  return {
    kernel: absolute(options.kernel),
    ...(options.initrd === undefined ? {} : { initrd: absolute(options.initrd) }),
    drives: (options.drives ?? []).map(absolute),
    ...(options.append === undefined ? {} : { append: options.append }),
    ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
    cpus,
    ...(options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes }),
    ...(options.codeMemoryBytes === undefined ? {} : { codeMemoryBytes: options.codeMemoryBytes }),
    ...(options.translate === undefined ? {} : { translate: options.translate }),
    ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
    ...(options.promotion === undefined ? {} : { promotion: options.promotion }),
    shared,
  };
}
