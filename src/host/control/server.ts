/**
 * The control socket of a machine process. The name is claimed first (so that a clash is known before anything is
 * started), then the machine is made and served; when it ends, the socket goes away.
 *
 *   claimed --serve--> serving --the machine has ended | close--> closed
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { HostError, OperatorError } from '../../base/errors.ts';
import { withLock } from '../debian/index.ts';
import type { MachineHandle } from '../machine/machine-api.ts';
import { isAlive } from '../streams/index.ts';
import { ClientSession, type Served, type ServedStandby } from './client-session.ts';
import { runtimeFolder, socketPath } from './runtime-folder.ts';

const mostClients = 64;

export class ControlServer implements AsyncDisposable {
  readonly name: string;
  readonly path: string;
  readonly #server: Server;
  readonly #machine = Promise.withResolvers<MachineHandle>();
  readonly #served: Served;
  readonly #sessions = new Set<ClientSession>();
  #isClosed = false;

  private constructor(name: string, path: string) {
    this.name = name;
    this.path = path;
    this.#machine.promise.catch(() => {}); // clients that wait are told
    this.#served = { name, machine: this.#machine.promise };
    this.#server = createServer((socket) => this.#welcome(socket));
  }

  /** Takes the name and its socket. Errors: `name-in-use`, `bad-name`, `runtime-folder`. */
  static async claim(name: string, folder?: string): Promise<ControlServer> {
    const home = folder ?? (await runtimeFolder());
    const server = new ControlServer(name, socketPath(home, name));
    await withLock(`${server.path}.lock`, {}, async () => {
      if (await isAlive(server.path)) {
        const fix = `Choose another name with --name, or end the other with "kage stop ${name}"`;
        throw new OperatorError('name-in-use', `A machine named ${name} is running`, fix);
      }
      await rm(server.path, { force: true });
      await server.#listen();
    });
    return server;
  }

  /** What clients can ask of a machine that stands by, until it is served. */
  serveStandby(standby: ServedStandby): void {
    this.#served.standby = standby;
  }

  /** Serves the machine to all clients until it ends. */
  serve(machine: MachineHandle): void {
    this.#served.standby = undefined;
    this.#machine.resolve(machine);
    machine.exited.then(() => this.close());
  }

  /** Removes the socket and ends all conversations. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#machine.reject(new HostError('machine-gone', 'the machine did not start'));
    for (const session of this.#sessions) session.close();
    await new Promise<void>((resolve) => this.#server.close(() => resolve())); // unlinks the socket
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) => {
        const fix = 'See that the folder can be written to, or set XDG_RUNTIME_DIR to one that can';
        reject(new OperatorError('runtime-folder', `The control socket ${this.path} cannot be made`, fix, { cause }));
      });
      this.#server.listen(this.path, resolve);
    });
    await chmod(this.path, 0o600);
  }

  #welcome(socket: Socket): void {
    if (this.#sessions.size >= mostClients) {
      socket.destroy();
      return;
    }
    const session = new ClientSession(socket, this.#served, () => this.#sessions.delete(session));
    this.#sessions.add(session);
  }
}
