/**
 * What the partitions of a machine share: its memory, its processors' scheduler, the barrier, and the list of who there is.
 * A partition's own blocks lie in an arena, which it is given when it is made and which is used again when it is gone.
 *
 *     machine: scheduler | exclusion | list      arena: configuration | map | vCPUs | world | devices      arena: ...
 *
 * Partitions come and go while others run, and a sleeping thread receives no message. So what a thread needs to attach to
 * one lies in memory too, and each thread looks whether the list changed, says when it has seen that, and then knows
 * nothing any more of who is gone: an arena is not used again before all have said so.
 */
import { assert, must } from '../base/assert.ts';
import { OperatorError } from '../base/errors.ts';
import { array, type Layout, roundUp, struct, structs, type View } from '../base/struct.ts';
import { FRAME_BYTES, FRESH_PAGES, MachineMemory, type MemoryShape } from '../engine/index.ts';
import { Exclusion, exclusionBlock, MOST_PROCESSORS, Scheduler, type SchedulerShape } from '../hypervisor/index.ts';
import { ringHotBell } from '../translator/index.ts';
import type { BoardConfig } from './board-shape.ts';
import { readConfig, writeConfig } from './config-bytes.ts';
import { MachineInterrupts } from './interrupts/index.ts';
import { VIRT } from './virt-map.ts';

const ALIGNMENT = 64;

const partitionRow = struct('partition', {
  /** 1: it is there. */
  live: 'u32',
  /** Advanced when another takes its number. */
  generation: 'u32',
  /** Numbers of its vCPUs in the scheduler: the first, and how many there are. */
  firstVcpu: 'u32',
  vcpus: 'u32',
  /** Its arena, which begins with its configuration. */
  at: 'u32',
  sizeBytes: 'u32',
  configBytes: 'u32',
  /** Pages of its memory that count as taken from the room: none of a twin's. */
  pages: 'u32',
});

function commonsFields(partitions: number) {
  return {
    /** Advanced when a partition came or went. */
    changes: 'i32',
    /** 1: the machine has ended. */
    ended: 'i32',
    /** Of processors, and of the thread that translates: up to which change it has seen. */
    seen: array('i32', MOST_PROCESSORS + 1),
    partitions: structs(partitionRow, partitions),
  } as const;
}

function commonsLayout(partitions: number): Layout<ReturnType<typeof commonsFields>> {
  return struct('commons', commonsFields(partitions));
}

/** The thread that translates, as threads are numbered here; the others are the processors. */
export const TRANSLATOR = MOST_PROCESSORS;

/** Where a partition's blocks lie, and how the machine knows it. */
export interface Seat {
  readonly partition: number;
  readonly firstVcpu: number;
  readonly at: number;
  readonly sizeBytes: number;
}

export class Commons {
  readonly memory: MachineMemory;
  /** Absent where one thread runs all harts in turns. */
  readonly scheduler: Scheduler | undefined;
  readonly exclusion: Exclusion;
  /** Absent where no function of PCI Express is, or can be. */
  readonly interrupts: MachineInterrupts | undefined;
  /** Frames that guests may come to own. */
  readonly frames: number;
  readonly #block: View<ReturnType<typeof commonsFields>>;
  readonly #words: Int32Array;
  readonly #shape: SchedulerShape;
  /** Made for several partitions. */
  readonly hasRoom: boolean;
  /** Guest memory that all partitions may have together. */
  readonly #memoryBytes: number;
  /** Arenas are between these. */
  readonly #from: number;
  readonly #to: number;

  /** Bytes of blocks that a machine needs beside its partitions' arenas. */
  static sizeBytes(config: BoardConfig): number {
    const shape = shapeOf(config);
    const scheduler = config.processors === 0 ? 0 : Scheduler.sizeBytes(shape);
    const interrupts = MachineInterrupts.sizeBytes(config);
    return [scheduler, exclusionBlock.sizeBytes, commonsLayout(shape.shares).sizeBytes, interrupts].reduce(
      (sum, size) => sum + roundUp(size, ALIGNMENT) + ALIGNMENT,
      0,
    );
  }

  static attach(config: BoardConfig, memory: WebAssembly.Memory, shape: MemoryShape): Commons {
    return new Commons(config, new MachineMemory(memory, shape));
  }

