/** A socket as bytes that are waited for: so many at a time, in their order. One reader. */
import type { Socket } from 'node:net';
import { HostError } from '../../../base/errors.ts';

/** While more waits to be read, the server is not listened to. */
const WAITING_BYTES_MOST = 8 << 20;

export class ByteStream {
  readonly #socket: Socket;
  #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #wake: (() => void) | undefined;
  #failure: HostError | undefined;
  readonly #onData = (chunk: Uint8Array): void => {
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > WAITING_BYTES_MOST) this.#socket.pause();
    this.#wake?.();
  };
  readonly #onError = (cause: Error): void => this.#fail(new HostError('nbd-gone', cause.message, { cause }));
  readonly #onClose = (): void => this.#fail(new HostError('nbd-gone', 'the server has closed the connection'));

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', this.#onData);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** A view of the next `count` bytes, the reader's own. */
  async take(count: number): Promise<DataView> {
    const bytes = new Uint8Array(count);
    await this.fill([bytes]);
    return new DataView(bytes.buffer);
  }

  /** Fills the pieces; rejects with HostError `nbd-gone` when the connection ends before. */
  async fill(into: readonly Uint8Array[]): Promise<void> {
    for (const piece of into) {
      for (let at = 0; at < piece.length; ) {
        const chunk = this.#chunks[0];
        if (chunk === undefined) {
          if (this.#failure !== undefined) throw this.#failure;
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        const count = Math.min(chunk.length, piece.length - at);
        piece.set(chunk.subarray(0, count), at);
        at += count;
        this.#took(chunk, count);
      }
    }
  }

  /** Reads and forgets. */
  async skip(count: number): Promise<void> {
    while (count > 0) {
      const step = Math.min(count, 1 << 16);
      await this.take(step);
      count -= step;
    }
  }

  /** Nothing has come that is not read. */
  get isEmpty(): boolean {
    return this.#waitingBytes === 0;
  }

  /** Gives the socket to somebody else, before anything was sent that is not read. */
  release(): Socket {
    this.#socket.off('data', this.#onData).off('error', this.#onError).off('close', this.#onClose);
    // Whoever has it now hears of the error by its own socket.
    return this.#socket.on('error', () => {});
  }

  /** Nothing more is read, nor filled. */
  close(reason: HostError): void {
    this.#chunks = [];
    this.#fail(reason);
  }

  #took(chunk: Uint8Array, count: number): void {
    if (count === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(count);
    this.#waitingBytes -= count;
    if (this.#waitingBytes <= WAITING_BYTES_MOST / 2 && this.#socket.isPaused()) this.#socket.resume();
  }

  #fail(failure: HostError): void {
    this.#failure ??= failure;
    this.#wake?.();
  }
}
