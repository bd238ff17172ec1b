/**
 * A guest's vsock as unix sockets, after Firecracker's convention, so that what was made for it works here:
 *
 *     PATH       the host connects, says "CONNECT 5000\n", and has the guest's port 5000 behind "OK 1073741825\n"
 *     PATH_53    where the host listens for the guest's streams to port 53 of the host
 *
 * A port of the guest on which nobody listens closes the connection; a port of the host without a socket refuses the
 * guest's. A socket that a process left behind when it died is replaced, one that somebody listens on is not.
 */
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { OperatorError } from '../../base/errors.ts';
import type { VirtioVsock, VsockRequest } from '../../devices/index.ts';
import { errorCode } from '../network/errors.ts';
import { isLeftBehind } from '../streams/index.ts';
import { UnixStream } from './unix-stream.ts';

/** What the sockets need of the device. */
export type VsockDoor = Pick<VirtioVsock, 'connect' | 'listen'>;

/** Bytes of a socket's path that the kernel takes (sockaddr_un.sun_path, its ending zero aside). */
const LONGEST_PATH = 107;
/** "CONNECT 4294967295\n" */
const LONGEST_LINE = 19;
const NEWLINE = 0x0a;
const LAST_PORT = 0xffff_ffff;

export class VsockSockets {
  readonly path: string;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  /** Who came before the device was there. */
  #early: Socket[] | undefined = [];
  #door: VsockDoor | undefined;

  /** Listens. Rejects with OperatorError: `vsock-in-use`, `bad-vsock`. */
  static async listen(path: string): Promise<VsockSockets> {
    if (Buffer.byteLength(path) > LONGEST_PATH)
      throw new OperatorError(
        'bad-vsock',
        `the path of the vsock's socket is too long: ${path}`,
        `Give one of at most ${LONGEST_PATH} bytes.`,
      );
    const sockets = new VsockSockets(path);
    try {
      await sockets.#listen();
    } catch (error) {
      if (errorCode(error) !== 'EADDRINUSE') throw cannotListen(path, error);
      if (!(await isLeftBehind(path)))
        throw new OperatorError(
          'vsock-in-use',
          `another program listens on ${path}, or it is no socket`,
          'Give --vsock another path, or end that program.',
        );
      await rm(path, { force: true });
      await sockets.#listen().catch((again: unknown) => {
        throw cannotListen(path, again);
      });
    }
    return sockets;
  }

  private constructor(path: string) {
    this.path = path;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#arrived(socket));
  }

  /** The device is there: streams go to it, and come from it. */
  attach(door: VsockDoor): void {
    this.#door = door;
    door.listen('any', (request) => this.#toHost(request));
    for (const socket of this.#early ?? []) this.#greet(socket, door);
    this.#early = undefined;
  }

  /** Closes every socket, and removes the one that it listened on. */
  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.path, () => {
        this.#server.removeListener('error', reject);
        // Short of descriptors: the client waits.
        this.#server.on('error', () => undefined);
        resolve();
      });
    });
  }

  #arrived(socket: Socket): void {
    this.#keep(socket);
    if (this.#door === undefined) this.#early?.push(socket);
    else this.#greet(socket, this.#door);
  }

  #keep(socket: Socket): void {
    this.#open.add(socket);
    socket.on('close', () => this.#open.delete(socket));
    // The close that follows says all that there is to say.
    socket.on('error', () => undefined);
  }

  /** Reads which port of the guest's is wanted; what comes behind is for the guest. */
  #greet(socket: Socket, door: VsockDoor): void {
    let line = Buffer.alloc(0);
    const hear = (bytes: Buffer | string): void => {
      line = Buffer.concat([line, Buffer.from(bytes)]);
      const end = line.indexOf(NEWLINE);
      if (end < 0 && line.length < LONGEST_LINE) return;
      socket.removeListener('data', hear);
      socket.pause();
      const port = end < 0 || end >= LONGEST_LINE ? undefined : portIn(line.toString('latin1', 0, end));
      if (port === undefined) {
        socket.destroy();
        return;
      }
      const stream = new UnixStream(socket);
      const vsock = door.connect(port, stream);
      stream.begin(vsock, { greeting: `OK ${vsock.hostPort}\n`, first: line.subarray(end + 1) });
    };
    socket.on('data', hear);
    socket.on('end', () => {
      if (socket.listeners('data').includes(hear)) socket.destroy();
    });
    socket.resume();
  }

  /** The guest wants a stream to a port of the host's. */
  #toHost(request: VsockRequest): void {
    const socket = connect({ path: `${this.path}_${request.hostPort}`, allowHalfOpen: true });
    this.#keep(socket);
    socket.pause();
    let isThere = false;
    socket.on('connect', () => {
      isThere = true;
      const stream = new UnixStream(socket);
      stream.begin(request.accept(stream));
      stream.connected();
    });
    socket.on('close', () => {
      if (!isThere) request.refuse();
    });
  }
}

function portIn(line: string): number | undefined {
  const [, digits] = /^connect (\d{1,10})$/i.exec(line.replace(/\r$/, '')) ?? [];
  const port = Number(digits);
  return port <= LAST_PORT ? port : undefined;
}

function cannotListen(path: string, error: unknown): OperatorError {
  const why = error instanceof Error ? error.message : String(error);
  return new OperatorError(
    'bad-vsock',
    `the vsock's socket ${path} cannot be made: ${why}`,
    'Name a path in a folder that there is, and in which you may write.',
    { cause: error },
  );
}
