/** Starts the machines of partitions: finds or fetches the image, then a process of its own, or a place beside another. */
import { availableParallelism } from 'node:os';
import {
  type DetachedProgram,
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
  /** Aborts what is under way. */
  readonly signal: AbortSignal;
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
  async launch(definition: Definition): Promise<void> {
    const { name } = definition;
    const { store } = this.#options;
    this.#starting.add(name);
    try {
      store.add('starting', name);
      const pid = await this.#turns.take(() => this.#start(definition));
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

  /** The process that runs it. */
  async #start({ name, spec }: Definition): Promise<number> {
    const { images, signal, program, store, stateFolder } = this.#options;
    const progress = (done: Progress): void => {
      const at = new Date().toISOString();
      store.tell({ id: 0, at, kind: 'image-progress', partition: name, detail: { ...done } });
    };
    const start = await startOf(name, spec, images, { signal, progress });
    if (spec.beside === undefined)
      return (await startDetached(program, { ...start, home: partitionHome(stateFolder, name) }, signal)).pid;
    await using machine = await this.#machines.reach(spec.beside);
    const { bootSnapshot: _, signal: __, ...options } = start.options as OptionsBeside;
    await machine.createPartition(options);
    return (await machine.info()).pid;
  }
}
