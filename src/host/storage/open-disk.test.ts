import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { BlockBackend } from '../../devices/index.ts';
import { blockBackendSuite } from '../../devices/virtio/block-backend.testing.ts';
import { createQcow2, type DiskOptions, openDisk, openRawFile } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-storage-'));
const lockFolder = join(folder, 'locks');
after(() => rmSync(folder, { recursive: true }));
let count = 0;
const newPath = (suffix = 'img') => join(folder, `${count++}.${suffix}`);

function image(content: Uint8Array | number): string {
  const path = newPath();
  writeFileSync(path, typeof content === 'number' ? '' : content);
  if (typeof content === 'number') truncateSync(path, content);
  return path;
}

const open = (path: string, mode: DiskOptions['mode'] = 'write', more: Partial<DiskOptions> = {}) =>
  openDisk({ path, mode, lockFolder, temporaryFolder: folder, ...more });

async function contentOf(disk: BlockBackend): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [bytes]);
  return bytes;
}

blockBackendSuite('raw file', (content) => open(image(content)));
blockBackendSuite('raw file, quick', (content) => open(image(content), 'write', { quick: true }));
blockBackendSuite('temporary overlay', (content) => open(image(content), 'temporary'));
blockBackendSuite('kept overlay', (content) => open(image(content), { overlay: newPath('cow') }));

const isRoot = process.getuid?.() === 0;
const refusals: [string, RegExp, () => Promise<unknown>][] = [
  ['disk-not-found', /truncate/, () => open(join(folder, 'nowhere.img'))],
  ['disk-not-found', /truncate/, () => open(join(image(512), 'within.img'))],
  ['disk-is-directory', /file/, () => open(folder)],
  ['disk-is-directory', /file/, () => open(folder, 'read-only')],
  ['disk-not-a-file', /file/, () => open('/dev/null')],
  ['disk-size', /truncate -s %512/, () => open(image(1000))],
  ['disk-size', /truncate/, () => open(image(0))],
  ['overlay-damaged', /anew/, () => open(image(4096), { overlay: image(8192) })],
  ['overlay-damaged', /anew/, () => open(image(4096), { overlay: image(100) })],
  ['overlay-not-writable', /folder/, () => open(image(4096), { overlay: join(image(512), 'x.cow') })],
  ['overlay-size', /base/, () => open(image(4096), 'temporary', { sizeBytes: 512 })],
];
for (const [i, [code, fix, attempt]] of refusals.entries()) {
  test(`refused with ${code} and what to do (${i + 1})`, async () => {
    await assert.rejects(attempt(), (error: { code: string; fix: string }) => {
      assert.equal(error.code, code);
      assert.match(error.fix, fix);
      return true;
    });
  });
}

test('a file that may not be written: `:ro` or chmod; read-only it opens', async () => {
  const path = image(512);
  chmodSync(path, 0o400);
  if (isRoot) {
    // Root may write anything: show that the rights, not the mode bits, decide.
    const disk = await open(path);
    await disk.close();
  } else {
    await assert.rejects(open(path), (error: { code: string; fix: string }) => {
      assert.equal(error.code, 'disk-not-writable');
      assert.match(error.fix, /:ro.*chmod/);
      return true;
    });
  }
  const disk = await open(path, 'read-only');
  assert.equal(disk.backend.readOnly, true);
  await disk.close();
});

test('a format is what is said, or what the name says; never what the content says', async () => {
  const qcow2 = newPath('qcow2');
  await createQcow2(qcow2, { sizeBytes: 1 << 20 });
  const byName = await open(qcow2);
  assert.equal(byName.backend.sizeBytes, 1 << 20);
  await byName.close();
  const other = newPath('img');
  writeFileSync(other, readFileSync(qcow2));
  truncateSync(other, 1 << 19);
  await assert.rejects(open(other), { code: 'disk-format' });
  for (const [format, sizeBytes] of [
    ['qcow2', 1 << 20],
    ['raw', 1 << 19],
  ] as const) {
    const disk = await open(other, 'read-only', { format });
    assert.equal(disk.backend.sizeBytes, sizeBytes);
    await disk.close();
  }
  await assert.rejects(open(image(4096), 'write', { format: 'qcow2' }), { code: 'disk-format' });
});

