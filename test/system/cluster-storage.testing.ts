/** The host that has the guests' disks: one nbdkit for all of them, by their names, behind a gate of ours. */
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GateReport, gateControl, gateStatus } from '../../src/host/storage/index.ts';
import { programPath, toolFile } from '../toolbox.ts';
import { startKage } from './cluster-processes.testing.ts';
import type { Seat } from './cluster-segment.testing.ts';
import { recordsOn } from './records.testing.ts';

/** Of half a million records; what is not written takes no room. */
const DISK_BYTES = 256 << 20;
/** Where daemons look for a gate's control, unless they are told. */
const GATE_PORT = 10_810;

export class StorageHost implements AsyncDisposable {
  readonly seat: Seat;
  readonly #folder: string;
  /** Of the gate. */
  readonly #state: string;
  readonly #behind: string;
  #children: ChildProcess[] = [];

  static async start(seat: Seat, folder: string): Promise<StorageHost> {
    const host = new StorageHost(seat, folder);
    await host.#start();
    return host;
  }

  private constructor(seat: Seat, folder: string) {
    this.seat = seat;
    this.#folder = folder;
    this.#state = join(folder, 'gate');
    this.#behind = join(folder, 'behind.sock');
    mkdirSync(join(folder, 'disks'), { recursive: true });
  }

  async #start(): Promise<void> {
    const words = [
      '-f',
      '-U',
      this.#behind,
      toolFile('disks', 'nbdkit-file-plugin.so'),
      `dir=${join(this.#folder, 'disks')}`,
    ];
    const server = this.seat.namespace.spawn(programPath('nbdkit'), words, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#children.push(server);
    while (!existsSync(this.#behind)) {
      if (server.exitCode !== null) throw new Error('nbdkit has ended');
      await sleep(10);
    }
  }

  /** The gate lets in whom the cluster tells it to, over TLS with the credentials in that folder. */
  async serve(tls: string): Promise<void> {
    const { namespace, address } = this.seat;
    const where = ['--listen', `nbd://${address}`, '--upstream', `nbd+unix:///?socket=${this.#behind}`];
    const told = ['--state', this.#state, '--control', `tls:${address}:${GATE_PORT}`, '--tls', tls];
    this.#children.push(await startKage(namespace, ['gate', ...where, ...told], { says: /the gate is at/ }));
  }

  /** An empty disk of that name; the address of it at the gate, without a generation. */
  disk(name: string): string {
    const file = openSync(this.#file(name), 'w');
    ftruncateSync(file, DISK_BYTES);
    closeSync(file);
    return `nbd://${this.seat.address}/${name}`;
  }

  /** How often each of the records was written. */
  records(name: string, first: number, count: number): number[] {
    return recordsOn(this.#file(name), first, count);
  }

  async report(): Promise<GateReport> {
    return await gateStatus(gateControl(this.#state), { timeoutMs: 5000 });
  }

  async generation(name: string): Promise<number> {
    return (await this.report()).exports.find((one) => one.name === name)?.generation ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.toReversed()) child.kill('SIGKILL');
    this.#children = [];
  }

  #file(name: string): string {
    return join(this.#folder, 'disks', name);
  }
}
