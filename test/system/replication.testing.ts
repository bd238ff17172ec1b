/**
 * A server in a guest that keeps numbered records on a disk, a client that writes them, and a network between them that
 * outlives the guest's host: a switch in the test's own process, with the other end of every TCP connection.
 *
 *     client --TCP--> user network, switch (here) --stream socket--> the machine that runs the guest (a process)
 *                                                                        disk: a file that all machines reach
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { HostSwitch } from '../../src/host/index.ts';
import { kageCommand } from '../kage-command.ts';
import { freePort } from './free-port.testing.ts';
import { debianImage } from './guest.testing.ts';

const run = promisify(execFile);
const DISK_BYTES = 8 << 20;
const RECORD_BYTES = 512;
/** On which the server in the guest listens. */
const PORT = 7000;
/** Records of a client that were not answered yet. */
const MOST_UNDER_WAY = 4;

/** Each line is a number: written to the sector of that number, with how often it came, flushed, and only then answered. */
const server = `
while read n; do
  eval "c=\\$((\\\${s$n:-0} + 1)); s$n=\\$c"
  printf 'record %s %s\\n' $n $c | dd of=/dev/vda bs=${RECORD_BYTES} seek=$n conv=notrunc,sync,fsync 2> /dev/null
  echo "ok $n $c"
done`;

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
    await this.exec(`cat > /server.sh <<'END'\n${server}\nEND`);
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
    const file = openSync(this.disk, 'r');
    try {
      return Array.from({ length: last }, (_, i) => {
        const sector = Buffer.alloc(RECORD_BYTES);
        readSync(file, sector, 0, RECORD_BYTES, (i + 1) * RECORD_BYTES);
        const [, number, times] = /^record (\d+) (\d+)\n/.exec(sector.toString('latin1')) ?? [];
        return Number(number) === i + 1 ? Number(times) : 0;
      });
    } finally {
      closeSync(file);
    }
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

/** Writes records one after the other over one connection, for as long as it is asked to. */
export class RecordClient {
  readonly #socket: Socket;
  #sent = 0;
  /** Records that were acknowledged: of each, how often the server had seen it. */
  readonly acknowledged: number[] = [];
  #isEnding = false;
  /** When the latest was. */
  #lastMs = 0;
  /** The longest time between two acknowledgements. */
  longestMs = 0;
  #lost: Error | undefined;

  static async connect(port: number): Promise<RecordClient> {
    const socket = connect(port, '127.0.0.1');
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RecordClient(socket);
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.#lost = error;
    });
    socket.on('close', () => {
      this.#lost ??= new Error('the connection was closed');
    });
    createInterface({ input: socket }).on('line', (line) => {
      const [, number, times] = /^ok (\d+) (\d+)$/.exec(line) ?? [];
      assert.equal(Number(number), this.acknowledged.length + 1, `acknowledgements come in order: ${line}`);
      this.acknowledged.push(Number(times));
      const now = performance.now();
      if (this.#lastMs > 0) this.longestMs = Math.max(this.longestMs, now - this.#lastMs);
      this.#lastMs = now;
      this.#send();
    });
    this.#send();
  }

  /** So many more are acknowledged. */
  async more(count: number, limitMs = 60_000): Promise<void> {
    const goal = this.acknowledged.length + count;
    const late = performance.now() + limitMs;
    while (this.acknowledged.length < goal) {
      if (this.#lost !== undefined) throw this.#lost;
      if (performance.now() > late)
        throw new Error(`${this.acknowledged.length} of ${goal} records were acknowledged, and ${this.#sent} sent`);
      await sleep(5);
    }
  }

  /** No more are sent; resolves when all that were are acknowledged. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.more(this.#sent - this.acknowledged.length);
    this.#socket.destroy();
  }

  #send(): void {
    while (!this.#isEnding && this.#sent - this.acknowledged.length < MOST_UNDER_WAY) {
      this.#sent += 1;
      this.#socket.write(`${this.#sent}\n`);
    }
  }
}
