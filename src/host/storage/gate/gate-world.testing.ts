/** A gate with a fake server behind it, and clients of it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { Random } from '../../../devices/virtio/random.testing.ts';
import { ByteStream } from '../nbd/byte-stream.ts';
import { NbdConnection } from '../nbd/connection.ts';
import { FakeNbdServer, type FakeOptions, words } from '../nbd/fake-server.testing.ts';
import { dialNbd } from '../nbd/open-nbd.ts';
import { CMD, OPT, OPTION_MAGIC, OPTION_REPLY_MAGIC, REQUEST_MAGIC } from '../nbd/protocol.ts';
import { parseNbdUri } from '../nbd/uri.ts';
import { type GateOptions, StorageGate } from './gate.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gate-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

export type Raw = ReturnType<GateWorld['raw']>;

export class GateWorld implements AsyncDisposable {
  readonly server: FakeNbdServer;
  readonly path: string;
  readonly stateFolder: string;
  readonly #options: GateOptions;
  gate: StorageGate;

  private constructor(server: FakeNbdServer, options: GateOptions, path: string, gate: StorageGate) {
    this.server = server;
    this.path = path;
    this.stateFolder = options.stateFolder;
    this.#options = options;
    this.gate = gate;
  }

  static async start(server: Partial<FakeOptions> = {}, gate: Partial<GateOptions> = {}): Promise<GateWorld> {
    const base = join(folder, String(count));
    const random = new Random(count++);
    const fake = new FakeNbdServer({ path: `${base}.upstream`, sizeBytes: 1 << 20, random, ...server });
    await fake.start();
    const path = `${base}.sock`;
    const options: GateOptions = {
      listen: `nbd+unix:///?socket=${path}`,
      upstream: `nbd+unix:///?socket=${base}.upstream`,
      stateFolder: `${base}.state`,
      ...gate,
    };
    return new GateWorld(fake, options, path, await StorageGate.open(options));
  }

  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.path}`;
  }

  /** Rejects as `dialNbd`. */
  async client(name: string): Promise<NbdConnection> {
    return new NbdConnection(await dialNbd(parseNbdUri(this.uri(name)), undefined));
  }

  /** A socket of which the test says each byte. */
  raw(): { readonly socket: Socket; readonly stream: ByteStream } {
    const { port } = this.gate;
    const socket = port === undefined ? connect(this.path) : connect(port, '127.0.0.1');
    socket.on('error', () => {});
    return { socket, stream: new ByteStream(socket) };
  }

  /** Such a one behind its handshake. */
  async rawClient(name: string): Promise<{ readonly socket: Socket; readonly stream: ByteStream }> {
    const { socket, stream } = this.raw();
    await stream.take(18);
    const text = new TextEncoder().encode(name);
    socket.write(words(['u32', 3]));
    socket.write(words(['u64', OPTION_MAGIC], ['u32', OPT.EXPORT_NAME], ['u32', text.length]));
    socket.write(text);
    await stream.take(10);
    return { socket, stream };
  }

  async restart(): Promise<void> {
    await this.gate.close();
    this.gate = await StorageGate.open(this.#options);
  }

  open(): Promise<StorageGate> {
    return StorageGate.open(this.#options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.kill();
    await this.gate.close();
  }
}

/** An option, as bytes. */
export function option(number: number, data: Uint8Array = new Uint8Array(), length = data.length): Uint8Array {
  return Buffer.concat([words(['u64', OPTION_MAGIC], ['u32', number], ['u32', length]), data]);
}

/** The type of the reply to the option. */
export async function reply({ stream }: Raw, number: number): Promise<number> {
  const data = await stream.take(20);
  assert.deepEqual([data.getBigUint64(0), data.getUint32(8)], [OPTION_REPLY_MAGIC, number]);
  await stream.skip(data.getUint32(16));
  return data.getUint32(12);
}

export const sector = (value: number): Uint8Array => new Uint8Array(512).fill(value);

export function write(client: NbdConnection, offset: number, value: number): Promise<void> {
  return client.send({ command: CMD.WRITE, offset, sizeBytes: 512, from: [sector(value)] });
}

export async function read(client: NbdConnection, offset: number): Promise<number | undefined> {
  const into = new Uint8Array(512);
  await client.send({ command: CMD.READ, offset, sizeBytes: 512, into: [into] });
  return into[0];
}

/** A request's head, as bytes. */
export function head(command: number, cookie: number, offset: number, sizeBytes: number, flags = 0): Uint8Array {
  return words(
    ...(
      [
        ['u32', REQUEST_MAGIC],
        ['u16', flags],
        ['u16', command],
        ['u64', BigInt(cookie)],
        ['u64', BigInt(offset)],
        ['u32', sizeBytes],
      ] as const
    ).slice(),
  );
}

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Whether a promise has settled, after all that could be done without anybody's help was done. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  promise.then(mark, mark);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  return settled;
}
