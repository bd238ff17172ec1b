/** Streams and a platform for tests of the verbs: what is typed, what is printed, machines that are fakes. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, afterEach, before } from 'node:test';
import { fakeCreate, noReceiver } from '../host/control/fake-machine.testing.ts';
import type { GuestImage, MachineOptions } from '../host/index.ts';
import type { Io, Platform } from './io.ts';
import { main } from './program.ts';

export class TestTerminal {
  readonly stdin: PassThrough & { isTTY?: boolean; setRawMode?(raw: boolean): void };
  readonly stdout: PassThrough & { isTTY?: boolean } = new PassThrough();
  readonly stderr: PassThrough & { isTTY?: boolean } = new PassThrough();
  readonly ending = new AbortController();
  /** Raw mode switched on and off, in order. */
  readonly modes: boolean[] = [];
  #stdout = '';
  #stderr = '';

  constructor(options: { isTerminal?: boolean; input?: string } = {}) {
    this.stdin = new PassThrough();
    if (options.isTerminal) {
      this.stdin.isTTY = true;
      this.stdin.setRawMode = (raw) => this.modes.push(raw);
      this.stderr.isTTY = true;
    } else this.stdin.end(options.input ?? '');
    this.stdout.on('data', (bytes: Buffer) => {
      this.#stdout += bytes.toString();
    });
    this.stderr.on('data', (bytes: Buffer) => {
      this.#stderr += bytes.toString();
    });
  }

  get io(): Io {
    const { stdin, stdout, stderr, ending } = this;
    return { stdin, stdout, stderr, environment: { GREETING: 'hello' }, signal: ending.signal };
  }

  get printed(): string {
    return this.#stdout;
  }

  get complained(): string {
    return this.#stderr;
  }
}

export const fakeImage: GuestImage = {
  name: 'debian',
  kernel: '/images/debian/kernel',
  initrd: '/images/debian/initrd',
  commandLine: 'console=ttyS0 quiet',
  manifest: {
    format: 1,
    name: 'debian',
    suite: 'trixie',
    release: '13.7',
    architecture: 'riscv64',
    packages: [],
    kernel: { file: 'kernel', version: '6.12', sha256: '' },
    initrd: { file: 'initrd', sha256: '' },
    modules: [],
    recipe: '',
    commandLine: 'console=ttyS0 quiet',
  },
};

export function fakePlatform(): {
  platform: Platform;
  machines: ReturnType<typeof fakeCreate>['machines'];
  /** Images whose demo server was closed. */
  closed: string[];
} {
  const { create, restore, machines } = fakeCreate();
  const closed: string[] = [];
  const removed: string[] = [];
  return {
    machines,
    closed,
    platform: {
      createMachine: create,
      restoreMachine: restore,
      receiveMachine: noReceiver,
      startDemo: async ({ image, port, isolation }) => ({
        address: `${image.name} ${port} ${isolation}`,
        [Symbol.asyncDispose]: async () => {
          closed.push(image.name);
        },
      }),
      program: { entry: new URL('./detached-fake.testing.ts', import.meta.url), flags: [], environment: {} },
      images: {
        pull: async (name, { progress }) => {
          progress?.({ step: 'fetching the kernel', done: 1, total: 4 });
          return { ...fakeImage, name };
        },
        build: async ({ name, packages, sizeBytes, boot }) => {
          const code = await boot({
            kernel: 'K',
            initrd: 'I',
            disk: `${packages?.join('+')} ${sizeBytes}`,
            commandLine: 'C',
          });
          return { ...fakeImage, name, commandLine: `second stage ended with ${code}` };
        },
        find: async (name) => (name === 'other' ? { ...fakeImage, name, disk: '/images/other/disk' } : undefined),
        list: async () => [fakeImage],
        remove: async (name) => name === 'debian' && removed.push(name) > 0,
      },
    },
  };
}

/** One command line with fakes, to its end. */
export async function kage(
  args: readonly string[],
  terminal = new TestTerminal(),
  platform = fakePlatform().platform,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const code = await main(args, terminal.io, platform);
  await new Promise(setImmediate); // what was written has arrived
  return { code, stdout: terminal.printed, stderr: terminal.complained };
}

/** Tests of a file have folders of their own for sockets and for state; that of sockets is empty behind each. */
export function ownRuntimeFolder({ isEmptyBehindEach = true } = {}): void {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-cli-'));
  const state = mkdtempSync(join(tmpdir(), 'kagemusha-state-'));
  const outer = { XDG_RUNTIME_DIR: process.env['XDG_RUNTIME_DIR'], XDG_STATE_HOME: process.env['XDG_STATE_HOME'] };
  before(() => {
    Object.assign(process.env, { XDG_RUNTIME_DIR: folder, XDG_STATE_HOME: state });
  });
  after(() => {
    for (const [name, value] of Object.entries(outer))
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    for (const path of [folder, state]) rmSync(path, { recursive: true, force: true });
  });
  if (isEmptyBehindEach)
    afterEach(async () => {
      await until(() => readdirSync(folder).flatMap((name) => readdirSync(join(folder, name))).length === 0);
    });
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What `createMachine` is asked for by a command line of `kage run`. */
export async function optionsOf(...args: string[]): Promise<MachineOptions> {
  const { platform, machines } = fakePlatform();
  const { code, stderr } = await kage(['run', '-q', '-n', 'test', ...args, '--', 'exit', '0'], undefined, platform);
  assert.equal(code, 0, stderr);
  const { name, ...options } = machines[0]?.options ?? {};
  assert.equal(name, 'test');
  return options;
}
