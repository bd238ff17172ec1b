/**
 * Starts the worker threads of processors. The first one may be started ahead, by a command that is about to make a
 * machine, before it has loaded what it needs to know which: to start a worker takes as long as all of that.
 */
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { processorWorker } from '../package-files.ts';

/** A thread makes little garbage, and that for a moment. By default V8 lets it have 48 (measured: bench/memory.ts). */
const YOUNG_MIB = 3;

let spare: Worker | undefined;

/** Where it turns out that no machine is made, the thread keeps no process alive. */
export function startProcessorAhead(): void {
  const worker = startWorker(processorWorker, 'processor0');
  worker.unref();
  // Whoever wants it starts another, and hears of what is the matter.
  worker.once('error', () => {
    if (spare === worker) spare = undefined;
  });
  spare = worker;
}

/** The worker of processor `id`, which waits for what it is to do. */
export function takeProcessorWorker(id: number): Worker {
  if (id !== 0 || spare === undefined) return startWorker(processorWorker, `processor${id}`);
  const worker = spare;
  spare = undefined;
  worker.ref();
  return worker;
}

/** The machine has no use for it. */
export function endProcessorAhead(): void {
  void spare?.terminate();
  spare = undefined;
}

/** A worker of a machine. */
export function startWorker(entry: URL, name: string): Worker {
  return new Worker(entry, {
    name,
    env: { ...process.env, ...compileCache() },
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  });
}

/** Where this process keeps compiled modules its threads do, too: they are told by their environment alone. */
function compileCache(): { NODE_COMPILE_CACHE?: string } {
  const folder = getCompileCacheDir();
  // The folder within is the one of this Node's version.
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}
