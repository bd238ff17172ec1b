/**
 * The host's side of a conversation with the guest agent: commands with their streams, over any port that carries
 * bytes both ways. No I/O and no clock of its own; the machine's host code passes bytes in, and gets bytes to
 * write. A guest that breaks the protocol ends the session: everything that waits is told so.
 */
import { assert } from '../../base/assert.ts';
import { HostError } from '../../base/errors.ts';
import { Execution } from './execution.ts';
import {
  type Beat,
  encodeRequest,
  ProtocolError,
  protocolVersion,
  type Reply,
  ReplyReader,
  type Request,
} from './frames.ts';
import type { Frozen } from './guest-agent.ts';
import { type Command, commandScript } from './script.ts';

export interface AgentPort {
  /** Takes over the bytes; keeps them in order. */
  write(bytes: Uint8Array): void;
}

export interface AgentClock {
  /** Calls back once after so many milliseconds; the function it returns calls that off. */
  after(delayMs: number, callback: () => void): () => void;
}

export interface AgentSessionOptions {
  clock: AgentClock;
  /** A word that no earlier session with this guest used: [A-Za-z0-9_.-]{1,64}. */
  nonce: string;
  /** Executions are numbered from here; another number than an earlier session's that may have left some running. */
  firstId?: number;
  /** Says hello so much later, or when somebody wants something of the agent: a guest has other things to do first. Default: at once. */
  firstHelloMs?: number;
  /** Said to the agent as soon as it has answered, before any command. */
  firstWords?: () => readonly Request[];
}

export interface AgentInfo {
  version: number;
  /** The guest's random boot id: it differs after each boot. */
  bootId: string;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

export interface ExecOptions extends Command {
  /** Called with the command's output as it comes; the bytes are the callee's. */
  onStdout?: (bytes: Uint8Array) => void;
  onStderr?: (bytes: Uint8Array) => void;
  /** On abort the command and its process group are killed. */
  signal?: AbortSignal;
}

export interface Result {
  /** The command's own, 0 to 255; one that a signal ended has 128 and the signal's number, as in any shell. */
  exitCode: number;
  stdout: Uint8Array;
  stderr: Uint8Array;
}

const helloAgainMs = 1000;
const mostExecutions = 900;

export class AgentSession {
  readonly #port: AgentPort;
  readonly #options: AgentSessionOptions;
  readonly #reader = new ReplyReader();
  readonly #executions = new Map<number, Execution>();
  #ready = unheeded(Promise.withResolvers<AgentInfo>());
  readonly #pings = new Map<string, Waiter<void>>();
  readonly #freezes = new Map<number, Waiter<Frozen>>();
  readonly #thaws = new Map<number, Waiter<number>>();
  /** Of the freeze that lasts, unless the guest ended it by itself. */
  #frozenBy: number | undefined;
  #heart: { readonly intervalMs: number; heard(beat: Beat): void } | undefined;
  #isOld = false;
  #nextId: number;
  #nextPing = 1;
  #stopHello: (() => void) | undefined;
  #isPatient: boolean;
  #hasSaidFirstWords = false;
  #failure: HostError | undefined;
  /** What the guest said that concerns nobody: frames of an earlier session, and errors. */
  readonly counters = { strayFrames: 0, errors: 0 };
  /** The agent has answered, or is there no more. */
  onPresence: (() => void) | undefined;

  /** Says hello, and again each second until the agent answers: the guest may still be booting. */
  constructor(port: AgentPort, options: AgentSessionOptions) {
    assert(/^[\w.-]{1,64}$/.test(options.nonce), 'nonce must be a word');
    this.#port = port;
    this.#options = options;
    this.#nextId = options.firstId ?? 1;
    this.#isPatient = options.firstHelloMs !== undefined;
    if (options.firstHelloMs === undefined) this.#hello();
    else this.#stopHello = options.clock.after(options.firstHelloMs, () => this.#hello());
  }

  /** Resolves when the agent has answered, for the first time or after it was away, and asks for nothing. */
  get answered(): Promise<AgentInfo> {
    return this.#ready.promise;
  }

  /** The number of the next execution. */
  get nextId(): number {
    return this.#nextId;
  }

