/**
 * A guest, a target and a connection without machines, in virtual time: a guest is some pages of eight bytes, a version that
 * counts its steps, and a disk; what it tells the world are numbers.
 */
import assert from 'node:assert/strict';
import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { decodeRuns, encodeRuns, RUN, RunList } from '../machine/index.ts';
import type { DriveChange } from './disk-lists.ts';
import { type Disk, JournalDisk } from './journal-disk.ts';
import { badStream } from './messages.ts';
import { OutputGate } from './output-gate.ts';
import { countOf, jsonOf, type Wire } from './peer.ts';
import type { Hold, PageBatch, ReplicationPorts, SourceDisk, SourceGuest } from './source-guest.ts';
import type { StreamCodecs } from './stream.ts';
import type { TargetMachine } from './target.ts';

export const PAGES = 24;
const PAGE_BYTES = 8;

export const testCodecs: StreamCodecs = {
  crc32: (bytes, before) => crc32(bytes, before),
  unzstd: (bytes, mostBytes) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(mostBytes, 1) }),
  pack: async (data) => ({ codec: 1, bytes: zstdCompressSync(data) }),
};

/** Numbers below `below`, the same for the same seed. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** Promises that wait for nothing but each other have settled. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

export class VirtualTime implements ReplicationPorts {
  #now = 0;
  #timers: { readonly at: number; readonly act: () => void }[] = [];

  nowMs(): number {
    return this.#now;
  }

  after(delayMs: number, act: () => void): () => void {
    const timer = { at: this.#now + delayMs, act };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  /** Goes on for so long, and does what is due on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end);
      const first = Math.min(...due.map(({ at }) => at));
      const next = due.find(({ at }) => at === first);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.#now = next.at;
      next.act();
      await settled();
    }
    this.#now = end;
  }
}

export class MemoryDisk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly bytes: Uint8Array;
  flushes = 0;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.bytes = new Uint8Array(sizeBytes);
  }

  read(offset: number, into: readonly Uint8Array[]): void {
    let at = offset;
    for (const piece of into) {
      piece.set(this.bytes.subarray(at, at + piece.length));
      at += piece.length;
    }
  }

  write(offset: number, from: readonly Uint8Array[]): void {
    let at = offset;
    for (const piece of from) {
      this.bytes.set(piece, at);
      at += piece.length;
    }
  }

  flush(): void {
    this.flushes++;
  }

  writeZeroes(offset: number, sizeBytes: number): void {
    this.bytes.fill(0, offset, offset + sizeBytes);
  }

  discard(offset: number, sizeBytes: number): void {
    this.bytes.fill(0, offset, offset + sizeBytes);
  }
}

/** What one says, the other hears, a little later; until it is cut, perhaps in the middle of what was said. */
export class FakeWire implements Wire {
  readonly #time: VirtualTime;
  readonly #latencyMs: number;
  /** What the other end does with bytes, and with the end of the connection. */
  hears: { push(bytes: Uint8Array): void; disconnected(): void } | undefined;
  other: FakeWire | undefined;
  #isCut = false;
  /** Told of each write; false: the connection is cut there. */
  passes: ((bytes: number) => boolean) | undefined;

  constructor(time: VirtualTime, latencyMs: number) {
    this.#time = time;
    this.#latencyMs = latencyMs;
  }

  static pair(time: VirtualTime, latencyMs = 1): readonly [FakeWire, FakeWire] {
    const [a, b] = [new FakeWire(time, latencyMs), new FakeWire(time, latencyMs)];
    a.other = b;
    b.other = a;
    return [a, b];
  }

  async write(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#isCut) throw new Error('the connection is cut');
    const bytes = new Uint8Array(Buffer.concat(pieces));
    if (this.passes?.(bytes.length) === false) {
      // Half of it arrives.
      this.#deliver(bytes.subarray(0, bytes.length >> 1));
      this.cut();
      throw new Error('the connection is cut');
    }
    this.#deliver(bytes);
  }

  close(): void {
    this.cut();
  }

