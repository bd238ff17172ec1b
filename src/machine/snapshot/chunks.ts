/**
 * The file of a snapshot: a head that says what it is, then chunks, one behind the other, up to the one that ends it.
 * It is written and read in one pass, in the same order.
 *
 *     0   "KAGESNAP" | version u32 | CRC of these 12 bytes u32
 *     16  chunk | chunk | ... | end
 *
 *     chunk   kind u32 | number u32 | codec u32 | meta bytes u32 | stored bytes u32 | data bytes u32
 *             | CRC of meta and stored data u32 | CRC of these 28 bytes u32 || meta || data, packed or not
 *
 * All numbers are little-endian; the number counts chunks from 0, so that none can be missing or stand elsewhere. Files
 * are hostile: sizes are bounded before anything is made for them, and every byte is under a checksum.
 */
import { OperatorError } from '../../base/errors.ts';

export const MAGIC = 'KAGESNAP';
export const FORMAT = 2;
export const PROLOGUE_BYTES = 16;
export const CHUNK_HEADER_BYTES = 32;

/** In this order in the file; there may be many of `disk` and `pages`. */
export const CHUNK = { head: 1, state: 2, console: 3, disk: 4, pages: 5, end: 6 } as const;
export type ChunkKind = (typeof CHUNK)[keyof typeof CHUNK];
export const CODEC = { none: 0, zstd: 1 } as const;

/** No chunk holds more: of JSON, or of data. */
export const MOST_CHUNK_BYTES = 16 << 20;
const MOST_META_BYTES = 1 << 20;

/** What the host brings: checksums and packing. */
export interface SnapshotCodecs {
  /** CRC-32 (of zip and others), going on from `before`. */
  crc32(bytes: Uint8Array, before?: number): number;
  /** Unpacks zstd; throws where it is damaged or has more than `mostBytes`. */
  unzstd(bytes: Uint8Array, mostBytes: number): Uint8Array;
  /** The same on another thread. */
  unzstdLater(bytes: Uint8Array, mostBytes: number): Promise<Uint8Array>;
}

/** Where a snapshot is read from: the bytes that follow. */
export interface ByteSource {
  /** The file's name, for messages. */
  readonly name: string;
  /** Fills `into` as far as there are bytes; how many. */
  read(into: Uint8Array): number;
  /** The same on another thread; what follows can be asked for at once. */
  readLater(into: Uint8Array): Promise<number>;
}

export interface ChunkHeader {
  readonly kind: number;
  readonly codec: number;
  readonly metaBytes: number;
  readonly storedBytes: number;
  readonly dataBytes: number;
  readonly checksum: number;
}

export function encodePrologue(codecs: Pick<SnapshotCodecs, 'crc32'>): Uint8Array {
  const bytes = new Uint8Array(PROLOGUE_BYTES);
  const data = new DataView(bytes.buffer);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  data.setUint32(8, FORMAT, true);
  data.setUint32(12, codecs.crc32(bytes.subarray(0, 12)), true);
  return bytes;
}

/** The bytes in front of a chunk's meta and stored data, whose checksum is in `header`. */
export function encodeChunkHeader(header: ChunkHeader, number: number, crc32: SnapshotCodecs['crc32']): Uint8Array {
  const bytes = new Uint8Array(CHUNK_HEADER_BYTES);
  const data = new DataView(bytes.buffer);
  const { kind, codec, metaBytes, storedBytes, dataBytes, checksum } = header;
  for (const [i, word] of [kind, number, codec, metaBytes, storedBytes, dataBytes, checksum].entries())
    data.setUint32(i * 4, word, true);
  data.setUint32(28, crc32(bytes.subarray(0, 28)), true);
  return bytes;
}

/** What `encodeChunkHeader` wrote; `damaged`: a bit is wrong, `unsound`: it is no header of chunk `number`, or too large. */
export function decodeChunkHeader(
  bytes: Uint8Array,
  number: number,
  crc32: SnapshotCodecs['crc32'],
): ChunkHeader | 'damaged' | 'unsound' {
  const data = new DataView(bytes.buffer, bytes.byteOffset, CHUNK_HEADER_BYTES);
  if (data.getUint32(28, true) !== crc32(bytes.subarray(0, 28))) return 'damaged';
  const word = (i: number): number => data.getUint32(i * 4, true);
  const [codec, metaBytes, storedBytes, dataBytes] = [word(2), word(3), word(4), word(5)];
  const isSound =
    word(1) === number &&
    metaBytes <= MOST_META_BYTES &&
    storedBytes <= MOST_CHUNK_BYTES + 4096 &&
    dataBytes <= MOST_CHUNK_BYTES &&
    (codec === CODEC.zstd || (codec === CODEC.none && storedBytes === dataBytes));
  return isSound ? { kind: word(0), codec, metaBytes, storedBytes, dataBytes, checksum: word(6) } : 'unsound';
}

/** A snapshot that cannot be used, in words that go on from the file's name. */
export function damaged(name: string, how: string): OperatorError {
  return new OperatorError(
    'snapshot-damaged',
    `the snapshot ${name} ${how}`,
    'Use another copy of it, or take a new one with "kage snapshot".',
  );
}

