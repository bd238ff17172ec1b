/**
 * The daemon: adopts what runs, supervises it, serves the API. It decides and never emulates: machines are processes of their
 * own, so that it can end, or be killed, and come back to them.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import { daemonSocketName, isAlive, withLock } from '../host/index.ts';
import { tcpGuard, unixGuard } from './api/guard.ts';
import { type Listener, listenOnSocket, listenOnTcp } from './api/listen.ts';
import { pagesOf } from './api/pages.ts';
import { type LocalOptions, type OfService, type OpenService, openService } from './local.ts';
import { Supervisor } from './partitions/index.ts';
import { allowedHosts, readTls } from './tls-files.ts';

export interface TcpOptions {
  readonly host: string;
  readonly port: number;
  /** PEM files. */
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly token: string;
  /** More names by which it may be called. */
  readonly allowedHosts?: readonly string[];
}

export interface DaemonOptions extends LocalOptions {
  readonly tcp?: TcpOptions;
  /** Of its part of a cluster, for tests. */
  readonly cluster?: OfService['cluster'];
  /** A folder with the console's files. */
  readonly pages?: string;
}

export class Daemon implements AsyncDisposable {
  /** Where it listens. */
  readonly addresses: readonly string[];
  readonly #service: OpenService;
  readonly #listeners: readonly Listener[];
  readonly #supervisor: Supervisor;
  #isClosed = false;

  private constructor(service: OpenService, listeners: readonly Listener[], supervisor: Supervisor) {
    this.#service = service;
    this.#listeners = listeners;
    this.#supervisor = supervisor;
    this.addresses = listeners.map(({ address }) => address);
  }

  /** Resolves when it answers and has adopted what runs. Errors: `daemon-running`, `bad-tls`, those of the store. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const { tcp } = options;
    const tls = tcp === undefined ? undefined : readTls(tcp);
    let isReady = false;
    const service = await openService(options, { isReady: () => isReady, cluster: options.cluster ?? {} });
    const opened: AsyncDisposable[] = [service];
    try {
      const pages = options.pages === undefined ? {} : { pages: pagesOf(options.pages) };
      const listeners = [await listenForUser(service, pages)];
      opened.push(...listeners);
      if (tcp !== undefined && tls !== undefined) {
        const guard = tcpGuard({ token: tcp.token, hosts: allowedHosts(tcp, tls.cert) });
        const listener = await listenOnTcp(tcp, tls, { service, guard, ...pages }).catch((cause: unknown) => {
          const fix = 'Choose another address with --listen';
          throw new OperatorError('port-in-use', `${tcp.host}:${tcp.port} cannot be listened on`, fix, { cause });
        });
        listeners.push(listener);
        opened.push(listener);
      }
      const supervisor = await Supervisor.begin(service.partitions);
      await service.cluster?.begin();
      service.partitions.store.add('daemon-started', undefined, { pid: process.pid });
      isReady = true;
      return new Daemon(service, listeners, supervisor);
    } catch (error) {
      for (const one of opened.reverse()) await one[Symbol.asyncDispose]();
      throw error;
    }
  }

  get partitions(): OpenService['partitions'] {
    return this.#service.partitions;
  }

  /**
   * Ends the daemon. Guests go on, and the next daemon adopts them; with `guests: 'stop'` those that were declared are asked
   * to shut down first, and are started again by the next daemon as their policies have it.
   */
  async stop({
    guests = 'leave',
    graceMs = 10_000,
  }: {
    guests?: 'leave' | 'stop';
    graceMs?: number;
  } = {}): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#service.end();
    const { partitions } = this.#service;
    partitions.store.add('daemon-stopping', undefined, { guests });
    await this.#supervisor[Symbol.asyncDispose]();
    await Promise.all(this.#listeners.map((listener) => listener[Symbol.asyncDispose]()));
    await this.#service.cluster?.[Symbol.asyncDispose]();
    if (guests === 'stop') await partitions.stopAll({ graceMs });
    await this.#service[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Beside the sockets of machines; one daemon for a user. */
async function listenForUser(service: OpenService, pages: object): Promise<Listener> {
  const path = await daemonSocket(service);
  return await withLock(`${path}.lock`, {}, async () => {
    if (await isAlive(path))
      throw new OperatorError('daemon-running', 'a daemon runs already', 'End it first, or use it: every kage does');
    await rm(path, { force: true });
    return await listenOnSocket(path, { service, guard: unixGuard, ...pages });
  });
}

async function daemonSocket({ partitions }: OpenService): Promise<string> {
  return join(await partitions.machines.folder(), `${daemonSocketName}.sock`);
}
