import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import type { BlockBackend } from '../../../devices/index.ts';
import { blockBackendSuite } from '../../../devices/virtio/block-backend.testing.ts';
import { Random } from '../../../devices/virtio/random.testing.ts';
import { NodeFile } from '../storage-file.ts';
import { checkImage } from './check.ts';
import { createQcow2, type NewQcow2, openQcow2, type Qcow2Options } from './index.ts';
import { readImage } from './open-image.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-qcow2-'));
const lockFolder = join(folder, 'locks');
after(() => rmSync(folder, { recursive: true }));
let count = 0;

async function newImage(options: NewQcow2): Promise<string> {
  const path = join(folder, `${count++}.qcow2`);
  await createQcow2(path, options);
  return path;
}

const opened = (path: string, options: Qcow2Options = {}) => openQcow2(path, { lockFolder, ...options });

/** What a check finds in the file. */
async function checked(path: string) {
  const handle = await open(path);
  try {
    const { metadata, file } = await readImage(path, new NodeFile(handle, path), statSync(path).size);
    return await checkImage(path, metadata, file);
  } finally {
    await handle.close();
  }
}

const CLEAN = { leaks: 0, problems: [] };

async function contentOf(disk: BlockBackend): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [bytes]);
  return bytes;
}

for (const [clusterBytes, quick] of [
  [512, false],
  [4096, false],
  [65536, true],
  [65536, false],
  [1 << 21, false],
] as const) {
  blockBackendSuite(`qcow2 with clusters of ${clusterBytes}${quick ? ', quick' : ''}`, async (content) => {
    const path = await newImage({ sizeBytes: content.length, clusterBytes });
    const { disk, close } = await opened(path, { quick });
    await disk.write(0, [content]);
    return {
      backend: disk,
      close: async () => {
        await close();
        assert.deepEqual(await checked(path), CLEAN);
      },
    };
  });
}

test('qcow2: what was flushed is there after opening again; what was not written reads as the file below, or zeros', async () => {
  const below = join(folder, 'below.img');
  writeFileSync(below, new Uint8Array(100 * 512).fill(7));
  const middle = await newImage({
    sizeBytes: 200 * 512,
    clusterBytes: 4096,
    backing: { name: 'below.img', format: 'raw' },
  });
  const path = await newImage({
    ...{ sizeBytes: 300 * 512, clusterBytes: 1024 },
    backing: { name: basename(middle), format: 'qcow2' },
  });
  const expected = new Uint8Array(300 * 512).fill(7, 0, 100 * 512);
  const first = await opened(path);
  assert.deepEqual(await contentOf(first.disk), expected);
  await first.disk.write(3 * 512, [new Uint8Array(512).fill(1)]);
  await first.disk.writeZeroes(40 * 512, 5 * 512);
  await first.disk.write(150 * 512, [new Uint8Array(512).fill(2)]);
  expected
    .fill(1, 3 * 512, 4 * 512)
    .fill(0, 40 * 512, 45 * 512)
    .fill(2, 150 * 512, 151 * 512);
  await first.close();
  const again = await opened(path, { readOnly: true });
  assert.deepEqual(await contentOf(again.disk), expected);
  assert.equal(again.disk.readOnly, true);
  await again.close();
  for (const image of [path, middle]) assert.deepEqual(await checked(image), CLEAN);
});

test('qcow2: a file that is discarded and written again stays small', async () => {
  const path = await newImage({ sizeBytes: 4 << 20, clusterBytes: 4096 });
  const { disk, close } = await opened(path);
  for (let round = 0; round < 8; round++) {
    await disk.write(0, [new Uint8Array(1 << 20).fill(round + 1)]);
    await disk.flush();
    await disk.discard(0, 1 << 20);
    await disk.flush();
  }
  await close();
  assert.deepEqual(await checked(path), CLEAN);
  assert.ok(statSync(path).size < 2.5 * 2 ** 20, `${statSync(path).size} bytes`);
});

for (const preallocation of ['metadata', 'full'] as const) {
  test(`qcow2: preallocation=${preallocation}: writing makes the file no longer`, async () => {
    const path = await newImage({ sizeBytes: 3 * 2 ** 20 + 512, preallocation });
    assert.deepEqual(await checked(path), CLEAN);
    const before = statSync(path).size;
    const { disk, close } = await opened(path);
    assert.deepEqual(await contentOf(disk), new Uint8Array(disk.sizeBytes));
    const content = new Random(1).bytes(disk.sizeBytes);
    await disk.write(0, [content]);
    await close();
    assert.equal(statSync(path).size, before);
  });
}

