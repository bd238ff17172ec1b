import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { OperatorError } from '../../base/errors.ts';
import { DEFAULT_EXTENSIONS } from '../../isa/index.ts';
import { planMachineBoot, readBootFiles, releaseBootFiles } from './boot-files.ts';

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-boot-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const overlay = Uint8Array.of(1, 2, 3, 4, 5);

for (const size of [5, 6, 7, 8]) {
  test(`the overlay goes behind an initrd of ${size} bytes, on a boundary of four`, () => {
    const initrd = file('initrd', new Uint8Array(size).fill(9));
    const files = readBootFiles({ initrd }, overlay);
    assert.deepEqual(
      [...(files.initrd?.bytes ?? [])],
      [...Array(size).fill(9), ...Array(8 - size).fill(0), ...overlay],
    );
    assert.equal(files.hasOverlay, true);
  });
}

test('an initrd with the agent in it stays as it is, and so does one without an overlay', () => {
  const bytes = Buffer.from('070701 etc/kagemusha/agent');
  const initrd = file('agent', bytes);
  for (const files of [readBootFiles({ initrd }, overlay), readBootFiles({ initrd })]) {
    assert.deepEqual(Buffer.from(files.initrd?.bytes ?? []), bytes);
    assert.equal(files.hasOverlay, false);
  }
});

test('an empty initrd stays empty, and is refused as such', () => {
  const files = readBootFiles({ initrd: file('empty', new Uint8Array(0)) }, overlay);
  assert.equal(files.initrd?.bytes.length, 0);
  assert.equal(files.hasOverlay, false);
});

for (const [what, options, code] of [
  ['a kernel that is not there', { kernel: join(folder, 'none') }, 'kernel-not-found'],
  ['an initrd that is a folder', { initrd: folder }, 'initrd-not-readable'],
  ['firmware that is not there', { bios: join(folder, 'none') }, 'firmware-not-found'],
] as const) {
  test(`${what} is ${code}`, () => {
    assert.throws(
      () => readBootFiles(options),
      (error: unknown) => error instanceof OperatorError && error.code === code,
    );
  });
}

test('what is no regular file is read to its end', () => {
  assert.equal(readBootFiles({ bios: '/dev/null' }).firmware?.bytes.length, 0);
});

test('loaded files and what was unpacked from them are given back', () => {
  const firmware = new Uint8Array(2 * MiB).map((_, i) => (i * 2_654_435_761) >>> 24);
  const options = { bios: file('firmware.gz', gzipSync(firmware, { level: 1 })) };
  const files = readBootFiles(options);
  const machine = { memoryBytes: 64 * MiB, harts: 1, extensions: DEFAULT_EXTENSIONS, seed: new Uint8Array(64) };
  const plan = planMachineBoot(options, files, machine);
  const loaded = plan.segments.filter(({ bytes }) => bytes.length >= MiB);
  assert.deepEqual(
    loaded.map(({ bytes }) => Buffer.compare(bytes, firmware)),
    [0],
  );
  const packed = files.firmware?.bytes.length ?? 0;
  releaseBootFiles(files, plan);
  assert.deepEqual(
    loaded.map(({ bytes }) => bytes.length),
    [0],
  );
  assert.equal(files.firmware?.bytes.length, packed >= MiB ? 0 : packed);
  // Small arrays share their buffer with others: left alone.
  assert.ok(plan.segments.some(({ bytes }) => bytes.length > 0));
});
