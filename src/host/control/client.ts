/**
 * A machine of this user as seen from another process: the same verbs as a MachineHandle, over its control socket.
 * What comes back is checked as strictly as what goes in: the process on the other side may be compromised.
 */
import { connect } from 'node:net';
import { resolve } from 'node:path';
import type { Duplex } from 'node:stream';
import { HostError, OperatorError } from '../../base/errors.ts';
import type {
  AgentEvent,
  BalloonReport,
  CaptureOptions,
  CodeExplanation,
  ExecOptions,
  ExecResult,
  ExitStatus,
  ExplainRequest,
  ForkOptions,
  HotRegion,
  LeaseAnswer,
  LeaseGrant,
  MachineInfo,
  MachineStats,
  MigrateOptions,
  MigrationResult,
  NetChange,
  NetReport,
  PartitionOptions,
  PathEvent,
  PciReport,
  PromotedSite,
  PromoteOptions,
  Promotion,
  ProtectionChange,
  ProtectionReport,
  ReplicateOptions,
  ReplicationReport,
  SlotAction,
  SnapshotOptions,
  SnapshotResult,
  Switches,
  Violation,
  WarmOptions,
  WriteRate,
} from '../machine/machine-api.ts';
import { Connection } from './connection.ts';
import {
  type Method,
  notifications,
  type Params,
  pieces,
  protocolVersion,
  type Result,
  requests,
  type Wire,
} from './protocol.ts';
import { runtimeFolder, socketPath } from './runtime-folder.ts';
import { encodeData, ShapeError } from './shape.ts';
import { liveNames } from './sockets.ts';

type Channel = 'stdout' | 'stderr' | 'console';

const helloWithinMs = 10_000;
/** What a list waits for each machine: one that hangs must not hide the others. */
const infoWithinMs = 5_000;

export class RemoteMachine implements AsyncDisposable {
  readonly name: string;
  readonly #connection: Connection;
  readonly #hello = Promise.withResolvers<number>();
  readonly #streams = new Map<number, (channel: Channel, bytes: Uint8Array) => void>();
  #nextStream = 1;

