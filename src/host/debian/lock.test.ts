import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { publishFolder } from './cache-folder.ts';
import { withLock } from './lock.ts';

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-lock-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('one holder at a time, and the lock is gone afterwards, also after an error', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'lock');
    let inside = 0;
    const enter = async (): Promise<void> => {
      inside += 1;
      assert.equal(inside, 1);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 5 }, () => withLock(path, {}, enter)));
    await assert.rejects(
      withLock(path, {}, () => Promise.reject(new Error('inside'))),
      /inside/,
    );
    assert.deepEqual(readdirSync(folder), []);
  });
});

test('whoever waits can be called off', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'lock');
    await withLock(path, {}, async () => {
      await assert.rejects(
        withLock(path, { signal: AbortSignal.abort(new Error('enough')) }, async () => {}),
        /enough/,
      );
    });
  });
});

test('the lock of a process that died is taken away; that of a living one is not', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'lock');
    const module = fileURLToPath(new URL('./lock.ts', import.meta.url));
    const program = `import { withLock } from ${JSON.stringify(module)};
      await withLock(${JSON.stringify(path)}, {}, async () => { console.log('held'); await new Promise((r) => setTimeout(r, 1e6)); });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const seen = readFileSync(path, 'utf8');
    const entered = withLock(path, {}, async () => assert.notEqual(readFileSync(path, 'utf8'), seen));
    assert.equal(readFileSync(path, 'utf8'), seen);
    child.kill('SIGKILL');
    await entered;
    assert.deepEqual(readdirSync(folder), []);
  });
});

test('a folder is published whole, once, and replaced when it is to be refreshed', async () => {
  await inFolder(async (folder) => {
    const target = join(folder, 'tool');
    mkdirSync(`${target}.tmp-left-by-a-crash`);
    let builds = 0;
    const build = async (temporary: string): Promise<void> => {
      builds += 1;
      assert.ok(!existsSync(target) || builds > 1);
      writeFileSync(join(temporary, 'file'), `${builds}`);
    };
    await Promise.all([publishFolder(target, {}, build), publishFolder(target, {}, build)]);
    assert.deepEqual([builds, readFileSync(join(target, 'file'), 'utf8')], [1, '1']);
    await publishFolder(target, { isCurrent: async () => true }, build);
    assert.equal(builds, 1);
    await publishFolder(target, { refresh: true }, build);
    assert.equal(readFileSync(join(target, 'file'), 'utf8'), '2');
    await assert.rejects(
      publishFolder(target, { refresh: true }, () => Promise.reject(new Error('no network'))),
      /no network/,
    );
    assert.equal(readFileSync(join(target, 'file'), 'utf8'), '2');
    assert.deepEqual(readdirSync(folder), ['tool']);
  });
});
