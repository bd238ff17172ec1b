/** The host that has the guests' disks: one nbdkit for all of them, by their names, behind a gate of ours. */
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GateReport, gateStatus } from '../../src/host/storage/index.ts';
import { programPath, toolFile } from '../toolbox.ts';
import { startKage } from './cluster-processes.testing.ts';
import type { Seat } from './cluster-segment.testing.ts';
import { recordsOn } from './records.testing.ts';

const DISK_BYTES = 8 << 20;

export class StorageHost implements AsyncDisposable {
  readonly seat: Seat;
  /** Of the gate: where it is told by those who share its file system. */
  readonly state: string;
  readonly #folder: string;
  #children: ChildProcess[] = [];

  static async start(seat: Seat, folder: string): Promise<StorageHost> {
    const host = new StorageHost(seat, folder);
    await host.#start();
    return host;
  }

  private constructor(seat: Seat, folder: string) {
    this.seat = seat;
    this.#folder = folder;
    this.state = join(folder, 'gate');
    mkdirSync(join(folder, 'disks'), { recursive: true });
  }

  async #start(): Promise<void> {
    const { namespace, address } = this.seat;
    const behind = join(this.#folder, 'behind.sock');
    const words = [
      '-f',
      '-U',
      behind,
      toolFile('disks', 'nbdkit-file-plugin.so'),
      `dir=${join(this.#folder, 'disks')}`,
    ];
    const server = namespace.spawn(programPath('nbdkit'), words, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#children.push(server);
    while (!existsSync(behind)) {
      if (server.exitCode !== null) throw new Error('nbdkit has ended');
      await sleep(10);
    }
    const gate = ['gate', '--listen', `nbd://${address}`, '--upstream', `nbd+unix:///?socket=${behind}`];
    this.#children.push(await startKage(namespace, [...gate, '--state', this.state], { says: /the gate is at/ }));
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
    return await gateStatus(this.state, { timeoutMs: 5000 });
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
