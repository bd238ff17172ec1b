/**
 * The process of a guest's machine, or of its standby, as its host's master has it: a conversation that is begun anew when it
 * breaks, and the certain knowledge whether the process is there. One that stands still (SIGSTOP) is there, and does not answer.
 *
 *     there --its process is gone--> gone (told once)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError, OperatorError } from '../../base/errors.ts';
import { connectMachine, type ExitStatus, type RemoteMachine } from '../../host/index.ts';
import { endProcess, isThere, type ProcessId, processId } from './process-id.ts';

const AGAIN_MS = 100;
const STANDS_BY_MS = 500;
const LOOK_MS = 10;
/** A process that has told its machine's end has so long to end itself. */
const LINGER_MS = 3000;
/** What an order to end may take before the process is ended by the kernel. */
const TOLD_MS = 1000;

export class GuestProcess {
  readonly name: string;
  readonly id: ProcessId;
  readonly #folder: string;
  readonly #gone = Promise.withResolvers<ExitStatus | undefined>();
  readonly #closed = new AbortController();
  #machine: Promise<RemoteMachine> | undefined;

  constructor(name: string, id: ProcessId, folder: string) {
    this.name = name;
    this.id = id;
    this.#folder = folder;
    void this.#watch();
  }

  /** Rejects with HostError `machine-gone` where there is no such process any more. */
  static of(name: string, pid: number, folder: string): GuestProcess {
    const id = processId(pid);
    if (id === undefined) throw new HostError('machine-gone', `the process of ${name} has ended`);
    return new GuestProcess(name, id, folder);
  }

  /** Resolves when the process is gone: what it said of its end, if anything. Never, once this is closed. */
  get gone(): Promise<ExitStatus | undefined> {
    return this.#gone.promise;
  }

  get isThere(): boolean {
    return isThere(this.id);
  }

  /** Rejects with HostError `machine-silent` when the answer takes longer, and as `what` does. */
  async ask<T>(what: (machine: RemoteMachine) => Promise<T>, withinMs: number): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new HostError('machine-silent', `the machine ${this.name} does not answer`)),
      withinMs,
    );
    const answer = this.#reach().then(what);
    answer.catch(() => {}); // one that comes too late is nobody's any more
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Resolves when the process is gone. `asked`: the guest is asked to shut down, for so long; `told`: its machine ends, and says so
   * to its standby; `killed`: it ends as if its host had lost power.
   */
  async end(
    how: { readonly kind: 'asked'; readonly graceMs: number } | { readonly kind: 'told' | 'killed' },
  ): Promise<void> {
    if (how.kind !== 'killed') {
      const hears =
        how.kind === 'asked'
          ? this.ask((machine) => machine.stop({ graceMs: how.graceMs }), how.graceMs + TOLD_MS)
          : this.ask((machine) => machine.kill(), TOLD_MS);
      const hasEnded = await hears.then(() => true).catch(() => false);
      if (hasEnded) await this.#until(() => !this.isThere, LINGER_MS);
    }
    endProcess(this.id);
    while (this.isThere) await sleep(LOOK_MS);
    this.close();
  }

  /** The conversation ends, and the machine goes on. */
  close(): void {
    this.#closed.abort();
    void this.#drop();
  }

  async #reach(): Promise<RemoteMachine> {
    if (this.#closed.signal.aborted) throw new HostError('machine-gone', `the machine ${this.name} was left`);
    this.#machine ??= connectMachine(this.name, this.#folder);
    const mine = this.#machine;
    try {
      return await mine;
    } catch (error) {
      if (this.#machine === mine) this.#machine = undefined;
      throw error;
    }
  }

  async #drop(): Promise<void> {
    const machine = this.#machine;
    this.#machine = undefined;
    await machine?.then((one) => one[Symbol.asyncDispose]()).catch(() => {});
  }

  /** Its machine tells its end; or the conversation breaks, and the process is looked for. */
  async #watch(): Promise<void> {
    const { signal } = this.#closed;
    let status: ExitStatus | undefined;
    let waitMs = AGAIN_MS;
    while (!signal.aborted) {
      try {
        status = await (await this.#reach()).exited();
        await this.#until(() => !this.isThere || signal.aborted, LINGER_MS);
        if (!signal.aborted) endProcess(this.id);
      } catch (error) {
        // One that stands by has no end to wait for yet; the conversation is well.
        const standsBy = error instanceof OperatorError && error.code === 'machine-stands-by';
        waitMs = standsBy ? STANDS_BY_MS : AGAIN_MS;
        if (!standsBy) await this.#drop();
      }
      if (!this.isThere && !signal.aborted) {
        this.#gone.resolve(status);
        this.close();
        return;
      }
      await sleep(waitMs);
    }
  }

  async #until(condition: () => boolean, mostMs: number): Promise<void> {
    const end = performance.now() + mostMs;
    while (!condition() && performance.now() < end) await sleep(LOOK_MS);
  }
}