test('discard=ignore: the disk has none, and zeros are written all the same', async () => {
  const path = newPath('qcow2');
  await createQcow2(path, { sizeBytes: 1 << 20 });
  const disk = await open(path, 'write', { discard: 'ignore' });
  assert.equal(disk.backend.discard, undefined);
  await disk.backend.write(0, [new Uint8Array(65536).fill(1)]);
  await disk.backend.writeZeroes?.(512, 512);
  const content = await contentOf(disk.backend);
  assert.deepEqual([content[0], content[512], content[1024]], [1, 0, 1]);
  await disk.close();
});

test('overlays over qcow2: what is below is not written, and must stay as it was', async () => {
  const path = newPath('qcow2');
  await createQcow2(path, { sizeBytes: 1 << 20 });
  const overlay = newPath('cow');
  for (const mode of ['temporary', { overlay }] as const) {
    const before = readFileSync(path);
    const disk = await open(path, mode);
    await disk.backend.write(4096, [new Uint8Array(512).fill(5)]);
    assert.equal((await contentOf(disk.backend))[4096], 5);
    await disk.close();
    assert.deepEqual(readFileSync(path), before);
  }
  const again = await open(path, { overlay });
  assert.equal((await contentOf(again.backend))[4096], 5);
  await again.close();
  utimesSync(path, 1, 1);
  await assert.rejects(open(path, { overlay }), { code: 'overlay-base-changed' });
});

test('what is written is in the file at the same place, and there after opening again', async () => {
  const path = image(1 << 20);
  const disk = await open(path);
  await disk.backend.write(4096, [Uint8Array.of(...new Uint8Array(511).fill(1), 2)]);
  await disk.backend.flush();
  await disk.close();
  const bytes = readFileSync(path);
  assert.equal(bytes[4096], 1);
  assert.equal(bytes[4607], 2);
  const again = await open(path, 'read-only');
  assert.equal((await contentOf(again.backend))[4607], 2);
  await again.close();
});

test('a sparse file stays sparse when it is zeroed', async () => {
  const path = image(64 << 20);
  const disk = await open(path);
  await disk.backend.writeZeroes?.(0, 64 << 20);
  await disk.close();
  assert.ok(statSync(path).blocks * 512 < 1 << 20);
});

test('little is read and written at once where that is asked for, and comes by promises where it cannot be', async () => {
  const path = image(2 << 20);
  const { backend, close } = await open(path, 'write', { quick: true });
  try {
    // The first may be slow, if the host is busy: then it rests.
    assert.ok(
      await isSoon(() => backend.write(4096, [new Uint8Array(100), new Uint8Array(412).fill(7)]) === undefined),
    );
    const small = new Uint8Array(512);
    assert.ok(await isSoon(() => backend.read(4096, [small]) === undefined));
    assert.deepEqual(small.subarray(99, 101), Uint8Array.of(0, 7));
    const large = backend.read(0, [new Uint8Array((1 << 20) + 512)]);
    assert.ok(large instanceof Promise);
    await large;
    truncateSync(path, 4096);
    await assert.rejects(async () => await backend.read(4096, [small]), { code: 'disk-truncated' });
  } finally {
    await close();
  }
});

