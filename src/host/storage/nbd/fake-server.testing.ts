/**
 * An NBD server in this process, as bad as a test wants it: it forgets what was not flushed when it is killed, answers in
 * any order, in pieces or simply, knows GO or not, and says what is wrong on purpose.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Random } from '../../../devices/virtio/random.testing.ts';
import { ByteStream } from './byte-stream.ts';
import {
  CMD,
  INFO,
  NBD_MAGIC,
  OPT,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  REP,
  REP_ERR,
  REPLY,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './protocol.ts';

export interface FakeOptions {
  readonly path: string;
  readonly sizeBytes: number;
  readonly random: Random;
  /** Default: flags, flush, trim, zeros. */
  readonly flags?: number;
  readonly structured?: boolean;
  readonly knowsGo?: boolean;
  readonly blockBytes?: number;
  /** Until then it does not greet. */
  readonly greets?: Promise<void>;
  /** Told of each request that is done, at the moment when it is. */
  readonly performed?: (request: FakeRequest) => void;
  /** Bytes that are sent in place of the reply to a request of this command. */
  readonly garbage?: { readonly command: number; readonly bytes: (cookie: bigint) => Uint8Array };
}

export interface FakeRequest {
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  readonly data: Uint8Array;
}

export class FakeNbdServer {
  /** What a flush has saved. */
  readonly durable: Uint8Array;
  readonly commands: number[] = [];
  /** Requests are taken and not answered. */
  isMute = false;
  /** Requests are taken, and neither done nor answered before `release`. */
  isHolding = false;
  /** The next requests of this command get this error. */
  error: { readonly command: number; readonly code: number } | undefined;
  options: FakeOptions;
  #cache: Uint8Array;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];

  constructor(options: FakeOptions) {
    this.options = options;
    this.durable = new Uint8Array(options.sizeBytes);
    this.#cache = this.durable.slice();
  }

