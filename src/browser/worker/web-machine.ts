/**
 * A running machine in a web worker: its board, its I/O, and its harts: each on a worker of its own over shared
 * memory, or the one of them here, in turns with the worker's events (src/machine/turn-loop.ts).
 */
import { type BlockBackend, MemoryBackend, SECTOR_BYTES } from '../../devices/index.ts';
import { type EngineCode, generateEngine, Processor } from '../../engine/index.ts';
import { RUN } from '../../hypervisor/index.ts';
import {
  Board,
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
} from '../../machine/index.ts';
import type { MachineRequest, Progress } from '../messages.ts';
import { fetchFile } from './fetch-file.ts';
import { planWithStreams } from './inflate.ts';
import type { WebVcpuStart } from './vcpu-worker.ts';
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
  readonly #workers: Worker[] = [];
  #failure: string | undefined;
  #wasKilled = false;

  /** Fetches what the machine boots from and builds it. Throws OperatorError for what cannot be. */
  static async build(request: MachineRequest, events: MachineEvents): Promise<WebMachine> {
    const config = { ...request, network: false };
    const { memoryBytes, harts } = boardConfig(config, request.shared);
    const extensions = extensionsOf(request);
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
      memoryBytes,
      harts,
      extensions,
      seed,
      firmware: 'built-in',
      kernel,
      ...(initrd === undefined ? {} : { initrd }),
      ...(request.append === undefined ? {} : { append: request.append }),
    });
    events.progress({ step: 'engine' });
    const machine = new WebMachine(request, backends, events);
    machine.#board.load(plan);
    events.progress({ step: 'boot' });
    return machine;
  }

  private constructor(request: MachineRequest, backends: readonly BlockBackend[], events: MachineEvents) {
    this.#loop = request.shared ? undefined : new TurnLoop(webPorts, turns());
    const host = this.#loop?.host ?? webPorts;
    const ticks = this.#ticks;
    const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => host.wallMs() };
    const slots = new IoSlots({ board: () => this.#board, backends, network: undefined, host });
    this.#board = Board.create(boardConfig({ ...request, network: false }, request.shared), {
      clock,
      slotLayout,
      slot: (slot, wiring) => slots.make(slot, wiring, clock),
    });
    this.#io = new IoThread(this.#board, host);
    this.#io.onConsole((bytes) => events.console(bytes));
    const { memory } = this.#board;
    const code = generateEngine(memory.shape.description, extensionsOf(request));
    code.tables.write(memory.buffer);
    this.#module = new WebAssembly.Module(code.bytes);
    this.#signatures = code.signatures;
  }

  /** Runs to the machine's end. */
  async run(): Promise<ExitStatus> {
    try {
      await (this.#loop === undefined ? this.#runOnWorkers() : this.#runHere(this.#loop));
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
    for (const worker of this.#workers) worker.terminate();
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

  async #runOnWorkers(): Promise<void> {
    const { config, memory } = this.#board;
    for (const { id } of this.#board.vcpus) {
      const worker = new Worker(new URL('./vcpu-worker.ts', import.meta.url), { type: 'module', name: `vcpu${id}` });
      worker.addEventListener('error', (event) =>
        this.#fail(`processor ${id} failed: ${event.message === '' ? 'it could not be loaded' : event.message}`),
      );
      worker.postMessage({
        config,
        memory: memory.memory,
        shape: memory.shape,
        module: this.#module,
        signatures: this.#signatures,
        vcpu: id,
        epochMs: this.#epochMs,
      } satisfies WebVcpuStart);
      this.#workers.push(worker);
    }
    await this.#io.run();
  }

  async #runHere(loop: TurnLoop): Promise<void> {
    const board = this.#board;
    const ticks = this.#ticks;
    const { width } = board.config;
    const processor = new Processor(this.#module, board.memory.memory, { width, ticks });
    const runner = boardRunner(
      board,
      processor,
      { ticks, stopped: () => {} },
      { budget: SLICE_STEPS, clock: 'real' },
      this.#signatures,
    );
    for (const vcpu of board.vcpus) processor.contextChanged(vcpu.at);
    await loop.run({ board, runner, io: this.#io, ticks });
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