async function isSoon(condition: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 40; tries++) {
    if (condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
}

test('a file that was shortened behind our back is an error with its name, not silence', async () => {
  const path = image(8192);
  const disk = await open(path);
  truncateSync(path, 4096);
  await assert.rejects(async () => disk.backend.read(4096, [new Uint8Array(512)]), { code: 'disk-truncated' });
  await disk.close();
});

test('one disk, one writer; any number of readers; also under another name', async () => {
  const path = image(4096);
  const link = newPath();
  linkSync(path, link);
  const writer = await open(path);
  for (const [name, mode] of [
    [path, 'write'],
    [link, 'write'],
    [path, 'read-only'],
    [link, 'temporary'],
  ] as const) {
    await assert.rejects(open(name, mode), { code: 'disk-in-use' });
  }
  await writer.close();
  const readers = [await open(path, 'read-only'), await open(link, 'read-only'), await open(path, 'temporary')];
  await assert.rejects(open(path), { code: 'disk-in-use' });
  for (const reader of readers) await reader.close();
  await (await open(path)).close();
});

test('of many that come at once at most one gets the disk', async () => {
  const path = image(4096);
  const attempts = await Promise.allSettled(Array.from({ length: 8 }, () => open(path)));
  const won = attempts.filter((attempt) => attempt.status === 'fulfilled');
  assert.ok(won.length <= 1);
  for (const { value } of won) await value.close();
  await (await open(path)).close();
});

test('a holder that was killed does not keep the disk; a living one is named', async () => {
  const path = image(4096);
  const script = `
    import { openRawFile } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
    await openRawFile(process.argv[1], { lockFolder: process.argv[2] });
    console.log('locked');
    setInterval(() => {}, 1000);`;
  const args = ['--input-type=module', '--eval', script, path, lockFolder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await assert.rejects(openRawFile(path, { lockFolder }), (error: Error) => {
    assert.match(error.message, new RegExp(`process ${child.pid}$`));
    return true;
  });
  child.kill('SIGKILL');
  await once(child, 'exit');
  const file = await openRawFile(path, { lockFolder });
  await file.close();
});

test('an overlay keeps what was written, over an untouched base; a second machine cannot have it', async () => {
  const path = image(new Uint8Array(64 * 1024).fill(5));
  const overlay = newPath('cow');
  const first = await open(path, { overlay });
  await first.backend.write(512, [new Uint8Array(1024).fill(6)]);
  await assert.rejects(open(path, { overlay }), { code: 'disk-in-use' });
  await first.close();
  const again = await open(path, { overlay });
  const expected = new Uint8Array(64 * 1024).fill(5);
  expected.fill(6, 512, 1536);
  assert.deepEqual(await contentOf(again.backend), expected);
  await again.close();
  assert.ok(readFileSync(path).every((byte) => byte === 5));
});

test('an overlay refuses a base that was changed', async () => {
  const path = image(8192);
  const overlay = newPath('cow');
  await (await open(path, { overlay })).close();
  utimesSync(path, new Date(0), new Date(12345));
  await assert.rejects(open(path, { overlay }), { code: 'overlay-base-changed' });
  await (await open(path)).close();
});

test('an overlay that lost its end, or whose map makes no sense, is refused', async () => {
  const path = image(8192);
  const overlay = newPath('cow');
  await (await open(path, { overlay })).close();
  const bytes = readFileSync(overlay);
  bytes[4096] = 77;
  writeFileSync(overlay, bytes);
  await assert.rejects(open(path, { overlay }), { code: 'overlay-damaged' });
  bytes[4096] = 0;
  writeFileSync(overlay, bytes.subarray(0, bytes.length - 1));
  await assert.rejects(open(path, { overlay }), { code: 'overlay-damaged' });
});

test('a failed opening leaves nothing behind: no lock, no file', async () => {
  const path = image(4096);
  const before = readdirSync(folder).length;
  await assert.rejects(open(path, 'temporary', { sizeBytes: 100 }));
  await assert.rejects(open(path, 'temporary', { temporaryFolder: join(folder, 'none') }), {
    code: 'overlay-not-writable',
  });
  await (await open(path)).close();
  assert.equal(readdirSync(folder).length, before);
});

test('temporary overlays have no name', async () => {
  const path = image(4096);
  const before = readdirSync(folder).length;
  const disk = await open(path, 'temporary', { sizeBytes: 1 << 20 });
  assert.equal(readdirSync(folder).length, before);
  assert.equal(disk.backend.sizeBytes, 1 << 20);
  await disk.close();
});
