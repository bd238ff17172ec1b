/**
 * What tests of the console, and its screenshots, have in common: a daemon of their own with the pages, a guest of a few
 * instructions, two uplinks that can be cut, and Debian's Chromium.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { MACHINE_ENVIRONMENT, MACHINE_FLAGS } from '../../src/cli/machine-flags.ts';
import type { Client, PartitionSpec } from '../../src/client/index.ts';
import {
  BrowserDoor,
  connectDaemon,
  Daemon,
  type DaemonOptions,
  type ImageShelf,
  selfSignedFiles,
} from '../../src/daemon/index.ts';
import { assemble } from '../../src/isa/index.ts';
import { writeConsolePages } from '../../tools/console-pages.ts';
import { openChromium } from './chromium.testing.ts';

const LIMIT_MS = 60_000;
const NO_IMAGES: ImageShelf = {
  pull: async (name) => {
    throw new Error(`no test pulls ${name}`);
  },
  find: async () => undefined,
  list: async () => [],
  remove: async () => false,
};

/** Answers each letter by the next one, and asks its serial line for letters without end. */
const ANSWERS = `
    li s0, 0x10000000
1:  rdtime t3
    lbu t1, 5(s0)
    andi t1, t1, 1
    beqz t1, 1b
    lbu t2, 0(s0)
    addi t2, t2, 1
    sb t2, 0(s0)
    j 1b`;

export interface ConsoleBed extends AsyncDisposable {
  readonly client: Client;
  readonly door: BrowserDoor;
  /** The same daemon over TLS. */
  readonly tls: { readonly url: string; readonly token: string };
  /** Of the guest of a few instructions, with uplinks lan0 and lan1. */
  readonly spec: PartitionSpec;
  /** The other ends of the uplinks. */
  readonly segments: readonly Segment[];
  /** The daemon of another host, for a cluster; `end` tells nobody. */
  neighbour(name?: string): Promise<Neighbour>;
  /** A page of a browser that has never been used, and what went wrong in it. */
  open(options?: { readonly width?: number }): Promise<{ readonly page: Page; readonly errors: string[] }>;
}

export interface Neighbour {
  readonly client: Client;
  end(): Promise<void>;
}

/** `cluster`: of both daemons. */
export async function consoleBed(
  images: ImageShelf = NO_IMAGES,
  cluster: NonNullable<DaemonOptions['cluster']> = {},
): Promise<ConsoleBed> {
  const folder = mkdtempSync(join(tmpdir(), 'kage-console-'));
  const [pages, state] = [join(folder, 'pages'), join(folder, 'state')];
  for (const path of [pages, state]) mkdirSync(path, { mode: 0o700 });
  // Machines are processes, which look there.
  const outer = process.env['XDG_RUNTIME_DIR'];
  process.env['XDG_RUNTIME_DIR'] = folder;
  await writeConsolePages(pages);
  const kernel = join(folder, 'kernel');
  writeFileSync(kernel, kernelOf(ANSWERS));
  const segments = ['lan0', 'lan1'].map((name) => new Segment(join(folder, `${name}.sock`)));
  for (const segment of segments) await segment.mend();
  const root = dirname(dirname(import.meta.dirname));
  const token = 'the-token-of-a-test-0123456789abcdef';
  const host = '127.0.0.1';
  const common = {
    ...{ version: 'test', images, cluster },
    program: {
      entry: new URL(`file://${join(root, 'src/cli/detached.ts')}`),
      flags: MACHINE_FLAGS,
      environment: MACHINE_ENVIRONMENT,
    },
  };
  const tcp = { host, port: 0, ...selfSignedFiles(state, [host]), token };
  const daemon = await Daemon.start({ ...common, tcp, stateFolder: state, pages });
  const neighbours: Daemon[] = [];
  const [socketPath = '', url = ''] = daemon.addresses;
  const client = connectDaemon({ kind: 'unix', path: socketPath });
  const door = await BrowserDoor.open({ socketPath, port: 0 });
  const opened: BrowserContext[] = [];
  return {
    ...{ client, door, segments, tls: { url, token } },
    spec: {
      ...{ kernel, memoryBytes: 32 << 20, agent: false, overlay: true },
      netdevs: segments.map(({ path }, i) => ({
        kind: 'stream',
        id: `lan${i}`,
        network: 'lan',
        path,
        reconnectMs: 100,
      })),
    },
    neighbour: async (name = 'other') => {
      const [stateFolder, runtimeFolder] = [join(folder, `${name}-state`), join(folder, `${name}-sockets`)];
      for (const path of [stateFolder, runtimeFolder]) mkdirSync(path, { mode: 0o700 });
      const other = await Daemon.start({ ...common, stateFolder, runtimeFolder });
      neighbours.push(other);
      const [path = ''] = other.addresses;
      return { client: connectDaemon({ kind: 'unix', path }), end: () => other.stop() };
    },
    open: async ({ width = 1100 } = {}) => {
      const { context, page, errors } = await openChromium({
        ...{ folder, limitMs: LIMIT_MS, width, colorScheme: 'dark', ignoreHTTPSErrors: true },
      });
      opened.push(context);
      return { page, errors };
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(opened.map((context) => context.close()));
      await door[Symbol.asyncDispose]();
      for (const { name } of (await client.listPartitions()).partitions)
        await client.removePartition(name, { force: true }).catch(() => {}); // it is gone already
      for (const one of [daemon, ...neighbours]) await one.stop();
      for (const segment of segments) segment.cut();
      if (outer === undefined) delete process.env['XDG_RUNTIME_DIR'];
      else process.env['XDG_RUNTIME_DIR'] = outer;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A sentence for each problem of the page as it stands (test/in-page/accessibility.ts). */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  const source = readFileSync(join(import.meta.dirname, '../in-page/accessibility.ts'), 'utf8');
  const code = stripTypeScriptTypes(source).replace('export function', 'function');
  return await page.evaluate(`(() => { ${code}\nreturn accessibilityProblems(); })()`);
}

/** The other end of an uplink that is a stream: it takes what comes, and can be cut. */
export class Segment {
  readonly path: string;
  readonly #joined = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  cut(): void {
    this.#server?.close();
    this.#server = undefined;
    for (const socket of this.#joined) socket.destroy();
  }

  async mend(): Promise<void> {
    rmSync(this.path, { force: true });
    const server = createServer((socket) => {
      this.#joined.add(socket);
      socket.on('error', () => {}); // the machine has ended
      socket.on('close', () => this.#joined.delete(socket));
      socket.resume();
    });
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    this.#server = server;
  }
}

/** A kernel for supervisor mode: Linux's header (64 bytes, of which the first jumps behind it), then the program. */
function kernelOf(program: string): Buffer {
  const { bytes } = assemble(`j start\n${'.word 0\n'.repeat(15)}start:\n${program}`, 0x8020_0000n);
  const image = Buffer.from(bytes);
  image.writeBigUInt64LE(0x20_0000n, 8); // text offset
  image.writeBigUInt64LE(BigInt(Math.ceil(image.length / 4096) * 4096), 16); // size in memory
  image.write('RISCV\0\0\0', 48, 'latin1');
  image.write('RSC\x05', 56, 'latin1');
  return image;
}
