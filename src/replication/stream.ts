/** Writes and reads the messages of a checkpoint stream. */
import {
  CHUNK_HEADER_BYTES,
  type ChunkHeader,
  CODEC,
  decodeChunkHeader,
  encodeChunkHeader,
  type SnapshotCodecs,
} from '../machine/index.ts';
import {
  badStream,
  kindOf,
  MESSAGE,
  type Message,
  type MessageKind,
  STREAM_MAGIC,
  STREAM_PROLOGUE_BYTES,
  STREAM_VERSION,
} from './messages.ts';

/** What the host brings: checksums, and packing on another thread. */
export interface StreamCodecs extends Pick<SnapshotCodecs, 'crc32' | 'unzstd'> {
  /** The data, packed where that pays; `codec` says whether it is. */
  pack(data: Uint8Array): Promise<{ readonly codec: number; readonly bytes: Uint8Array }>;
}

/** Where bytes go. */
export interface ByteSink {
  /** Takes the bytes over. Resolves when there is room for more; rejects when the connection is lost. */
  write(pieces: readonly Uint8Array[]): Promise<void>;
}

export function streamPrologue(crc32: StreamCodecs['crc32']): Uint8Array {
  const bytes = new Uint8Array(STREAM_PROLOGUE_BYTES);
  const data = new DataView(bytes.buffer);
  for (let i = 0; i < STREAM_MAGIC.length; i++) bytes[i] = STREAM_MAGIC.charCodeAt(i);
  data.setUint32(8, STREAM_VERSION, true);
  data.setUint32(12, crc32(bytes.subarray(0, 12)), true);
  return bytes;
}

const NOTHING = new Uint8Array(0);

export class MessageWriter {
  readonly #sink: ByteSink;
  readonly #codecs: StreamCodecs;
  readonly #packs: boolean;
  #last: Promise<void>;
  #number = 0;
  /** Bytes that were given to the connection. */
  sentBytes = 0;

  /** `packs`: whether pages are packed, for connections that are slower than that. */
  constructor(sink: ByteSink, codecs: StreamCodecs, { packs }: { readonly packs: boolean }) {
    this.#sink = sink;
    this.#codecs = codecs;
    this.#packs = packs;
    this.#last = this.#write([streamPrologue(codecs.crc32)]);
    this.#last.catch(() => {}); // who says something next is told
  }

  /** JSON, or nothing. In the order of the calls; resolves when there is room for more. */
  say(kind: MessageKind, value: unknown = {}): Promise<void> {
    return this.send(kind, NOTHING, new TextEncoder().encode(JSON.stringify(value)), false);
  }

  /** `meta` and `data` are taken over. */
  send(kind: MessageKind, meta: Uint8Array, data: Uint8Array, mayPack = true): Promise<void> {
    const isPacked = mayPack && this.#packs && data.length > 0;
    const stored = isPacked ? this.#codecs.pack(data) : Promise.resolve({ codec: CODEC.none, bytes: data });
    stored.catch(() => {}); // whoever writes it is told
    const { crc32 } = this.#codecs;
    const before = this.#last;
    this.#last = before.then(async () => {
      const { codec, bytes } = await stored;
      const checksum = crc32(bytes, crc32(meta));
      const sizes = { metaBytes: meta.length, storedBytes: bytes.length, dataBytes: data.length };
      const header = encodeChunkHeader({ kind: MESSAGE[kind], codec, ...sizes, checksum }, this.#number++, crc32);
      await this.#write([header, meta, bytes]);
    });
    this.#last.catch(() => {}); // who says something next is told
    return this.#last;
  }

  #write(pieces: readonly Uint8Array[]): Promise<void> {
    const filled = pieces.filter((piece) => piece.length > 0);
    for (const piece of filled) this.sentBytes += piece.length;
    return this.#sink.write(filled);
  }
}

/** Takes bytes as they come, and tells whole messages. What is refused once ends the stream. */
export class MessageReader {
  readonly #codecs: Pick<StreamCodecs, 'crc32' | 'unzstd'>;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #number = 0;
  #hasPrologue = false;
  #header: (ChunkHeader & { readonly name: MessageKind }) | undefined;

  constructor(codecs: Pick<StreamCodecs, 'crc32' | 'unzstd'>) {
    this.#codecs = codecs;
  }

  /** The messages that are whole by now. Throws OperatorError `stream-damaged`. `bytes` are kept until then. */
  *push(bytes: Uint8Array): Generator<Message> {
    this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    for (;;) {
      if (!this.#hasPrologue) {
        const prologue = this.#take(STREAM_PROLOGUE_BYTES);
        if (prologue === undefined) return;
        checkPrologue(prologue, this.#codecs.crc32);
        this.#hasPrologue = true;
      }
      this.#header ??= this.#readHeader();
      if (this.#header === undefined) return;
      const { metaBytes, storedBytes } = this.#header;
      const body = this.#take(metaBytes + storedBytes);
      if (body === undefined) return;
      const message = this.#message(this.#header, body);
      this.#header = undefined;
      yield message;
    }
  }

  #readHeader(): (ChunkHeader & { readonly name: MessageKind }) | undefined {
    const bytes = this.#take(CHUNK_HEADER_BYTES);
    if (bytes === undefined) return undefined;
    const header = decodeChunkHeader(bytes, this.#number++, this.#codecs.crc32);
    if (typeof header === 'string') throw badStream(header === 'damaged' ? 'a checksum is wrong' : 'a message is lost');
    const name = kindOf(header.kind);
    if (name === undefined) throw badStream('a message of a kind that there is not');
    return { ...header, name };
  }

  #message(header: ChunkHeader & { readonly name: MessageKind }, body: Uint8Array): Message {
    const { crc32, unzstd } = this.#codecs;
    if (crc32(body) !== header.checksum) throw badStream('a checksum is wrong');
    const meta = body.subarray(0, header.metaBytes);
    const stored = body.subarray(header.metaBytes);
    if (header.codec === CODEC.none) return { kind: header.name, meta, data: stored };
    let data: Uint8Array;
    try {
      data = unzstd(stored, header.dataBytes);
    } catch {
      throw badStream('a part of it does not unpack');
    }
    if (data.length !== header.dataBytes) throw badStream('a part of it has another size');
    return { kind: header.name, meta, data };
  }

  /** So many bytes in one piece, or undefined while there are fewer. */
  #take(count: number): Uint8Array | undefined {
    if (this.#bytes < count) return undefined;
    this.#bytes -= count;
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= count) {
      if (first.length === count) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const out = new Uint8Array(count);
    let at = 0;
    let used = 0;
    for (const chunk of this.#chunks) {
      if (at === count) break;
      const part = chunk.subarray(0, count - at);
      out.set(part, at);
      at += part.length;
      if (part.length === chunk.length) used++;
      else this.#chunks[used] = chunk.subarray(part.length);
    }
    this.#chunks.splice(0, used);
    return out;
  }
}

function checkPrologue(bytes: Uint8Array, crc32: StreamCodecs['crc32']): void {
  const expected = streamPrologue(crc32);
  if (STREAM_MAGIC.split('').some((char, i) => bytes[i] !== char.charCodeAt(0)))
    throw badStream('the peer is not kage');
  if (bytes.some((byte, i) => byte !== expected[i])) throw badStream('it is of another version of kage');
}