  /** For a stream that is connected; `connectMachine` is the ordinary way. */
  constructor(name: string, stream: Duplex) {
    this.name = name;
    this.#hello.promise.catch(() => {});
    this.#connection = new Connection(stream, {
      request: async () => {
        throw new HostError('not-offered', 'clients answer no requests');
      },
      notify: (method, params) => {
        if (method === 'hello') this.#hello.resolve(notifications.hello(params, 'hello').protocol);
        else if (method === 'output') {
          const { stream, channel, data } = notifications.output(params, 'output');
          this.#streams.get(stream)?.(channel, data);
        }
      },
      closed: () => this.#hello.reject(new HostError('machine-gone', `the machine ${name} ended the conversation`)),
    });
  }

  /** Resolves when the machine has said a version that we speak. Errors: `protocol-mismatch`. */
  async greeted(): Promise<void> {
    const timer = setTimeout(() => {
      this.#hello.reject(new HostError('machine-silent', `the machine ${this.name} does not answer`));
    }, helloWithinMs);
    const protocol = await this.#hello.promise.finally(() => clearTimeout(timer));
    if (protocol === protocolVersion) return;
    throw new OperatorError(
      'protocol-mismatch',
      `The machine ${this.name} speaks version ${protocol} of the control protocol, this kage version ${protocolVersion}`,
      'Use the kage that started it',
    );
  }

  async info(): Promise<MachineInfo> {
    return await this.#call('info', {});
  }

  async replicate(options: ReplicateOptions): Promise<void> {
    await this.#call('replicate', options);
  }

  async unreplicate(): Promise<void> {
    await this.#call('unreplicate', {});
  }

  async replication(): Promise<ReplicationReport> {
    return await this.#call('replication', {});
  }

  /** Of a machine that stands by: the guest runs there from now on, with that deadline and those addresses of its drives. */
  async promote(given: PromoteOptions = {}): Promise<Promotion> {
    return await this.#call('promote', given);
  }

  /** A later deadline, as MachineHandle.lease does. */
  async lease(grant: LeaseGrant): Promise<LeaseAnswer> {
    return await this.#call('lease', grant);
  }

  /** The folder is found from where this process is. */
  async checkpoint(options: WarmOptions): Promise<void> {
    await this.#call('checkpoint', { ...options, folder: resolve(options.folder) });
  }

  async writeRate(overMs?: number): Promise<WriteRate> {
    return await this.#call('writeRate', overMs === undefined ? {} : { overMs });
  }

  async endCheckpoints(): Promise<void> {
    await this.#call('endCheckpoints', {});
  }

  async migrate(options: MigrateOptions): Promise<MigrationResult> {
    return await this.#call('migrate', options);
  }

  async stats(): Promise<MachineStats> {
    return await this.#call('stats', {});
  }

  /** What the translator makes of guest code, as MachineHandle.explain does. */
  async explain({ pc, hart = 0, ...level }: Partial<ExplainRequest> = {}): Promise<CodeExplanation> {
    return await this.#call('explain', { hart, ...level, ...(pc === undefined ? {} : { pc: `0x${pc.toString(16)}` }) });
  }

  async hotRegions(most = 20): Promise<readonly HotRegion[]> {
    return (await this.#call('hot', { most })).regions;
  }

  async promotedSites(most = 20): Promise<readonly PromotedSite[]> {
    return (await this.#call('sites', { most })).sites;
  }

  /** Switches of mechanisms, as MachineHandle.switches has them. */
  async switches(): Promise<Switches> {
    return await this.#call('switches', {});
  }

  async setSwitches(change: Switches): Promise<void> {
    await this.#call('setSwitches', change);
  }

  /** The guest's balloon, as MachineHandle.balloon does. */
  async balloon(): Promise<BalloonReport> {
    return await this.#call('balloon', {});
  }

  /** How much memory the guest is to make do with, as MachineHandle.setBalloon does. */
  async setBalloon(memoryBytes: number): Promise<void> {
    await this.#call('setBalloon', { memoryBytes });
  }

  /** Processors' worth of time that the guest may use at most, as MachineHandle.setCap does. */
  async setCap(cap: number): Promise<void> {
    await this.#call('setCap', { cap });
  }

  /** Root ports and what is in their slots, as MachineHandle.pci does. */
  async pci(): Promise<PciReport> {
    return await this.#call('pci', {});
  }

  /** Puts a card in, or takes it out, as MachineHandle.changeSlot does. */
  async changeSlot(port: string, action: SlotAction): Promise<void> {
    await this.#call('changeSlot', { port, action });
  }

  /** Interfaces and uplinks, as MachineHandle.net does. */
  async net(): Promise<NetReport> {
    return await this.#call('net', {});
  }

  async changeNet(change: NetChange): Promise<void> {
    await this.#call('changeNet', change);
  }

  async netEvents(since = 0): Promise<readonly PathEvent[]> {
    return (await this.#call('netEvents', { since })).events;
  }

  /** Frames as pcapng, until `signal` aborts or the machine ends. */
  async capture(options: CaptureOptions, write: (bytes: Uint8Array) => void, signal?: AbortSignal): Promise<void> {
    const params = { ...options };
    await this.#until((stream) => this.#call('capture', { stream, ...params }), write, signal);
  }

  /** Domains, what is denied to them, and what they tried, as MachineHandle.protection does. */
  async protection(): Promise<ProtectionReport> {
    return await this.#call('protection', {});
  }

  /** Takes rights from domains, or gives them back; resolves when that is in force on every hart and device. */
  async protect(change: ProtectionChange): Promise<void> {
    await this.#call('protect', change);
  }

  /** The latest accesses that protection tables forbade. */
  async violations(most = 100): Promise<readonly Violation[]> {
    return (await this.#call('violations', { most })).violations;
  }

  /** Resolves when the guest agent is ready. */
  async ready(): Promise<void> {
    await this.#call('ready', {});
  }

  /** From one beat of the guest's heart to the next, as MachineHandle.setHeartbeat does. */
  async setHeartbeat(intervalMs: number): Promise<void> {
    await this.#call('heartbeat', { intervalMs });
  }

  /** What happened to the guest as its agent tells, as MachineHandle.agentEvents does. */
  async agentEvents(since = 0, waitMs = 0): Promise<readonly AgentEvent[]> {
    return (await this.#call('agentEvents', { since, waitMs })).events;
  }

  async pause(): Promise<void> {
    await this.#call('pause', {});
  }

  async resume(): Promise<void> {
    await this.#call('resume', {});
  }

  /** Another guest, as MachineHandle.createPartition makes it, in the machine's process: the name to reach it by. */
  async createPartition(options: Omit<PartitionOptions, 'signal'>): Promise<string> {
    return (await this.#call('partition', options)).name;
  }

  /** A twin, as MachineHandle.fork makes it, in the machine's process: to be reached by its name. */
  async fork(options: Omit<ForkOptions, 'signal'> = {}): Promise<{ readonly name: string; readonly pausedMs: number }> {
    return await this.#call('fork', options);
  }

  /** As MachineHandle.snapshot; the machine's process writes the file. */
  async snapshot(file: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
    const { base, ...rest } = options;
    return await this.#call('snapshot', {
      ...rest,
      file: resolve(file),
      ...(base === undefined ? {} : { base: resolve(base) }),
    });
  }

  async stop(options: { graceMs?: number } = {}): Promise<ExitStatus> {
    return await this.#call('stop', options);
  }

  async kill(): Promise<ExitStatus> {
    return await this.#call('kill', {});
  }

  /** Resolves when the machine has ended. */
  async exited(): Promise<ExitStatus> {
    return await this.#call('wait', {});
  }

  /** What the console said lately. */
  async consoleHistory(): Promise<Uint8Array> {
    return (await this.#call('history', {})).data;
  }

  async writeConsole(bytes: Uint8Array): Promise<void> {
    for (const piece of pieces(bytes)) await this.#call('type', { data: encodeData(piece) });
  }

  /** Runs a command in the guest, as MachineHandle.exec does. */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    options.signal?.throwIfAborted();
    const collected = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    const stream = this.#open((channel, bytes) => {
      if (channel === 'console') return;
      const listener = channel === 'stdout' ? options.onStdout : options.onStderr;
      if (listener) listener(bytes);
      else collected[channel].push(bytes);
    });
    const cancel = (): void => this.#connection.notify('cancel', { stream });
    options.signal?.addEventListener('abort', cancel, { once: true });
    try {
      const ended = this.#call('exec', {
        stream,
        argv,
        ...(options.environment === undefined ? {} : { environment: options.environment }),
        ...(options.workingFolder === undefined ? {} : { workingFolder: options.workingFolder }),
      });
      void this.#feed(stream, options.stdin);
      const { code } = await ended;
      return { code, stdout: join(collected.stdout), stderr: join(collected.stderr) };
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', cancel);
      this.#streams.delete(stream);
    }
  }

  /** Console bytes, the latest history first, until `signal` aborts or the machine ends. */
  async attach(onBytes: (bytes: Uint8Array) => void, signal?: AbortSignal): Promise<void> {
    await this.#until((stream) => this.#call('attach', { stream }), onBytes, signal);
  }

  async #until(
    begin: (stream: number) => Promise<unknown>,
    onBytes: (bytes: Uint8Array) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const stream = this.#open((_channel, bytes) => onBytes(bytes));
    const cancel = (): void => this.#connection.notify('cancel', { stream });
    const ended = begin(stream);
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
    try {
      await ended;
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#streams.delete(stream);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
  }

  /** Input that the command does not read any more is no error: its exit code tells what happened. */
  async #feed(stream: number, stdin: ExecOptions['stdin']): Promise<void> {
    try {
      for await (const bytes of stdin instanceof Uint8Array ? [stdin] : (stdin ?? [])) {
        for (const piece of pieces(bytes)) await this.#call('input', { stream, data: encodeData(piece) });
      }
      await this.#call('input', { stream, data: '' });
    } catch (error) {
      if (!(error instanceof HostError)) this.#connection.notify('cancel', { stream });
    }
  }

  #open(listener: (channel: Channel, bytes: Uint8Array) => void): number {
    const stream = this.#nextStream;
    this.#nextStream += 1;
    this.#streams.set(stream, listener);
    return stream;
  }

  async #call<M extends Method>(method: M, params: Wire<Params<M>>): Promise<Result<M>> {
    const answer = await this.#connection.request(method, params);
    try {
      return requests[method].result(answer, method) as Result<M>;
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw new HostError('bad-answer', `the machine ${this.name} answered what makes no sense: ${error.message}`);
    }
  }
}

