/**
 * An uplink that is a stream socket, unix or TCP: QEMU's `-netdev stream` or `socket`, passt, another machine of ours. It
 * listens, and takes one peer at a time, or connects, and tries again when the peer is gone. A peer is the carrier.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { must } from '../../../base/assert.ts';
import { FrameDecoder, type NetdevOptions, prefixed, type UplinkPort } from '../../../network/index.ts';
import { listenAt } from '../../streams/index.ts';
import type { OpenedLink } from './link.ts';

const RECONNECT_MS = 1000;
/** What may wait for a peer that does not read: then frames are lost, as on any link that is full. */
export const MOST_UNSENT_BYTES = 4 << 20;

export interface StreamLink extends OpenedLink {
  /** The TCP port in use, where we listen on one. */
  readonly port: number | undefined;
}

/**
 * Listens at once, or begins to connect. A frame that the peer has no room for yet leaves later if `mayLeave` says so then.
 * Rejects with OperatorError `address-in-use` or `cannot-listen` where it cannot
 * listen; a peer that is not there yet is no error.
 */
export async function openStreamLink(
  options: NetdevOptions,
  mayLeave: () => boolean = () => true,
): Promise<StreamLink> {
  const link = new StreamEnd(options.reconnectMs ?? RECONNECT_MS, mayLeave);
  if (options.server === true) await link.listen(options);
  else link.connect(options);
  return link;
}

class StreamEnd implements StreamLink {
  readonly facts = { carrier: false, mtuBytes: 65_535 };
  readonly link = { send: (frame: Uint8Array): boolean => this.#send(frame) };
  readonly #reconnectMs: number;
  readonly #mayLeave: () => boolean;
  #uplink: UplinkPort | undefined;
  #server: Server | undefined;
  #socket: Socket | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Frames for which the kernel has no room, in front of the one that Node has; and their bytes. */
  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #isClosed = false;

  constructor(reconnectMs: number, mayLeave: () => boolean) {
    this.#reconnectMs = reconnectMs;
    this.#mayLeave = mayLeave;
  }

  get port(): number | undefined {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? address.port : undefined;
  }

  async listen(options: NetdevOptions): Promise<void> {
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    await listenForFrames(server, options);
  }

  connect(options: NetdevOptions): void {
    if (this.#isClosed) return;
    const { path, host, port } = options;
    const socket = path === undefined ? connect(port ?? 0, host ?? '127.0.0.1') : connect(path);
    this.#socket = socket;
    socket.once('connect', () => this.#begin(socket));
    socket.once('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      if (this.#isClosed || this.#reconnectMs === 0) return;
      this.#retry = setTimeout(() => this.connect(options), this.#reconnectMs).unref();
    });
    this.#watch(socket, 'the peer closed the connection');
  }

  join(port: UplinkPort): void {
    this.#uplink = port;
    if (this.#socket?.readyState === 'open') port.setCarrier(true, 'a peer is connected');
  }

  close(): void {
    this.#isClosed = true;
    this.#uplink = undefined;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
    this.#server?.close();
  }

  #accept(socket: Socket): void {
    // One peer at a time, as QEMU has it: who comes while there is one is turned away.
    if (this.#socket !== undefined || this.#isClosed) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    socket.once('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
    });
    this.#watch(socket, 'the peer left');
    this.#begin(socket);
  }

  #begin(socket: Socket): void {
    socket.setNoDelay(true);
    const decoder = new FrameDecoder((frame) => void this.#uplink?.receive(frame));
    socket.on('data', (chunk: Buffer) => {
      // As plain bytes: a Buffer's `slice` is no copy, and who is lent a frame may want one.
      if (!decoder.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))) socket.destroy();
    });
    this.#uplink?.setCarrier(true, 'a peer is connected');
  }

  #watch(socket: Socket, cause: string): void {
    socket.on('error', () => {}); // `close` follows, and says all that there is to say
    socket.once('close', () => {
      this.#forget();
      this.#uplink?.setCarrier(false, cause);
    });
  }

  #send(frame: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket?.readyState !== 'open' || this.#unsentBytes > MOST_UNSENT_BYTES) return false;
    const bytes = prefixed(frame);
    // What Node has it sends when it can, and asks nobody: no more than one frame.
    if (socket.writableLength === 0) socket.write(bytes, this.#written);
    else {
      this.#unsent.push(bytes);
      this.#unsentBytes += bytes.length;
    }
    return true;
  }

  readonly #written = (): void => {
    if (this.#unsent.length === 0) return;
    if (!this.#mayLeave()) this.#forget();
    const socket = this.#socket;
    let sent = 0;
    while (sent < this.#unsent.length && socket?.readyState === 'open' && socket.writableLength === 0) {
      const bytes = must(this.#unsent[sent++]);
      this.#unsentBytes -= bytes.length;
      socket.write(bytes, this.#written);
    }
    this.#unsent.splice(0, sent);
  };

  #forget(): void {
    this.#unsent = [];
    this.#unsentBytes = 0;
  }
}

/**
 * Has a server listen at a path, or on a port of the loopback address unless `host` says otherwise. Machines of others may come, as
 * the umask says. Rejects with OperatorError `address-in-use`, or HostError `cannot-listen`.
 */
export async function listenForFrames(
  server: Server,
  { path, host = '127.0.0.1', port = 0 }: Pick<NetdevOptions, 'path' | 'host' | 'port'>,
): Promise<void> {
  await listenAt(server, path === undefined ? { host, port } : { path }, { isFor: 'umask' });
}
