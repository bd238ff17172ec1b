/** Bare harts whose code is translated on a thread of its own, at times that nobody knows, for tests. */
import { Worker } from 'node:worker_threads';
import type { BareHartOptions, HotCode } from '../engine/engine.testing.ts';
import { type MachineMemory, type MemoryShape, type Signature, type VcpuState, vcpuState } from '../engine/index.ts';
import { Random } from '../engine/random.testing.ts';
import { DEFAULT_TRANSLATION, type TranslatorOptions } from './options.ts';
import { RemoteTranslator } from './translator.ts';

/** What the worker gets (elsewhere-worker.testing.ts). */
export interface ElsewhereStart {
  readonly memory: WebAssembly.Memory;
  readonly shape: MemoryShape;
  readonly module: WebAssembly.Module;
  readonly signatures: ReadonlyMap<string, Signature>;
  readonly cpu: string;
  readonly options: TranslatorOptions;
  readonly at: number;
}

/** How long the hart may wait for the other thread, at the most. */
const PATIENCE_MS = 20;

/**
 * The hart waits for its translations now and then, by chance of `seed`; otherwise it goes on, and they come when they
 * come.
 */
export function translatingElsewhere(setting: {
  readonly cpu: string;
  readonly seed: number;
  readonly options?: Partial<TranslatorOptions>;
}): { translate: () => BareHartOptions['translate']; end: () => Promise<void> } {
  const workers: Worker[] = [];
  const options = { ...DEFAULT_TRANSLATION, threshold: 1, batch: 2, ...setting.options };
  const translate =
    (): BareHartOptions['translate'] =>
    ({ memory, processor, module, signatures }): HotCode => {
      const remote = new RemoteTranslator(memory, processor, options);
      const random = new Random(setting.seed);
      return {
        start(state) {
          remote.start(state);
          const worker = new Worker(new URL('./elsewhere-worker.testing.ts', import.meta.url));
          workers.push(worker);
          const at = state.hotQueue.byteOffset - vcpuState.offset.hotQueue;
          const { cpu } = setting;
          const start = { memory: memory.memory, shape: memory.shape, module, signatures, cpu, options, at };
          worker.postMessage(start satisfies ElsewhereStart);
        },
        prepare(state) {
          if (random.chance(0.5)) waitForTranslations(memory, state);
          return remote.prepare(state);
        },
      };
    };
  return { translate, end: async () => void (await Promise.all(workers.map((worker) => worker.terminate()))) };
}

/** Until the queue is empty and a module was made of it, or it takes too long. */
function waitForTranslations({ header }: MachineMemory, { hotQueueEnds }: VcpuState): void {
  const before = header.regionsMade;
  if (Atomics.load(hotQueueEnds, 0) === Atomics.load(hotQueueEnds, 1)) return;
  const until = performance.now() + PATIENCE_MS;
  while (header.regionsMade === before && performance.now() < until);
}
