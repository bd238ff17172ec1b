/**
 * A disk whose writes are part of the guest's epochs. Three ways to be:
 *
 *   through   nobody replicates the guest: requests go to the disk
 *   recorded  a disk that dies with this process (a temporary layer): requests go to it, writes are remembered for the peer
 *   held      a disk that outlives it (a file, perhaps of both hosts): writes are answered at once and wait here; they go to
 *             the disk when their epoch is safe with the peer, which has them too. Reads see them.
 *
 * A flush of a held disk is answered at once as well: what tells the world of it leaves only when the epoch's writes are on
 * the disk and it was flushed (see `apply`). So "it is stored" is never heard before it is true, on either host.
 */
import { must } from '../base/assert.ts';
import type { BlockBackend } from '../machine/index.ts';

export type Disk = BlockBackend;

export type DiskChange =
  | { readonly kind: 'data'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'zeroes' | 'discard'; readonly offset: number; readonly sizeBytes: number };

/** What one epoch did to a disk, in its order. */
export interface DiskEpoch {
  readonly changes: readonly DiskChange[];
  /** The guest asked for what it had written to be kept. */
  readonly flushes: boolean;
}

export type JournalMode = 'through' | 'recorded' | 'held';

export class JournalDisk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly discard?: (offset: number, sizeBytes: number) => Promise<void> | void;
  readonly writeZeroes?: (offset: number, sizeBytes: number) => Promise<void> | void;
  #disk: Disk;
  #mode: JournalMode = 'through';
  #changes: DiskChange[] = [];
  #flushes = false;
  /** What reads see in front of the disk, oldest first. Only grows: reads that are under way go on with what they began with. */
  #waiting: DiskChange[] = [];
  #bytes = 0;
  /** Told when something begins to wait, with how many bytes wait by then. */
  onHeld: ((bytes: number) => void) | undefined;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.sizeBytes = disk.sizeBytes;
    this.readOnly = disk.readOnly;
    if (disk.discard) this.discard = (offset, sizeBytes) => this.#change({ kind: 'discard', offset, sizeBytes });
    if (disk.writeZeroes) this.writeZeroes = (offset, sizeBytes) => this.#change({ kind: 'zeroes', offset, sizeBytes });
  }

  /** The disk was opened anew. Nothing is under way, and nothing waits. */
  replace(disk: Disk): void {
    this.#disk = disk;
  }

  get mode(): JournalMode {
    return this.#mode;
  }

  /** Bytes of writes that are kept here. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** Nothing is under way. `through` only when nothing waits: behind `applyAll`. */
  setMode(mode: JournalMode): void {
    this.#mode = mode;
    if (mode !== 'through') return;
    this.#changes = [];
    this.#flushes = false;
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    const waiting = this.#waiting;
    const count = waiting.length;
    const result = this.#disk.read(offset, into);
    if (count === 0) return result;
    const overlay = (): void => {
      for (let i = 0; i < count; i++) lay(must(waiting[i]), offset, into);
    };
    if (result !== undefined) return result.then(overlay);
    overlay();
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void {
    if (this.#mode === 'through') return this.#disk.write(offset, from);
    return this.#change({ kind: 'data', offset, bytes: joined(from) }, from);
  }

  flush(): Promise<void> | void {
    if (this.#mode !== 'held') return this.#disk.flush();
    this.#flushes = true;
  }

  /** What was done since this was last called. Nothing is under way. */
  take(): DiskEpoch {
    const epoch = { changes: this.#changes, flushes: this.#flushes };
    this.#changes = [];
    this.#flushes = false;
    if (this.#mode === 'recorded') this.#bytes = 0;
    return epoch;
  }

  /** An epoch of a held disk is safe: it goes to the disk, which is flushed if the guest asked for that. One at a time. */
  async apply({ changes, flushes }: DiskEpoch): Promise<void> {
    await applyChanges(this.#disk, changes);
    if (flushes) await this.#disk.flush();
    const done = new Set(changes);
    this.#waiting = this.#waiting.filter((change) => !done.has(change));
    for (const change of changes) this.#bytes -= sizeOf(change);
  }

  /** Whatever waits goes to the disk, epochs or not. */
  async applyAll(): Promise<void> {
    while (this.#waiting.length > 0 || this.#flushes) {
      const changes = [...this.#waiting];
      const flushes = this.#flushes;
      this.#changes = [];
      this.#flushes = false;
      await this.apply({ changes, flushes });
    }
  }

  #change(change: DiskChange, from?: readonly Uint8Array[]): Promise<void> | void {
    if (this.#mode !== 'through') {
      this.#changes.push(change);
      this.#bytes += sizeOf(change);
    }
    if (this.#mode === 'held') {
      this.#waiting.push(change);
      this.onHeld?.(this.#bytes);
      return;
    }
    return change.kind === 'data'
      ? this.#disk.write(change.offset, from ?? [change.bytes])
      : changeRange(this.#disk, change);
  }
}

/** In their order. */
export async function applyChanges(disk: Disk, changes: readonly DiskChange[]): Promise<void> {
  for (const change of changes)
    if (change.kind === 'data') await disk.write(change.offset, [change.bytes]);
    else await changeRange(disk, change);
}

function changeRange(
  disk: Disk,
  {
    kind,
    offset,
    sizeBytes,
  }: { readonly kind: 'zeroes' | 'discard'; readonly offset: number; readonly sizeBytes: number },
): Promise<void> | void {
  if (kind === 'discard') return disk.discard?.(offset, sizeBytes);
  if (disk.writeZeroes) return disk.writeZeroes(offset, sizeBytes);
  return writeZeros(disk, offset, sizeBytes);
}

const PIECE_BYTES = 1 << 20;

async function writeZeros(disk: Disk, offset: number, sizeBytes: number): Promise<void> {
  const zeros = new Uint8Array(Math.min(sizeBytes, PIECE_BYTES));
  for (let done = 0; done < sizeBytes; done += zeros.length)
    await disk.write(offset + done, [zeros.subarray(0, Math.min(zeros.length, sizeBytes - done))]);
}

/** Bytes of memory that a change keeps, about. */
function sizeOf(change: DiskChange): number {
  return 64 + (change.kind === 'data' ? change.bytes.length : 0);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** What the change puts into the range that was read from `offset` on. */
function lay(change: DiskChange, offset: number, into: readonly Uint8Array[]): void {
  if (change.kind === 'discard') return;
  const start = change.offset;
  const end = start + (change.kind === 'data' ? change.bytes.length : change.sizeBytes);
  let at = offset;
  for (const piece of into) {
    const from = Math.max(start, at);
    const to = Math.min(end, at + piece.length);
    if (from < to) {
      if (change.kind === 'data') piece.set(change.bytes.subarray(from - start, to - start), from - at);
      else piece.fill(0, from - at, to - at);
    }
    at += piece.length;
  }
}
