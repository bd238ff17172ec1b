/**
 * A machine's one linear memory, as TypeScript sees it: blocks for vCPUs and devices, guest-physical maps, the pool
 * of decoded pages, and frames, handed out at first touch. Every thread of the machine wraps the same memory in an
 * object of its own; what they share lies in the memory.
 */
import { assert } from '../base/assert.ts';
import { OperatorError } from '../base/errors.ts';
import { createLinearMemory } from '../base/linear-memory.ts';
import { SharedLock } from '../base/lock.ts';
import { roundUp, type View } from '../base/struct.ts';
import type { MemoryDescription } from '../wasm/index.ts';
import { BEHIND, makeRoom } from './cold-pages.ts';
import {
  BREAKPOINTS,
  DECODED_HEADER_BYTES,
  decodedHeader,
  FRAME_BYTES,
  headerLayout,
  OVERLAY,
  PLAN,
  REGION_BYTES,
  REGIONS,
  USE,
} from './memory-plan.ts';
import { Overlays } from './overlays.ts';
import { dropRegions, emptyEntries, withLock } from './region-links.ts';
import { Sharers } from './shared-frames.ts';
import type { VcpuState } from './vcpu-state.ts';

const PAGE_BYTES = 65536;
/** Frames that a vCPU gets at a time, of those that were given back. */
const REFILL_FRAMES = 32;

export interface MemoryOptions {
  readonly width: 32 | 64;
  readonly shared: boolean;
  /** Bytes of blocks and maps that will be asked for with `block`. */
  readonly blockBytes: number;
  /** Bytes for decoded code. */
  readonly codeBytes: number;
  /** Frames that guests may come to own. */
  readonly frames: number;
  /** Overlays (overlays.ts) at a time; none by default. */
  readonly overlays?: number;
  /** The host's processors have total store order (headerLayout); not by default. */
  readonly totalStoreOrder?: boolean;
}

/** What other threads need to wrap the memory: plain data beside the memory itself. */
export interface MemoryShape {
  readonly description: MemoryDescription;
  readonly sizeBytes: number;
}

/** What all threads of a machine share, for those that have no more of it. */
export function machineHeader(buffer: ArrayBufferLike): View<typeof headerLayout.fields> {
  return headerLayout.view(buffer, PLAN.header);
}

export class MachineMemory {
  readonly memory: WebAssembly.Memory;
  readonly shape: MemoryShape;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly #codeLock: SharedLock;
  readonly header: View<typeof headerLayout.fields>;
  readonly overlays: Overlays;
  #sharers: Sharers | undefined;
  #nextBlock = 0;
  #blockLimit = 0;

  /** Makes and divides a new memory. */
  static create(options: MemoryOptions): MachineMemory {
    const overlayBytes = (options.overlays ?? 0) * OVERLAY.bytes;
    const contents =
      options.blockBytes +
      options.codeBytes * (1 + BEHIND) +
      overlayBytes +
      options.frames * (FRAME_BYTES + 4) +
      2 * PAGE_BYTES;
    // The frame table has four bytes for each frame of all the memory, itself included.
    const sizeBytes = roundUp(PLAN.frameTable + contents + Math.ceil(contents / 1000) + PAGE_BYTES, PAGE_BYTES);
    const limit = options.width === 32 ? 2 ** 32 - PAGE_BYTES : 2 ** 36;
    if (sizeBytes > limit)
      throw new OperatorError(
        'memory-too-large',
        `the machine would need ${Math.ceil(sizeBytes / 2 ** 20)} MiB`,
        `give its guests less memory: ${Math.floor(limit / 2 ** 20)} MiB is the most with ${options.width}-bit memory`,
      );
    const pages = sizeBytes / PAGE_BYTES;
    const description = { width: options.width, shared: options.shared, initialPages: pages, maximumPages: pages };
    let memory: WebAssembly.Memory;
    try {
      memory = createLinearMemory({ width: options.width, shared: options.shared, pages });
    } catch (cause) {
      throw new OperatorError(
        'memory-not-available',
        `the host cannot reserve ${Math.ceil(sizeBytes / 2 ** 20)} MiB`,
        'give the guest less memory (-m)',
        { cause },
      );
    }
    const self = new MachineMemory(memory, { description, sizeBytes });
    self.#divide(options);
    return self;
  }