export function notThisVersion(name: string, what: string): OperatorError {
  return new OperatorError(
    'snapshot-version',
    `the snapshot ${name} is of another version of kage: ${what}`,
    'Restore it with the kage that took it, or take a new one with this one.',
  );
}

/** Reads chunk after chunk. */
export class ChunkReader {
  readonly name: string;
  readonly #source: ByteSource;
  readonly #codecs: SnapshotCodecs;
  #number = 0;

  /** Reads the prologue. Throws OperatorError `snapshot-not-recognized` and those of damage. */
  constructor(source: ByteSource, codecs: SnapshotCodecs) {
    this.name = source.name;
    this.#source = source;
    this.#codecs = codecs;
    const bytes = new Uint8Array(PROLOGUE_BYTES);
    const count = source.read(bytes);
    const magic = Array.from(bytes.subarray(0, MAGIC.length), (byte) => String.fromCharCode(byte)).join('');
    if (magic !== MAGIC)
      throw new OperatorError(
        'snapshot-not-recognized',
        `${source.name} is not a snapshot of a machine`,
        'Name a file that "kage snapshot" wrote.',
      );
    if (count < PROLOGUE_BYTES) throw damaged(source.name, 'has lost its end');
    const data = new DataView(bytes.buffer);
    if (data.getUint32(12, true) !== codecs.crc32(bytes.subarray(0, 12)))
      throw damaged(source.name, 'has a damaged head');
    const format = data.getUint32(8, true);
    if (format !== FORMAT)
      throw notThisVersion(source.name, `its format is ${format}, and this one reads format ${FORMAT}`);
  }

  /** The next chunk's header: its meta and data are to be read before the next. */
  next(): ChunkHeader {
    const bytes = new Uint8Array(CHUNK_HEADER_BYTES);
    this.#fill(bytes);
    const header = decodeChunkHeader(bytes, this.#number++, this.#codecs.crc32);
    if (header === 'damaged') throw damaged(this.name, 'is damaged');
    if (header === 'unsound') throw damaged(this.name, 'is damaged: its parts do not fit together');
    return header;
  }

  /** A chunk's meta, not yet checked: `dataInto` or `data` looks at the checksum of both. */
  meta(header: ChunkHeader): Uint8Array {
    const meta = new Uint8Array(header.metaBytes);
    this.#fill(meta);
    return meta;
  }

  /** The data, unpacked. */
  data(header: ChunkHeader, meta: Uint8Array): Uint8Array {
    const stored = new Uint8Array(header.storedBytes);
    this.#fill(stored);
    this.#check(header, meta, [stored]);
    if (header.codec === CODEC.none) return stored;
    let data: Uint8Array;
    try {
      data = this.#codecs.unzstd(stored, header.dataBytes);
    } catch {
      throw doesNotUnpack(this.name);
    }
    if (data.length !== header.dataBytes) throw otherSize(this.name);
    return data;
  }

  /**
   * As `data`, into places that together have its size, on other threads: the chunk that follows can be asked for at
   * once. What is in the places is sound only once this has resolved; until it has settled, they are written to.
   */
  async dataInto(header: ChunkHeader, meta: Uint8Array, places: readonly Uint8Array[]): Promise<void> {
    if (header.codec === CODEC.none) {
      await this.#fillLater(places);
      this.#check(header, meta, places);
      return;
    }
    const stored = new Uint8Array(header.storedBytes);
    await this.#fillLater([stored]);
    this.#check(header, meta, [stored]);
    const data = await this.#codecs.unzstdLater(stored, header.dataBytes).catch(() => {
      throw doesNotUnpack(this.name);
    });
    if (data.length !== header.dataBytes) throw otherSize(this.name);
    let at = 0;
    for (const place of places) {
      place.set(data.subarray(at, at + place.length));
      at += place.length;
    }
  }

  /** Behind the chunk that ends it there is nothing. */
  finish(): void {
    if (this.#source.read(new Uint8Array(1)) !== 0) throw damaged(this.name, 'has something behind its end');
  }

  #check({ checksum }: ChunkHeader, meta: Uint8Array, stored: readonly Uint8Array[]): void {
    const { crc32 } = this.#codecs;
    if (stored.reduce((before, bytes) => crc32(bytes, before), crc32(meta)) !== checksum)
      throw damaged(this.name, 'is damaged');
  }

  #fill(into: Uint8Array): void {
    if (this.#source.read(into) !== into.length) throw damaged(this.name, 'has lost its end');
  }

  /** Settles when nothing is read any more. */
  async #fillLater(places: readonly Uint8Array[]): Promise<void> {
    const reads = await Promise.allSettled(places.map(async (place) => await this.#source.readLater(place)));
    for (const [i, read] of reads.entries()) {
      if (read.status === 'rejected') throw read.reason;
      if (read.value !== places[i]?.length) throw damaged(this.name, 'has lost its end');
    }
  }
}

function doesNotUnpack(name: string): OperatorError {
  return damaged(name, 'is damaged: a part of it does not unpack');
}

function otherSize(name: string): OperatorError {
  return damaged(name, 'is damaged: a part of it has another size');
}
