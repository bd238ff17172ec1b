/**
 * A unix socket and a stream of the guest's vsock, joined: bytes, ends and failures of each are the other's. Neither side
 * outruns the other: the socket is read while few of its bytes wait for the guest, and the guest's are taken while the
 * socket takes them.
 */
import type { Socket } from 'node:net';
import type { VsockEvents, VsockStream } from '../../devices/index.ts';

/** Bytes on their way to the guest: read no more above, go on below half of it. */
const ON_THE_WAY_MAX = 256 << 10;

export class UnixStream implements VsockEvents {
  readonly #socket: Socket;
  #stream: VsockStream | undefined;
  #greeting = '';
  #isConnected = false;
  #onTheWay = 0;
  #guestEnded = false;
  #socketEnded = false;

  /** `socket`: paused, with half-open connections allowed. */
  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** `stream`: whose events this gets. `greeting` goes to the socket when it stands, `first` to the guest. */
  begin(stream: VsockStream, { greeting = '', first }: { greeting?: string; first?: Uint8Array } = {}): void {
    const socket = this.#socket;
    this.#stream = stream;
    this.#greeting = greeting;
    if (first !== undefined && first.length > 0) this.#toGuest(first);
    socket.on('data', (bytes: Uint8Array) => this.#toGuest(bytes));
    socket.on('drain', () => stream.resume());
    socket.on('end', () => {
      this.#socketEnded = true;
      stream.end();
    });
    socket.on('close', () => {
      if (!this.#guestEnded || !this.#socketEnded) stream.reset();
    });
    if (socket.destroyed) stream.reset();
  }

  connected(): void {
    this.#isConnected = true;
    if (this.#greeting !== '') this.#socket.write(this.#greeting);
    this.#socket.resume();
  }

  data(bytes: Uint8Array): void {
    if (!this.#socket.write(bytes.slice())) this.#stream?.pause();
  }

  drained(byteCount: number): void {
    this.#onTheWay -= byteCount;
    if (this.#isConnected && this.#onTheWay < ON_THE_WAY_MAX / 2) this.#socket.resume();
  }

  ended(): void {
    this.#guestEnded = true;
    this.#socket.end();
  }

  failed(): void {
    this.#socket.destroy();
  }

  #toGuest(bytes: Uint8Array): void {
    this.#onTheWay += bytes.length;
    if (this.#onTheWay >= ON_THE_WAY_MAX) this.#socket.pause();
    this.#stream?.write(bytes);
  }
}
