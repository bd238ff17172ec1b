import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cpio, cpioFiles } from './cpio.ts';

interface Read {
  path: string;
  mode: number;
  data: string;
  device: string;
}

/** Reads newc back by the letter of its description: the test's own reader. */
function readCpio(bytes: Uint8Array): Read[] {
  const file = Buffer.from(bytes);
  const entries: Read[] = [];
  let at = 0;
  while (at < file.length) {
    assert.equal(file.toString('latin1', at, at + 6), '070701');
    const start = at;
    const field = (index: number): number =>
      Number.parseInt(file.toString('latin1', start + 6 + 8 * index, start + 14 + 8 * index), 16);
    const nameAt = at + 110;
    const path = file.toString('utf8', nameAt, nameAt + field(11) - 1);
    assert.equal(file[nameAt + field(11) - 1], 0);
    const dataAt = Math.ceil((nameAt + field(11)) / 4) * 4;
    at = Math.ceil((dataAt + field(6)) / 4) * 4;
    if (path === 'TRAILER!!!') {
      assert.ok(file.subarray(at).every((byte) => byte === 0));
      return entries;
    }
    entries.push({
      path,
      mode: field(1),
      data: file.toString('utf8', dataAt, dataAt + field(6)),
      device: `${field(9)}:${field(10)}`,
    });
  }
  throw new assert.AssertionError({ message: 'no trailer' });
}

test('files, folders, links and devices are read back; folders above come first, once', () => {
  const archive = cpio([
    { kind: 'file', path: 'a/b/one', mode: 0o644, data: Buffer.from('abc') },
    { kind: 'file', path: 'a/b/two', mode: 0o755, data: new Uint8Array(0) },
    { kind: 'link', path: 'a/link', mode: 0o777, target: '../somewhere' },
    { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'folder', path: 'tmp', mode: 0o1777 },
  ]);
  assert.equal(archive.length % 512, 0);
  assert.deepEqual(readCpio(archive), [
    { path: 'a', mode: 0o40755, data: '', device: '0:0' },
    { path: 'a/b', mode: 0o40755, data: '', device: '0:0' },
    { path: 'a/b/one', mode: 0o100644, data: 'abc', device: '0:0' },
    { path: 'a/b/two', mode: 0o100755, data: '', device: '0:0' },
    { path: 'a/link', mode: 0o120777, data: '../somewhere', device: '0:0' },
    { path: 'dev', mode: 0o40755, data: '', device: '0:0' },
    { path: 'dev/console', mode: 0o20600, data: '', device: '5:1' },
    { path: 'tmp', mode: 0o41777, data: '', device: '0:0' },
  ]);
});

test('names and data of every length keep the archive in step', () => {
  for (let length = 0; length < 9; length += 1) {
    const entries = Array.from({ length: 9 }, (_, index) => ({
      ...({ kind: 'file', mode: 0o644 } as const),
      path: `${'n'.repeat(length + 1)}${index}`,
      data: Buffer.from('d'.repeat(index)),
    }));
    assert.deepEqual(
      readCpio(cpio(entries)).map(({ data }) => data.length),
      [0, 1, 2, 3, 4, 5, 6, 7, 8],
    );
  }
});

test('files are found by their paths again; an archive that is cut is refused', () => {
  const archive = cpio([
    { kind: 'file', path: 'a/one', mode: 0o644, data: Buffer.from('abc') },
    { kind: 'link', path: 'two', mode: 0o777, target: 'a/one' },
    { kind: 'file', path: 'three', mode: 0o644, data: Buffer.from('') },
  ]);
  const files = cpioFiles(archive);
  assert.deepEqual(
    [...files].map(([path, data]) => [path, Buffer.from(data).toString()]),
    [
      ['a/one', 'abc'],
      ['three', ''],
    ],
  );
  for (const length of [0, 50, 110, 200, 300])
    assert.throws(() => cpioFiles(archive.subarray(0, length)), /damaged or cut short/);
});
