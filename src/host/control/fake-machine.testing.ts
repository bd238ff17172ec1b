/**
 * A MachineHandle without a machine, for tests of everything that stands before one: its guest knows a handful of
 * commands, its console says what is typed. `fakeCreate` makes it, and keeps what was asked for.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import type {
  CreateMachine,
  ExecOptions,
  ExecResult,
  ExitStatus,
  MachineHandle,
  MachineInfo,
  MachineOptions,
} from '../machine/machine-api.ts';

const encoder = new TextEncoder();

export class FakeMachine implements MachineHandle {
  readonly exited: Promise<ExitStatus>;
  readonly options: MachineOptions;
  /** What was asked of it, in order. */
  readonly calls: string[] = [];
  readonly typed: Uint8Array[] = [];
  readonly #exit = Promise.withResolvers<ExitStatus>();
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  #state: MachineInfo['state'] = 'running';

  constructor(options: MachineOptions) {
    this.options = options;
    this.exited = this.#exit.promise;
    this.exited.then(() => {
      this.#state = 'ended';
    });
  }

  get info(): MachineInfo {
    return {
      name: this.options.name ?? 'fake',
      pid: process.pid,
      state: this.#state,
      cpus: this.options.cpus ?? 1,
      memoryBytes: this.options.memoryBytes ?? 512 << 20,
      startedAt: '2026-01-01T00:00:00.000Z',
      publish: this.options.publish ?? [],
    };
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What the guest prints. */
  say(text: string): void {
    for (const listener of this.#listeners) listener(encoder.encode(text));
  }

  writeConsole(bytes: Uint8Array): void {
    this.typed.push(bytes);
    this.say(Buffer.from(bytes).toString());
    if (Buffer.from(bytes).includes('poweroff')) this.end({ reason: 'poweroff', code: 0 });
  }

  /** Never, where it has no agent. */
  async ready(): Promise<void> {
    if (this.options.kernel === '/without/agent') await new Promise<void>(() => {});
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const collected = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    const out = (bytes: Uint8Array): unknown =>
      options.onStdout ? options.onStdout(bytes) : collected.stdout.push(bytes);
    const err = (bytes: Uint8Array): unknown =>
      options.onStderr ? options.onStderr(bytes) : collected.stderr.push(bytes);
    const code = await this.#command(argv, options, out, err);
    const join = (parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
    return { code, stdout: join(collected.stdout), stderr: join(collected.stderr) };
  }

  async pause(): Promise<void> {
    this.calls.push('pause');
    this.#state = 'paused';
  }

  async resume(): Promise<void> {
    this.calls.push('resume');
    this.#state = 'running';
  }

  async stop(options: { graceMs?: number } = {}): Promise<ExitStatus> {
    this.calls.push(`stop ${options.graceMs ?? 'default'}`);
    this.end({ reason: 'poweroff', code: 0 });
    return await this.exited;
  }

  async kill(): Promise<ExitStatus> {
    this.calls.push('kill');
    this.end({ reason: 'killed', code: 137 });
    return await this.exited;
  }

  async stats(): Promise<{ [name: string]: unknown }> {
    return { vcpus: [{ instructions: 42, exits: { mmio: 7 } }] };
  }

  end(status: ExitStatus): void {
    this.#exit.resolve(status);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #command(
    argv: readonly string[],
    options: ExecOptions,
    out: (bytes: Uint8Array) => unknown,
    err: (bytes: Uint8Array) => unknown,
  ): Promise<number> {
    const [name, ...args] = argv;
    switch (name) {
      case 'echo':
        out(encoder.encode(`${args.join(' ')}\n`));
        return 0;
      case 'warn':
        err(encoder.encode(`${args.join(' ')}\n`));
        return 1;
      case 'exit':
        return Number(args[0]);
      case 'env':
        out(encoder.encode(JSON.stringify([options.environment ?? {}, options.workingFolder ?? null])));
        return 0;
      case 'cat': {
        const { stdin } = options;
        for await (const bytes of stdin instanceof Uint8Array ? [stdin] : (stdin ?? [])) out(bytes);
        return 0;
      }
      case 'hang':
        out(encoder.encode('hanging\n'));
        await sleep(60_000, undefined, { ref: false, ...(options.signal ? { signal: options.signal } : {}) }).catch(
          () => {
            this.calls.push('hang was cancelled');
          },
        );
        options.signal?.throwIfAborted();
        return 0;
      case '/bin/sh':
        out(encoder.encode(`sh ran ${args.join(' ')}\n`));
        return 0;
      default:
        throw new OperatorError('no-such-command', `${name ?? ''} is not in the guest`, 'Use one that is');
    }
  }
}

/** A CreateMachine that makes fakes; `machines` holds them in order. */
export function fakeCreate(): { create: CreateMachine; machines: FakeMachine[] } {
  const machines: FakeMachine[] = [];
  return {
    machines,
    create: async (options) => {
      if (options.kernel === '/no/kernel') {
        throw new OperatorError('kernel-not-found', 'There is no kernel /no/kernel', 'Give the path of one');
      }
      const machine = new FakeMachine(options);
      machines.push(machine);
      return machine;
    },
  };
}
