import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { must } from '../../base/assert.ts';
import { openDisk, QuickFile } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-quick-'));
after(() => rmSync(folder, { recursive: true }));
const MIB = 1 << 20;

function image(name: string, fill: number): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(3 * MIB).fill(fill));
  return path;
}

const open = (path: string, more: object = {}) =>
  openDisk({ path, mode: 'write', quick: true, lockFolder: join(folder, 'locks'), ...more });

test('another thread reads and writes the disk by a descriptor of its own, in memory that threads share', async () => {
  const path = image('one', 1);
  const disk = await open(path);
  const file = must(QuickFile.open(must(disk.place)));
  const memory = new Uint8Array(new SharedArrayBuffer(8192));
  assert.ok(file.read(512, [memory.subarray(0, 512), memory.subarray(4096, 4608)]));
  assert.deepEqual([memory[511], memory[512], memory[4607], memory[4608]], [1, 0, 1, 0]);
  memory.fill(2);
  assert.ok(file.write(MIB, [memory.subarray(0, 1024)]));
  assert.ok(file.write(MIB + 1024, [memory.subarray(0, 512), memory.subarray(512, 1024)]));
  const seen = new Uint8Array(4096);
  await disk.backend.read(MIB - 1024, [seen]);
  assert.deepEqual([seen[1023], seen[1024], seen[3071], seen[3072]], [1, 2, 2, 1]);
  await disk.close();
  assert.ok(file.flush());
  // It is the thread's, and lasts as long as that.
  assert.ok(file.read(MIB, [memory.subarray(0, 512)]));
});

test('a flush that failed is the backend’s to answer, and so are all behind it', () => {
  const descriptors = [-1, openSync(image('failing', 1), 'r+')];
  const file = new QuickFile(() => descriptors.shift() ?? -1);
  assert.equal(file.flush(), false);
  assert.equal(file.flush(), false);
  assert.equal(descriptors.length, 1, 'the file is not asked again');
  for (const descriptor of descriptors) closeSync(descriptor);
});

test('much, and what is behind the end, is for the backend', async () => {
  const disk = await open(image('two', 1));
  const file = must(QuickFile.open(must(disk.place)));
  assert.equal(file.read(0, [new Uint8Array(MIB), new Uint8Array(512)]), false);
  assert.equal(file.read(3 * MIB - 512, [new Uint8Array(1024)]), false);
  await disk.close();
});

test('a path that leads to another file by now is not followed', async () => {
  const path = image('three', 1);
  const disk = await open(path);
  const place = must(disk.place);
  renameSync(path, `${path}.old`);
  assert.equal(QuickFile.open(place), undefined, 'nothing is there');
  const other = image('three', 7);
  assert.equal(QuickFile.open(place), undefined, 'another one is');
  assert.equal(readFileSync(other)[0], 7);
  await disk.close();
});

test('a read-only disk is opened so; overlays and disks that are not asked to be quick have no place', async () => {
  const path = image('four', 1);
  const readOnly = await open(path, { mode: 'read-only' });
  const file = must(QuickFile.open(must(readOnly.place)));
  assert.ok(file.read(0, [new Uint8Array(512)]));
  assert.equal(file.write(0, [new Uint8Array(512)]), false);
  await readOnly.close();
  for (const more of [{ quick: false }, { mode: 'temporary', temporaryFolder: folder }]) {
    const disk = await open(path, more);
    assert.equal(disk.place, undefined);
    await disk.close();
  }
});
