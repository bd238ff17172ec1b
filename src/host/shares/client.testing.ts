/** A client of 9P2000.L for tests: requests as Linux's fs/9p writes them, answers read back. */
import assert from 'node:assert/strict';
import type { P9Server } from '../../devices/index.ts';
import { ERRNO, type Errno } from './errno.ts';
import { MESSAGE, MessageReader, NO_FID, VERSION } from './message.ts';

type Field =
  | readonly ['u8' | 'u16' | 'u32', number]
  | readonly ['u64', bigint]
  | readonly ['string', string]
  | Uint8Array;
type Name = keyof typeof MESSAGE;

export const u8 = (value: number): Field => ['u8', value];
export const u16 = (value: number): Field => ['u16', value];
export const u32 = (value: number): Field => ['u32', value];
export const u64 = (value: number | bigint): Field => ['u64', BigInt(value)];
export const text = (value: string): Field => ['string', value];

export const O = { RDONLY: 0, WRONLY: 1, RDWR: 2, CREAT: 0o100, EXCL: 0o200, TRUNC: 0o1000, APPEND: 0o2000 } as const;
export const REMOVEDIR = 0x200;
const REPLY_BYTES = 128 << 10;

/** A request's bytes. */
export function message(type: number, tag: number, fields: readonly Field[]): Uint8Array {
  const parts = fields.map((field) => {
    if (field instanceof Uint8Array) return Buffer.from(field);
    const [kind, value] = field;
    if (kind === 'string') {
      const bytes = Buffer.from(value, 'latin1');
      const length = Buffer.alloc(2);
      length.writeUInt16LE(bytes.length);
      return Buffer.concat([length, bytes]);
    }
    const out = Buffer.alloc({ u8: 1, u16: 2, u32: 4, u64: 8 }[kind]);
    if (kind === 'u64') out.writeBigUInt64LE(value);
    else out.writeUIntLE(value, 0, out.length);
    return out;
  });
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(7);
  head.writeUInt32LE(7 + body.length);
  head[4] = type;
  head.writeUInt16LE(tag, 5);
  return new Uint8Array(Buffer.concat([head, body]));
}

