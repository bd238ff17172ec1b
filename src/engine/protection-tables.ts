/**
 * Protection tables (mechanism 1) in a machine's memory: for each domain, which frames of the machine it may read, write
 * and execute. A table is a thing of its own: it knows frames, and nothing of guest-physical addresses or page tables.
 *
 *   table:  u32 for each 1024 frames --> chunk: a byte of rights for each frame (R 1, W 2, X 4, as in pmpcfg)
 *                                   \--> the chunk of nothing, where the domain has no frame
 *
 * Tables with equal content share their chunks; one that is changed for some of its tables is copied for these first. So
 * the domains of a partition cost a byte for each frame together, and a twin costs its root. What a table says is read
 * by generated code (protection-code.ts) and by DMA; caches of it are dropped by whoever takes a right away
 * (hypervisor/protection.ts). Methods that change something are called by `exclusive` bodies.
 */
import { assert, must } from '../base/assert.ts';
import { SharedLock } from '../base/lock.ts';
import { roundUp, struct, type View } from '../base/struct.ts';
import type { MachineMemory } from './machine-memory.ts';

/** Bits of a frame's rights, as in pmpcfg. */
export const RIGHT = { read: 1, write: 2, execute: 4 } as const;
export const ALL_RIGHTS = 7;
/** Frames of a chunk. */
export const CHUNK_FRAMES = 1024;

const layout = struct('protection-tables', {
  lock: 'i32',
  /** Tables and chunks that were ever given out; the first free ones of those given back, 0: none. */
  tables: 'u32',
  chunks: 'u32',
  freeTable: 'u32',
  freeChunk: 'u32',
  tablesInUse: 'u32',
  chunksInUse: 'u32',
});

export interface ProtectionPlan {
  /** Frames that guests may come to own (MemoryOptions.frames). */
  readonly frames: number;
  /** Tables at a time. */
  readonly tables: number;
}

/** What tables cost. */
export interface ProtectionUsage {
  readonly tables: number;
  readonly chunks: number;
  readonly bytes: number;
}

export class ProtectionTables {
  readonly #memory: MachineMemory;
  readonly #plan: ProtectionPlan;
  readonly #state: View<typeof layout.fields>;
  readonly #lock: SharedLock;
  readonly #roots: number;
  readonly #references: number;
  readonly #chunks: number;
  /** Chunk pointers of a table. */
  readonly #width: number;

  /** Bytes of the block. Chunks are there for tables that have nothing in common; what is not used costs nothing. */
  static sizeBytes(plan: ProtectionPlan): number {
    return parts(plan).end;
  }

  /** `at`: a zeroed block of `sizeBytes`, the same on every thread. */
  constructor(memory: MachineMemory, at: number, plan: ProtectionPlan) {
    const { roots, references, chunks, width } = parts(plan);
    this.#memory = memory;
    this.#plan = plan;
    this.#state = layout.view(memory.buffer, at);
    this.#lock = new SharedLock(memory.i32, (at + layout.offset.lock) / 4);
    this.#roots = at + roots;
    this.#references = (at + references) / 4;
    this.#chunks = at + chunks;
    this.#width = width;
  }

  get usage(): ProtectionUsage {
    const { tablesInUse, chunksInUse } = this.#state;
    return {
      tables: tablesInUse,
      chunks: chunksInUse,
      bytes: tablesInUse * this.#width * 4 + chunksInUse * CHUNK_FRAMES,
    };
  }

  /** Runs `act` while no other thread changes tables. Not to be nested. */
  exclusive<T>(act: () => T): T {
    return this.#lock.with(act);
  }