  cut(): void {
    for (const end of [this, this.other]) {
      if (end === undefined || end.#isCut) continue;
      end.#isCut = true;
      const { hears } = end;
      this.#time.after(this.#latencyMs, () => hears?.disconnected());
    }
  }

  #deliver(bytes: Uint8Array): void {
    this.#time.after(this.#latencyMs, () => this.other?.hears?.push(bytes));
  }
}

/** What the guest was at a checkpoint. */
export interface Moment {
  readonly version: number;
  readonly pages: string;
  readonly disk: string;
}

export class FakeGuest implements SourceGuest {
  readonly gate = new OutputGate();
  readonly layer = new MemoryDisk(8192);
  readonly shared = new MemoryDisk(8192);
  readonly disks: readonly SourceDisk[];
  readonly pages: (Uint8Array | undefined)[] = Array.from({ length: PAGES }, () => undefined);
  readonly #written = new Set<number>();
  readonly #held = new Set<number>();
  readonly random: (below: number) => number;
  /** What the world was told, in order: the guest's version when it said so. */
  readonly world: number[] = [];
  version = 0;
  isHeld = false;
  isRunning = true;
  readonly moments = new Map<number, Moment>();
  time: VirtualTime | undefined;
  caps: (number | undefined)[] = [];

  constructor(seed: number) {
    this.random = randomOf(seed);
    const [layer, shared] = [new JournalDisk(this.layer), new JournalDisk(this.shared)];
    this.disks = [
      { journal: layer, role: 'layer', contents: () => this.#contents() },
      { journal: shared, role: 'shared' },
    ];
  }

  /** It does something, if it runs. */
  step(): void {
    if (this.isHeld || !this.isRunning) return;
    this.version++;
    for (let i = this.random(4); i >= 0; i--) {
      const page = this.random(PAGES);
      // Now and then a page is given back.
      if (this.random(12) === 0) this.pages[page] = undefined;
      else this.pages[page] = new Uint8Array(new Float64Array([this.version * 1000 + page]).buffer);
      this.#written.add(page);
    }
    for (const { journal } of this.disks) {
      const sector = new Uint8Array(512).fill(this.version);
      if (this.random(3) === 0) journal.write(this.random(16) * 512, [sector]);
      if (this.random(9) === 0) journal.writeZeroes?.(this.random(16) * 512, 512);
      if (this.random(5) === 0) journal.flush();
    }
    const { version } = this;
    if (this.random(2) === 0) this.gate.send(100, () => this.world.push(version));
  }

  get hasEnded(): boolean {
    return !this.isRunning;
  }

  /** How long it stands still before anything can be taken. */
  pauseMs = 0;

  async hold(): Promise<Hold> {
    if (!this.isRunning) throw new Error('it has ended');
    this.isHeld = true;
    const { time } = this;
    const sinceMs = time?.nowMs() ?? 0;
    if (this.pauseMs > 0) await new Promise<void>((resolve) => time?.after(this.pauseMs, resolve));
    return {
      sinceMs,
      release: () => {
        this.isHeld = false;
      },
    };
  }

  sweep(): Uint32Array {
    assert.ok(this.isHeld);
    const pages = [...this.#written].filter((page) => this.pages[page] !== undefined || this.#held.has(page));
    this.#written.clear();
    for (const page of pages)
      if (this.pages[page] === undefined) this.#held.delete(page);
      else this.#held.add(page);
    return Uint32Array.from(pages).sort();
  }

  read(numbers: Uint32Array): PageBatch {
    const list = new RunList();
    const data: Uint8Array[] = [];
    for (const page of numbers) {
      const bytes = this.pages[page];
      list.add(page, bytes === undefined ? RUN.zero : RUN.data);
      if (bytes !== undefined) data.push(bytes);
    }
    return { meta: encodeRuns(list.runs), data: new Uint8Array(Buffer.concat(data)) };
  }

  ticks(): number {
    return this.version;
  }

  state(): () => Uint8Array {
    assert.ok(this.isHeld);
    this.moments.set(this.version, this.moment());
    const { version } = this;
    return () => new TextEncoder().encode(JSON.stringify({ version }));
  }

  moment(): Moment {
    const disk = new Uint8Array(8192);
    this.disks[1]?.journal.read(0, [disk]);
    return {
      version: this.version,
      pages: textOf(this.pages),
      disk: digest(this.layer.bytes, disk),
    };
  }

  endSweeps(): void {
    this.#held.clear();
  }

  throttle(cap: number | undefined): void {
    this.caps.push(cap);
  }

  async *#contents(): ReturnType<NonNullable<SourceDisk['contents']>> {
    for (let offset = 0; offset < 8192; offset += 1024)
      yield { offset, bytes: this.layer.bytes.slice(offset, offset + 1024) };
  }
}

export class FakeTarget implements TargetMachine {
  readonly driveSizes = [8192, 8192];
  readonly memoryBytes = PAGES * PAGE_BYTES;
  readonly pages: (Uint8Array | undefined)[] = Array.from({ length: PAGES }, () => undefined);
  readonly layer = new MemoryDisk(8192);
  /** The very disk of the source. */
  shared: MemoryDisk;
  #waiting: { readonly number: number; readonly changes: DriveChange[] }[] = [];
  #fresh: DriveChange[] = [];
  version = -1;
  #read = -1;
  isRunning = false;
  isDiscarded = false;
  /** It cannot run, when it comes to that. */
  failsToRun = false;

