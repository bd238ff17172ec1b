/** Folders, images and machine processes for tests of the daemon: nothing of the user's, no guest, nothing left behind. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../client/index.ts';
import { type GuestImage, liveNames, runtimeFolder } from '../host/index.ts';
import type { ImageShelf } from './api/service.ts';
import { Daemon, type DaemonOptions } from './daemon.ts';
import { connectDaemon } from './reach.ts';

const image: GuestImage = {
  ...{ name: 'debian', kernel: '/images/debian/kernel', initrd: '/images/debian/initrd', commandLine: 'quiet' },
  manifest: {
    ...{ format: 1, name: 'debian', suite: 'trixie', release: '13.7', architecture: 'riscv64', packages: [] },
    ...{ kernel: { file: 'kernel', version: '6.12', sha256: '' }, initrd: { file: 'initrd', sha256: '' } },
    ...{ modules: [], recipe: '', commandLine: 'quiet' },
  },
};

export const fakeImages: ImageShelf = {
  pull: async (name, { progress }) => {
    progress?.({ step: 'fetching the kernel', done: 1, total: 4 });
    return { ...image, name };
  },
  find: async (name) => (name === 'other' ? { ...image, name } : undefined),
  list: async () => [image],
  remove: async (name) => name === 'debian',
};

export function fakeOptions(more: Partial<DaemonOptions> = {}): DaemonOptions {
  return {
    version: '1.2.3',
    program: { entry: new URL('./fake-machine-process.testing.ts', import.meta.url), flags: [], environment: {} },
    images: fakeImages,
    failed: (error) => assert.fail(error as Error),
    ...more,
  };
}

export interface Folders {
  readonly root: string;
  readonly runtime: string;
  readonly state: string;
}

/**
 * Tests of a file have folders of their own for sockets and state. Behind them no machine of theirs runs: to be called when
 * what ends them is registered.
 */
export function ownFolders(): Folders {
  const root = mkdtempSync(join(tmpdir(), 'kagemusha-daemon-'));
  const outer = { XDG_RUNTIME_DIR: process.env['XDG_RUNTIME_DIR'], XDG_STATE_HOME: process.env['XDG_STATE_HOME'] };
  Object.assign(process.env, { XDG_RUNTIME_DIR: root, XDG_STATE_HOME: join(root, 'state') });
  after(async () => {
    try {
      assert.deepEqual(processesOf(root), [], 'a process was left behind');
    } finally {
      for (const pid of processesOf(root)) process.kill(pid, 'SIGKILL');
      for (const [name, value] of Object.entries(outer))
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      rmSync(root, { recursive: true, force: true });
    }
  });
  return { root, runtime: join(root, 'kagemusha'), state: join(root, 'state/kagemusha') };
}

/** Processes that have the folder in their environment, without this one. */
export function processesOf(root: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`XDG_RUNTIME_DIR=${root}\0`);
      } catch {
        return false; // ended meanwhile, or another user's
      }
    });
}

export interface Served extends AsyncDisposable {
  readonly daemon: Daemon;
  readonly client: Client;
}

/** A daemon in this process. At its end everything that was declared is removed, and every machine has ended. */
export async function served(more: Partial<DaemonOptions> = {}): Promise<Served> {
  const daemon = await Daemon.start(fakeOptions(more));
  const client = connectDaemon({ kind: 'unix', path: daemon.addresses[0] ?? '' });
  return {
    daemon,
    client,
    [Symbol.asyncDispose]: async () => {
      for (const { name } of (await client.listPartitions()).partitions)
        await client.removePartition(name, { force: true }).catch(() => {}); // a twin goes with its original
      await daemon.stop();
      await until(async () => (await liveNames(await runtimeFolder())).length === 0);
      await until(() => machineProcesses().length === 0);
    },
  };
}

function machineProcesses(): number[] {
  return processesOf(process.env['XDG_RUNTIME_DIR'] ?? '');
}

/** A test that waits for what never comes is to fail by itself. */
const PATIENCE_MS = 60_000;

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    assert.ok(performance.now() < end, `what was waited for did not come: ${condition}`);
    await sleep(10);
  }
}