  /** What a vCPU's block has of the table: its slots by the numbers of frames, without the first frame's taken off. */
  pointer(table: number): bigint {
    return BigInt(table - 4 * this.#firstSlot);
  }

  get #firstSlot(): number {
    return Math.floor(this.#memory.header.frameFirst / CHUNK_FRAMES);
  }

  /** A new table, which allows nothing: its address, by which it is known from now on. */
  create(): number {
    const { u32 } = this.#memory;
    const state = this.#state;
    let table = state.freeTable;
    if (table !== 0) state.freeTable = must(u32[table / 4]);
    else {
      assert(state.tables < this.#plan.tables, 'more protection tables than were planned');
      table = this.#roots + state.tables++ * this.#width * 4;
    }
    state.tablesInUse++;
    u32.fill(this.#chunks, table / 4, table / 4 + this.#width);
    return table;
  }

  /** A table of the same content, which shares all that there is. */
  copy(table: number): number {
    const made = this.create();
    const { u32 } = this.#memory;
    for (let i = 0; i < this.#width; i++) {
      const chunk = must(u32[table / 4 + i]);
      this.#addReference(chunk);
      u32[made / 4 + i] = chunk;
    }
    return made;
  }

  /**
   * Becomes what the other block of tables is: the same tables, at the same places from the start of the block on. Both are
   * of one plan; nobody else looks at either. For twins, which begin with the frames of their original.
   */
  copyFrom(other: ProtectionTables): void {
    const { u8, u32 } = this.#memory;
    const [to, from] = [this.#state, other.#state];
    const distance = this.#roots - other.#roots;
    assert(this.#width === other.#width && this.#chunks - other.#chunks === distance, 'the tables are of one plan');
    const moved = (address: number): number => (address === 0 ? 0 : address + distance);
    for (const field of ['tables', 'chunks', 'tablesInUse', 'chunksInUse'] as const) to[field] = from[field];
    to.freeTable = moved(from.freeTable);
    to.freeChunk = moved(from.freeChunk);
    const count = from.chunks + 1;
    u32.copyWithin(this.#references, other.#references, other.#references + count);
    u8.copyWithin(this.#chunks, other.#chunks, other.#chunks + count * CHUNK_FRAMES);
    for (let chunk = from.freeChunk; chunk !== 0; chunk = must(u32[chunk / 4]))
      u32[(chunk + distance) / 4] = moved(must(u32[chunk / 4]));
    const words = from.tables * this.#width;
    for (let i = 0; i < words; i++) u32[this.#roots / 4 + i] = must(u32[other.#roots / 4 + i]) + distance;
    for (let table = from.freeTable; table !== 0; table = must(u32[table / 4]))
      u32[(table + distance) / 4] = moved(must(u32[table / 4]));
  }

  /** Gives a table back, which nobody uses any more. */
  free(table: number): void {
    const { u32 } = this.#memory;
    for (let i = 0; i < this.#width; i++) this.#dropReference(must(u32[table / 4 + i]));
    u32[table / 4] = this.#state.freeTable;
    this.#state.freeTable = table;
    this.#state.tablesInUse--;
  }

  /** What the table allows of a frame, by its number: bits of RIGHT. */
  rights(table: number, frame: number): number {
    const chunk = must(this.#memory.u32[table / 4 + this.#slot(frame)]);
    return must(this.#memory.u8[chunk + (frame % CHUNK_FRAMES)]);
  }

  /** Sets what each of the tables allows of the frame. */
  set(frame: number, tables: readonly number[], rights: readonly number[]): void {
    const { u8, u32 } = this.#memory;
    const slot = this.#slot(frame);
    const place = frame % CHUNK_FRAMES;
    for (let i = 0; i < tables.length; i++) {
      const chunk = must(u32[must(tables[i]) / 4 + slot]);
      const value = must(rights[i]);
      if (u8[chunk + place] === value) continue;
      // All that have this chunk and get the same go on with one.
      const isTogether = (j: number): boolean => u32[must(tables[j]) / 4 + slot] === chunk && rights[j] === value;
      let together = 0;
      for (let j = i; j < tables.length; j++) if (isTogether(j)) together++;
      if (chunk !== this.#chunks && this.#count(chunk) === together) {
        u8[chunk + place] = value;
        continue;
      }
      const own = this.#allocate();
      u8.copyWithin(own, chunk, chunk + CHUNK_FRAMES);
      u8[own + place] = value;
      u32[this.#counter(own)] = together;
      for (let j = i; j < tables.length; j++) {
        if (!isTogether(j)) continue;
        // Whoever finds the chunk finds its content.
        Atomics.store(u32, must(tables[j]) / 4 + slot, own);
        this.#dropReference(chunk);
      }
    }
  }

  /** Tables whose content became equal share it again, where these frames are. Nobody may be looking at the tables. */
  shareEqual(tables: readonly number[], firstFrame: number, lastFrame: number): void {
    const { u8, u32 } = this.#memory;
    const bytes = (chunk: number): Uint8Array => u8.subarray(chunk, chunk + CHUNK_FRAMES);
    const end = this.#slot(lastFrame);
    for (let slot = this.#slot(firstFrame); slot <= end; slot++) {
      const kept: number[] = [];
      for (const table of tables) {
        const chunk = must(u32[table / 4 + slot]);
        const equal = kept.find((one) => one !== chunk && isSame(bytes(one), bytes(chunk)));
        if (equal === undefined) {
          kept.push(chunk);
          continue;
        }
        u32[table / 4 + slot] = equal;
        this.#addReference(equal);
        this.#dropReference(chunk);
      }
    }
  }

  #slot(frame: number): number {
    return Math.floor(frame / CHUNK_FRAMES) - this.#firstSlot;
  }

  #allocate(): number {
    const { u32 } = this.#memory;
    const state = this.#state;
    state.chunksInUse++;
    const free = state.freeChunk;
    if (free === 0) return this.#chunks + ++state.chunks * CHUNK_FRAMES;
    state.freeChunk = must(u32[free / 4]);
    return free;
  }

  #counter(chunk: number): number {
    return this.#references + (chunk - this.#chunks) / CHUNK_FRAMES;
  }

  #count(chunk: number): number {
    return must(this.#memory.u32[this.#counter(chunk)]);
  }

  /** Of the chunk of nothing there is no count. */
  #addReference(chunk: number): void {
    if (chunk !== this.#chunks) this.#memory.u32[this.#counter(chunk)] = this.#count(chunk) + 1;
  }

  #dropReference(chunk: number): void {
    if (chunk === this.#chunks) return;
    const left = this.#count(chunk) - 1;
    this.#memory.u32[this.#counter(chunk)] = left;
    if (left > 0) return;
    this.#memory.u32[chunk / 4] = this.#state.freeChunk;
    this.#state.freeChunk = chunk;
    this.#state.chunksInUse--;
  }
}

/** Where things lie in the block. Chunk 0 is the one of nothing. */
function parts({ frames, tables }: ProtectionPlan) {
  // Frames begin and end within a chunk.
  const width = Math.ceil(frames / CHUNK_FRAMES) + 1;
  const roots = roundUp(layout.sizeBytes, 64);
  const references = roots + tables * width * 4;
  const count = tables * width + 1;
  const chunks = roundUp(references + count * 4, 64);
  return { width, roots, references, chunks, end: chunks + count * CHUNK_FRAMES };
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}
