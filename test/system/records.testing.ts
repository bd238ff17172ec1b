/**
 * Numbered records: a server in a guest that keeps them on its disk, and a client that writes them over one TCP connection and
 * sees whether each that was acknowledged is there, and none came twice.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const RECORD_BYTES = 512;
/** Records of a client that were not answered yet. */
const MOST_UNDER_WAY = 4;

/**
 * A script of busybox that serves one connection. Each line is a number: written to the sector of that number, with how often it
 * came, flushed, and only then answered. Or it asks for such a sector, or which boot of the guest this is.
 */
export const RECORD_SERVER = `
while read -r n m; do
  case $n in
    read) echo "is $m $(dd if=/dev/vda bs=${RECORD_BYTES} skip=$m count=1 iflag=direct 2> /dev/null | head -n 1)" ;;
    boot) read -r id < /proc/sys/kernel/random/boot_id; echo "boot $id" ;;
    *)
      eval "c=\\$((\\\${s$n:-0} + 1)); s$n=\\$c"
      printf 'record %s %s\\n' $n $c | dd of=/dev/vda bs=${RECORD_BYTES} seek=$n conv=notrunc,sync,fsync 2> /dev/null && echo "ok $n $c"
      ;;
  esac
done`;

/** How often each of `count` records was written, as a disk in a file has it; 0: it is not there. */
export function recordsOn(disk: string, first: number, count: number): number[] {
  const file = openSync(disk, 'r');
  try {
    const bytes = Buffer.alloc(count * RECORD_BYTES);
    readSync(file, bytes, 0, bytes.length, first * RECORD_BYTES);
    return Array.from({ length: count }, (_, i) => {
      const text = bytes.toString('latin1', i * RECORD_BYTES, (i + 1) * RECORD_BYTES);
      const [, number, times] = /^record (\d+) (\d+)\n/.exec(text) ?? [];
      return Number(number) === first + i ? Number(times) : 0;
    });
  } finally {
    closeSync(file);
  }
}

/** Writes records one after the other over one connection, for as long as it is asked to. */
export class RecordClient {
  readonly #socket: Socket;
  readonly first: number;
  #sent = 0;
  /** Records that were acknowledged: of each, how often the server had seen it. */
  readonly acknowledged: number[] = [];
  #isEnding = false;
  /** When the latest was (Date.now()). */
  lastMs = 0;
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

  /** Over a connection; `first` is the number of its first record: two clients never write the same. */
  constructor(socket: Socket, first = 1) {
    this.#socket = socket;
    this.first = first;
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.#lost = error;
    });
    socket.on('close', () => {
      this.#lost ??= new Error('the connection was closed');
    });
    createInterface({ input: socket }).on('line', (line) => {
      const [, number, times] = /^ok (\d+) (\d+)$/.exec(line) ?? [];
      assert.equal(Number(number), this.first + this.acknowledged.length, `acknowledgements come in order: ${line}`);
      this.acknowledged.push(Number(times));
      const now = Date.now();
      if (this.lastMs > 0) this.longestMs = Math.max(this.longestMs, now - this.lastMs);
      this.lastMs = now;
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

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** No more are sent, and nothing is waited for. */
  close(): void {
    this.#isEnding = true;
    this.#socket.destroy();
  }

  /** No more are sent; resolves when all that were are acknowledged. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.more(this.#sent - this.acknowledged.length);
    this.#socket.destroy();
  }

  #send(): void {
    while (!this.#isEnding && this.#sent - this.acknowledged.length < MOST_UNDER_WAY) {
      this.#socket.write(`${this.first + this.#sent}\n`);
      this.#sent += 1;
    }
  }
}
