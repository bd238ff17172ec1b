/**
 * Sees to it that partitions are as they are wanted: watches machines, starts those again whose policy asks for it, and, when
 * the daemon begins, finds those that run already.
 *
 *   not running --policy at start--> starting        running --ended--> stays | waits (back-off) --> starting
 */
import { type FSWatcher, watch } from 'node:fs';
import type { ExitRecord } from '../schemas/partition.ts';
import type { Definition } from '../store/index.ts';
import type { Partitions, Watcher } from './partitions.ts';
import { afterEnd, atDaemonStart } from './restart-policy.ts';
import { Watches } from './watches.ts';

/** Machines that others start are looked for when the folder of sockets changes, and so often anyway. */
const LOOK_MS = 5_000;
const SETTLE_MS = 200;

interface Waiting {
  readonly at: string;
  readonly timer: NodeJS.Timeout;
}

export class Supervisor implements Watcher, AsyncDisposable {
  readonly #partitions: Partitions;
  readonly #watches: Watches;
  readonly #waiting = new Map<string, Waiting>();
  #folderWatch: FSWatcher | undefined;
  #look: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(partitions: Partitions, folder: string) {
    this.#partitions = partitions;
    this.#watches = new Watches(folder, (name, status) => {
      void partitions
        .withLock(name, async () => {
          // The conversation broke, and the machine goes on: it was cut off, and is watched anew.
          if (status === undefined && (await partitions.machines.isLive(name)))
            return void (await this.#watches.watch(name));
          if (partitions.store.get(name) === undefined) partitions.store.add('ended', name, { ...status });
          else partitions.recordEnd(name, status);
        })
        .catch(() => {}); // the store is closed: so is the daemon
    });
  }

  /** Adopts what runs, and starts what policies ask for; resolves when all of that was begun. */
  static async begin(partitions: Partitions): Promise<Supervisor> {
    const folder = await partitions.machines.folder();
    const supervisor = new Supervisor(partitions, folder);
    await supervisor.#adopt();
    const due = partitions.store.list().filter((one) => !supervisor.#watches.has(one.name));
    // What ended meanwhile is written down before anybody is told to see to it.
    for (const { name } of due) await partitions.withLock(name, async () => partitions.recordEnd(name, undefined));
    partitions.superviseBy(supervisor);
    for (const { name } of due) {
      const definition = partitions.store.get(name);
      if (definition !== undefined && atDaemonStart(definition)) supervisor.#startIn(0, definition, 0);
    }
    supervisor.#lookAround(folder);
    return supervisor;
  }

  async started(name: string): Promise<void> {
    if (await this.#watches.watch(name)) return;
    // It ended before it was watched.
    this.#partitions.recordEnd(name, undefined);
  }

  async forget(name: string): Promise<void> {
    clearTimeout(this.#waiting.get(name)?.timer);
    this.#waiting.delete(name);
    await this.#watches.forget(name);
  }

  ended(definition: Definition, exit: ExitRecord, ranMs: number): void {
    if (this.#isClosed) return;
    const { name, policy, wanted, failures } = definition;
    const decision = afterEnd({ policy, wanted, exit, failures, ranMs });
    if (decision.kind === 'give-up') this.#partitions.store.add('given-up', name, { restarts: decision.failures });
    if (decision.kind === 'restart') this.#startIn(decision.delayMs, definition, decision.failures);
  }

  restartAt(name: string): string | undefined {
    return this.#waiting.get(name)?.at;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
    clearInterval(this.#look);
    clearTimeout(this.#settling);
    this.#folderWatch?.close();
    await this.#watches[Symbol.asyncDispose]();
  }

  #startIn(delayMs: number, { name }: Definition, failures: number): void {
    const at = new Date(Date.now() + delayMs).toISOString();
    this.#partitions.store.add('restart-scheduled', name, { at, delayMs, failures });
    const timer = setTimeout(() => {
      void this.#startAgain(name, failures).catch(() => {}); // the store is closed, or full: the next daemon tries again
    }, delayMs);
    this.#waiting.set(name, { at, timer });
  }

  async #startAgain(name: string, failures: number): Promise<void> {
    const mine = this.#waiting.get(name);
    try {
      await this.#partitions.startAgain(name, failures);
    } catch {
      // The event says why. One that does not start is tried again as one that ended at once.
      const definition = this.#isClosed ? undefined : this.#partitions.store.get(name);
      if (definition !== undefined && this.#waiting.get(name) === mine)
        this.ended(definition, { reason: 'error', code: 125, at: new Date().toISOString() }, 0);
    } finally {
      if (this.#waiting.get(name) === mine) this.#waiting.delete(name);
    }
  }

  /** Watches every machine that is not watched yet. */
  async #adopt(): Promise<void> {
    for (const name of await this.#partitions.machines.names()) {
      if (this.#isClosed || this.#watches.has(name) || this.#partitions.isStarting(name)) continue;
      await this.#partitions.withLock(name, async () => {
        if (this.#watches.has(name) || !(await this.#watches.watch(name))) return;
        const managed = await this.#partitions.adopt(name);
        this.#partitions.store.add('adopted', name, { managed });
      });
    }
  }

  #lookAround(folder: string): void {
    const look = (): void => void this.#adopt().catch(() => {}); // the folder may be gone at the end of a test, or of a session
    this.#look = setInterval(look, LOOK_MS);
    this.#folderWatch = watch(folder, () => {
      this.#settling ??= setTimeout(() => {
        this.#settling = undefined;
        look();
      }, SETTLE_MS).unref();
    });
    this.#folderWatch.on('error', () => {}); // looks in intervals go on
  }
}
