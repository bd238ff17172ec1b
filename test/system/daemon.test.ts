/**
 * `kage serve` with real guests: it is killed and comes back to them; they are killed and come back by their policies; many
 * clients make, use and remove many at once, and nothing of them stays. Folders are the test's own.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, PartitionSpec } from '../../src/client/index.ts';
import { connectDaemon } from '../../src/daemon/index.ts';
import { requires } from '../capability.ts';
import { kageCommand } from '../kage-command.ts';
import { debianImage } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kage-daemon-'));
const [runtime, state, temporary] = ['run', 'state', 'tmp'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
for (const path of [runtime, state, temporary]) mkdirSync(path, { mode: 0o700 });

/** A small Debian, which starts where an earlier one had booted. */
const spec: PartitionSpec = { image: 'debian', memoryBytes: 128 << 20, network: false, bootSnapshot: true };

function environment(): NodeJS.ProcessEnv {
  const folders = { XDG_RUNTIME_DIR: runtime, XDG_STATE_HOME: state, TMPDIR: temporary };
  return { ...process.env, ...folders, NODE_TEST_CONTEXT: undefined };
}

interface Served {
  readonly process: ChildProcess;
  readonly client: Client;
}

/** A daemon as a user starts it; resolves when it is ready. */
async function serve(): Promise<Served> {
  const child = spawn(process.execPath, [kageCommand, 'serve'], {
    env: environment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const client = connectDaemon({ kind: 'unix', path: join(runtime, 'kagemusha/daemon.sock') });
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  await until(async () => {
    assert.equal(child.exitCode, null, said);
    return (await client.getReadiness().catch(() => undefined)) !== undefined;
  });
  return { process: child, client };
}

async function end({ process: child }: Served, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(50);
}

async function said(client: Client, name: string, ...argv: string[]): Promise<string> {
  const { code, stdout } = await client.exec(name, { argv, waitMs: 120_000 });
  assert.equal(code, 0);
  return Buffer.from(stdout, 'base64').toString();
}

/** Processes that have our runtime folder in their environment. */
function processes(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`XDG_RUNTIME_DIR=${runtime}\0`);
      } catch {
        return false; // ended meanwhile
      }
    });
}

/** Files below a folder, without the store's own. */
function files(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((one) => !one.isDirectory() && !one.name.startsWith('state.db'))
    .map((one) => join(one.parentPath, one.name));
}

after(() => {
  for (const pid of processes()) process.kill(pid, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

describe('kage serve', requires('apt'), () => {
  let served: Served;
  before(async () => {
    await debianImage();
    served = await serve();
  });

  test('killed by -9: guests go on, and the next daemon adopts them', async () => {
    await served.client.createPartition({ name: 'web', spec, restartPolicy: { name: 'always' }, start: true });
    await said(served.client, 'web', 'sh', '-c', 'echo still here > /tmp/mark');
    const before = await served.client.getPartition('web');
    await end(served, 'SIGKILL');
    served = await serve();
    assert.equal(await said(served.client, 'web', 'cat', '/tmp/mark'), 'still here\n');
    const { state: now, machine, restarts } = await served.client.getPartition('web');
    assert.deepEqual([now, machine?.pid, restarts], ['running', before.machine?.pid, 0]);
  });

  test('a machine that is killed by -9 is started again by its policy, and its console is kept', async () => {
    const { machine } = await served.client.getPartition('web');
    assert.ok(machine);
    process.kill(machine.pid, 'SIGKILL');
    await until(async () => ((await served.client.getPartition('web')).machine?.pid ?? machine.pid) !== machine.pid);
    assert.equal(
      (await served.client.exec('web', { argv: ['cat', '/tmp/mark'], waitMs: 120_000 })).code,
      1,
      'another life',
    );
    assert.equal((await served.client.getPartition('web')).restarts, 1);
  });

  test('switches promotion off while the guest runs, and on again', async () => {
    const { client } = served;
    const busy = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; date +%s';
    await client.setSwitches('web', { promotion: 'always' });
    await said(client, 'web', 'sh', '-c', busy);
    const on = (await client.getStats('web')).promotion;
    assert.ok(on && on.bytes > 0 && on.promoted > on.demoted, JSON.stringify(on));
    assert.equal((await client.setSwitches('web', { promotion: 'off' })).promotion, 'off');
    await until(async () => (await client.getStats('web')).promotion?.bytes === 0);
    await said(client, 'web', 'sh', '-c', busy);
    assert.equal((await client.getStats('web')).promotion?.bytes, 0);
  });

  test("the README's program, with the typed client", async () => {
    const page = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const program = /^```ts\n(.*?)^```/ms.exec(page)?.[1] ?? '';
    assert.match(program, /from 'kagemusha\/daemon'/);
    const path = join(folder, 'readme.ts');
    const door = new URL('../../src/daemon/index.ts', import.meta.url).href;
    writeFileSync(path, program.replace("'kagemusha/daemon'", `'${door}'`));
    const child = spawn(process.execPath, [path], { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      printed += bytes.toString();
    });
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
    assert.equal(printed, '0 Linux riscv64\n');
  });

  test('fifty partitions, made, used and removed by ten clients at once: nothing of them stays', async () => {
    const [clients, each] = [10, 5];
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const own = connectDaemon({ kind: 'unix', path: join(runtime, 'kagemusha/daemon.sock') });
        for (let i = 0; i < each; i++) {
          const name = `many-${client}-${i}`;
          await own.createPartition({ name, spec, start: true });
          assert.equal(await said(own, name, 'echo', name), `${name}\n`);
          await own.removePartition(name, { force: true });
        }
      }),
    );
    const { partitions } = await served.client.listPartitions();
    assert.deepEqual(
      partitions.map(({ name }) => name),
      ['web'],
    );
    await served.client.removePartition('web', { force: true });
    await until(() => processes().length === 1); // the daemon
    assert.deepEqual([runtime, state, temporary].flatMap(files), [join(runtime, 'kagemusha/daemon.sock')]);
  });

  test('told to end, it leaves no socket', async () => {
    await end(served, 'SIGTERM');
    assert.equal(served.process.exitCode, 0);
    assert.deepEqual([files(runtime), processes()], [[], []]);
  });
});
