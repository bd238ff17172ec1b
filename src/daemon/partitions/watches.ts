/**
 * A conversation with each machine that runs, by which the daemon learns at once that it ended, and how: the machine's process
 * answers `wait`, or, when it was killed, the conversation breaks.
 */
import { OperatorError } from '../../base/errors.ts';
import { connectMachine, type ExitStatus, type RemoteMachine } from '../../host/index.ts';

const AGAIN_MS = 500;

/** Undefined: its process is gone without a word. */
export type Ended = (name: string, status: ExitStatus | undefined) => void;

export class Watches implements AsyncDisposable {
  readonly #folder: string | undefined;
  readonly #ended: Ended;
  readonly #machines = new Map<string, RemoteMachine>();
  #isClosed = false;

  constructor(folder: string | undefined, ended: Ended) {
    this.#folder = folder;
    this.#ended = ended;
  }

  has(name: string): boolean {
    return this.#machines.has(name);
  }

  /** Resolves when the machine is watched, or is found to be gone; false then. */
  async watch(name: string): Promise<boolean> {
    if (this.#machines.has(name)) return true;
    let machine: RemoteMachine;
    try {
      machine = await connectMachine(name, this.#folder);
    } catch {
      return false;
    }
    if (this.#isClosed || this.#machines.has(name)) {
      await machine[Symbol.asyncDispose]();
      return true;
    }
    this.#machines.set(name, machine);
    const over = async (status: ExitStatus | undefined): Promise<void> => {
      if (this.#machines.get(name) !== machine) return;
      this.#machines.delete(name);
      await machine[Symbol.asyncDispose]();
      if (!this.#isClosed) this.#ended(name, status);
    };
    const wait = (): void => {
      machine.exited().then(over, (error: unknown) => {
        // One that stands by has no end to wait for yet.
        const isEarly = error instanceof OperatorError && error.code === 'machine-stands-by';
        if (isEarly && this.#machines.get(name) === machine) setTimeout(wait, AGAIN_MS).unref();
        else void over(undefined);
      });
    };
    wait();
    return true;
  }

  /** Nobody is told of its end. */
  async forget(name: string): Promise<void> {
    const machine = this.#machines.get(name);
    this.#machines.delete(name);
    await machine?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const machines = [...this.#machines.values()];
    this.#machines.clear();
    await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
  }
}
