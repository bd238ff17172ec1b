import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { OperatorError } from '../../base/errors.ts';
import { openArchive, requireApt } from './archive.ts';
import { cacheFolder } from './cache-folder.ts';
import { archiveCapability } from './capability.ts';
import { withIsolatedCache } from './isolated-cache.testing.ts';
import { fetchPackages, sha256OfFile, unpack } from './packages.ts';
import { findDebianMirror } from './sources.ts';

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
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a file that was damaged in the store is fetched again; one that is whole is not', requires('apt'), async () => {
  await withIsolatedCache(['apt'], async () => {
    const steps: string[] = [];
    const fetch = async () =>
      await fetchPackages({ ...request, packages: ['opensbi'] }, { progress: ({ step }) => steps.push(step) });
    const [file] = (await fetch()).files;
    assert.ok(file);
    const whole = readFileSync(file.path);
    assert.ok(steps.splice(0).includes('fetching opensbi'));
    await fetch();
    assert.ok(!steps.splice(0).includes('fetching opensbi'));
    writeFileSync(file.path, whole.subarray(0, 1000));
    await fetch();
    assert.ok(steps.includes('fetching opensbi'));
    assert.deepEqual(readFileSync(file.path), whole);
  });
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
  await withIsolatedCache([], async () => {
    const keys = cacheFolder('empty.gpg');
    writeFileSync(keys, '');
    const found = findDebianMirror();
    assert.ok(found);
    const mirror = { main: { ...found.main, signedBy: keys } };
    await assert.rejects(openArchive(request, { mirror }), (error) => {
      assert.ok(error instanceof OperatorError);
      assert.equal(error.code, 'archive-untrusted');
      return error.fix.includes('--kernel') && error.fix.includes('--initrd');
    });
  });
});

test('a mirror that does not answer is told, and how to go on without it', requires('apt'), async () => {
  await withIsolatedCache([], async () => {
    const unreachable = { main: { uri: 'file:/no/such/mirror', suites: [], components: ['main'] } };
    await assert.rejects(openArchive(request, { mirror: unreachable }), (error) => {
      return error instanceof OperatorError && error.code === 'archive-unreachable' && error.fix.includes('--initrd');
    });
  });
});

test('without apt, the error names the way to bring a kernel and an initramfs', () => {
  assert.throws(
    () => requireApt('/no/such/folder'),
    (error) =>
      error instanceof OperatorError && error.code === 'apt-missing' && /--kernel and --initrd/.test(error.fix),
  );
});
