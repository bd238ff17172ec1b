/**
 * A running machine in this process: its board, a worker thread for each vCPU (or, with the instruction clock, all of
 * it on this thread in a fixed order), its I/O, its guest's agent. Implements the library's MachineHandle.
 */
import { getHeapStatistics } from 'node:v8';
import { must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import { type ConsolePort, GENERATION_BYTES, VirtioConsole, VirtioNet } from '../../devices/index.ts';
import { type EngineCode, Processor } from '../../engine/index.ts';
import { RUN, type Runner } from '../../hypervisor/index.ts';
import { CSRS, F_NAMES, parseCpuModel, X_NAMES } from '../../isa/index.ts';
import {
  Board,
  type BoardConfig,
  boardConfig,
  boardRunner,
  boardStats,
  CodeExplainer,
  type CodeExplanation,
  exitStatus,
  extensionsOf,
  type HostPorts,
  type HotRegion,
  hotRegions,
  IoSlots,
  IoThread,
  latestViolations,
  type ProtectionChange,
  type ProtectionReport,
  protectionReport,
  SLICE_STEPS,
  slotLayout,
  TICKS_PER_MS,
  TIMEBASE_HZ,
  tellOfFrames,
  type Violation,
} from '../../machine/index.ts';
import { type FrameOffload, parsePublish } from '../../network/index.ts';
import { cacheFolder } from '../debian/index.ts';
import { describeTarget, type GdbServer, listenForGdb } from '../gdb/index.ts';
import { type RunningNetwork, startUserNetwork } from '../network/index.ts';
import { build } from '../package-files.ts';
import { SavedMachine, type SnapshotSubject } from '../snapshots/index.ts';
import { AgentLink } from './agent-link.ts';
import { type BootFiles, bootSeed, planMachineBoot, releaseBootFiles } from './boot-files.ts';
import { ConsoleHistory } from './console-history.ts';
import { MachineDebugger } from './debugger.ts';
import type { OpenedDrive } from './drives.ts';
import { readyEngine } from './engine-cache.ts';
import { garbageCollector } from './garbage-collector.ts';
import { runInstructionClock } from './instruction-clock.ts';
import { LogFiles } from './log-files.ts';
import type {
  ExecOptions,
  ExecResult,
  ExitStatus,
  MachineHandle,
  MachineInfo,
  MachineOptions,
  MachineStats,
  SnapshotOptions,
  SnapshotResult,
} from './machine-api.ts';
import { MachineSnapshots } from './machine-snapshots.ts';
import { MachineThreads, type ThreadHeap } from './machine-threads.ts';
import { nodePorts } from './node-ports.ts';
import { changeProtection } from './protection-change.ts';
import { clockEpoch, ticksSince } from './thread-clock.ts';
import { endVcpuWorkerAhead } from './vcpu-worker-start.ts';

/** The instruction clock's wall clock starts here, so that runs are alike. */
const EPOCH_MS = Date.UTC(2026, 0, 1);
const STOP_GRACE_MS = 30_000;
/** A guest that was restored is to answer first: on two processors, what this thread loads holds it up. */
const TRANSLATOR_DELAY_MS = 400;
const NS_PER_TICK = 1_000_000_000n / BigInt(TIMEBASE_HZ);

export interface MachineParts {
  readonly options: MachineOptions;
  readonly drives: readonly OpenedDrive[];
  /** What it boots from (given back when the guest has its copy), or the snapshot that it goes on from. */
  readonly from: BootFiles | SavedMachine;
}

export class LocalMachine implements MachineHandle {
  readonly exited: Promise<ExitStatus>;
  readonly board: Board;
  readonly #options: MachineOptions;
  readonly #host: HostPorts;
  readonly #io: IoThread;
  readonly #agent: AgentLink;
  readonly #drives: readonly OpenedDrive[];
  readonly #network: RunningNetwork | undefined;
  readonly #slots: IoSlots;
  /** None with the instruction clock. */
  readonly #threads: MachineThreads | undefined;
  readonly #end = Promise.withResolvers<ExitStatus>();
  readonly #config: BoardConfig;
  readonly #startedAt = new Date().toISOString();
  readonly processor: Processor;
  readonly #signatures: EngineCode['signatures'];
  readonly #history = new ConsoleHistory();
  readonly #ticks: () => number;
  #explainer: CodeExplainer | undefined;
  #debugger: MachineDebugger | undefined;
  #gdb: GdbServer | undefined;
  readonly #logs: LogFiles;
  #failure: string | undefined;
  #wasKilled = false;
  #isTouched = false;
  #wasRestored = false;
  readonly #snapshots = new MachineSnapshots(() => this.#subject);
  #runner: Runner | undefined;

  /** Builds, loads and starts the machine. Rejects with OperatorError on bad options; nothing is left behind then. */
  static async start(parts: MachineParts): Promise<LocalMachine> {
    const { options } = parts;
    const config = boardConfig(options);
    const guest: { net?: VirtioNet } = {};
    const threads = config.clock === 'real' ? threadsFor(config) : undefined;
    let network: RunningNetwork | undefined;
    try {
      if (options.network !== false)
        network = await startNetwork(options, (frame, offload) => guest.net?.receive(frame, offload) ?? false);
      const machine = new LocalMachine(parts, config, network, threads);
      if (parts.from instanceof SavedMachine) await machine.#loadMemory(parts.from);
      const net = machine.board.slots.find((device) => device instanceof VirtioNet);
      if (net) guest.net = net;
      if (options.gdbPort !== undefined) await machine.#listenForGdb(options.gdbPort);
      machine.#run();
      return machine;
    } catch (error) {
      network?.close();
      await threads?.terminate();
      throw error;
    }
  }

  private constructor(
    parts: MachineParts,
    config: BoardConfig,
    network: RunningNetwork | undefined,
    threads: MachineThreads | undefined,
  ) {
    const { options, from } = parts;
    const saved = from instanceof SavedMachine ? from : undefined;
    this.#options = options;
    this.#drives = parts.drives;
    this.#network = network;
    this.#threads = threads;
    this.exited = this.#end.promise;
    const host = nodePorts(options.seed);
    this.#host = host;
    this.#slots = new IoSlots({
      board: () => this.board,
      backends: parts.drives.map((drive) => drive.backend),
      network: network?.network,
      host,
    });
    const epoch = clockEpoch() - (saved?.ticks ?? 0n) * NS_PER_TICK;
    const realTicks = ticksSince(epoch);
    const isReal = config.clock === 'real';
    const ticks = (): number => (isReal ? realTicks() : this.#steppedTicks());
    this.#ticks = ticks;
    const clock = {
      ticks: () => BigInt(Math.floor(ticks())),
      wallMs: () => (isReal ? Date.now() : EPOCH_MS + ticks() / TICKS_PER_MS),
    };
    this.board = Board.create(config, {
      clock,
      hasTotalStoreOrder: process.arch === 'x64',
      slotLayout,
      slot: (slot, wiring) => this.#slots.make(slot, wiring, clock),
    });
    this.#io = new IoThread(this.board, host);
    this.#io.onConsole((bytes) => this.#history.push(bytes));
    const console = must(this.board.slots.find((device) => device instanceof VirtioConsole));
    this.#agent = new AgentLink(must(console.ports.find((port: ConsolePort) => !port.isConsole)), saved?.agent);
    this.#config = config;
    const extensions = extensionsOf(options);
    if (from instanceof SavedMachine) {
      from.loadState(this.board, network?.network);
      this.#history.push(from.console);
    } else this.#boot(from, extensions);
    const { emulated } = parseCpuModel(config.cpu);
    const { description } = this.board.memory.shape;
    const wish = { description, extensions, emulated, policies: config.policies };
    const code = readyEngine(wish, cacheFolder('engines'), build);
    code.writeTables(this.board.memory.buffer);
    this.#signatures = code.signatures;
    const module = new WebAssembly.Module(code.bytes);
    this.processor = new Processor(module, this.board.memory.memory, { width: config.width, ticks });
    tellOfFrames(this.board, this.processor);
    // Last of what an operator can get wrong, and before the first hart runs.
    this.#logs = new LogFiles(this.board, options);
    if (options.startPaused) this.#setPaused(true);
    // Its threads take as long to get ready as its memory does to come.
    if (saved) this.board.world.setHeld(true);
    else this.#renewGeneration({ tells: false });
    if (threads) this.#startThreads(threads, config, module, code.signatures, epoch);
    else {
      endVcpuWorkerAhead();
      this.processor.collectGarbage = garbageCollector();
      this.#prepareInstructionClock(ticks, code.signatures);
    }
  }

  get info(): MachineInfo {
    const isRunning = this.board.world.run === RUN.running;
    return {
      name: this.#options.name ?? `machine-${process.pid}`,
      pid: process.pid,
      state: isRunning ? (this.board.world.paused ? 'paused' : 'running') : 'ended',
      cpus: this.#config.harts,
      memoryBytes: this.#config.memoryBytes,
      startedAt: this.#startedAt,
      publish: this.#options.publish ?? [],
    };
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    return this.#io.onConsole(listener);
  }

  writeConsole(bytes: Uint8Array): void {
    this.#isTouched = true;
    this.#io.writeConsole(bytes);
  }

  consoleHistory(): Uint8Array {
    return this.#history.bytes();
  }

  async ready(signal?: AbortSignal): Promise<void> {
    await this.#agent.session.ready(signal);
    await this.#snapshots.booted;
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const out: Uint8Array[] = [];
    const err: Uint8Array[] = [];
    if (this.#snapshots.booted !== undefined) await this.ready(options.signal);
    const execution = this.#agent.session.exec({
      argv,
      ...(options.environment ? { env: options.environment } : {}),
      ...(options.workingFolder ? { cwd: options.workingFolder } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
      onStdout: options.onStdout ?? ((bytes) => out.push(bytes)),
      onStderr: options.onStderr ?? ((bytes) => err.push(bytes)),
    });
    const feeding = (async () => {
      const input = options.stdin ?? [];
      for await (const piece of input instanceof Uint8Array ? [input] : input) await execution.writeStdin(piece);
      execution.closeStdin();
    })();
    // A command that does not read its input closes it: its exit code says what happened.
    feeding.catch(() => undefined);
    const { exitCode } = await execution.ended;
    return { code: exitCode, stdout: Buffer.concat(out), stderr: Buffer.concat(err) };
  }

  async pause(): Promise<void> {
    this.#setPaused(true);
    while (!this.board.world.isStill) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async resume(): Promise<void> {
    this.#setPaused(false);
  }

  async stop(options: { graceMs?: number } = {}): Promise<ExitStatus> {
    const grace = new AbortController();
    const timer = setTimeout(() => grace.abort(), options.graceMs ?? STOP_GRACE_MS);
    try {
      await this.#agent.session.shutdown('poweroff', grace.signal);
      await Promise.race([
        this.exited,
        new Promise<void>((resolve) => grace.signal.addEventListener('abort', () => resolve())),
      ]);
    } catch {
      // No agent answered in time: the machine ends without its guest's consent.
    } finally {
      clearTimeout(timer);
    }
    return await this.kill();
  }

  async kill(): Promise<ExitStatus> {
    if (this.board.world.run === RUN.running) {
      this.#wasKilled = true;
      this.board.world.finish(RUN.crashed, 137);
    }
    return await this.exited;
  }

  /**
   * Keeps the guest for later ones as it is when the agent answers for the first time, before any command. Not if
   * somebody had to do with it before that: typed, or reached it over the network.
   */
  keepBoot(file: string): void {
    this.#snapshots.keepBoot(file, this.#agent.session.ready(), () => {
      const visitors = this.#network?.network.stats().now.tcpConnections ?? 0;
      return !this.#isTouched && visitors === 0 && !this.board.world.paused;
    });
  }

  async snapshot(file: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
    const result = await this.#snapshots.take(file, options);
    if (options.stop) await this.kill();
    return result;
  }

  get #subject(): SnapshotSubject {
    const { session } = this.#agent;
    return {
      name: this.info.name,
      options: this.#options,
      board: this.board,
      io: this.#io,
      network: this.#network?.network,
      drives: this.#drives,
      ticks: this.#ticks,
      agent: () => ({ nextId: session.nextId, waiting: this.#agent.waiting }),
      console: () => this.#history.bytes(),
    };
  }

  async stats(): Promise<MachineStats> {
    return {
      ...boardStats(this.board),
      ...(this.#network ? { network: this.#network.network.stats() } : {}),
    };
  }

  async explain({ pc, hart = 0 }: { pc?: bigint; hart?: number } = {}): Promise<CodeExplanation> {
    if (this.board.vcpus[hart] === undefined)
      throw new OperatorError(
        'no-such-hart',
        `The machine has no hart ${hart}`,
        `Give a number from 0 to ${this.board.vcpus.length - 1}`,
      );
    this.#explainer ??= new CodeExplainer(this.board, this.#signatures);
    return this.#explainer.explain({ hart, ...(pc === undefined ? {} : { pc }) });
  }

  async hotRegions(most = 20): Promise<readonly HotRegion[]> {
    return hotRegions(this.board, most);
  }

  async protection(): Promise<ProtectionReport> {
    return protectionReport(this.board);
  }

  async protect(change: ProtectionChange): Promise<void> {
    await changeProtection(this.board, change);
  }

  async violations(most = 100): Promise<readonly Violation[]> {
    return latestViolations(this.board, most);
  }

  /** What V8 says of the heaps of this machine's threads that live, its own thread first; for who measures memory. */
  async heaps(): Promise<readonly ThreadHeap[]> {
    return [{ thread: 'main', heap: getHeapStatistics() }, ...((await this.#threads?.heaps()) ?? [])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #boot(files: BootFiles, extensions: ReadonlySet<string>): void {
    const { memoryBytes, harts } = this.#config;
    const seed = bootSeed(this.#options.seed);
    const plan = planMachineBoot(this.#options, files, { memoryBytes, harts, extensions, seed });
    this.board.load(plan);
    releaseBootFiles(files, plan);
  }

  /** The last that a machine needs of its snapshot; it is held, and runs from here on. */
  async #loadMemory(saved: SavedMachine): Promise<void> {
    await saved.loadMemory(this.board, this.#io);
    await saved.denyAgain((change) => changeProtection(this.board, change));
    this.#wasRestored = true;
    this.#renewGeneration({ tells: true });
    this.board.world.setHeld(false);
  }

  /** The guest is another than any that its snapshot was, or will be, made into. */
  #renewGeneration({ tells }: { readonly tells: boolean }): void {
    const id = new Uint8Array(GENERATION_BYTES);
    this.#host.fillRandom(id);
    const { generation } = this.board;
    this.board.locked(generation, () => generation.renew(id, { tells }));
  }

  async #listenForGdb(port: number): Promise<void> {
    this.#debugger = new MachineDebugger(this);
    this.#gdb = await listenForGdb(this.#debugger, port, describeTarget({ x: X_NAMES, f: F_NAMES }, CSRS));
  }

  /** Called by start, once everything that may throw has been done. */
  #run(): void {
    const { signal } = this.#options;
    const abort = (): void => void this.kill();
    signal?.addEventListener('abort', abort, { once: true });
    this.#threads?.startTranslator({ delayMs: this.#wasRestored ? TRANSLATOR_DELAY_MS : 0 });
    const parts = { board: this.board, io: this.#io, slots: this.#slots, logs: this.#logs };
    const serving =
      this.#runner === undefined ? this.#io.run() : runInstructionClock({ ...parts, runner: this.#runner });
    void serving
      .catch((error: unknown) => this.#fail(error))
      .then(async () => {
        await this.#threads?.terminate();
        this.board.memory.freeLocks();
        this.#io.serve();
        this.#logs.close();
        this.#network?.close();
        this.#agent.session.close();
        this.#debugger?.ended(this.#status().code);
        await this.#gdb?.[Symbol.asyncDispose]();
        await Promise.all(this.#drives.map((drive) => drive.close()));
        signal?.removeEventListener('abort', abort);
        this.#end.resolve(this.#status());
      });
  }

  #status(): ExitStatus {
    if (this.#failure !== undefined) return { reason: 'error', code: 125, message: this.#failure };
    if (this.#wasKilled) return { reason: 'killed', code: 137 };
    return exitStatus(this.board.world);
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error.message : String(error);
    this.board.world.finish(RUN.crashed, 125);
  }

  #setPaused(paused: boolean): void {
    this.board.world.setPaused(paused);
  }

  /** A hart reached a breakpoint, or has made its step. */
  #stopped(): void {
    void this.#debugger?.stopped().catch((error: unknown) => this.#fail(error));
  }

  #startThreads(
    threads: MachineThreads,
    config: BoardConfig,
    module: WebAssembly.Module,
    signatures: EngineCode['signatures'],
    epoch: bigint,
  ): void {
    const { memory, shape } = this.board.memory;
    threads.start(
      { config, memory, shape, module, signatures, epoch },
      { failed: (error) => this.#fail(error), stopped: () => this.#stopped() },
    );
  }

  #steppedTicks(): number {
    // Before there is a runner nothing has run: the clock stands at zero.
    return this.#runner === undefined ? 0 : this.#runner.ticks(must(this.board.vcpus[0]));
  }

  #prepareInstructionClock(ticks: () => number, signatures: EngineCode['signatures']): void {
    const { board, processor } = this;
    this.#runner = boardRunner(
      board,
      processor,
      { ticks, stopped: () => this.#stopped() },
      { budget: SLICE_STEPS, clock: 'instructions' },
      signatures,
    );
    for (const vcpu of board.vcpus) processor.contextChanged(vcpu.at);
  }
}

function threadsFor({ harts, translation }: BoardConfig): MachineThreads {
  return new MachineThreads({ vcpus: harts, translates: translation !== undefined });
}

async function startNetwork(
  options: MachineOptions,
  deliver: (frame: Uint8Array, offload?: FrameOffload) => boolean,
): Promise<RunningNetwork> {
  return await startUserNetwork({ publish: (options.publish ?? []).map(parsePublish) }, deliver);
}
