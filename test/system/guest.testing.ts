/**
 * A machine under test: its console as text that a test waits for and types into, and its agent as `run`. Every
 * machine ends with its test, and one that hangs is ended by its time limit, with what its console said last.
 */
import { findImage, type GuestImage, pullDebianImage } from '../../src/host/images/index.ts';
import {
  createMachine,
  type ExecOptions,
  type MachineHandle,
  type MachineOptions,
  type RestoreOptions,
  restoreMachine,
} from '../../src/host/machine/index.ts';

/** `CODE_MEMORY_MIB=8 npm run test:system` gives every machine of the tests so little code memory. */
const codeMemoryMib = process.env['CODE_MEMORY_MIB'];
const codeMemory = codeMemoryMib === undefined ? {} : { codeMemoryBytes: Number(codeMemoryMib) * 2 ** 20 };

/** Ends what hangs; what works needs a fraction of it even on a busy machine. */
const LIMIT_MS = 240_000;
/** Of suites that run code in an unusual way (test/long/thresholds.ts), little code memory is full thousands of times. */
const PATIENCE = process.env['KAGEMUSHA_TEST_TRANSLATE'] === undefined ? 1 : 5;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Guest implements AsyncDisposable {
  readonly machine: MachineHandle;
  readonly #limit: NodeJS.Timeout;
  readonly #ended = new AbortController();
  #text = '';
  #seen = 0;
  #heard: () => void = () => {};

  static async start(options: MachineOptions, limitMs = LIMIT_MS): Promise<Guest> {
    return new Guest(await createMachine({ ...codeMemory, ...options }), limitMs * PATIENCE);
  }

  /** The machine of a snapshot. */
  static async restore(file: string, options: RestoreOptions = {}, limitMs = LIMIT_MS): Promise<Guest> {
    return new Guest(await restoreMachine(file, options), limitMs * PATIENCE);
  }

  /** A machine, or a partition of one, that was made otherwise. */
  static of(machine: MachineHandle, limitMs = LIMIT_MS): Guest {
    return new Guest(machine, limitMs * PATIENCE);
  }

  private constructor(machine: MachineHandle, limitMs: number) {
    this.machine = machine;
    this.#limit = setTimeout(() => {
      this.#ended.abort(new Error(`still running after ${limitMs} ms; its console:\n${this.#text.slice(-2000)}`));
      void machine.kill();
    }, limitMs);
    machine.onConsole((bytes) => {
      this.#text += Buffer.from(bytes).toString('latin1');
      this.#heard();
    });
    void machine.exited.then(() => {
      clearTimeout(this.#limit);
      this.#ended.abort(new Error(`the machine has ended; its console:\n${this.#text.slice(-2000)}`));
      this.#heard();
    });
  }

  /** All that the console has said. */
  get console(): string {
    return this.#text;
  }

  /** Types on the serial console. */
  type(text: string): void {
    this.machine.writeConsole(new TextEncoder().encode(text));
  }

  /** Waits until the console has said `pattern` behind what was waited for before; returns what it said up to there. */
  async shows(pattern: RegExp): Promise<string> {
    for (;;) {
      const rest = this.#text.slice(this.#seen);
      const match = pattern.exec(rest);
      if (match) {
        const end = match.index + match[0].length;
        this.#seen += end;
        return rest.slice(0, end);
      }
      if (this.#ended.signal.aborted) throw new Error(`no ${pattern}`, { cause: this.#ended.signal.reason });
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  /** Runs a script in the guest's shell, through the agent. */
  async run(script: string, options: ExecOptions = {}): Promise<Ran> {
    const { code, stdout, stderr } = await this.machine.exec(['sh', '-c', script], {
      signal: this.#ended.signal,
      ...options,
    });
    return { code, stdout: Buffer.from(stdout).toString('utf8'), stderr: Buffer.from(stderr).toString('utf8') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.kill();
  }
}

/** Debian's kernel and our initramfs, made if they are not there. */
export async function debianImage(): Promise<GuestImage> {
  return (await findImage('debian')) ?? (await pullDebianImage());
}