  constructor(shared: MemoryDisk) {
    this.shared = shared;
  }

  checkPages(meta: Uint8Array, data: Uint8Array): number {
    const runs = decodeRuns(meta, PAGES);
    const bytes = runs?.reduce((sum, { count, kind }) => sum + (kind === RUN.data ? count * PAGE_BYTES : 0), 0);
    if (runs === undefined || bytes !== data.length) throw badStream('a list of pages makes no sense');
    return runs.reduce((sum, { count }) => sum + count, 0);
  }

  putPages(meta: Uint8Array, data: Uint8Array): void {
    let at = 0;
    for (const { first, count, kind } of decodeRuns(meta, PAGES) ?? [])
      for (let page = first; page < first + count; page++) {
        this.pages[page] = kind === RUN.zero ? undefined : data.slice(at, at + PAGE_BYTES);
        if (kind === RUN.data) at += PAGE_BYTES;
      }
  }

  putDisks(changes: readonly DriveChange[]): void {
    for (const one of changes)
      if (one.drive === 0) apply(this.layer, one);
      else this.#fresh.push(one);
  }

  applied(number: number): void {
    this.#waiting = this.#waiting.filter((one) => one.number > number);
  }

  heardClock(): void {}

  readState(state: Uint8Array): void {
    this.#read = countOf(jsonOf({ data: state }), 'version');
  }

  whole(number: number): void {
    this.version = this.#read;
    this.#waiting.push({ number, changes: this.#fresh });
    this.#fresh = [];
  }

  async run(): Promise<void> {
    if (this.failsToRun) throw new Error('its disk cannot be opened');
    for (const { changes } of this.#waiting) for (const one of changes) apply(this.shared, one);
    this.isRunning = true;
  }

  discard(): void {
    this.isDiscarded = true;
  }

  moment(): Moment {
    return {
      version: this.version,
      pages: textOf(this.pages),
      disk: digest(this.layer.bytes, this.shared.bytes),
    };
  }
}

function apply(disk: MemoryDisk, { change }: DriveChange): void {
  if (change.kind === 'data') disk.write(change.offset, [change.bytes]);
  else disk.writeZeroes(change.offset, change.sizeBytes);
}

/** Of a layer and a disk that both reach. */
export function digest(layer: Uint8Array, shared: Uint8Array): string {
  return `${crc32(layer)} ${crc32(shared)}`;
}

function textOf(pages: readonly (Uint8Array | undefined)[]): string {
  return pages.map((page) => (page === undefined ? '-' : Buffer.from(page).toString('hex'))).join(' ');
}