export class ServerError extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(Object.entries(ERRNO).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`);
    this.errno = errno;
  }
}

export interface Stat {
  readonly qid: { readonly type: number; readonly version: number; readonly path: bigint };
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly size: number;
  readonly modified: readonly [seconds: number, ns: number];
}

export class Client {
  readonly server: P9Server;
  #tag = 0;
  #nextFid = 1;

  /** Attached: fid 0 is the root. */
  static async attach(server: P9Server, uid = 0): Promise<Client> {
    const client = new Client(server);
    await client.call('version', [u32(65_536), text(VERSION)]);
    await client.call('attach', [u32(0), u32(NO_FID), text(''), text(''), u32(uid)]);
    return client;
  }

  constructor(server: P9Server) {
    this.server = server;
  }

  /** The answer's fields. Throws ServerError. */
  async call(name: Name, fields: readonly Field[]): Promise<MessageReader> {
    this.#tag = (this.#tag + 1) & 0x7fff;
    return await this.send(message(MESSAGE[name], this.#tag, fields));
  }

  async send(request: Uint8Array, replyBytes = REPLY_BYTES): Promise<MessageReader> {
    const reply = new Uint8Array(replyBytes);
    const length = await this.server.answer(request, reply);
    assert.ok(length >= 7 && length <= replyBytes);
    const reader = new MessageReader(reply.subarray(0, length));
    assert.equal(new DataView(reply.buffer).getUint32(0, true), length);
    assert.equal(reader.tag, new DataView(request.buffer, request.byteOffset).getUint16(5, true));
    if (reader.type === MESSAGE.lerror + 1) throw new ServerError(reader.u32());
    assert.equal(reader.type, (request[4] as number) + 1);
    return reader;
  }

  /** Walks from a fid; the new one. */
  async walk(from: number, ...names: readonly string[]): Promise<number> {
    const fid = this.#nextFid++;
    const reader = await this.call('walk', [u32(from), u32(fid), u16(names.length), ...names.map(text)]);
    const count = reader.u16();
    if (count < names.length) throw new ServerError(ERRNO.ENOENT);
    return fid;
  }

  async open(fid: number, flags: number = O.RDONLY): Promise<void> {
    await this.call('lopen', [u32(fid), u32(flags)]);
  }

  /** A new file's fid, open. */
  async create(folder: number, name: string, flags: number = O.RDWR, mode = 0o644): Promise<number> {
    const fid = await this.walk(folder);
    await this.call('lcreate', [u32(fid), text(name), u32(flags | O.CREAT), u32(mode), u32(0)]);
    return fid;
  }

  async write(fid: number, offset: number | bigint, data: string | Uint8Array): Promise<number> {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    return (await this.call('write', [u32(fid), u64(offset), u32(bytes.length), bytes])).u32();
  }

  async read(fid: number, offset: number | bigint = 0, count = 4096): Promise<string> {
    const reader = await this.call('read', [u32(fid), u64(offset), u32(count)]);
    return Buffer.from(reader.bytes(reader.u32())).toString('latin1');
  }

  async stat(fid: number): Promise<Stat> {
    const reader = await this.call('getattr', [u32(fid), u64(0x7ff)]);
    reader.u64();
    const qid = { type: reader.u8(), version: reader.u32(), path: reader.u64() };
    const [mode, uid, gid] = [reader.u32(), reader.u32(), reader.u32()];
    const [links, , size] = [Number(reader.u64()), reader.u64(), Number(reader.u64())];
    reader.u64();
    reader.u64();
    reader.u64();
    reader.u64();
    return { qid, mode, uid, gid, links, size, modified: [Number(reader.u64()), Number(reader.u64())] };
  }

  async setattr(
    fid: number,
    valid: number,
    { mode = 0, uid = 0, gid = 0, size = 0, atime = [0, 0], mtime = [0, 0] } = {},
  ): Promise<void> {
    const times = [...atime, ...mtime].map((part) => u64(part));
    await this.call('setattr', [u32(fid), u32(valid), u32(mode), u32(uid), u32(gid), u64(size), ...times]);
  }

  async clunk(fid: number): Promise<void> {
    await this.call('clunk', [u32(fid)]);
  }

  async mkdir(folder: number, name: string, mode = 0o755): Promise<void> {
    await this.call('mkdir', [u32(folder), text(name), u32(mode), u32(0)]);
  }

  async symlink(folder: number, name: string, target: string): Promise<void> {
    await this.call('symlink', [u32(folder), text(name), text(target), u32(0)]);
  }

  async rename(from: number, name: string, to: number, toName: string): Promise<void> {
    await this.call('renameat', [u32(from), text(name), u32(to), text(toName)]);
  }

  async unlink(folder: number, name: string, flags = 0): Promise<void> {
    await this.call('unlinkat', [u32(folder), text(name), u32(flags)]);
  }

  async link(folder: number, name: string, fid: number): Promise<void> {
    await this.call('link', [u32(folder), u32(fid), text(name)]);
  }

  /** Names and kinds of an open folder, in messages of so many bytes. */
  async list(fid: number, count = 4096): Promise<{ readonly name: string; readonly kind: number }[]> {
    const all: { name: string; kind: number }[] = [];
    for (let cookie = 0n; ; ) {
      const reader = await this.call('readdir', [u32(fid), u64(cookie), u32(count)]);
      let left = reader.u32();
      if (left === 0) return all;
      while (left > 0) {
        reader.bytes(13);
        cookie = reader.u64();
        const kind = reader.u8();
        const name = reader.string();
        left -= 13 + 8 + 1 + 2 + name.length;
        all.push({ name, kind });
      }
    }
  }
}

/** That the server refuses it so. */
export async function refused(code: Errno | number, attempt: Promise<unknown>): Promise<void> {
  const errno = typeof code === 'number' ? code : ERRNO[code];
  await assert.rejects(attempt, (error) => {
    assert.ok(error instanceof ServerError, `${error}`);
    assert.equal(error.errno, errno, `refused with ${error.message}`);
    return true;
  });
}
