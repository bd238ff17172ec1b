/** A partition's guest-physical memory: which pages there are, and which frame each of them has. */
import { assert, must } from '../base/assert.ts';
import { countWritten, endSweeps, type PageRange, sweepPages } from './dirty-pages.ts';
import type { MachineMemory } from './machine-memory.ts';
import { FRAME_BYTES, GPA, headerLayout, PLAN } from './memory-plan.ts';

/** What is told of frames that a map's pages get: a partition's protection. */
export interface FrameRights {
  /** Nobody else hands frames out, or changes rights, meanwhile. Not to be nested. */
  exclusive<T>(act: () => T): T;
  /** The page gets the frame, both by number; within `exclusive`. */
  give(frame: number, page: number): void;
  /** The frame is nobody's; within `exclusive`. */
  take(frame: number): void;
}

/**
 * Has `copy` done while no vCPU of the partition is in the engine, and none goes on with what it had cached of the map.
 * False: not now, as somebody else keeps the vCPUs outside.
 */
export type CopySeen = (copy: () => void) => boolean;

/** The map of a partition's guest-physical pages to frames: one u32 per page, in a block. */
export class GuestPhysicalMap {
  readonly at: number;
  readonly pages: number;
  readonly #memory: MachineMemory;
  readonly #entries: Uint32Array;
  /** Whoever has to know of frames, on this thread; generated code tells it by Processor.onHanded. */
  rights: FrameRights | undefined;
  /** How a frame that others have too is copied once it was read; where partitions fork. */
  copySeen: CopySeen | undefined;
  readonly #ranges: PageRange[] = [];

  /** `at`: a block of `4 * pages` bytes. */
  constructor(memory: MachineMemory, at: number, pages: number) {
    this.#memory = memory;
    this.at = at;
    this.pages = pages;
    this.#entries = new Uint32Array(memory.buffer, at, pages);
  }

  /** Declares the range RAM (or ROM): frames come at first touch. Both are multiples of 4096. */
  declare(gpa: number, sizeBytes: number, options: { readOnly: boolean }): void {
    assert(gpa % FRAME_BYTES === 0 && sizeBytes % FRAME_BYTES === 0);
    const first = gpa / FRAME_BYTES;
    assert(first + sizeBytes / FRAME_BYTES <= this.pages, 'the map is too small');
    this.#entries.fill(GPA.ram | (options.readOnly ? GPA.readOnly : 0), first, first + sizeBytes / FRAME_BYTES);
    this.#ranges.push({ first, end: first + sizeBytes / FRAME_BYTES });
    this.#ranges.sort((a, b) => a.first - b.first);
  }