  /** Says hello now: the agent has just come to where it hears. */
  greet(): void {
    if (!this.#isPatient) this.#helloNow();
  }

  #helloNow(): void {
    if (this.#failure || this.#reader.synchronized) return;
    this.#stopHello?.();
    this.#hello();
  }

  /** Somebody waits for the agent. */
  #hurry(): void {
    if (this.#isPatient) this.#helloNow();
  }

  /** Bytes from the guest, cut anywhere. Never throws: a broken protocol ends the session. */
  onData(bytes: Uint8Array): void {
    if (this.#failure) return;
    try {
      this.#reader.push(bytes, (reply) => this.#take(reply));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close(new HostError('agent-protocol', error.message, { cause: error }));
    }
  }

  /**
   * The guest closed the port: its agent has ended, and what it was told to do. Whoever opens it again is asked who it is; what
   * comes until then waits for that.
   */
  cut(): void {
    this.#reader.cut();
    if (this.#failure || !this.#reader.synchronized) return;
    this.#reader.synchronized = false;
    this.#isOld = false;
    this.#ready = unheeded(Promise.withResolvers<AgentInfo>());
    this.#failAll(new HostError('agent-restarted', "the guest's agent has ended, or was started anew"));
    this.onPresence?.();
  }

  /** Resolves when the agent has answered; rejects when the session ends before, or on abort. */
  async ready(signal?: AbortSignal): Promise<AgentInfo> {
    this.#hurry();
    return await abortable(this.#ready.promise, signal);
  }

  /** Starts a command; see Execution for its input, its end and signals. Waits for nothing: order is kept. */
  exec(options: ExecOptions): Execution {
    const script = commandScript(options);
    if (this.#failure) throw this.#failure;
    options.signal?.throwIfAborted();
    if (this.#executions.size >= mostExecutions) {
      throw new HostError('agent-busy', `${mostExecutions} commands are running in the guest already`);
    }
    this.#hurry();
    const id = this.#takeId();
    const execution = new Execution(id, options, {
      send: (request) => this.#send(request),
      whenReady: this.#ready.promise,
      forget: () => this.#executions.delete(id),
    });
    this.#executions.set(id, execution);
    execution.start(script);
    return execution;
  }

  /** Runs a command to its end with the given input (default: none) and collects its output. */
  async run(options: ExecOptions & { stdin?: Uint8Array }): Promise<Result> {
    const stdout: Uint8Array[] = [];
    const stderr: Uint8Array[] = [];
    const execution = this.exec({
      ...options,
      onStdout: (bytes) => (options.onStdout ? options.onStdout(bytes) : stdout.push(bytes)),
      onStderr: (bytes) => (options.onStderr ? options.onStderr(bytes) : stderr.push(bytes)),
    });
    if (options.stdin) execution.writeStdin(options.stdin).catch(() => {}); // the exit code tells what went wrong
    execution.closeStdin();
    const { exitCode } = await execution.ended;
    return { exitCode, stdout: join(stdout), stderr: join(stderr) };
  }

  /** Resolves when the agent has answered: it is alive, and has read everything sent before. */
  async ping(signal?: AbortSignal): Promise<void> {
    await this.ready(signal);
    const nonce = `${this.#options.nonce.slice(0, 40)}.${this.#nextPing}`;
    this.#nextPing += 1;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pings.set(nonce, { resolve, reject });
    this.#send({ verb: 'ping', nonce });
    await abortable(promise, signal).finally(() => this.#pings.delete(nonce));
  }

  /** Whether the agent has answered. */
  get hasAnswered(): boolean {
    return this.#reader.synchronized && this.#failure === undefined;
  }

  /** An agent of before it could beat and freeze: known once it was asked to. */
  get isOld(): boolean {
    return this.#isOld;
  }

  /** Whether what was frozen still is, as far as the guest has said. */
  get isFrozen(): boolean {
    return this.#frozenBy !== undefined;
  }

  /** The guest is to beat at this interval (0: no more), by itself: nothing is sent to it meanwhile. */
  beat(intervalMs: number, heard: (beat: Beat) => void): void {
    assert(Number.isInteger(intervalMs) && intervalMs >= 0 && intervalMs <= 999_999_999, 'no interval');
    this.#heart = { intervalMs, heard };
    this.tell({ verb: 'beat', intervalMs });
  }

  /** A word for beats to carry. */
  tellHealth(word: string): void {
    if (!this.#isOld) this.tell({ verb: 'health', word });
  }

  /** Freezes file systems; they thaw by themselves after `limitMs`. HostError: `agent-refused`, `agent-too-old`. */
  async freeze(limitMs: number, signal?: AbortSignal): Promise<Frozen> {
    await this.ready(signal);
    const id = this.#takeId();
    return await this.#order({ verb: 'freeze', id, limitMs }, this.#freezes, id, signal);
  }

  /** Thaws what was frozen; how many file systems were. */
  async thaw(signal?: AbortSignal): Promise<number> {
    await this.ready(signal);
    const id = this.#takeId();
    this.#frozenBy = undefined;
    return await this.#order({ verb: 'thaw', id }, this.#thaws, id, signal);
  }

  async #order<T>(request: Request, waiters: Map<number, Waiter<T>>, id: number, signal?: AbortSignal): Promise<T> {
    if (this.#failure) throw this.#failure;
    if (this.#isOld) throw tooOld();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    waiters.set(id, { resolve, reject });
    this.#send(request);
    return await abortable(promise, signal).finally(() => waiters.delete(id));
  }

  #takeId(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  /** Says what no answer comes to, once the agent has answered; before that, and when the session has ended, nothing. */
  tell(request: Request): void {
    if (this.#reader.synchronized) this.#send(request);
  }

  /** Asks the guest to stop; the machine sees it happen, the session only that the asking was heard. */
  async shutdown(how: 'poweroff' | 'reboot' | 'halt' = 'poweroff', signal?: AbortSignal): Promise<void> {
    await this.ready(signal);
    this.#send({ verb: 'shutdown', how });
  }

  /** Ends the session: whatever waits rejects with `reason`. What runs in the guest goes on. */
  close(reason: HostError = new HostError('agent-closed', 'the connection to the guest agent was closed')): void {
    if (this.#failure) return;
    this.#failure = reason;
    this.#stopHello?.();
    this.#ready.reject(reason);
    this.#failAll(reason);
  }

  #failAll(reason: HostError): void {
    for (const waiters of [this.#pings, this.#freezes, this.#thaws])
      for (const { reject } of waiters.values()) reject(reason);
    this.#frozenBy = undefined;
    for (const execution of [...this.#executions.values()]) execution.fail(reason);
  }

  #hello(): void {
    this.#isPatient = false;
    this.#send({ verb: 'hello', nonce: this.#options.nonce });
    this.#stopHello = this.#options.clock.after(helloAgainMs, () => this.#hello());
  }

  #send(request: Request): void {
    if (!this.#failure) this.#port.write(encodeRequest(request));
  }

  #take(reply: Reply): void {
    switch (reply.verb) {
      case 'ready':
        if (reply.nonce === this.#options.nonce) this.#welcome(reply.version, reply.bootId);
        // The agent, or its whole guest, has started anew, and knows nothing of what was running.
        else if (reply.nonce === '-' && this.#reader.synchronized) {
          this.#failAll(new HostError('agent-restarted', 'the guest agent was started anew'));
          this.#isOld = false;
          this.#sayHeart();
        }
        return;
      case 'pong':
        this.#pings.get(reply.nonce)?.resolve();
        return;
      case 'stopping':
        return;
      case 'beat': {
        const { verb: _, ...beat } = reply;
        if (!this.#reader.synchronized) return;
        // It may have been told to beat by an earlier host.
        if (this.#heart === undefined || this.#heart.intervalMs === 0) this.#send({ verb: 'beat', intervalMs: 0 });
        else this.#heart.heard(beat);
        return;
      }
      case 'frozen':
        if (this.#freezes.has(reply.id)) this.#frozenBy = reply.id;
        this.#freezes.get(reply.id)?.resolve({ count: reply.count, left: reply.left });
        return;
      case 'thawed':
        this.#thaws.get(reply.id)?.resolve(reply.count);
        return;
      case 'expired':
        if (this.#frozenBy === reply.id) this.#frozenBy = undefined;
        return;
      case 'error':
        this.counters.errors += 1;
        this.#takeError(reply.id, reply.reason);
        return;
      default: {
        const execution = this.#reader.synchronized ? this.#executions.get(reply.id) : undefined;
        if (execution) execution.take(reply);
        else this.counters.strayFrames += 1;
      }
    }
  }

  #takeError(id: number | undefined, reason: string): void {
    if (id === undefined) {
      // Only what came after the first agents is unknown to any.
      if (reason !== 'unknown-verb' || !this.#reader.synchronized) return;
      this.#isOld = true;
      for (const waiters of [this.#freezes, this.#thaws]) for (const { reject } of waiters.values()) reject(tooOld());
      return;
    }
    const said = new HostError('agent-refused', `the guest agent says: ${reason}`);
    this.#executions.get(id)?.fail(said);
    this.#freezes
      .get(id)
      ?.reject(new HostError(`freeze-${reason.slice(0, 32)}`, freezeFailures[reason] ?? said.message));
  }

  #sayHeart(): void {
    if (this.#heart !== undefined && this.#heart.intervalMs > 0)
      this.#send({ verb: 'beat', intervalMs: this.#heart.intervalMs });
  }

  #welcome(version: number, bootId: string): void {
    if (this.#reader.synchronized) return; // the answer to a hello that was said twice
    if (version !== protocolVersion) {
      const message = `the guest's agent speaks version ${version} of the protocol, not ${protocolVersion}`;
      this.close(new HostError('agent-version', message));
      return;
    }
    this.#stopHello?.();
    this.#reader.synchronized = true;
    if (!this.#hasSaidFirstWords) for (const request of this.#options.firstWords?.() ?? []) this.#send(request);
    this.#hasSaidFirstWords = true;
    this.#sayHeart();
    this.#ready.resolve({ version, bootId });
    this.onPresence?.();
  }
}

const freezeFailures: Readonly<Record<string, string>> = {
  'already-frozen': 'file systems of the guest are frozen already',
  'no-fsfreeze': 'the guest has no fsfreeze (of util-linux, or busybox)',
  failed: 'the guest could not freeze a file system',
  'too-slow': 'the guest did not freeze its file systems in time, and thawed them',
};

function tooOld(): HostError {
  return new HostError('agent-too-old', "the guest's agent is of an earlier release: it cannot do that");
}

/** Whoever asks for it is told; nobody has to ask. */
function unheeded<T>(resolvers: PromiseWithResolvers<T>): PromiseWithResolvers<T> {
  resolvers.promise.catch(() => {});
  return resolvers;
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
