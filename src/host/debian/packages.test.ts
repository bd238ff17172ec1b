import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { OperatorError } from '../../base/errors.ts';
import { openArchive } from './archive.ts';
import { archiveCapability } from './capability.ts';
import { fetchPackages, sha256OfFile, unpack } from './packages.ts';

const request = { suite: 'trixie', architecture: 'riscv64' };

test('a package comes with the hash of the signed lists, is kept, and unpacks', requires('apt'), async () => {
  assert.deepEqual(await archiveCapability(), { available: true });
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-packages-'));
  try {
    const { files, release } = await fetchPackages({ ...request, packages: ['opensbi'] });
    const [file] = files;
    assert.ok(file);
    assert.match(release, /^13(\.\d+)?$/);
    assert.deepEqual([files.length, file.name, file.architecture], [1, 'opensbi', 'all']);
    assert.equal(await sha256OfFile(file.path), file.sha256);
    assert.equal(statSync(file.path).size, file.sizeBytes);
    await unpack(file.path, folder);
    assert.ok(statSync(join(folder, 'usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin')).size > 0);

    // A file that was damaged in the store is fetched again.
    const whole = readFileSync(file.path);
    writeFileSync(file.path, whole.subarray(0, 1000));
    const again = await fetchPackages({ ...request, packages: ['opensbi'] });
    assert.deepEqual(again.files, files);
    assert.deepEqual(readFileSync(file.path), whole);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a name that the archive does not know is told by its name', requires('apt'), async () => {
  for (const withDependencies of [false, true]) {
    const packages = ['opensbi', 'no-such-package-at-all'];
    await assert.rejects(fetchPackages({ ...request, packages, withDependencies }), (error) => {
      return (
        error instanceof OperatorError &&
        error.code === 'package-not-found' &&
        error.message.includes('no-such-package-at-all')
      );
    });
  }
});

test('lists that the given keys do not vouch for are refused', requires('apt'), async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-keys-'));
  const cache = process.env.XDG_CACHE_HOME;
  try {
    process.env.XDG_CACHE_HOME = folder;
    const keys = join(folder, 'empty.gpg');
    writeFileSync(keys, '');
    const { findDebianMirror } = await import('./sources.ts');
    const found = findDebianMirror();
    assert.ok(found);
    const mirror = { main: { ...found.main, signedBy: keys } };
    await assert.rejects(openArchive(request, { mirror }), (error) => {
      return (
        error instanceof OperatorError &&
        error.code === 'archive-untrusted' &&
        error.fix.includes('--kernel') &&
        error.fix.includes('--initrd')
      );
    });
  } finally {
    if (cache === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = cache;
    rmSync(folder, { recursive: true });
  }
});
