/** A full Debian disk's first stage, looked into with debugfs; the guest that would run the second is played. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { HostError, OperatorError } from '../../base/errors.ts';
import { fetchFileSystemTools, run } from '../debian/index.ts';
import { type BootPlan, buildDebianDisk } from './disk.ts';
import { findImage, imageFolder, removeImage } from './store.ts';

const name = `test-disk-${process.pid}`;

async function debugfs(disk: string, command: string, ...options: string[]): Promise<string> {
  const [program = '', ...words] = (await fetchFileSystemTools()).debugfs;
  return (await run(program, [...words, ...options, '-R', command, disk])).stdout.toString('utf8');
}

test('the disk holds the packages as dpkg would have unpacked them, with our settings', requires('apt'), async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kagemusha-disk-'));
  let seen: BootPlan | undefined;
  const boot = async (plan: BootPlan): Promise<number> => {
    seen = plan;
    const { disk } = plan;
    const status = await debugfs(disk, 'cat /var/lib/dpkg/status');
    assert.match(status, /^Package: hello\nStatus: install ok unpacked\n/m);
    assert.equal(status.match(/^Package: /gm)?.length, status.match(/^Status: install ok unpacked$/gm)?.length);
    assert.match(status, /^Conffiles:\n \/etc\/\S+ [0-9a-f]{32}$/m);
    assert.match(
      await debugfs(disk, 'cat /var/lib/dpkg/info/hello.list'),
      /^\/\.\n\/usr\n\/usr\/bin\n\/usr\/bin\/hello\n/,
    );
    // Owners, modes, and links come from the packages although nobody was root.
    assert.match(await debugfs(disk, 'stat /usr/bin/passwd'), /Mode: +04755[\s\S]*User: +0 +Group: +0 /u);
    assert.match(await debugfs(disk, 'stat /usr/bin/chage'), /Mode: +02755[\s\S]*Group: +42 /u);
    assert.match(await debugfs(disk, 'stat /bin'), /Fast link dest: "usr\/bin"/);
    assert.equal(await debugfs(disk, 'cat /etc/hostname'), 'its-name\n');
    assert.match(
      await debugfs(disk, 'cat /etc/systemd/system/kagemusha-agent.service'),
      /^ExecStart=\/bin\/sh \/usr\/local\/lib\/kagemusha\/agent$/m,
    );
    assert.match(await debugfs(disk, 'stat /var/lib/kagemusha/second-stage'), /Mode: +0755/);
    const marker = join(folder, 'done');
    await writeFile(marker, 'done\n');
    await debugfs(disk, `write ${marker} /var/lib/kagemusha/second-stage.done`, '-w');
    return 0;
  };
  try {
    const image = await buildDebianDisk({ name, packages: ['hello'], hostname: 'its-name', boot });
    assert.match(seen?.commandLine ?? '', / root=\/dev\/vda rw init=\/var\/lib\/kagemusha\/second-stage /);
    assert.deepEqual(await findImage(name), image);
    assert.deepEqual(image.manifest.disk, { file: 'disk.raw', sizeBytes: 4 * 1024 ** 3, hostname: 'its-name' });
    assert.ok(image.manifest.packages.some((entry) => entry.name === 'hello'));
    assert.ok(await removeImage(name));
    assert.equal(await findImage(name), undefined);
    assert.equal(await removeImage(name), false);
  } finally {
    await removeImage(name);
    await rm(folder, { recursive: true });
  }
});

test('a second stage that does not end well leaves no image', requires('apt'), async () => {
  await assert.rejects(buildDebianDisk({ name, boot: async () => 3 }), (error) => {
    return error instanceof HostError && error.code === 'second-stage-failed' && error.message.includes('3');
  });
  assert.ok(!existsSync(imageFolder(name)));
});

test('bad sizes, names and host names are refused before anything is fetched', async () => {
  const boot = async (): Promise<number> => assert.fail('nothing is to be booted');
  const bad: [Parameters<typeof buildDebianDisk>[0], string][] = [
    [{ name, boot, sizeBytes: 1000 }, 'bad-disk'],
    [{ name, boot, sizeBytes: 1024 ** 3 + 1 }, 'bad-disk'],
    [{ name, boot, hostname: '-x' }, 'bad-hostname'],
    [{ name: '../x', boot }, 'bad-image-name'],
    [{ name: 'X', boot }, 'bad-image-name'],
    [{ name: 'debian', boot }, 'bad-image-name'],
    [{ name: 'nested', boot }, 'bad-image-name'],
  ];
  for (const [options, code] of bad) {
    await assert.rejects(buildDebianDisk(options), (error) => error instanceof OperatorError && error.code === code);
  }
});
