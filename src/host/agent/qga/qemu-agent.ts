/**
 * QEMU's guest agent in the place of ours: what the host asks of a guest, in its commands (qemu-ga-ref(7)). It cannot do
 * all that ours does: a command's input is given before it starts, its output comes when it has ended (16 MiB of each
 * stream at most), it does not beat by itself, and does not thaw by itself what it froze: the host does, in time.
 */
import { HostError, OperatorError } from '../../../base/errors.ts';
import { integer, optional, record, type Shape, ShapeError, text, truth } from '../../control/shape.ts';
import type { ExecOptions, ExecResult } from '../../machine/machine-api.ts';
import type { Frozen, GuestAgent } from '../guest-agent.ts';
import { commandScript } from '../script.ts';
import type { AgentClock, AgentPort } from '../session.ts';
import { QgaConversation } from './conversation.ts';

export interface QemuAgentOptions {
  readonly clock: AgentClock;
  readonly random: () => number;
  /** The guest goes on from a snapshot, or is a twin: what time it is, and what no other guest has. */
  readonly restored?: () => { readonly wallMs: number; readonly entropy: Uint8Array };
}

/** What Linux takes as one word of a command line, with room for what stands around it. */
const SCRIPT_BYTES = 120_000;
const INPUT_BYTES = 16 << 20;
/** What QEMU's agent keeps of each stream. */
const OUTPUT_BYTES = 16 << 20;
/** Of a reply with both in base64. */
const STATUS_BYTES = Math.ceil(OUTPUT_BYTES / 3) * 4 * 2 + 4096;
const POLL_MS = { first: 20, most: 500 } as const;
/** Input that does not begin within so long is taken to be none. */
const INPUT_WITHIN_MS = 300;
const FILE_SYSTEMS = 100_000;

const nothing: Shape<undefined> = () => undefined;
const pid = record({ pid: integer(1, 2 ** 31 - 1) });
const info = record({ version: text(64) });
const count = integer(0, FILE_SYSTEMS);

const base64: Shape<Uint8Array> = (value, at) => {
  const encoded = text(Math.ceil(OUTPUT_BYTES / 3) * 4)(value, at);
  if (encoded.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) throw new ShapeError(`${at} is not base64`);
  return new Uint8Array(Buffer.from(encoded, 'base64'));
};

const execStatus = record({
  exited: truth,
  exitcode: optional(integer(-(2 ** 31), 2 ** 31 - 1)),
  signal: optional(integer(0, 255)),
  'out-data': optional(base64),
  'err-data': optional(base64),
  'out-truncated': optional(truth),
  'err-truncated': optional(truth),
});
type ExecStatus = ReturnType<typeof execStatus>;

export class QemuAgent implements GuestAgent {
  readonly kind = 'qemu';
  readonly beatsByItself = false;
  /** For whoever has the port. */
  readonly conversation: QgaConversation;
  readonly #clock: AgentClock;
  #version: string | undefined;
  #isFrozen = false;
  #cancelThaw: (() => void) | undefined;

  constructor(port: AgentPort, { clock, random, restored }: QemuAgentOptions) {
    this.#clock = clock;
    this.conversation = new QgaConversation(port, {
      clock,
      random,
      first: async (call) => {
        const { version } = await call('guest-info', {}, info);
        // It is shown on terminals.
        this.#version = version.replaceAll(/[^\w.+:~-]/g, '?');
        if (restored !== undefined) await this.#tellRestored(call, restored());
      },
    });
  }

  get version(): string | undefined {
    return this.#version;
  }

  get hasAnswered(): boolean {
    return this.conversation.isReady;
  }

  set onPresence(told: (() => void) | undefined) {
    this.conversation.onPresence = told;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  async ready(signal?: AbortSignal): Promise<void> {
    await this.conversation.ready(signal);
  }

  async ping(signal?: AbortSignal): Promise<void> {
    await this.conversation.call('guest-ping', {}, nothing, { signal });
  }

  async shutdown(signal?: AbortSignal): Promise<void> {
    await this.conversation.tell('guest-shutdown', { mode: 'powerdown' }, signal);
  }

  beat(): void {}

  tellHealth(): void {}

  async freeze(limitMs: number, signal?: AbortSignal): Promise<Frozen> {
    // A freeze that came too late to be told of is to be undone all the same.
    this.#cancelThaw = this.#clock.after(limitMs, () => void this.thaw().catch(() => undefined));
    try {
      const frozen = await this.conversation.call('guest-fsfreeze-freeze', {}, count, { timeoutMs: limitMs, signal });
      this.#isFrozen = true;
      return { count: frozen, left: 0 };
    } catch (error) {
      await this.thaw().catch(() => undefined);
      throw error;
    }
  }

  async thaw(signal?: AbortSignal): Promise<number> {
    this.#cancelThaw?.();
    this.#isFrozen = false;
    return await this.conversation.call('guest-fsfreeze-thaw', {}, count, { signal });
  }

  async execute(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const script = scriptOf(argv, options);
    options.signal?.throwIfAborted();
    const late = new AbortController();
    const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal]);
    const input = await this.#input(options.stdin, late, signal);
    const started = await this.conversation.call(
      'guest-exec',
      {
        path: 'setsid',
        arg: ['/bin/sh', '-c', script],
        'capture-output': true,
        ...(input.length === 0 ? {} : { 'input-data': Buffer.from(input).toString('base64') }),
      },
      pid,
      { signal: options.signal },
    );
    try {
      return resultOf(await this.#end(started.pid, signal), options);
    } catch (error) {
      if (signal.aborted) this.#kill(started.pid);
      throw error;
    }
  }

