/**
 * A server in a guest that keeps numbered records on a disk, a client that writes them, and a network between them that
 * outlives the guest's host: a switch in the test's own process, with the other end of every TCP connection.
 *
 *     client --TCP--> user network, switch (here) --stream socket--> the machine that runs the guest (a process)
 *                                                                        disk: a file that all machines reach
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HostSwitch } from '../../src/host/index.ts';
import { kageCommand } from '../kage-command.ts';
import { freePort } from './free-port.testing.ts';
import { debianImage } from './guest.testing.ts';
import { RECORD_SERVER, RecordClient, recordsOn } from './records.testing.ts';

const run = promisify(execFile);
const DISK_BYTES = 8 << 20;
/** On which the server in the guest listens. */
const PORT = 7000;

export class RecordWorld implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'kagemusha-replication-'));
  readonly disk = join(this.folder, 'disk.img');
  #port = 0;
  #switch: HostSwitch | undefined;
  #names = 0;
  /** The machine that runs the guest, by its name. */
  active = '';
  readonly #pids = new Set<number>();

  static async start(options: { readonly cpus?: number } = {}): Promise<RecordWorld> {
    const world = new RecordWorld();
    try {
      await world.#start(options);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start({ cpus = 1 }: { readonly cpus?: number }): Promise<void> {
    writeFileSync(this.disk, new Uint8Array(DISK_BYTES));
    this.#port = await freePort();
    const path = join(this.folder, 'switch');
    const user = `hostfwd=tcp:127.0.0.1:${this.#port}-:${PORT}`;
    this.#switch = await HostSwitch.start({ listen: { path }, netdevs: [{ kind: 'user', user }] });
    const { kernel, initrd, commandLine } = await debianImage();
    this.active = this.#name();
    await this.kage(
      ...['run', '-d', '--rm', '-n', this.active, '-m', '192M', '--cpus', String(cpus)],
      ...['--kernel', kernel, '--initrd', String(initrd), '--append', commandLine],
      ...['--drive', `file=${this.disk},format=raw`, '--netdev', `stream,id=lan,addr.type=unix,addr.path=${path}`],
    );
    await this.#note(this.active);
    await this.exec(`cat > /server.sh <<'END'\n${RECORD_SERVER}\nEND`);
    await this.exec(`(setsid nc -l -p ${PORT} -e sh /server.sh > /dev/null 2>&1 &)`);
    await this.exec(`until cat /proc/net/tcp* | grep -q ':${PORT.toString(16).toUpperCase()} '; do sleep 0.1; done`);
    // It has an address by now, and says where it is.
    await this.exec('until ping -c 1 -W 2 10.0.2.2 > /dev/null; do sleep 0.2; done');
  }

  /** `kage` as a user has it, in a world of its own. */
  async kage(...words: readonly string[]): Promise<string> {
    const env = {
      ...process.env,
      XDG_RUNTIME_DIR: this.folder,
      XDG_DATA_HOME: this.folder,
      XDG_STATE_HOME: this.folder,
    };
    const { stdout } = await run(process.execPath, [kageCommand, ...words], { env, maxBuffer: 16 << 20 });
    return stdout.trim();
  }

  async exec(script: string): Promise<string> {
    return await this.kage('exec', this.active, '--', 'sh', '-c', script);
  }

  /** Another machine stands by for the guest, and has all of it. */
  async protect(...flags: readonly string[]): Promise<string> {
    const standby = this.#name();
    const address = `unix:${join(this.folder, `${standby}.stream`)}`;
    await this.kage('receive', address, '-n', standby, '-d');
    await this.#note(standby);
    await this.kage('replicate', this.active, address, ...flags);
    return standby;
  }

  /** The machine that runs the guest is gone, as if its host had lost power; `standby` goes on with it. */
  async failover(standby: string): Promise<{ readonly epoch: number; readonly tookMs: number }> {
    const [pid] = await this.#pidsOf(this.active);
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    this.#pids.delete(pid);
    const result = JSON.parse(await this.kage('promote', standby, '--format', 'json')) as {
      epoch: number;
      tookMs: number;
    };
    this.active = standby;
    return result;
  }

  async client(): Promise<RecordClient> {
    return await RecordClient.connect(this.#port);
  }

  /** How often each record up to that one was written, as the disk has it. */
  records(last: number): number[] {
    return recordsOn(this.disk, 1, last);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    await this.#switch?.[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #name(): string {
    this.#names += 1;
    return `host${this.#names}`;
  }

  async #note(name: string): Promise<void> {
    for (const pid of await this.#pidsOf(name)) this.#pids.add(pid);
  }

  async #pidsOf(name: string): Promise<number[]> {
    const all = JSON.parse(await this.kage('ps', '--format', 'json')) as { name: string; pid: number }[];
    return all.filter((one) => one.name === name).map(({ pid }) => pid);
  }
}
