/**
 * The host's TCP sockets for the user-mode network. Writes are gathered: what the guest sends in one turn of the
 * event loop goes to the kernel in chunks of up to 64 KiB instead of one system call per segment.
 */
// hot: `write` once per segment
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import type {
  IncomingTcp,
  Listener,
  SocketFailure,
  TcpListenEvents,
  TcpPort,
  TcpSocket,
  TcpSocketEvents,
} from '../../network/index.ts';
import { bindError, errorCode, socketFailure } from './errors.ts';

const CHUNK_BYTES = 65536;
/** Enough for most connections, which are short. */
const SMALL_CHUNK_BYTES = 2048;
/** The network promises to take this much at once. */
const MAX_DATA_BYTES = 65536;
const READ_BYTES = 65536;
/** Short of descriptors or memory: wait before the next client instead of spinning. */
const ACCEPT_ERRORS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

export class NodeTcpPort implements TcpPort {
  readonly #sockets = new Set<NodeTcpSocket>();
  readonly #servers = new Set<Server>();
  /** What came is lent for the length of a call, so that one buffer serves all sockets. */
  readonly #received = new Uint8Array(READ_BYTES);

  connect(address: string, port: number, events: TcpSocketEvents): TcpSocket {
    const buffer = this.#received;
    let own: NodeTcpSocket | undefined;
    const socket = netConnect({
      host: address,
      port,
      allowHalfOpen: true,
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => own?.received(buffer.subarray(0, length)) ?? true,
      },
    });
    own = new NodeTcpSocket(socket, events, this.#sockets);
    return own;
  }

  listen(address: string, port: number, events: TcpListenEvents): Listener {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#servers.add(server);
    let bound = false;
    server.on('listening', () => {
      bound = true;
      const own = server.address();
      events.listening(typeof own === 'object' && own !== null ? own.port : port);
    });
    server.on('error', (error) => {
      if (bound && ACCEPT_ERRORS.has(errorCode(error))) return;
      this.#servers.delete(server);
      if (!bound) events.failed(bindError(error, 'tcp', address, port));
    });
    server.on('connection', (socket) => this.#offer(socket, events));
    server.listen({ host: address, port, exclusive: true });
    return {
      close: () => {
        this.#servers.delete(server);
        server.close();
      },
    };
  }

  /** Resets every connection and closes every listener. */
  close(): void {
    for (const socket of this.#sockets) socket.reset();
    for (const server of this.#servers) server.close();
    this.#servers.clear();
  }

  #offer(socket: Socket, events: TcpListenEvents): void {
    const { remoteAddress, remotePort } = socket;
    let accepted = false;
    const client: IncomingTcp = {
      address: remoteAddress ?? '',
      port: remotePort ?? 0,
      accept: (socketEvents) => {
        accepted = true;
        const own = new NodeTcpSocket(socket, socketEvents, this.#sockets);
        socket.on('data', (bytes: Uint8Array) => own.received(bytes));
        return own;
      },
    };
    if (remoteAddress !== undefined && remotePort !== undefined) events.connection(client);
    if (!accepted) socket.resetAndDestroy();
  }
}

class NodeTcpSocket implements TcpSocket {
  readonly #socket: Socket;
  readonly #events: TcpSocketEvents;
  readonly #open: Set<NodeTcpSocket>;
  #chunk: Uint8Array | undefined;
  #chunkBytes = 0;
  /** Of the next chunk: once one was filled, all are large. */
  #capacity = SMALL_CHUNK_BYTES;
  #flushing = false;
  #resumed = false;
  #done = false;

  constructor(socket: Socket, events: TcpSocketEvents, open: Set<NodeTcpSocket>) {
    this.#socket = socket;
    this.#events = events;
    this.#open = open;
    open.add(this);
    socket.on('connect', () => {
      // Nothing is read before the guest can take it.
      if (!this.#resumed) socket.pause();
      if (!this.#done) events.connected();
    });
    socket.on('end', () => this.#done || events.ended());
    socket.on('error', (error) => this.#fail(socketFailure(error)));
    socket.on('close', () => {
      open.delete(this);
      // Without an error both directions have ended in order, and both sides know.
      this.#done = true;
    });
  }

  /** Bytes of the peer, lent; tells a reader whether to go on. */
  received(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length && !this.#done; at += MAX_DATA_BYTES)
      this.#events.data(bytes.subarray(at, at + MAX_DATA_BYTES));
    return this.#resumed;
  }

  write(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      this.#chunk ??= new Uint8Array(this.#capacity);
      const length = Math.min(bytes.length - at, this.#chunk.length - this.#chunkBytes);
      this.#chunk.set(at === 0 && length === bytes.length ? bytes : bytes.subarray(at, at + length), this.#chunkBytes);
      this.#chunkBytes += length;
      at += length;
      if (this.#chunkBytes < this.#chunk.length) continue;
      this.#capacity = CHUNK_BYTES;
      this.#flush();
    }
    if (this.#flushing || this.#chunkBytes === 0) return;
    this.#flushing = true;
    process.nextTick(this.#flushLater);
  }

  end(): void {
    this.#flush();
    this.#socket.end();
  }

  reset(): void {
    this.#done = true;
    this.#chunk = undefined;
    this.#chunkBytes = 0;
    this.#open.delete(this);
    // A reset would wait for a connection that may never stand, and hold its descriptor for minutes.
    if (this.#socket.connecting) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  pause(): void {
    this.#resumed = false;
    this.#socket.pause();
  }

  resume(): void {
    this.#resumed = true;
    this.#socket.resume();
  }

  readonly #flushLater = (): void => {
    this.#flushing = false;
    this.#flush();
  };

  #flush(): void {
    const chunk = this.#chunk;
    const length = this.#chunkBytes;
    if (chunk === undefined || length === 0 || this.#done) return;
    // A little is copied out, so that the chunk serves again; a chunk that is mostly full goes itself.
    const small = length < chunk.length / 4 || length < SMALL_CHUNK_BYTES;
    const part = small ? chunk.slice(0, length) : chunk.subarray(0, length);
    this.#chunkBytes = 0;
    if (!small) this.#chunk = undefined;
    this.#socket.write(part, (error) => {
      if (!this.#done && (error === null || error === undefined)) this.#events.drained(length);
    });
  }

  #fail(reason: SocketFailure): void {
    if (this.#done) return;
    this.#done = true;
    this.#open.delete(this);
    this.#events.failed(reason);
  }
}
