/**
 * A MachineHandle without a machine, for tests of everything that stands before one: its guest knows a handful of
 * commands, its console says what is typed. `fakeCreate` makes it, and keeps what was asked for.
 *
 * Long: one method for each of MachineHandle.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import type { NetworkPaths } from '../../network/index.ts';
import { ConsoleHistory } from '../machine/console-history.ts';
import type {
  AgentEvent,
  BalloonReport,
  CaptureOptions,
  CodeExplanation,
  CreateMachine,
  ExecOptions,
  ExecResult,
  ExitStatus,
  ExplainRequest,
  ForkOptions,
  HotRegion,
  LeaseAnswer,
  LeaseGrant,
  LeaseReport,
  MachineHandle,
  MachineInfo,
  MachineOptions,
  MigrateOptions,
  MigrationResult,
  NetChange,
  NetReport,
  PartitionOptions,
  PathEvent,
  PciReport,
  PromotedSite,
  ProtectionChange,
  ProtectionReport,
  ProtectionRule,
  ReplicateOptions,
  ReplicationReport,
  RestoreMachine,
  SlotAction,
  SnapshotOptions,
  SnapshotResult,
  Switches,
  Violation,
  WarmOptions,
  WriteRate,
} from '../machine/machine-api.ts';
import {
  fakeCheck,
  fakeEvents,
  fakeExplanation,
  fakeFunction,
  fakeNothing,
  fakePaths,
  fakeViolation,
} from './fake-reports.testing.ts';

const encoder = new TextEncoder();

export class FakeMachine implements MachineHandle {
  readonly exited: Promise<ExitStatus>;
  readonly options: MachineOptions;
  /** What was asked of it, in order. */
  readonly calls: string[] = [];
  /** Commands, in order. */
  readonly ran: (readonly string[])[] = [];
  balloonTarget = 1 << 29;
  hasCard = true;
  readonly typed: Uint8Array[] = [];
  readonly rules: ProtectionRule[] = [];
  /** Two uplinks on one segment, and an interface. */
  readonly paths: NetworkPaths;
  readonly #exit = Promise.withResolvers<ExitStatus>();
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #history = new ConsoleHistory();
  #state: MachineInfo['state'] = 'running';
  #peer: string | undefined;
  #warm: string | undefined;

  constructor(options: MachineOptions) {
    this.options = options;
    this.paths = fakePaths(this.info.name);
    this.exited = this.#exit.promise;
    this.exited.then(() => {
      this.#state = 'ended';
    });
    // One that is told to ends soon after it has begun.
    const [, code] = /ends=(\d+)/.exec(options.append ?? '') ?? [];
    if (code !== undefined) setTimeout(() => this.end({ reason: 'failure', code: Number(code) }), 20);
  }

  get info(): MachineInfo {
    const { lease } = this.options;
    return {
      ...(lease === undefined ? {} : { lease: this.#lease ?? { ...lease, isExpired: false } }),
      name: this.options.name ?? 'fake',
      pid: process.pid,
      state: this.#state,
      cpus: this.options.cpus ?? 1,
      memoryBytes: this.options.memoryBytes ?? 512 << 20,
      startedAt: '2026-01-01T00:00:00.000Z',
      publish: this.options.publish ?? [],
      ...(this.options.health === undefined
        ? {}
        : { health: { status: 'healthy', failingStreak: 0, log: [fakeCheck] } }),
      agent: { kind: 'kagemusha', version: '1', heartbeat: { state: 'off', intervalMs: 0, heard: 0, missed: 0 } },
    };
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  consoleHistory(): Uint8Array {
    return this.#history.bytes();
  }

  #promotion: NonNullable<Switches['promotion']> = 'auto';

  async switches(): Promise<Switches> {
    return { promotion: this.#promotion };
  }

  async setSwitches({ promotion = this.#promotion }: Switches): Promise<void> {
    this.#promotion = promotion;
  }

  async snapshot(file: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
    this.calls.push(`snapshot ${file} ${JSON.stringify(options)}`);
    if (file.endsWith('.full')) throw new OperatorError('snapshot-not-written', 'the disk is full', 'Make room');
    if (options.stop) await this.kill();
    const result = { id: 'fake', file, sizeBytes: 4096, pages: 1, pausedMs: 0.5 };
    return options.quiesce ? { ...result, quiesced: { count: 2, left: 1 } } : result;
  }

  /** What the guest prints. */
  say(text: string): void {
    this.#history.push(encoder.encode(text));
    for (const listener of this.#listeners) listener(encoder.encode(text));
  }

  writeConsole(bytes: Uint8Array): void {
    this.typed.push(bytes);
    this.say(Buffer.from(bytes).toString());
    if (Buffer.from(bytes).includes('poweroff')) this.end({ reason: 'poweroff', code: 0 });
    const [, code] = /fail (\d+)/.exec(Buffer.from(bytes).toString()) ?? [];
    if (code !== undefined) this.end({ reason: 'failure', code: Number(code) });
  }

  /** Never, where it has no agent. */
  async ready(): Promise<void> {
    if (this.options.kernel === '/without/agent') await new Promise<void>(() => {});
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    this.ran.push(argv);
    const collected = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    const out = (bytes: Uint8Array): unknown =>
      options.onStdout ? options.onStdout(bytes) : collected.stdout.push(bytes);
    const err = (bytes: Uint8Array): unknown =>
      options.onStderr ? options.onStderr(bytes) : collected.stderr.push(bytes);
    const code = await this.#command(argv, options, out, err);
    const join = (parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
    return { code, stdout: join(collected.stdout), stderr: join(collected.stderr) };
  }

  async fork({ name, ...options }: ForkOptions = {}): Promise<MachineHandle> {
    if (this.options.room === undefined)
      throw new OperatorError('machine-closed', 'the machine has no room for a twin', 'Start it with "--forks COUNT"');
    this.calls.push(`fork ${JSON.stringify(options)}`);
    return new FakeMachine({ ...this.options, ...options, name: name ?? `twin-${this.calls.length}` });
  }

  /** Not to be reached by its name: fakes are not launched. */
  async createPartition(options: PartitionOptions): Promise<MachineHandle> {
    if (this.options.room === undefined)
      throw new OperatorError('machine-closed', 'the machine was made for one guest', 'Start it with "--forks COUNT"');
    this.calls.push(`partition ${JSON.stringify(options)}`);
    return new FakeMachine({ ...options, name: options.name ?? `partition-${this.calls.length}` });
  }

  async net(): Promise<NetReport> {
    return this.paths.report();
  }

  async changeNet(change: NetChange): Promise<void> {
    this.calls.push(`changeNet ${JSON.stringify(change)}`);
    const target = `${this.info.name}/${change.interface ?? 'net0'}`;
    if (change.action === 'map') this.paths.map(target, change.uplinks ?? []);
    else if (change.action === 'prefer') this.paths.prefer(target, change.uplinks?.[0] ?? '');
    else if (change.action === 'unmap') this.paths.unmap(target, change.uplinks?.[0]);
    else if (change.action === 'failover') this.paths.setFailover(change.on ?? true);
  }

  async netEvents(since = 0): Promise<readonly PathEvent[]> {
    return this.paths.events(since);
  }

  capture(options: CaptureOptions, write: (bytes: Uint8Array) => void): { close(): void } {
    this.calls.push(`capture ${JSON.stringify(options)}`);
    return this.paths.capture(options, write);
  }

  #lease: LeaseReport | undefined;

  async lease({ incarnation, deadlineMs }: LeaseGrant): Promise<LeaseAnswer> {
    this.calls.push(`lease ${incarnation} ${deadlineMs}`);
    if (this.options.lease === undefined)
      throw new OperatorError('no-lease', 'the machine was started without a deadline', 'Start it with one.');
    this.#lease = { ...this.options.lease, deadlineMs, isExpired: false };
    return { deadlineMs, isPaused: this.#state === 'paused' };
  }

  async setHeartbeat(intervalMs: number): Promise<void> {
    this.calls.push(`heartbeat ${intervalMs}`);
  }

  /** Its agent answered, and it was found to be well. */
  async agentEvents(since = 0, waitMs = 0): Promise<readonly AgentEvent[]> {
    this.calls.push(`agentEvents ${since} ${waitMs}`);
    return fakeEvents.filter(({ number }) => number > since);
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
    return { vcpus: [{ id: 0, instructions: 42, translated: 30, exits: { mmio: 7 } }] };
  }

  /** Of hart 0 alone, which stands at 0x80200000: a loop there is translated, nothing else is mapped. */
  async explain({ pc = 0x8020_0000n, hart = 0, level = 1 }: Partial<ExplainRequest> = {}): Promise<CodeExplanation> {
    if (hart > 0) throw new OperatorError('no-such-hart', `The machine has no hart ${hart}`, 'Give the number 0');
    return pc === 0x8020_0000n ? { ...fakeExplanation, level } : { ...fakeNothing, level, pc: `0x${pc.toString(16)}` };
  }

  async promotedSites(most = 20): Promise<readonly PromotedSite[]> {
    const site = { number: 1, executions: 9000, physical: '0x80200000', text: 'rdtime a0', at: '0x80200000', hart: 0 };
    return [site].slice(0, most);
  }

  async hotRegions(most = 20): Promise<readonly HotRegion[]> {
    const regions: readonly HotRegion[] = [
      {
        at: '0x80200000',
        physical: '0x80200000',
        hart: 0,
        level: 1,
        number: 3,
        instructions: 2,
        entered: 12,
        module: 1,
      },
      { number: 4, instructions: 9, entered: 5, module: 1 },
    ];
    return regions.slice(0, most);
  }

  async balloon(): Promise<BalloonReport> {
    const none = { balloonBytes: 0, inflatedBytes: 0, reportedBytes: 4096, touchedBytes: 8192, hasDriver: true };
    return { ...none, memoryBytes: 1 << 29, targetBytes: this.balloonTarget, guest: { freeBytes: 4096 } };
  }

  async setBalloon(memoryBytes: number): Promise<void> {
    if (memoryBytes > 1 << 29) throw new OperatorError('bad-memory', 'so much it does not have', 'Give it less');
    this.balloonTarget = memoryBytes;
  }

  async setCap(cap: number): Promise<void> {
    this.calls.push(`cap ${cap}`);
  }

  /** One root port, whose card comes and goes. */
  async pci(): Promise<PciReport> {
    const card = this.hasCard ? 'in' : 'out';
    const indicators = { power: 'on', attention: 'off' } as const;
    return {
      ports: [{ id: 'rp0', place: '01.0', slot: 1, card, power: 'on', indicators, functions: [fakeFunction] }],
      functions: [],
    };
  }

  async changeSlot(port: string, action: SlotAction): Promise<void> {
    if (port !== 'rp0') throw new OperatorError('no-such-port', 'there is no such port', 'Name rp0');
    this.hasCard = action === 'plug';
  }

  /** Its kernel once stored where it may not. */
  async protection(): Promise<ProtectionReport> {
    const none = { fetch: 0, load: 0, store: 0, walk: 0, update: 0 };
    return {
      domains: [
        { name: 'kernel', violations: { ...none, store: 1 } },
        { name: 'user', violations: none },
      ],
      rules: this.rules,
      changes: this.rules.length,
      tables: { tables: 2, chunks: 1, bytes: 1032 },
    };
  }

  async protect({ action, domains, start, end, rights }: ProtectionChange): Promise<void> {
    const [domain = ''] = domains;
    if (domain !== 'kernel' && domain !== 'user')
      throw new OperatorError('no-such-domain', `there is no domain ${domain}`, 'Name one of kernel, user');
    this.calls.push(`${action} ${domains.join()} ${rights} ${start.toString(16)}-${end.toString(16)}`);
    if (action === 'deny')
      this.rules.push({ domain, start: `0x${start.toString(16)}`, end: `0x${end.toString(16)}`, denied: rights });
  }

  async violations(most = 100): Promise<readonly Violation[]> {
    return [fakeViolation].slice(0, most);
  }

  async replicate({ to }: ReplicateOptions): Promise<void> {
    if (to === 'unix:/nobody') throw new OperatorError('peer-unreachable', 'nobody can be reached there', 'Start one');
    this.calls.push(`replicate ${to}`);
    this.#peer = to;
  }

  async unreplicate(): Promise<void> {
    this.calls.push('unreplicate');
    this.#peer = undefined;
  }

  async replication(): Promise<ReplicationReport> {
    const state = this.#peer === undefined ? 'unprotected' : 'protected';
    const role = this.#peer === undefined ? 'none' : 'active';
    return {
      ...{ role, state, epoch: 7, events: [] },
      ...(this.#peer === undefined ? {} : { peer: this.#peer }),
      ...(this.#warm === undefined
        ? {}
        : { warm: { folder: this.#warm, taken: 3, failed: 0, pausedMs: 40, sizeBytes: 1 << 20 } }),
    };
  }

  async checkpoint({ folder, everyMs, keep }: WarmOptions): Promise<void> {
    this.calls.push(`checkpoint ${folder} ${everyMs} ${keep}`);
    this.#warm = folder;
  }

  async writeRate(overMs = 1000): Promise<WriteRate> {
    return { pagesPerSecond: overMs, pauseMs: 2 };
  }

  async endCheckpoints(): Promise<void> {
    this.#warm = undefined;
  }

  async migrate({ to }: MigrateOptions): Promise<MigrationResult> {
    this.calls.push(`migrate ${to}`);
    return {
      downtimeMs: 12.5,
      tookMs: 800,
      rounds: 3,
      pages: 4096,
      bytes: 16 << 20,
      throttles: 0,
      why: 'little is left',
    };
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
export function fakeCreate(): { create: CreateMachine; restore: RestoreMachine; machines: FakeMachine[] } {
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
    restore: async (file, options) => {
      const machine = new FakeMachine(options ?? {});
      machine.calls.push(`restored ${file}`);
      machines.push(machine);
      return machine;
    },
  };
}

/** Standbys are not among what is faked. */
export function noReceiver(): Promise<never> {
  return Promise.reject(new OperatorError('cannot-listen', 'nobody stands by here', 'Use the real one'));
}
