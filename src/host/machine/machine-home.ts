/**
 * What the partitions of a machine in this process have in common: the engine's code, the threads. It lasts as long as
 * one of them does.
 *
 *     first partition --makes--> home <--join-- another ...      leave: frames and arena are free for the next
 *                                                                last one leaves: the threads end
 */
import { type HostError, OperatorError } from '../../base/errors.ts';
import { type EngineCode, Processor } from '../../engine/index.ts';
import { parseCpuModel } from '../../isa/index.ts';
import { type Board, type BoardConfig, type Commons, TRANSLATOR, tellOfFrames } from '../../machine/index.ts';
import { cacheFolder } from '../debian/index.ts';
import type { MachineNetworks } from '../network/machine-networks.ts';
import { build } from '../package-files.ts';
import type { QuickFilePlace } from '../storage/index.ts';
import { readyEngine } from './engine-cache.ts';
import type { MachineOptions } from './machine-api.ts';
import type { MachineThreads } from './machine-threads.ts';

/** A partition, as its machine's threads speak of it. */
export interface Member {
  readonly board: Board;
  /** A thread failed, and with it the machine. */
  failed(error: unknown): void;
  /** One of its harts stopped it. */
  stopped(): void;
}

export interface HomeParts {
  readonly commons: Commons;
  /** Of the machine's first partition. */
  readonly config: BoardConfig;
  readonly module: WebAssembly.Module;
  readonly signatures: EngineCode['signatures'];
  /** A processor of the main thread. */
  readonly processor: Processor;
  readonly epoch: bigint;
  /** None with the instruction clock. */
  readonly threads: MachineThreads | undefined;
  /** Of all partitions. */
  readonly networks: MachineNetworks;
}

export class MachineHome {
  readonly parts: HomeParts;
  readonly #members = new Map<number, Member>();
  #hasEnded = false;
  /** Of a thread, and so of all members, those too that join later. */
  #failure: HostError | undefined;

  /** Of a machine whose first partition that is: its engine is generated, or found. */
  static make(
    { config, memory, commons }: Board,
    threads: MachineThreads | undefined,
    { epoch, ticks, networks }: Pick<HomeParts, 'epoch' | 'networks'> & { readonly ticks: () => number },
  ): MachineHome {
    const { extensions, emulated } = parseCpuModel(config.cpu);
    const { description } = memory.shape;
    const wish = { description, extensions, emulated, policies: config.policies };
    const code = readyEngine(wish, cacheFolder('engines'), build);
    code.writeTables(memory.buffer);
    const module = new WebAssembly.Module(code.bytes);
    const processor = new Processor(module, memory.memory, { width: config.width, ticks });
    return new MachineHome({
      commons,
      config,
      module,
      signatures: code.signatures,
      processor,
      epoch,
      threads,
      networks,
    });
  }

  constructor(parts: HomeParts) {
    this.parts = parts;
    tellOfFrames(parts.processor, (partition) => this.#members.get(partition)?.board);
  }

  get networks(): MachineNetworks {
    return this.parts.networks;
  }

  get config(): BoardConfig {
    return this.parts.config;
  }

  /** Whether partitions can join: none has been the last one. */
  get isOpen(): boolean {
    return !this.#hasEnded && this.parts.threads !== undefined;
  }

  /** Throws OperatorError where no partition of such options can join. */
  checkRoom({ bootSnapshot }: Pick<MachineOptions, 'bootSnapshot'> = {}): void {
    if (this.config.room === undefined || !this.isOpen)
      throw new OperatorError(
        'machine-closed',
        this.isOpen ? 'the machine was made for one guest' : 'the machine has ended',
        'Start it with "kage run --forks COUNT", or make it with "room" for more.',
      );
    if (bootSnapshot === true)
      throw new OperatorError(
        'snapshot-partitions',
        'a partition that joins a machine boots: boots are kept of machines for one guest',
        'Leave bootSnapshot out.',
      );
  }

  join(member: Member): void {
    this.#members.set(member.board.partition, member);
    if (this.#failure !== undefined) member.failed(this.#failure);
  }

  /** The threads get ready, and run what is scheduled: nothing yet. `disks`: as of WorkerStart. */
  start(disks: Readonly<Record<string, QuickFilePlace>>): void {
    const { commons, config, module, signatures, epoch, threads } = this.parts;
    const { memory, shape } = commons.memory;
    threads?.start(
      { config, memory, shape, module, signatures, epoch, disks },
      {
        failed: (error) => {
          this.#failure = error;
          for (const member of this.#members.values()) member.failed(error);
        },
        stopped: (partition) => this.#members.get(partition)?.stopped(),
      },
    );
  }

  /**
   * The partition has ended. If others live on: resolves when no thread runs it, or knows of it. Else the threads end.
   * Then nothing of it is touched but by the caller, who calls `vacate` when nothing is under way any more.
   */
  async leave(member: Member): Promise<void> {
    const { commons, threads } = this.parts;
    const { board } = member;
    this.#members.delete(board.partition);
    if (this.#members.size === 0) {
      this.#hasEnded = true;
      commons.end();
      await threads?.terminate();
      commons.freeLocks();
      board.freeLocks();
      this.networks.close();
      return;
    }
    const { scheduler } = commons;
    // A cap that was reached would hold back harts that only want to end.
    scheduler?.changeShare(board.partition, {});
    await this.#until(() => !board.isScheduled);
    if (this.#hasEnded) return;
    scheduler?.removeShare(board.partition);
    board.leaveInterrupts();
    const change = commons.withdraw(board.partition);
    const processors = Array.from({ length: scheduler?.processors ?? 0 }, (_, i) => i);
    const all = threads?.translates ? [...processors, TRANSLATOR] : processors;
    await this.#until(() => commons.isSeen(change, all));
  }

  /** Gives back what the partition had, if the machine goes on. */
  vacate(board: Board): void {
    if (this.#hasEnded) return;
    board.giveFrames();
    this.parts.commons.release(board.partition);
  }

  /** Or the machine has ended meanwhile. */
  async #until(condition: () => boolean): Promise<void> {
    while (!this.#hasEnded && !condition()) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
