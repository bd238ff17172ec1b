/** For tests of the cluster's part of the daemon: hosts with a daemon each, in this process; ports that are free. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Client, Partition } from '../../client/index.ts';
import { fakeOptions } from '../daemon.testing.ts';
import { Daemon, type DaemonOptions } from '../daemon.ts';
import { connectDaemon } from '../reach.ts';

/** For TCP and UDP of the loopback address, a moment ago. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const socket = createSocket('udp4');
    const isFree = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false));
      socket.bind(port, '127.0.0.1', () => resolve(true));
    });
    socket.close();
    server.close();
    await once(server, 'close');
    if (isFree) return port;
  }
}

/** A host: a daemon with folders of its own. */
export class DaemonHost {
  readonly name: string;
  readonly #folder: string;
  readonly #more: Partial<DaemonOptions>;
  #daemon: Daemon | undefined;
  client!: Client;
  port = 0;

  /** Folders are made below `root`. */
  constructor(root: string, name: string, more: Partial<DaemonOptions>) {
    this.name = name;
    this.#more = more;
    this.#folder = join(root, name);
    for (const folder of ['state', 'sockets']) mkdirSync(join(this.#folder, folder), { recursive: true, mode: 0o700 });
  }

  get state(): string {
    return join(this.#folder, 'state');
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    if (this.port === 0) this.port = await freePort();
    this.#daemon = await Daemon.start(
      fakeOptions({
        ...{ stateFolder: this.state, runtimeFolder: join(this.#folder, 'sockets') },
        failed: () => {},
        ...this.#more,
      }),
    );
    this.client = connectDaemon({ kind: 'unix', path: this.#daemon.addresses[0] ?? '' });
  }

  /** Nobody is told: for the cluster it is a crash. */
  async end(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }

  async guest(name: string): Promise<Partition['cluster']> {
    return (await this.client.getPartition(name)).cluster;
  }
}