  /**
   * The other map, of the same ranges and without a frame, gets the pages of this one: both have the frames, until one of
   * them writes. On the thread that declared the ranges; no vCPU of either runs, nothing is reached through this map, and its
   * vCPUs drop what they cached of it before they run.
   */
  forkTo(twin: GuestPhysicalMap): void {
    const add = (frame: number): void => this.#memory.sharers.add(frame);
    for (const { first, end } of this.#ranges) {
      share(this.#entries, first, end, add);
      twin.#entries.set(this.#entries.subarray(first, end), first);
    }
  }

  /** As forkTo, with copies of everything and without effect: so that the host has compiled it when it counts. */
  rehearseFork(): void {
    const counts = new Uint32Array(new SharedArrayBuffer(8));
    const add = (frame: number): void => void Atomics.add(counts, 0, frame & 1);
    for (const { first, end } of this.#ranges) {
      const entries = new Uint32Array(new SharedArrayBuffer((end - first) * 4));
      entries.set(this.#entries.subarray(first, end));
      share(entries, 0, end - first, add);
    }
  }

  /**
   * Tells what was written since this was last called (at first: whatever has a frame), and that it is clean from now on.
   * `held`: by page, 1 where the listener has something of it. Calls `written(page, linear address of its frame)` in rising
   * order, with address 0 for a page that has no frame any more, and so holds zeros. No vCPU runs, no device has anything
   * under way, and vCPUs drop their write translations before they run.
   */
  sweep(held: Uint8Array, written: (page: number, host: number) => void): void {
    for (const range of this.#ranges) sweepPages(this.#entries, range, held, written);
  }

  /** How many pages were written since the last sweep; of a guest that runs, about. */
  countWritten(): number {
    return this.#ranges.reduce((sum, range) => sum + countWritten(this.#entries, range), 0);
  }

  /** Nobody sweeps any more: writes are not noticed. At any time. */
  endSweeps(): void {
    for (const range of this.#ranges) endSweeps(this.#entries, range);
  }

  /** Has the host provide memory for the map itself, of which no page has a frame. */
  provide(): void {
    for (const { first, end } of this.#ranges) this.#entries.fill(this.#entries[first] ?? 0, first, end);
  }

  /** Pages that have a frame, and of these those that others may have, too. */
  count(): { readonly present: number; readonly shared: number } {
    let [present, shared] = [0, 0];
    for (const { first, end } of this.#ranges)
      for (let page = first; page < end; page++) {
        const entry = this.#entries[page] ?? 0;
        if ((entry & GPA.present) === 0) continue;
        present++;
        if ((entry & GPA.shared) !== 0 && this.#memory.sharers.of(entry >>> 8) > 0) shared++;
      }
    return { present, shared };
  }

  /** The linear address of the page's frame, allocated if need be; 0 where there is no memory (or none writable). */
  host(page: number, access: 'read' | 'write' | 'setup'): number {
    if (page >= this.pages) return 0;
    let entry = Atomics.load(this.#entries, page);
    if ((entry & GPA.ram) === 0 || (access === 'write' && (entry & GPA.readOnly) !== 0)) return 0;
    if (access !== 'read' && (entry & GPA.clean) !== 0)
      entry = (Atomics.and(this.#entries, page, ~GPA.clean) & ~GPA.clean) >>> 0;
    while ((entry & (GPA.present | GPA.fresh)) !== GPA.present) {
      if ((entry & GPA.present) === 0) {
        const { rights } = this;
        entry = rights === undefined ? this.#fill(page) : rights.exclusive(() => this.#fill(page));
        if (entry === 0) return 0;
        continue;
      }
      // A fresh page has its vCPU's frame, which stays from now on (fresh-frames.ts).
      const next = (entry & ~GPA.fresh) >>> 0;
      const found = Atomics.compareExchange(this.#entries, page, entry, next);
      entry = found === entry ? next : found;
    }
    if ((entry & GPA.shared) !== 0 && (entry & GPA.readOnly) === 0) return this.own(page);
    return (entry >>> 8) * FRAME_BYTES;
  }

  /** Gives each of so many pages of memory a frame that has none: as `host`, with the lock taken once. */
  touch(first: number, count: number): void {
    const { rights } = this;
    const fill = (): void => {
      for (let page = first; page < Math.min(first + count, this.pages); page++)
        if (((this.#entries[page] ?? 0) & GPA.ram) !== 0) this.#fill(page);
    };
    if (rights === undefined) fill();
    else rights.exclusive(fill);
  }

  /**
   * The page gets a frame that nobody else has, if it has not: the frame's linear address; 0: there is none left. Whoever is
   * not a vCPU in the engine needs that to read as well: nobody waits for it before the other owner writes to the frame.
   * `copySeen`: where the caller knows better.
   */
  own(page: number, copySeen = this.copySeen): number {
    for (;;) {
      const entry = Atomics.load(this.#entries, page);
      const frame = entry >>> 8;
      if ((entry & GPA.shared) === 0) return frame * FRAME_BYTES;
      if (this.#memory.sharers.of(frame) === 0) {
        const alone = (entry & ~(GPA.shared | GPA.seen)) >>> 0;
        if (Atomics.compareExchange(this.#entries, page, entry, alone) === entry) return frame * FRAME_BYTES;
      } else if ((entry & GPA.seen) === 0) {
        if (!this.#copy(page, entry)) return 0;
      } else {
        let isRoom = true;
        must(
          copySeen,
          'where frames are shared, who may have read them is known',
        )(() => {
          isRoom = this.#copy(page, Atomics.load(this.#entries, page));
        });
        if (!isRoom) return 0;
      }
    }
  }

  /** Unless somebody else did meanwhile. False: there is no frame. */
  #copy(page: number, entry: number): boolean {
    if ((entry & GPA.shared) === 0) return true;
    const frame = this.#allocate();
    if (frame === 0) return false;
    const { rights } = this;
    rights?.exclusive(() => rights.give(frame, page));
    const isDone = this.#memory.sharers.copy(this.#entries, page, entry, frame);
    rights?.exclusive(() => rights.take(isDone ? entry >>> 8 : frame));
    if (!isDone) this.#memory.giveFrames([frame]);
    return true;
  }

  /** Gives a page of memory a frame, if it has none by now; its entry. 0: there is no frame left. */
  #fill(page: number): number {
    const entry = Atomics.load(this.#entries, page);
    if ((entry & GPA.present) !== 0) return entry;
    const frame = this.#allocate();
    if (frame === 0) return 0;
    this.rights?.give(frame, page);
    const next = ((frame << 8) | (entry & 255) | GPA.present) >>> 0;
    const found = Atomics.compareExchange(this.#entries, page, entry, next);
    if (found === entry) return next;
    this.rights?.take(frame);
    return found;
  }

  /**
   * Takes its frame from a page that is written: it holds zeros when it is used again. The frame's number; 0: it had none. No
   * vCPU is in the engine, and all forget their translations.
   */
  release(page: number): number {
    const entry = page < this.pages ? (this.#entries[page] ?? 0) : 0;
    if ((entry & (GPA.present | GPA.readOnly)) !== GPA.present) return 0;
    this.#entries[page] = entry & GPA.ram;
    return entry >>> 8;
  }

  /** The number of the page's frame; 0: it has none. */
  frame(page: number): number {
    const entry = page < this.pages ? Atomics.load(this.#entries, page) : 0;
    return (entry & GPA.present) === 0 ? 0 : entry >>> 8;
  }

  /** What is declared of the page: nothing, memory, or memory that is only read. */
  declared(page: number): 'nothing' | 'memory' | 'read-only' {
    const entry = page < this.pages ? Atomics.load(this.#entries, page) : 0;
    if ((entry & GPA.ram) === 0) return 'nothing';
    return (entry & GPA.readOnly) === 0 ? 'memory' : 'read-only';
  }

  /** What is at the page, without touching it: `host` is 0 for memory that has no frame yet. */
  look(page: number): { readonly kind: 'nothing' } | { readonly kind: 'memory'; readonly host: number } {
    const entry = page < this.pages ? Atomics.load(this.#entries, page) : 0;
    if ((entry & GPA.ram) === 0) return { kind: 'nothing' };
    return { kind: 'memory', host: (entry & GPA.present) === 0 ? 0 : (entry >>> 8) * FRAME_BYTES };
  }

  /** Whether the page is memory that has no frame yet, and so holds zeros. */
  isUntouched(page: number): boolean {
    const found = this.look(page);
    return found.kind === 'memory' && found.host === 0;
  }

  /** Guest-physical pages that have a frame. */
  *present(): Generator<{ page: number; host: number }> {
    for (let page = 0; page < this.pages; page++) {
      const entry = this.#entries[page] ?? 0;
      if ((entry & GPA.present) !== 0) yield { page, host: (entry >>> 8) * FRAME_BYTES };
    }
  }

  #allocate(): number {
    const index = (PLAN.header + headerLayout.offset.frameNext) / 4;
    const number = Atomics.add(this.#memory.u32, index, 1);
    if (number < this.#memory.header.frameLimit) return number;
    Atomics.sub(this.#memory.u32, index, 1);
    return this.#memory.takeFrame();
  }
}

/** Pages have their frames together with others from now on; `add` is told of each frame. */
function share(entries: Uint32Array, first: number, end: number, add: (frame: number) => void): void {
  for (let page = first; page < end; page++) {
    const entry = entries[page] ?? 0;
    if ((entry & GPA.present) === 0) continue;
    add(entry >>> 8);
    entries[page] = (entry & ~(GPA.fresh | GPA.seen)) | GPA.shared;
  }
}