  constructor(memory: WebAssembly.Memory, shape: MemoryShape) {
    this.memory = memory;
    this.shape = shape;
    this.u8 = new Uint8Array(memory.buffer);
    this.u32 = new Uint32Array(memory.buffer);
    this.i32 = new Int32Array(memory.buffer);
    this.u64 = new BigUint64Array(memory.buffer);
    this.#codeLock = new SharedLock(this.i32, (PLAN.header + headerLayout.offset.codeLock) / 4);
    this.header = machineHeader(memory.buffer);
    this.overlays = new Overlays(memory.buffer);
  }

  /** Who has frames besides. */
  get sharers(): Sharers {
    this.#sharers ??= new Sharers(this);
    return this.#sharers;
  }

  get buffer(): ArrayBufferLike {
    return this.u8.buffer;
  }

  /**
   * Blocks are asked for in the same order on every thread, and so fall at the same places: from the first place for them,
   * or in an arena that was taken from there.
   */
  beginBlocks(arena?: { readonly at: number; readonly sizeBytes: number }): void {
    this.#nextBlock = arena?.at ?? roundUp(PLAN.frameTable + (this.shape.sizeBytes / FRAME_BYTES) * 4, 64);
    this.#blockLimit = arena === undefined ? this.header.decodedFirst : arena.at + arena.sizeBytes;
  }

