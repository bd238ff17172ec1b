/**
 * A running machine in a web worker: its board, its I/O, and its harts: each on a worker of its own over shared
 * memory, or the one of them here, in turns with the worker's events (src/machine/turn-loop.ts).
 */
import { must } from '../../base/assert.ts';
import { type BlockBackend, MemoryBackend, SECTOR_BYTES } from '../../devices/index.ts';
import { type EngineCode, generateEngine, Processor } from '../../engine/index.ts';
import { RUN } from '../../hypervisor/index.ts';
import {
  Board,
  type BoardConfig,
  type BoardStats,
  type BootFile,
  boardConfig,
  boardRunner,
  boardStats,
  type ExitStatus,
  exitStatus,
  extensionsOf,
  IoSlots,
  IoThread,
  SLICE_STEPS,
  slotLayout,
  TurnLoop,
  tellOfFrames,
} from '../../machine/index.ts';
import type { MachineRequest, Progress } from '../messages.ts';
import { fetchFile } from './fetch-file.ts';
import { planWithStreams } from './inflate.ts';
import { ProcessorWorkers } from './processor-workers.ts';
import { clockEpoch, ticksSince, turns, webPorts } from './web-ports.ts';

export interface MachineEvents {
  progress(progress: Progress): void;
  console(bytes: Uint8Array): void;
}

export class WebMachine {
  readonly #board: Board;
  readonly #io: IoThread;
  readonly #loop: TurnLoop | undefined;
  readonly #module: WebAssembly.Module;
  readonly #signatures: EngineCode['signatures'];
  readonly #epochMs = clockEpoch();
  readonly #ticks = ticksSince(this.#epochMs);
  readonly #workers: ProcessorWorkers | undefined;
  #failure: string | undefined;
  #wasKilled = false;

  /** Fetches what the machine boots from and builds it. Throws OperatorError for what cannot be. */
  static async build(request: MachineRequest, events: MachineEvents): Promise<WebMachine> {
    const config = boardConfig({ ...request, network: false }, request.shared, navigator.hardwareConcurrency);
    const extensions = extensionsOf(request);
    const workers = request.shared ? new ProcessorWorkers(config.processors) : undefined;
    const file = (what: 'kernel' | 'initrd' | 'drive', address: string): Promise<Uint8Array> =>
      fetchFile(what, address, (doneBytes, totalBytes) =>
        events.progress({ step: 'fetch', what, doneBytes, ...(totalBytes === undefined ? {} : { totalBytes }) }),
      );
    const bootFile = async (role: 'kernel' | 'initrd', address: string): Promise<BootFile> => ({
      role,
      name: address,
      bytes: await file(role, address),
    });
    const kernel = await bootFile('kernel', request.kernel);
    const initrd = request.initrd === undefined ? undefined : await bootFile('initrd', request.initrd);
    const backends: BlockBackend[] = [];
    for (const address of request.drives) backends.push(scratchDisk(await file('drive', address)));
    const seed = new Uint8Array(64);
    webPorts.fillRandom(seed);
    const plan = await planWithStreams({
      memoryBytes: config.memoryBytes,
      harts: config.harts,
      extensions,
      seed,
      firmware: 'built-in',
      kernel,
      ...(initrd === undefined ? {} : { initrd }),
      ...(request.append === undefined ? {} : { append: request.append }),
    });
    events.progress({ step: 'engine' });
    const machine = new WebMachine({ config, extensions, backends, workers, events });
    machine.#board.load(plan);
    events.progress({ step: 'boot' });
    return machine;
  }

  private constructor(parts: {
    readonly config: BoardConfig;
    readonly extensions: ReadonlySet<string>;
    readonly backends: readonly BlockBackend[];
    readonly workers: ProcessorWorkers | undefined;
    readonly events: MachineEvents;
  }) {
    const { config, extensions, backends, workers, events } = parts;
    this.#workers = workers;
    this.#loop = workers === undefined ? new TurnLoop(webPorts, turns()) : undefined;
    const host = this.#loop?.host ?? webPorts;
    const ticks = this.#ticks;
    const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => host.wallMs() };
    const slots = new IoSlots({ board: () => this.#board, backends, network: undefined, host });
    this.#board = Board.create(config, {
      clock,
      slotLayout,
      slot: (slot, wiring) => slots.make(slot, wiring, clock),
    });
    this.#io = new IoThread(this.#board, host);
    this.#io.onConsole((bytes) => events.console(bytes));
    const { memory } = this.#board;
    const code = generateEngine(memory.shape.description, extensions);
    code.tables.write(memory.buffer);
    this.#module = new WebAssembly.Module(code.bytes);
    this.#signatures = code.signatures;
  }

  /** Runs to the machine's end. */
  async run(): Promise<ExitStatus> {
    try {
      if (this.#workers) await this.#runOnWorkers(this.#workers);
      else await this.#runHere(must(this.#loop));
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
    this.#io.serve();
    if (this.#failure !== undefined) return { reason: 'error', code: 125, message: this.#failure };
    return this.#wasKilled ? { reason: 'killed', code: 137 } : exitStatus(this.#board.world);
  }

  writeConsole(bytes: Uint8Array): void {
    this.#io.writeConsole(bytes);
    this.#loop?.poke();
  }

  setPaused(paused: boolean): void {
    this.#board.world.setPaused(paused);
    this.#loop?.poke();
  }

  kill(): void {
    if (this.#board.world.run !== RUN.running) return;
    this.#wasKilled = true;
    this.#board.world.finish(RUN.crashed, 137);
    this.#loop?.poke();
  }

  stats(): BoardStats {
    return boardStats(this.#board);
  }

  async #runOnWorkers(workers: ProcessorWorkers): Promise<void> {
    const { config, memory } = this.#board;
    this.#processor();
    this.#board.schedule();
    workers.start(
      {
        config,
        memory: memory.memory,
        shape: memory.shape,
        module: this.#module,
        signatures: this.#signatures,
        epochMs: this.#epochMs,
      },
      (message) => this.#fail(message),
    );
    await this.#io.run().finally(() => workers.end());
    this.#board.commons.freeLocks();
  }

  async #runHere(loop: TurnLoop): Promise<void> {
    const board = this.#board;
    const ticks = this.#ticks;
    const processor = this.#processor();
    const runner = boardRunner(
      board,
      processor,
      { ticks, stopped: () => {} },
      { budget: SLICE_STEPS, clock: 'real' },
      this.#signatures,
    );
    await loop.run({ board, runner, io: this.#io, ticks });
  }

  /** A processor of this thread; the harts are ready to run then. */
  #processor(): Processor {
    const { config, memory, vcpus } = this.#board;
    const processor = new Processor(this.#module, memory.memory, { width: config.width, ticks: this.#ticks });
    tellOfFrames(processor, () => this.#board);
    for (const vcpu of vcpus) processor.contextChanged(vcpu.at);
    return processor;
  }

  #fail(message: string): void {
    this.#failure ??= message;
    this.#board.world.finish(RUN.crashed, 125);
  }
}

/** A disk that holds the image, filled up to whole sectors; writes stay in memory. */
function scratchDisk(content: Uint8Array): BlockBackend {
  return new MemoryBackend(Math.ceil(content.length / SECTOR_BYTES) * SECTOR_BYTES, { content });
}