test('qcow2: a full disk is an error of what is written, loses nothing that was flushed, and has room again for what is discarded', async () => {
  const path = await newImage({ sizeBytes: 16 << 20 });
  const script = join(import.meta.dirname, 'disk-full.testing.ts');
  // Of 512 bytes; Node gets EFBIG where a disk would say ENOSPC.
  const limited = `ulimit -f 8192; exec "${process.execPath}" "${script}" "${path}" "${lockFolder}"`;
  const told = JSON.parse(execFileSync('sh', ['-c', limited], { encoding: 'utf8' }));
  const { isFull, isFreed, isFlushed, again, before } = told;
  assert.ok(before > 20 && again > 5, `${before} and ${again} chunks were written`);
  assert.deepEqual({ isFull, isFreed, isFlushed }, { isFull: true, isFreed: true, isFlushed: true });
  assert.deepEqual(await checked(path), CLEAN);
  const { disk, close } = await opened(path, { readOnly: true });
  const content = await contentOf(disk);
  const found = told.flushed.map((_: number, chunk: number) => content[chunk << 16]);
  assert.deepEqual(found.slice(0, before), told.flushed.slice(0, before));
  await close();
});

test('qcow2: two machines do not share an image, nor does one write what is below another', async () => {
  const below = await newImage({ sizeBytes: 1 << 20 });
  const path = await newImage({ sizeBytes: 1 << 20, backing: { name: basename(below), format: 'qcow2' } });
  const one = await opened(path);
  await assert.rejects(opened(path), { code: 'disk-in-use' });
  await assert.rejects(opened(below), { code: 'disk-in-use' });
  const reader = await opened(below, { readOnly: true });
  await reader.close();
  await one.close();
  await (await opened(below)).close();
});

test('qcow2: names of files below: not by content, not by protocol, not in a circle, and not where they are forbidden', async () => {
  const raw = join(folder, 'looks.img');
  writeFileSync(raw, Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), new Uint8Array(1020)]));
  const over = async (name: string, format?: 'raw' | 'qcow2') => {
    const path = await newImage({ sizeBytes: 1 << 20, backing: { name, format: format ?? 'raw' } });
    // The format's extension becomes one that nobody knows.
    if (format === undefined) await patch(path, 112, [1, 2, 3, 4]);
    return path;
  };
  await assert.rejects(opened(await over('looks.img')), { code: 'disk-format' });
  await (await opened(await over('looks.img', 'raw'))).close();
  await assert.rejects(opened(await over('json:{"driver":"null-co"}', 'raw')), { code: 'disk-backing' });
  await assert.rejects(opened(await over('nbd://127.0.0.1:1/x', 'raw')), { code: 'disk-backing' });
  await assert.rejects(opened(await over('looks.img', 'raw'), { backing: false }), { code: 'disk-backing' });
  await assert.rejects(opened(await over(`${count}.qcow2`, 'qcow2')), { code: 'disk-damaged' });
  await assert.rejects(opened(await over('nowhere.img', 'raw')), { code: 'disk-not-found' });
});

async function patch(path: string, at: number, bytes: readonly number[]): Promise<void> {
  const handle = await open(path, 'r+');
  await handle.write(Uint8Array.from(bytes), 0, bytes.length, at);
  await handle.close();
}