/** Reaches a running machine by name. Errors: `no-such-machine`, `protocol-mismatch`. */
export async function connectMachine(name: string, folder?: string): Promise<RemoteMachine> {
  const home = folder ?? (await runtimeFolder());
  const socket = connect(socketPath(home, name));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => reject(noSuchMachine(name, cause)));
  });
  const machine = new RemoteMachine(name, socket);
  try {
    await machine.greeted();
    return machine;
  } catch (error) {
    await machine[Symbol.asyncDispose]();
    throw error;
  }
}

/** Every running machine of this user, by asking its socket; those that do not answer are left out. */
export async function listMachines(folder?: string, withinMs = infoWithinMs): Promise<MachineInfo[]> {
  const home = folder ?? (await runtimeFolder());
  const asked = (await liveNames(home)).map(async (name) => {
    await using machine = await connectMachine(name, home);
    const timer = setTimeout(() => void machine[Symbol.asyncDispose](), withinMs);
    return await machine.info().finally(() => clearTimeout(timer));
  });
  const answers = await Promise.allSettled(asked);
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
}

function noSuchMachine(name: string, cause: unknown): OperatorError {
  const fix = 'See "kage ps" for those that are';
  return new OperatorError('no-such-machine', `No machine named ${name} is running`, fix, { cause });
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}