  /** A zeroed block that stays for the machine's life. */
  block(sizeBytes: number, alignment = 64): number {
    const at = roundUp(this.#nextBlock, alignment);
    assert(at + sizeBytes <= this.#blockLimit, 'the blocks were measured too small');
    this.#nextBlock = at + sizeBytes;
    return at;
  }

  /** Code memory in use: decoded pages, modules, and what the host holds for these (an estimate). */
  get codeBytes(): number {
    const { decodedFirst, decodedNext, decodedFreeBytes, decodedLimit, codeEnd } = this.header;
    return decodedNext - decodedFirst - decodedFreeBytes + (codeEnd - decodedLimit);
  }

  /** Frames that guests have touched so far. */
  get framesUsed(): number {
    return this.header.frameNext - this.#frameFirst - this.header.poolCount;
  }

  get #frameFirst(): number {
    return this.header.frameFirst;
  }

  /** Regions that can be entered, and instructions in them. */
  get regionsInUse(): { readonly regions: number; readonly instructions: number } {
    let [regions, instructions] = [0, 0];
    const end = Math.min(this.header.regionNext, REGIONS);
    for (let number = 1; number < end; number++) {
      const record = (PLAN.regions + number * REGION_BYTES) / 4;
      if (this.u32[record] === 0) continue;
      regions++;
      instructions += this.u32[record + 3] ?? 0;
    }
    return { regions, instructions };
  }

  /**
   * Forgets all decoded code. No vCPU may be running; each sees by `decodedEpoch` and `codeFlushes` that it is to forget
   * what it knows of code before it makes use of that, and so does a thread that translates.
   */
  dropCode(): void {
    this.#withAllCode(() => this.#dropCode());
  }

  /**
   * Code memory is full: takes the pages of cold code back (cold-pages.ts), or forgets all where that is too little. As
   * `dropCode`; vCPUs see that some is gone by `decodedEpoch`.
   */
  makeRoomForCode(): void {
    this.#withAllCode(() => {
      if (!makeRoom(this)) this.#dropCode();
    });
  }

  #withAllCode(act: () => void): void {
    this.withCode(() => withLock(this.i32, 'sourceLock', () => withLock(this.i32, 'regionLock', act)));
  }

  /**
   * All code is not dropped meanwhile: for changes to decoded code by who is not in the engine, whom nobody would wait for
   * (devices, a vCPU that waits for others), from looking a page up to the last write to it. Not within itself.
   */
  withCode<T>(act: () => T): T {
    return this.#codeLock.with(act);
  }

  /** To be called when all other threads were ended, in the middle of whatever they did: what they held is free. */
  freeLocks(): void {
    for (const lock of ['regionLock', 'sourceLock', 'codeLock', 'poolLock', 'sharersLock'] as const)
      Atomics.store(this.i32, (PLAN.header + headerLayout.offset[lock]) / 4, 0);
  }

  #dropCode(): void {
    const { header } = this;
    const frames = this.shape.sizeBytes / FRAME_BYTES;
    this.u32.fill(0, PLAN.frameTable / 4, PLAN.frameTable / 4 + frames);
    header.decodedUsed = Math.max(header.decodedUsed, header.decodedNext);
    header.regionsEvicted += this.regionsInUse.regions;
    // No record of before may be taken for one that is about to be written.
    this.u8.fill(0, PLAN.regions, PLAN.regions + Math.min(header.regionNext, REGIONS) * REGION_BYTES);
    header.decodedNext = header.decodedFirst;
    header.decodedLimit = header.codeEnd;
    header.decodedFree = 0;
    header.decodedFreeBytes = 0;
    header.decodedEpoch++;
    header.regionNext = 1;
    header.linkNext = 1;
    header.lastModule = 0;
    header.modules = 0;
    header.siteNext = 1;
    header.promotionBytes = 0;
    header.regionsFull = 0;
    header.codeFlushes++;
    this.overlays.reset();
  }

  /**
   * Drops the regions that have instructions of the page with these decoded entries. Those that run go on until they
   * leave: for writes by somebody else, and while no vCPU runs.
   */
  dropRegions(entries: number): void {
    dropRegions(this, entries);
  }

  /** All decoded pages, by their entries. */
  *decodedPages(): Generator<number> {
    const first = PLAN.frameTable / 4;
    const table = this.u32.subarray(first, first + this.shape.sizeBytes / FRAME_BYTES);
    for (const entries of table) if (entries !== 0) yield entries;
  }

  /**
   * Bytes of the frame with this decoded page were, or may have been, written unnoticed: all its entries are emptied,
   * and its overlays dropped.
   */
  forgetCode(entries: number): void {
    emptyEntries(this, entries, entries + 2048 * 8);
    this.dropOverlays(entries, 'mark');
  }

  /** Drops the overlays of a frame, by the entries of its decoded page. */
  dropOverlays(entries: number, reason: 'write' | 'mark'): void {
    if (Atomics.load(this.u32, this.#decodedIndex(entries, 'overlays')) !== 0) this.overlays.drop(entries, reason);
  }

  /**
   * Sets the breakpoints: linear addresses of instructions and the partitions that meet them, at most BREAKPOINTS.
   * With `inOverlays` they are substitutes, made when the frame is next executed; else decoded entries, which all
   * partitions meet. None of their vCPUs may be running, and all are to forget their fetch translations.
   */
  setBreakpoints(list: readonly { address: number; partition: number }[], options: { inOverlays: boolean }): void {
    assert(list.length <= BREAKPOINTS, 'too many breakpoints');
    // Other partitions' vCPUs run meanwhile, and may fill code memory.
    this.withCode(() => this.#setBreakpoints(list, options));
  }

  #setBreakpoints(list: readonly { address: number; partition: number }[], options: { inOverlays: boolean }): void {
    const { header } = this;
    const places = Array.from({ length: header.breakpointCount }, (_, i) => ({
      address: header.breakpoints[i] ?? 0,
      partition: header.breakpointPartitions[i] ?? 0,
    }));
    for (const { address, partition } of places) {
      this.overlays.withdraw(partition, address, USE.breakpoint);
      this.#forgetInstruction(address);
      this.#setWanted(address, 0);
    }
    list.forEach(({ address, partition }, i) => {
      header.breakpoints[i] = address;
      header.breakpointPartitions[i] = partition;
    });
    header.breakpointCount = list.length;
    header.breakpointsInOverlays = options.inOverlays ? 1 : 0;
    for (const { address } of list) {
      this.#forgetInstruction(address);
      if (options.inOverlays) this.#setWanted(address, 1);
    }
    if (options.inOverlays) this.overlays.addBreakpoints(list);
  }

  /** What is known of the code in frames of a guest that is gone is forgotten. No vCPU may be running. */
  forgetFrames(numbers: Iterable<number>): void {
    this.withCode(() => withLock(this.i32, 'sourceLock', () => this.#forgetFrames(numbers)));
  }

  /** Of frames that pages of a partition that is gone had, those that nobody has any more. */
  leaveFrames(numbers: Iterable<number>): number[] {
    return [...numbers].filter((number) => this.sharers.leave(number));
  }

  /** Frames come back, of which nothing is known any more: they hold zeros before anybody else has them. */
  giveFrames(numbers: Iterable<number>): void {
    for (const number of numbers) {
      this.u8.fill(0, number * FRAME_BYTES, (number + 1) * FRAME_BYTES);
      this.#pool(() => {
        this.u32[(number * FRAME_BYTES) / 4] = this.header.poolHead;
        this.header.poolHead = number;
        this.header.poolCount++;
      });
    }
  }

  /** A frame that was given back, of zeros; 0: there is none. */
  takeFrame(): number {
    if (this.header.poolCount === 0) return 0;
    return this.#pool(() => {
      const number = this.header.poolHead;
      if (number === 0) return 0;
      const link = (number * FRAME_BYTES) / 4;
      this.header.poolHead = this.u32[link] ?? 0;
      this.header.poolCount--;
      this.u32[link] = 0;
      return number;
    });
  }

  /** The engine found no frame that was never used: the vCPU, which is outside, gets some that were. False: there are none. */
  refill(state: Pick<VcpuState, 'spares' | 'spareFrames'>): boolean {
    while (state.spareFrames < REFILL_FRAMES) {
      const number = this.takeFrame();
      if (number === 0) break;
      state.spares[state.spareFrames++] = number;
    }
    return state.spareFrames > 0;
  }

  #pool<T>(act: () => T): T {
    return withLock(this.i32, 'poolLock', act);
  }

  #forgetFrames(numbers: Iterable<number>): void {
    for (const number of numbers) {
      const entries = this.decodedPage(number * FRAME_BYTES);
      if (entries === 0) continue;
      dropRegions(this, entries);
      this.forgetCode(entries);
      this.u32[PLAN.frameTable / 4 + number] = 0;
    }
  }

  #setWanted(address: number, wanted: number): void {
    const page = this.u32[PLAN.frameTable / 4 + Math.floor(address / FRAME_BYTES)] ?? 0;
    if (page !== 0) this.u32[this.#decodedIndex(page, 'wanted')] = wanted;
  }

  #decodedIndex(entries: number, field: 'overlays' | 'wanted'): number {
    return (entries - DECODED_HEADER_BYTES + decodedHeader.offset[field]) / 4;
  }

  /** The decoded page of the frame at that linear address; 0: it was never executed. */
  decodedPage(address: number): number {
    return this.u32[PLAN.frameTable / 4 + Math.floor(address / FRAME_BYTES)] ?? 0;
  }

  #forgetInstruction(address: number): void {
    const page = this.decodedPage(address);
    if (page === 0) return;
    dropRegions(this, page);
    const entry = page + (address % FRAME_BYTES) * 4;
    emptyEntries(this, entry, entry + 8);
  }

  #divide(options: MemoryOptions): void {
    const { header } = this;
    const firstBlock = roundUp(PLAN.frameTable + (this.shape.sizeBytes / FRAME_BYTES) * 4, 64);
    header.decodedFirst = roundUp(firstBlock + options.blockBytes, 64);
    header.decodedNext = header.decodedFirst;
    header.regionNext = 1;
    header.linkNext = 1;
    header.siteNext = 1;
    header.totalStoreOrder = options.totalStoreOrder ? 1 : 0;
    header.codeEnd = header.decodedFirst + options.codeBytes;
    header.decodedLimit = header.codeEnd;
    header.poolEnd = header.codeEnd + options.codeBytes * BEHIND;
    header.overlayFirst = roundUp(header.poolEnd, FRAME_BYTES);
    header.overlayCount = options.overlays ?? 0;
    header.sharersFirst = header.overlayFirst + header.overlayCount * OVERLAY.bytes;
    header.frameFirst = roundUp(header.sharersFirst + options.frames * 4, FRAME_BYTES) / FRAME_BYTES;
    header.frameNext = header.frameFirst;
    header.frameLimit = header.frameFirst + options.frames;
    assert(header.frameLimit * FRAME_BYTES <= this.shape.sizeBytes, 'the memory was measured too small');
    this.beginBlocks();
  }
}
