/**
 * A connection after the handshake: any number of requests under way, answered in any order, by simple or structured
 * replies. It ends once, whatever ends it: a closed socket, or a server that answers what was not asked; then all that is
 * under way fails with that.
 */
import type { Socket } from 'node:net';
import { HostError } from '../../../base/errors.ts';
import { totalBytes } from '../../../devices/index.ts';
import { cut } from '../storage-file.ts';
import type { ByteStream } from './byte-stream.ts';
import type { ExportInfo, Handshake } from './handshake.ts';
import {
  CMD,
  type Command,
  ERROR_NAMES,
  REPLY,
  REPLY_ERROR_BIT,
  REPLY_FLAG,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './protocol.ts';

const MESSAGE_BYTES_MAX = 4096;

export interface NbdRequest {
  readonly command: Command;
  readonly flags?: number;
  readonly offset: number;
  readonly sizeBytes: number;
  /** Of a write: borrowed until it is answered. */
  readonly from?: readonly Uint8Array[];
  /** Of a read: filled. */
  readonly into?: readonly Uint8Array[];
}

/** The server's own answer that a request cannot be done; the connection goes on. */
export class NbdError extends HostError {
  override name = 'NbdError';
  /** As on the wire. */
  readonly number: number;
  constructor(code: string, message: string, number: number) {
    super(code, message);
    this.number = number;
  }
}

interface Pending {
  readonly request: NbdRequest;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Bytes of a read that structured replies have brought. */
  readBytes: number;
  error: NbdError | undefined;
}

export class NbdConnection {
  readonly info: ExportInfo;
  /** Resolves with the reason when the connection is no more. */
  readonly ended: Promise<HostError>;
  readonly #socket: Socket;
  readonly #stream: ByteStream;
  readonly #pending = new Map<bigint, Pending>();
  #cookie = 0n;
  #end: (reason: HostError) => void = () => {};
  #failure: HostError | undefined;

  constructor({ socket, stream, info }: Handshake) {
    this.info = info;
    this.#socket = socket;
    this.#stream = stream;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    void this.#listen();
  }

  /** Rejects with NbdError where the server says no, with something else where nobody knows whether it was done. */
  send(request: NbdRequest): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const cookie = ++this.#cookie;
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, { request, resolve, reject, readBytes: 0, error: undefined });
      this.#write(request, cookie);
    });
  }

  /** Says goodbye; nothing is under way. */
  disconnect(): void {
    this.#write({ command: CMD.DISC, offset: 0, sizeBytes: 0 }, ++this.#cookie);
    this.#socket.end();
    this.#fail(new HostError('nbd-gone', 'the connection was closed'));
  }

  /** Ends it at once. */
  destroy(reason: HostError): void {
    this.#socket.destroy();
    this.#fail(reason);
  }

  #write({ command, flags = 0, offset, sizeBytes, from }: NbdRequest, cookie: bigint): void {
    const head = new DataView(new ArrayBuffer(REQUEST_BYTES));
    head.setUint32(0, REQUEST_MAGIC);
    head.setUint16(4, flags);
    head.setUint16(6, command);
    head.setBigUint64(8, cookie);
    head.setBigUint64(16, BigInt(offset));
    head.setUint32(24, sizeBytes);
    this.#socket.cork();
    this.#socket.write(new Uint8Array(head.buffer));
    for (const piece of from ?? []) this.#socket.write(piece);
    this.#socket.uncork();
  }

  async #listen(): Promise<void> {
    try {
      for (;;) await this.#reply();
    } catch (error) {
      this.destroy(
        error instanceof HostError ? error : new HostError('nbd-gone', 'the connection failed', { cause: error }),
      );
    }
  }

  #fail(reason: HostError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    // Buffers go back to their owners now.
    this.#stream.close(reason);
    this.#end(reason);
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }

  async #reply(): Promise<void> {
    const head = await this.#stream.take(16);
    const magic = head.getUint32(0);
    const pending = this.#pending.get(head.getBigUint64(8));
    if (pending === undefined) throw wrong('an answer to nothing that was asked');
    if (magic === SIMPLE_REPLY_MAGIC) await this.#simple(head, pending);
    else if (magic === STRUCTURED_REPLY_MAGIC) await this.#structured(head, pending);
    else throw wrong('an answer of no known kind');
  }

  async #simple(head: DataView, pending: Pending): Promise<void> {
    const code = head.getUint32(4);
    if (code !== 0) pending.error = serverError(pending.request, code, '');
    else if (pending.request.into !== undefined) {
      await this.#stream.fill(pending.request.into);
      pending.readBytes = pending.request.sizeBytes;
    }
    this.#finish(head.getBigUint64(8), pending);
  }

  async #structured(head: DataView, pending: Pending): Promise<void> {
    const flags = head.getUint16(4);
    const type = head.getUint16(6);
    const length = (await this.#stream.take(4)).getUint32(0);
    if (type >= REPLY_ERROR_BIT) await this.#error(pending, length);
    else if (type === REPLY.OFFSET_DATA) await this.#data(pending, length);
    else if (type === REPLY.OFFSET_HOLE) await this.#hole(pending, length);
    else if (type !== REPLY.NONE || length !== 0) throw wrong(`a piece of an answer of type ${type}`);
    if ((flags & REPLY_FLAG.DONE) !== 0) this.#finish(head.getBigUint64(8), pending);
  }

  async #error(pending: Pending, length: number): Promise<void> {
    if (length < 6 || length > MESSAGE_BYTES_MAX + 16) throw wrong('an error of no length that there is');
    const data = await this.#stream.take(length);
    const text = new Uint8Array(data.buffer, 6, Math.min(data.getUint16(4), length - 6));
    pending.error ??= serverError(pending.request, data.getUint32(0), new TextDecoder().decode(text));
  }

  async #data(pending: Pending, length: number): Promise<void> {
    if (length < 9) throw wrong('data of no length');
    const offset = Number((await this.#stream.take(8)).getBigUint64(0));
    await this.#stream.fill(this.#part(pending, offset, length - 8));
  }

  async #hole(pending: Pending, length: number): Promise<void> {
    if (length !== 12) throw wrong('a hole of no length');
    const data = await this.#stream.take(12);
    for (const piece of this.#part(pending, Number(data.getBigUint64(0)), data.getUint32(8))) piece.fill(0);
  }

  /** Where a piece of a read belongs. */
  #part(pending: Pending, offset: number, sizeBytes: number): Uint8Array[] {
    const { into, offset: start, sizeBytes: wanted } = pending.request;
    if (into === undefined || offset < start || offset + sizeBytes > start + wanted) {
      throw wrong('data that was not asked for');
    }
    pending.readBytes += sizeBytes;
    return cut(into, offset - start, sizeBytes);
  }

  #finish(cookie: bigint, pending: Pending): void {
    if (pending.error === undefined && pending.request.into !== undefined) {
      if (pending.readBytes !== totalBytes(pending.request.into)) throw wrong('an answer with a part of the data');
    }
    this.#pending.delete(cookie);
    if (pending.error === undefined) pending.resolve();
    else pending.reject(pending.error);
  }
}

function serverError({ offset }: NbdRequest, code: number, text: string): NbdError {
  const name = ERROR_NAMES[code] ?? `error ${code}`;
  return new NbdError(
    name === 'ESHUTDOWN' ? 'nbd-shutdown' : 'nbd-error',
    `the NBD server answers ${name} at ${offset}${text === '' ? '' : `: ${text}`}`,
    code,
  );
}

function wrong(how: string): HostError {
  return new HostError('nbd-protocol', `the NBD server sends ${how}`);
}
