import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readTar, readTarData, type TarEntry, TarWriter } from './tar.ts';

type Fields = Omit<TarEntry, 'sizeBytes' | 'dataAt'>;
const entry = (path: string, kind: TarEntry['kind'], fields: Partial<Fields> = {}): Fields => ({
  ...{ path, kind, mode: 0o644, uid: 0, gid: 0, modifiedAt: 1_700_000_000, target: '' },
  ...fields,
});

function inFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-tar-'));
  try {
    body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('what is written is read back, and tar(1) lists the same', () => {
  inFolder((folder) => {
    const long = `${'long/'.repeat(40)}name-日本`;
    const fields = [
      entry('', 'folder', { mode: 0o755 }),
      entry('usr', 'folder', { mode: 0o2775, uid: 8, gid: 42 }),
      entry('usr/file', 'file', { mode: 0o4755 }),
      entry(long, 'file'),
      entry('link', 'link', { target: 'usr/file' }),
      entry('long-link', 'link', { target: `/${long}` }),
      entry('hard', 'hard-link', { target: './usr/file' }),
    ];
    const path = join(folder, 'a.tar');
    const out = openSync(path, 'w');
    const writer = new TarWriter(out);
    for (const one of fields) writer.add(one, one.kind === 'file' ? Buffer.from(`data of ${one.path}`) : undefined);
    writer.end();
    closeSync(out);
    const archive = openSync(path, 'r');
    const read = [...readTar(archive)];
    assert.deepEqual(
      read.map(({ sizeBytes: _s, dataAt: _d, ...rest }) => rest),
      fields,
    );
    assert.deepEqual(
      read.filter(({ kind }) => kind === 'file').map((one) => readTarData(archive, one).toString()),
      ['data of usr/file', `data of ${long}`],
    );
    closeSync(archive);
    const listed = execFileSync('tar', ['-tvf', path, '--numeric-owner', '--quoting-style=literal'], {
      encoding: 'utf8',
    });
    assert.match(listed, /^drwxrwsr-x 8\/42 .* \.\/usr\/$/m);
    assert.match(listed, /^-rwsr-xr-x 0\/0 .* \.\/usr\/file$/m);
    assert.ok(listed.includes(`./${long}\n`) && listed.includes(`./long-link -> /${long}\n`));
  });
});

test('copying keeps an entry as it is, under another path too', () => {
  inFolder((folder) => {
    writeFileSync(join(folder, 'data'), Buffer.alloc(3_000_001, 7));
    execFileSync('tar', ['-cf', join(folder, 'a.tar'), '-C', folder, '--owner=5', '--group=6', 'data']);
    const from = openSync(join(folder, 'a.tar'), 'r');
    const to = openSync(join(folder, 'b.tar'), 'w');
    const writer = new TarWriter(to);
    for (const one of readTar(from)) writer.copy(from, { ...one, path: `usr/${one.path}` });
    writer.end();
    closeSync(from);
    closeSync(to);
    assert.match(
      execFileSync('tar', ['-tvf', join(folder, 'b.tar'), '--numeric-owner'], { encoding: 'utf8' }),
      /^-\S+ 5\/6 +3000001 .* \.\/usr\/data$/m,
    );
    execFileSync('tar', ['-xf', join(folder, 'b.tar'), '-C', folder]);
    assert.deepEqual(readFileSync(join(folder, 'usr/data')), Buffer.alloc(3_000_001, 7));
  });
});

test('a damaged archive is refused', () => {
  inFolder((folder) => {
    writeFileSync(join(folder, 'data'), 'x'.repeat(600));
    execFileSync('tar', ['-cf', join(folder, 'a.tar'), '-C', folder, 'data']);
    const good = readFileSync(join(folder, 'a.tar'));
    const damaged = Buffer.from(good);
    damaged[3] = 0x21;
    const escaping = Buffer.from(good);
    escaping.write('../x', 0, 'latin1');
    let sum = 0;
    for (let at = 0; at < 512; at += 1) sum += at >= 148 && at < 156 ? 0x20 : (escaping[at] ?? 0);
    escaping.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    for (const [bytes, reason] of [
      [damaged, /header is damaged/],
      [good.subarray(0, 700), /cut short/],
      [escaping, /leaves the archive/],
    ] as const) {
      const path = join(folder, 'bad.tar');
      writeFileSync(path, bytes);
      const archive = openSync(path, 'r');
      assert.throws(() => [...readTar(archive)].map((one) => readTarData(archive, one)), reason);
      closeSync(archive);
    }
  });
});