const headers: [what: string, at: number, bytes: number[], code: string, message: RegExp][] = [
  ['magic', 0, [0], 'disk-format', /no qcow2/],
  ['version', 7, [4], 'disk-unsupported', /version 4/],
  ['encryption', 35, [1], 'disk-unsupported', /encryption/],
  ['a data file', 79, [4], 'disk-unsupported', /external data file/],
  ['extended L2', 79, [16], 'disk-unsupported', /extended L2/],
  ['an unknown feature', 78, [1], 'disk-unsupported', /0x100/],
  ['the corrupt bit', 79, [2], 'disk-damaged', /corrupt/],
  ['clusters of 2^8', 23, [8], 'disk-damaged', /2\^8/],
  ['clusters of 2^22', 23, [22], 'disk-damaged', /2\^22/],
  ['a huge disk', 24, [0, 255], 'disk-damaged', /bytes|L1/],
  ['a huge L1', 36, [255, 255, 255, 255], 'disk-damaged', /L1 table of/],
  ['an L1 elsewhere', 40, [1], 'disk-damaged', /L1 table out of place/],
  ['no refcount table', 56, [0, 0, 0, 0], 'disk-damaged', /no refcount table/],
  ['a huge refcount table', 56, [255], 'disk-damaged', /refcount table of/],
  ['refcounts of 2^7', 99, [7], 'disk-damaged', /refcounts of 2\^7/],
  ['snapshots', 60, [255], 'disk-damaged', /snapshots/],
  ['a long header', 100, [1], 'disk-damaged', /header of/],
  ["a backing file's name", 8, [0, 0, 1], 'disk-damaged', /out of place/],
  ['unknown compression', 104, [9], 'disk-unsupported', /compression of type 9/],
];
for (const [what, at, bytes, code, message] of headers) {
  test(`qcow2: a header with ${what} is refused`, async () => {
    const path = await newImage({ sizeBytes: 1 << 20 });
    await patch(path, at, bytes);
    await assert.rejects(opened(path), (error: { code: string; message: string; fix: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.ok(error.fix.length > 0);
      return true;
    });
  });
}

test('qcow2: an entry that calls a table data does not let the guest write it', async () => {
  const path = await newImage({ sizeBytes: 1 << 20 });
  const first = await opened(path);
  await first.disk.write(0, [new Uint8Array(512).fill(1)]);
  await first.close();
  const handle = await open(path);
  const { metadata } = await readImage(path, new NodeFile(handle, path), statSync(path).size);
  await handle.close();
  const l2At = Number(metadata.l1.getBigUint64(0) & 0xffff_ffff_ff00n);
  const places = [metadata.header.l1At, metadata.header.refcountTableAt, l2At, metadata.refcounts.blockPlace(0)];
  for (const place of places) {
    await patch(path, l2At, [0x80, 0, 0, 0, ...new Uint8Array(new Uint32Array([place]).buffer).reverse()]);
    const before = statSync(path).mtimeMs;
    const { disk, close } = await opened(path);
    await assert.rejects(async () => await disk.write(0, [new Uint8Array(512).fill(0x51)]), { code: 'disk-corrupt' });
    await assert.rejects(async () => await disk.flush(), { code: 'disk-corrupt' });
    await assert.rejects(close(), { code: 'disk-corrupt' });
    assert.equal(statSync(path).mtimeMs, before);
  }
});

test('qcow2: any damage gives errors, and nothing worse', async () => {
  for (let seed = 1; seed <= 120; seed++) {
    const random = new Random(seed);
    const clusterBytes = random.pick([512, 4096]);
    const path = await newImage({ sizeBytes: 256 * 1024, clusterBytes });
    const good = await opened(path);
    for (let i = 0; i < 8; i++)
      await good.disk.write(random.below(500) * 512, [random.bytes(512 * (1 + random.below(12)))]);
    await good.close();
    const size = statSync(path).size;
    for (let i = 1 + random.below(12); i > 0; i--) {
      const at = random.oneIn(3) ? random.below(120) : random.below(Math.min(size, 16 * clusterBytes));
      await patch(path, at, [random.oneIn(3) ? random.pick([0, 255, 128]) : random.below(256)]);
    }
    try {
      const { disk, close } = await opened(path, { backing: false });
      for (let i = 0; i < 12; i++) {
        const offset = random.below(disk.sizeBytes / 512 - 1) * 512;
        const bytes = new Uint8Array(512).fill(i);
        await [
          async () => await disk.read(offset, [bytes]),
          async () => await disk.write(offset, [bytes]),
          () => disk.discard(0, Math.min(disk.sizeBytes, 1 << 20)),
          () => disk.writeZeroes(offset, 512),
          () => disk.flush(),
        ]
          [random.below(5)]?.()
          .catch(expected);
      }
      await close().catch(expected);
      await checked(path).catch(expected);
    } catch (error) {
      expected(error);
    }
    assert.ok(statSync(path).size < 64 << 20, `seed ${seed}`);
    rmSync(path);

    function expected(error: unknown): void {
      assert.match(
        (error as { name: string }).name,
        /OperatorError|HostError/,
        `seed ${seed}: ${(error as Error).stack}`,
      );
    }
  }
});