  /** Resolves when the command has ended, and its output is complete. */
  async #end(command: number, signal: AbortSignal): Promise<ExecStatus> {
    for (let delayMs: number = POLL_MS.first; ; delayMs = Math.min(delayMs * 1.5, POLL_MS.most)) {
      await this.#sleep(delayMs, signal);
      const status = await this.conversation.call('guest-exec-status', { pid: command }, execStatus, {
        limitBytes: STATUS_BYTES,
        signal,
      });
      if (status.exited) return status;
    }
  }

  #kill(command: number): void {
    const args = { path: '/bin/sh', arg: ['-c', `kill -KILL -${command}`] };
    this.conversation.call('guest-exec', args, pid).catch(() => undefined);
  }

  /** All of a command's input; what begins later than that ends the command by `late`, for it cannot be given any more. */
  async #input(stdin: ExecOptions['stdin'], late: AbortController, signal: AbortSignal): Promise<Uint8Array> {
    if (stdin === undefined || stdin instanceof Uint8Array) return checkedInput(stdin ?? new Uint8Array());
    const parts: Uint8Array[] = [];
    let bytes = 0;
    let hasStarted = false;
    const begun = Promise.withResolvers<void>();
    const all = (async () => {
      for await (const part of stdin) {
        if (hasStarted) {
          late.abort(inputTooLate());
          return;
        }
        begun.resolve();
        bytes += part.length;
        parts.push(part);
        if (bytes > INPUT_BYTES) break;
      }
    })();
    all.catch(() => undefined);
    await Promise.race([all, begun.promise, this.#sleep(INPUT_WITHIN_MS, signal)]);
    if (bytes > 0) await all;
    hasStarted = true;
    return checkedInput(Buffer.concat(parts));
  }

  async #sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        cancel();
        reject(signal.reason);
      };
      const cancel = this.#clock.after(delayMs, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Each by itself: an agent that may not do the one may do the other. */
  async #tellRestored(
    call: QgaConversation['call'],
    { wallMs, entropy }: { readonly wallMs: number; readonly entropy: Uint8Array },
  ): Promise<void> {
    const attempts = [
      // Whoever froze it was another's host.
      () => call('guest-fsfreeze-thaw', {}, count),
      () => call('guest-set-time', { time: BigInt(wallMs) * 1_000_000n }, nothing),
      () => {
        const input = Buffer.from(entropy).toString('base64');
        return call('guest-exec', { path: '/bin/sh', arg: ['-c', 'cat > /dev/urandom'], 'input-data': input }, pid);
      },
    ];
    for (const attempt of attempts) await attempt().catch(() => undefined);
  }
}

function scriptOf(argv: readonly string[], { environment, workingFolder }: ExecOptions): string {
  const script = commandScript({
    argv,
    ...(environment === undefined ? {} : { env: environment }),
    cwd: workingFolder ?? '/',
  });
  if (script.length <= SCRIPT_BYTES) return `export HOME="\${HOME:-/root}"\n${Buffer.from(script).toString('utf8')}`;
  const fix = "Give it as input, or put Kagemusha's agent into the guest (kage agent install)";
  throw new OperatorError('bad-command', "the command is longer than QEMU's guest agent takes", fix);
}

function checkedInput(input: Uint8Array): Uint8Array {
  if (input.length <= INPUT_BYTES) return input;
  const fix = "Give less, or put Kagemusha's agent into the guest (kage agent install)";
  throw new OperatorError('input-too-long', "QEMU's guest agent takes 16 MiB of input at most", fix);
}

function inputTooLate(): OperatorError {
  return new OperatorError(
    'input-too-late',
    "QEMU's guest agent takes a command's input before it starts, and this came later: the command was ended",
    "Give the input at once (from a file), or put Kagemusha's agent into the guest (kage agent install)",
  );
}

function resultOf(status: ExecStatus, options: ExecOptions): ExecResult {
  const stdout = status['out-data'] ?? new Uint8Array();
  const stderr = status['err-data'] ?? new Uint8Array();
  const give = (bytes: Uint8Array, take: ExecOptions['onStdout']): Uint8Array => {
    if (take === undefined) return bytes;
    if (bytes.length > 0) take(bytes);
    return new Uint8Array();
  };
  const result = { stdout: give(stdout, options.onStdout), stderr: give(stderr, options.onStderr) };
  if (status['out-truncated'] || status['err-truncated'])
    throw new HostError('output-cut', "the command said more than QEMU's guest agent keeps (16 MiB): the rest is lost");
  const code = status.signal !== undefined && status.signal > 0 ? 128 + status.signal : (status.exitcode ?? 0);
  return { code: code & 0xff, ...result };
}