  async start(): Promise<void> {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {});
      void this.#serve(socket).catch(() => socket.destroy());
    });
    await once(this.#server.listen(this.options.path), 'listening');
  }

  /** Gone, with everything that was not flushed. */
  async kill(): Promise<void> {
    const closed = this.#server === undefined ? undefined : once(this.#server.close(), 'close');
    for (const socket of this.#sockets) socket.destroy();
    this.#held.length = 0;
    await closed;
    this.#server = undefined;
    this.#cache = this.durable.slice();
  }

  /** So many of those that are held go on, in any order. */
  release(count = this.#held.length): void {
    for (let i = 0; i < count && this.#held.length > 0; i++) {
      this.#held.splice(this.options.random.below(this.#held.length), 1)[0]?.();
    }
  }

  get held(): number {
    return this.#held.length;
  }

  async #serve(socket: Socket): Promise<void> {
    const stream = new ByteStream(socket);
    await this.options.greets;
    socket.write(words(['u64', NBD_MAGIC], ['u64', OPTION_MAGIC], ['u16', 3]));
    await stream.take(4);
    const isStructured = await this.#negotiate(socket, stream);
    for (;;) {
      const request = await readRequest(stream);
      this.commands.push(request.command);
      if (request.command === CMD.DISC) return void socket.end();
      if (this.isHolding) this.#held.push(() => this.#answer(socket, request, isStructured));
      else if (!this.isMute) this.#answer(socket, request, isStructured);
    }
  }

  /** Until the export is chosen; whether replies are structured. */
  async #negotiate(socket: Socket, stream: ByteStream): Promise<boolean> {
    const { sizeBytes, flags = 0x6d, knowsGo = true, structured = true, blockBytes = 1 } = this.options;
    const reply = (option: number, type: number, data: Uint8Array = new Uint8Array()) =>
      socket.write(
        Buffer.concat([words(['u64', OPTION_REPLY_MAGIC], ['u32', option], ['u32', type], ['u32', data.length]), data]),
      );
    let isStructured = false;
    for (;;) {
      const head = await stream.take(16);
      const option = head.getUint32(8);
      await stream.take(head.getUint32(12));
      if (option === OPT.STRUCTURED_REPLY) {
        isStructured = structured;
        reply(option, structured ? REP.ACK : REP_ERR.UNSUP);
      } else if (option === OPT.GO && knowsGo) {
        reply(option, REP.INFO, words(['u16', INFO.EXPORT], ['u64', BigInt(sizeBytes)], ['u16', flags]));
        const blocks = words(['u16', INFO.BLOCK_SIZE], ['u32', blockBytes], ['u32', 4096], ['u32', 1 << 20]);
        reply(option, REP.INFO, blocks);
        reply(option, REP.ACK);
        return isStructured;
      } else if (option === OPT.EXPORT_NAME) {
        socket.write(words(['u64', BigInt(sizeBytes)], ['u16', flags]));
        return isStructured;
      } else reply(option, REP_ERR.UNSUP);
    }
  }

  #answer(socket: Socket, request: FakeRequest, isStructured: boolean): void {
    const { random, garbage } = this.options;
    const { command, cookie } = request;
    if (garbage?.command === command) return void socket.write(garbage.bytes(cookie));
    const error = this.error?.command === command ? this.error.code : 0;
    if (error === 0) this.#perform(request);
    const answer = isStructured ? this.#pieces(request, error) : this.#simple(request, error);
    // In some order.
    setImmediate(() => (random.oneIn(2) ? setImmediate(() => socket.write(answer)) : socket.write(answer)));
  }

  #perform(request: FakeRequest): void {
    const { command, offset, length, data } = request;
    this.options.performed?.(request);
    if (command === CMD.WRITE) this.#cache.set(data, offset);
    else if (command === CMD.TRIM || command === CMD.WRITE_ZEROES) this.#cache.fill(0, offset, offset + length);
    else if (command === CMD.FLUSH) this.durable.set(this.#cache);
  }

  #simple({ command, cookie, offset, length }: FakeRequest, error: number): Uint8Array {
    const head = words(['u32', SIMPLE_REPLY_MAGIC], ['u32', error], ['u64', cookie]);
    if (command !== CMD.READ || error !== 0) return head;
    return Buffer.concat([head, this.#cache.subarray(offset, offset + length)]);
  }

  /** A read in two halves, the later one first; zeros as a hole. */
  #pieces({ command, cookie, offset, length }: FakeRequest, error: number): Uint8Array {
    const chunk = (flags: number, type: number, data: Uint8Array): Uint8Array =>
      Buffer.concat([
        words(['u32', STRUCTURED_REPLY_MAGIC], ['u16', flags], ['u16', type], ['u64', cookie], ['u32', data.length]),
        data,
      ]);
    if (error !== 0) return chunk(1, REPLY.ERROR, words(['u32', error], ['u16', 0]));
    if (command !== CMD.READ) return chunk(1, REPLY.NONE, new Uint8Array());
    const half = length >> 1;
    const part = (flags: number, at: number, count: number): Uint8Array => {
      const bytes = this.#cache.subarray(at, at + count);
      return bytes.some((byte) => byte !== 0)
        ? chunk(flags, REPLY.OFFSET_DATA, Buffer.concat([words(['u64', BigInt(at)]), bytes]))
        : chunk(flags, REPLY.OFFSET_HOLE, words(['u64', BigInt(at)], ['u32', count]));
    };
    return Buffer.concat([part(0, offset + half, length - half), part(1, offset, half)]);
  }
}

async function readRequest(stream: ByteStream): Promise<FakeRequest> {
  const head = await stream.take(28);
  if (head.getUint32(0) !== REQUEST_MAGIC) throw new Error('no request');
  const command = head.getUint16(6);
  const length = head.getUint32(24);
  const data = new Uint8Array(command === CMD.WRITE ? length : 0);
  await stream.fill([data]);
  return { command, cookie: head.getBigUint64(8), offset: Number(head.getBigUint64(16)), length, data };
}

type Word = readonly ['u16' | 'u32', number] | readonly ['u64', bigint];

/** Big-endian words, one behind the other. */
export function words(...list: readonly Word[]): Uint8Array {
  const bytes = { u16: 2, u32: 4, u64: 8 };
  const data = new DataView(new ArrayBuffer(list.reduce((sum, [kind]) => sum + bytes[kind], 0)));
  let at = 0;
  for (const word of list) {
    if (word[0] === 'u64') data.setBigUint64(at, word[1]);
    else if (word[0] === 'u32') data.setUint32(at, word[1]);
    else data.setUint16(at, word[1]);
    at += bytes[word[0]];
  }
  return new Uint8Array(data.buffer);
}
