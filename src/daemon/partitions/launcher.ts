/** Starts the machines of partitions: finds or fetches the image, then a process of its own, or a place beside another. */
import { availableParallelism } from 'node:os';
import {
  type DetachedProgram,
  type DetachedStart,
  type Images,
  type Progress,
  type RemoteMachine,
  startDetached,
} from '../../host/index.ts';
import { type Definition, partitionHome, type Store } from '../store/index.ts';
import type { Machines } from './machines.ts';
import { startOf } from './spec-options.ts';
import { Turns } from './turns.ts';

export interface LauncherOptions {
  readonly store: Store;
  /** Of records and logs (store/state-folder.ts). */
  readonly stateFolder: string;
  /** What runs a machine. */
  readonly program: DetachedProgram;
  readonly images: Images;
  /** Of sockets; the user's by default. */
  readonly runtimeFolder?: string;
  /** Aborts what is under way. */
  readonly signal: AbortSignal;
}

/** How a machine comes to run, for who knows more of that than what was declared: the process. */
export type Begin = (launching: Launching) => Promise<number>;

export interface Launching {
  /** What the machine's process would be told. */
  plan(signal: AbortSignal): Promise<DetachedStart>;
  /** Resolves when it answers; its turn comes when others have started. */
  run(start: DetachedStart, signal: AbortSignal): Promise<number>;
}

type OptionsBeside = Parameters<RemoteMachine['createPartition']>[0] & {
  readonly bootSnapshot?: boolean;
  readonly signal?: AbortSignal;
};

/** Machines that start at a time; their first second is the host's processors'. */
const STARTS_AT_A_TIME = Math.max(2, availableParallelism() * 2);

export class Launcher {
  readonly #options: LauncherOptions;
  readonly #machines: Machines;
  readonly #turns = new Turns(STARTS_AT_A_TIME);
  readonly #starting = new Set<string>();

  constructor(options: LauncherOptions, machines: Machines) {
    this.#options = options;
    this.#machines = machines;
  }

  isStarting(name: string): boolean {
    return this.#starting.has(name);
  }

  /** Resolves when it answers, and is written down. */
  async launch(definition: Definition, begin?: Begin): Promise<void> {
    const { name } = definition;
    const { store } = this.#options;
    this.#starting.add(name);
    try {
      store.add('starting', name);
      const pid = await (begin === undefined
        ? this.#turns.take(() => this.#start(definition))
        : begin(this.#launching(definition)));
      store.together(() => {
        store.update(name, { pid, startedAt: new Date().toISOString(), exit: undefined });
        store.add('started', name, { pid });
      });
    } catch (error) {
      const { message, code = 'bug' } = error as Error & { code?: string };
      store.add('start-failed', name, { code, message });
      throw error;
    } finally {
      this.#starting.delete(name);
    }
  }

  /** A process of its own that is no partition's machine yet: it stands by for one. Its pid. */
  async runApart(name: string, start: DetachedStart, signal: AbortSignal): Promise<number> {
    const { program, stateFolder, runtimeFolder } = this.#options;
    const all = AbortSignal.any([this.#options.signal, signal]);
    const where = runtimeFolder === undefined ? {} : { folder: runtimeFolder };
    return (await startDetached(program, { ...start, ...where, home: partitionHome(stateFolder, name) }, all)).pid;
  }

  /** What the partition's machine would be told; its image is here then. */
  async plan(name: string, spec: Definition['spec'], signal: AbortSignal): Promise<DetachedStart> {
    return await this.#plan(name, spec, AbortSignal.any([this.#options.signal, signal]));
  }

  #launching({ name, spec }: Definition): Launching {
    return {
      plan: (signal) => this.plan(name, spec, signal),
      run: (start, signal) => this.#turns.take(() => this.runApart(name, start, signal)),
    };
  }

  async #plan(name: string, spec: Definition['spec'], signal: AbortSignal): Promise<DetachedStart> {
    const { images, store } = this.#options;
    const progress = (done: Progress): void => {
      const at = new Date().toISOString();
      store.tell({ id: 0, at, kind: 'image-progress', partition: name, detail: { ...done } });
    };
    return await startOf(name, spec, images, { signal, progress });
  }

  /** The process that runs it. */
  async #start({ name, spec }: Definition): Promise<number> {
    const { signal } = this.#options;
    const start = await this.#plan(name, spec, signal);
    if (spec.beside === undefined) return await this.runApart(name, start, signal);
    await using machine = await this.#machines.reach(spec.beside);
    const { bootSnapshot: _, signal: __, ...options } = start.options as OptionsBeside;
    await machine.createPartition(options);
    return (await machine.info()).pid;
  }
}