  /** `config`: of the machine's first partition, which says how the machine is. */
  constructor(config: BoardConfig, memory: MachineMemory) {
    this.memory = memory;
    this.#shape = shapeOf(config);
    this.frames = machineFrames(config);
    this.hasRoom = config.room !== undefined;
    this.#memoryBytes = config.room?.memoryBytes ?? config.memoryBytes;
    memory.beginBlocks();
    this.scheduler =
      config.processors === 0
        ? undefined
        : new Scheduler(memory.buffer, memory.block(Scheduler.sizeBytes(this.#shape)), this.#shape);
    this.exclusion = new Exclusion(memory, memory.block(exclusionBlock.sizeBytes));
    const layout = commonsLayout(this.#shape.shares);
    const at = memory.block(layout.sizeBytes);
    this.#block = layout.view(memory.buffer, at);
    this.#words = new Int32Array(memory.buffer, at, 2 + MOST_PROCESSORS + 1);
    this.interrupts = MachineInterrupts.make(memory.buffer, memory.block(MachineInterrupts.sizeBytes(config)), config);
    this.#from = memory.block(0);
    this.#to = memory.header.decodedFirst;
  }

  /**
   * A place for a partition; it is not there for others until `announce`. `isTwin`: it begins with another's frames, and what
   * it comes to write is not set aside. Throws OperatorError where there is no room.
   */
  seat(config: BoardConfig, blockBytes: number, { isTwin = false }: { readonly isTwin?: boolean } = {}): Seat {
    const rows = this.#block.partitions;
    if (!isTwin) this.#checkMemory(config);
    const partition = rows.findIndex((row) => row.at === 0);
    const bytes = writeConfig(config);
    const sizeBytes = roundUp(roundUp(bytes.length, ALIGNMENT) + blockBytes, FRAME_BYTES);
    const firstVcpu = this.#free(config.harts, 0, this.#shape.vcpus, (row) => ({
      start: row.firstVcpu,
      end: row.firstVcpu + row.vcpus,
    }));
    const at = this.#free(sizeBytes, roundUp(this.#from, ALIGNMENT), this.#to, (row) => ({
      start: row.at,
      end: row.at + row.sizeBytes,
    }));
    if (partition < 0 || firstVcpu === undefined || at === undefined)
      throw new OperatorError(
        'machine-full',
        'the machine has no room for another partition',
        'End one of its partitions, or start another machine.',
      );
    const row = must(rows[partition]);
    this.memory.u8.set(bytes, at);
    row.at = at;
    row.sizeBytes = sizeBytes;
    row.configBytes = bytes.length;
    row.pages = isTwin ? 0 : config.memoryBytes / FRAME_BYTES;
    row.firstVcpu = firstVcpu;
    row.vcpus = config.harts;
    row.generation++;
    return {
      partition,
      firstVcpu,
      at: at + roundUp(bytes.length, ALIGNMENT),
      sizeBytes: sizeBytes - roundUp(bytes.length, ALIGNMENT),
    };
  }

  /** The partition is built: other threads may attach to it. */
  announce(partition: number): void {
    must(this.#block.partitions[partition]).live = 1;
    this.#change();
  }

  /** The partition is gone for other threads as soon as all have seen the change whose number this returns. */
  withdraw(partition: number): number {
    must(this.#block.partitions[partition]).live = 0;
    return this.#change();
  }

  /** All threads have seen the change: the arena is zeroed, and free. */
  release(partition: number): void {
    const row = must(this.#block.partitions[partition]);
    assert(row.live === 0, 'the partition was withdrawn');
    const words = this.memory.u32.subarray(row.at / 4, (row.at + row.sizeBytes) / 4);
    // What is zero is only read: most of a map was never written, and the host has no memory for it.
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) words[i] = 0;
    row.at = 0;
    row.sizeBytes = 0;
    row.vcpus = 0;
  }

  /** Numbers of the partitions that there are. */
  get partitions(): readonly number[] {
    return this.#block.partitions.flatMap((row, i) => (row.live === 1 ? [i] : []));
  }

  /** What tells a partition from those that had its number before; undefined: it is gone. */
  generation(partition: number): number | undefined {
    const row = must(this.#block.partitions[partition]);
    return row.live === 1 ? row.generation : undefined;
  }

  /** Whose vCPU that is, by its number in the scheduler. */
  ownerOf(vcpu: number): { readonly partition: number; readonly hart: number } {
    const partition = this.#block.partitions.findIndex(
      (row) => row.at !== 0 && vcpu >= row.firstVcpu && vcpu < row.firstVcpu + row.vcpus,
    );
    return { partition, hart: vcpu - must(this.#block.partitions[partition]).firstVcpu };
  }

  seatOf(partition: number): Seat {
    const { at, sizeBytes, configBytes, firstVcpu } = must(this.#block.partitions[partition]);
    const before = roundUp(configBytes, ALIGNMENT);
    return { partition, firstVcpu, at: at + before, sizeBytes: sizeBytes - before };
  }

  configOf(partition: number): BoardConfig {
    const { at, configBytes } = must(this.#block.partitions[partition]);
    return readConfig(this.memory.u8.slice(at, at + configBytes));
  }

  get changes(): number {
    return Atomics.load(this.#words, 0);
  }

  /** The thread has looked at the list since that change, and has nothing of partitions that are gone. */
  saw(thread: number, change: number): void {
    Atomics.store(this.#words, 2 + thread, change);
  }

  /** Whether all these threads have seen the change. */
  isSeen(change: number, threads: readonly number[]): boolean {
    return threads.every((thread) => ((Atomics.load(this.#words, 2 + thread) - change) | 0) >= 0);
  }

  get hasEnded(): boolean {
    return Atomics.load(this.#words, 1) === 1;
  }

  /** The machine has ended: threads return. */
  end(): void {
    Atomics.store(this.#words, 1, 1);
    this.scheduler?.ringAll();
    ringHotBell(this.memory);
  }

  /** To be called when all other threads were ended, in the middle of whatever they did: what they held is free. */
  freeLocks(): void {
    this.memory.freeLocks();
    this.scheduler?.freeLock();
    this.interrupts?.fabric.freeLock();
  }

  #checkMemory({ memoryBytes }: BoardConfig): void {
    const taken = this.#block.partitions.filter((row) => row.at !== 0);
    const left = taken.reduce((rest, { pages }) => rest - pages * FRAME_BYTES, this.#memoryBytes);
    if (memoryBytes > left)
      throw new OperatorError(
        'machine-full',
        `the machine has ${Math.floor(left / 2 ** 20)} MiB left for partitions, not ${Math.ceil(memoryBytes / 2 ** 20)}`,
        'Give the partition less memory (-m), or make the machine with more room.',
      );
  }

  #change(): number {
    const change = Atomics.add(this.#words, 0, 1) + 1;
    this.scheduler?.ringAll();
    ringHotBell(this.memory);
    return change;
  }

  /** The first place of that size between what the partitions have. */
  #free(
    size: number,
    from: number,
    to: number,
    taken: (row: View<typeof partitionRow.fields>) => { start: number; end: number },
  ): number | undefined {
    const spans = this.#block.partitions
      .filter((row) => row.at !== 0)
      .map(taken)
      .sort((a, b) => a.start - b.start);
    let at = from;
    for (const { start, end } of spans) {
      if (at + size <= start) break;
      at = Math.max(at, end);
    }
    return at + size <= to ? at : undefined;
  }
}

/** Spare frames that are set aside are those of so many vCPUs. */
const MOST_KEEPERS = 64;

/** Frames of all its guests. Spare frames that one vCPU keeps must not be missed by another. */
export function machineFrames({
  memoryBytes,
  harts,
  room,
}: Pick<BoardConfig, 'memoryBytes' | 'harts' | 'room'>): number {
  const bytes = Math.max(room?.memoryBytes ?? 0, memoryBytes) + (room?.partitions ?? 1) * VIRT.resetRom.sizeBytes;
  return bytes / FRAME_BYTES + Math.min(room?.vcpus ?? harts, MOST_KEEPERS) * FRESH_PAGES;
}

/** Where the machine is made for one guest it has room for that alone. */
function shapeOf({ processors, harts, room }: BoardConfig): SchedulerShape {
  return { processors: Math.max(processors, 1), vcpus: room?.vcpus ?? harts, shares: room?.partitions ?? 1 };
}
