/**
 * Writes a snapshot's file: to a name of its own beside its place, which takes the place only when all of it is on the
 * medium. Whatever fails leaves what was there before. Chunks are packed on other threads while the one before them
 * is written.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { CHUNK, type ChunkKind, CODEC, encodeChunkHeader, encodePrologue } from '../../machine/index.ts';
import { codecs, packed } from './codecs.ts';

/** Chunks that are being packed at a time. */
const MOST_UNDER_WAY = 4;
const MAGIC_BYTES = 8;

interface Part {
  readonly kind: ChunkKind;
  readonly meta: Uint8Array;
  readonly dataBytes: number;
  readonly stored: Promise<{ codec: number; bytes: Uint8Array }>;
}

export class SnapshotWriter {
  readonly #path: string;
  readonly #draft: string;
  readonly #file: FileHandle;
  readonly #compresses: boolean;
  readonly #underWay: Part[] = [];
  #number = 0;
  #bytes = 0;

  private constructor(path: string, draft: string, file: FileHandle, compresses: boolean) {
    this.#path = path;
    this.#draft = draft;
    this.#file = file;
    this.#compresses = compresses;
  }

  /** Throws OperatorError `snapshot-not-written`, and `file-exists` rather than to replace what is no snapshot. */
  static async create(path: string, options: { readonly compress: boolean }): Promise<SnapshotWriter> {
    await refuseOther(path);
    const draft = `${path}.${randomUUID()}.part`;
    try {
      const file = await open(draft, 'wx', 0o600);
      const writer = new SnapshotWriter(path, draft, file, options.compress);
      await writer.#write([encodePrologue(codecs)]).catch(async (error: unknown) => {
        await writer.abandon();
        throw error;
      });
      return writer;
    } catch (error) {
      throw notWritten(path, error);
    }
  }

  /** Size so far. */
  get sizeBytes(): number {
    return this.#bytes;
  }

  /** `data` is taken over. Resolves when there is room for the next. */
  async chunk(kind: ChunkKind, meta: Uint8Array, data: Uint8Array): Promise<void> {
    const stored = this.#compresses ? packed(data) : Promise.resolve({ codec: CODEC.none, bytes: data });
    stored.catch(() => {}); // whoever writes it is told
    this.#underWay.push({ kind, meta, dataBytes: data.length, stored });
    while (this.#underWay.length >= MOST_UNDER_WAY) await this.#writeFirst();
  }

  /** A chunk of JSON. */
  async json(kind: ChunkKind, value: unknown): Promise<void> {
    await this.chunk(kind, new Uint8Array(0), Buffer.from(JSON.stringify(value)));
  }

  /** The chunk that ends it; everything is with the operating system when this resolves. */
  async end(counts: { readonly pages: number; readonly clusters: number }): Promise<void> {
    await this.json(CHUNK.end, counts);
    while (this.#underWay.length > 0) await this.#writeFirst();
  }

  /** Makes it last (unless it need not outlive a crash of the host), and puts it in its place. */
  async commit(options: { readonly lasts: boolean }): Promise<void> {
    try {
      if (options.lasts) await this.#file.sync();
      await this.#file.close();
      await rename(this.#draft, this.#path);
      if (!options.lasts) return;
      const folder = await open(dirname(this.#path), 'r');
      await folder.sync().finally(() => folder.close());
    } catch (error) {
      await this.abandon();
      throw notWritten(this.#path, error);
    }
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => {});
    await rm(this.#draft, { force: true }).catch(() => {});
  }

  async #writeFirst(): Promise<void> {
    const part = this.#underWay.shift();
    if (part === undefined) return;
    const { kind, meta, dataBytes } = part;
    const { codec, bytes } = await part.stored;
    const checksum = codecs.crc32(bytes, codecs.crc32(meta));
    const header = { kind, codec, metaBytes: meta.length, storedBytes: bytes.length, dataBytes, checksum };
    try {
      await this.#write([encodeChunkHeader(header, this.#number++, codecs.crc32), meta, bytes]);
    } catch (error) {
      throw notWritten(this.#path, error);
    }
  }

  async #write(pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces)
      for (let done = 0; done < piece.length; ) {
        const { bytesWritten } = await this.#file.write(piece, done, piece.length - done);
        done += bytesWritten;
        this.#bytes += bytesWritten;
      }
  }
}

/** A mistyped name must not cost somebody a file. */
async function refuseOther(path: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw notWritten(path, error);
  }
  try {
    const magic = Buffer.alloc(MAGIC_BYTES);
    const { size } = await file.stat();
    await file.read(magic, 0, MAGIC_BYTES, 0);
    if (size === 0 || magic.equals(Buffer.from(encodePrologue(codecs).subarray(0, MAGIC_BYTES)))) return;
  } catch (error) {
    throw notWritten(path, error);
  } finally {
    await file.close();
  }
  throw new OperatorError(
    'file-exists',
    `${path} is there already, and is no snapshot`,
    'Name another file, or remove this one.',
  );
}

const WHY: Readonly<Record<string, readonly [why: string, fix: string]>> = {
  ENOSPC: ['the disk is full', 'Make room, or name a file on another disk.'],
  EDQUOT: ['your share of the disk is used up', 'Make room, or name a file on another disk.'],
  EFBIG: ['the file would be larger than may be', 'Name a file on another disk, or raise the limit (ulimit -f).'],
  ENOENT: ['there is no such folder', 'Make the folder, or name a file in one that is there.'],
  ENOTDIR: ['a part of the path is no folder', 'Name a file in a folder.'],
  EISDIR: ['it is a folder', 'Name a file.'],
  EACCES: ['you may not write there', 'Name a file in a folder that you may write.'],
  EPERM: ['you may not write there', 'Name a file in a folder that you may write.'],
  EROFS: ['that file system is read-only', 'Name a file in a folder that you may write.'],
};

function notWritten(path: string, cause: unknown): unknown {
  if (cause instanceof OperatorError) return cause;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  const [why, fix] = WHY[code] ?? [
    cause instanceof Error ? cause.message : String(cause),
    'Name a file in a folder that you may write.',
  ];
  return new OperatorError('snapshot-not-written', `the snapshot ${path} cannot be written: ${why}`, fix, { cause });
}
