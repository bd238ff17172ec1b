/**
 * 9P2000.L on the wire (docs: Linux Documentation/filesystems/9p.rst, diod's protocol.md): little-endian numbers, strings of
 * a u16 length and bytes. Requests are hostile: whatever reaches beyond the message's end is refused.
 *
 *     size u32 | type u8 | tag u16 | ...
 */
import { Refusal } from './errno.ts';
import type { Qid } from './file-system.ts';

/** Requests; an answer is one more. */
export const MESSAGE = {
  lerror: 6,
  statfs: 8,
  lopen: 12,
  lcreate: 14,
  symlink: 16,
  mknod: 18,
  rename: 20,
  readlink: 22,
  getattr: 24,
  setattr: 26,
  xattrwalk: 30,
  xattrcreate: 32,
  readdir: 40,
  fsync: 50,
  lock: 52,
  getlock: 54,
  link: 70,
  mkdir: 72,
  renameat: 74,
  unlinkat: 76,
  version: 100,
  auth: 102,
  attach: 104,
  flush: 108,
  walk: 110,
  read: 116,
  write: 118,
  clunk: 120,
  remove: 122,
} as const;

export const HEADER_BYTES = 7;
export const NO_FID = 0xffff_ffff;
export const NO_TAG = 0xffff;
export const QID_BYTES = 13;
/** Of Rread and Rreaddir, in front of the data; of Twrite. */
export const DATA_HEADER_BYTES = 11;
export const VERSION = '9P2000.L';

/** A request's fields, in order. Every call throws Refusal EINVAL beyond its end. */
export class MessageReader {
  readonly type: number;
  readonly tag: number;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  #at = HEADER_BYTES;

  /** `bytes`: at least a header. */
  constructor(bytes: Uint8Array) {
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const sizeBytes = data.getUint32(0, true);
    this.type = bytes[4] as number;
    this.tag = data.getUint16(5, true);
    // What is said to be longer than it is has no fields at all.
    const end = sizeBytes >= HEADER_BYTES && sizeBytes <= bytes.length ? sizeBytes : HEADER_BYTES;
    this.#bytes = bytes.subarray(0, end);
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, end);
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    return this.#data.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#data.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#data.getBigUint64(this.#take(8), true);
  }

  /** A character for each byte. */
  string(): string {
    return latin1(this.bytes(this.u16()));
  }

  /** A view of the request. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new Refusal('EINVAL');
    this.#at = at + count;
    return at;
  }
}

/** An answer's fields, behind room for its header. Every call throws Refusal EMSGSIZE beyond the room. */
export class MessageWriter {
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  #at = HEADER_BYTES;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get room(): number {
    return this.#bytes.length - this.#at;
  }

  u8(value: number): void {
    this.#data.setUint8(this.#take(1), value);
  }

  u16(value: number): void {
    this.#data.setUint16(this.#take(2), value, true);
  }

  u32(value: number): void {
    this.#data.setUint32(this.#take(4), value, true);
  }

  u64(value: bigint): void {
    this.#data.setBigUint64(this.#take(8), value, true);
  }

  string(text: string): void {
    this.u16(text.length);
    const at = this.#take(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[at + i] = text.charCodeAt(i);
  }

  qid({ type, version, path }: Qid): void {
    this.u8(type);
    this.u32(version);
    this.u64(path);
  }

  /** Room of so many bytes, for somebody else to fill. */
  reserve(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  /** A length in front of what was written since: `at` is where it stands, as `u32(0)` left it. */
  patch(at: number, value: number): void {
    this.#data.setUint32(at, value, true);
  }

  /** Gives back the last `count` bytes. */
  shrink(count: number): void {
    this.#at -= count;
  }

  /** Writes the header: the answer's length. */
  finish(type: number, tag: number): number {
    this.#data.setUint32(0, this.#at, true);
    this.#data.setUint8(4, type);
    this.#data.setUint16(5, tag, true);
    return this.#at;
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new Refusal('EMSGSIZE');
    this.#at = at + count;
    return at;
  }
}

/** The answer that says what went wrong; `reply` has room for it. */
export function errorReply(reply: Uint8Array, tag: number, errno: number): number {
  const writer = new MessageWriter(reply);
  writer.u32(errno);
  return writer.finish(MESSAGE.lerror + 1, tag);
}

const PIECE = 4096;

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return text;
}
