/** The Debian image made from the archive, booted in the reference QEMU: init and agent, without our machine. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { requires } from '../../../test/capability.ts';
import { fetchPackages } from '../debian/index.ts';
import { withIsolatedCache } from '../debian/isolated-cache.testing.ts';
import { agentOverlayWords, withAgentOverlay } from './agent-overlay.ts';
import { type CpioEntry, cpio } from './cpio.ts';
import { sha256Of } from './initramfs.ts';
import { pullDebianImage } from './pull.ts';
import { bootInQemu } from './qemu.testing.ts';
import { findImage, imageFolder, listImages } from './store.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

test('two pulls at once give one image, whose files are as its manifest says', requires('apt'), async () => {
  const [image, same] = await Promise.all([pullDebianImage(), pullDebianImage()]);
  assert.deepEqual(image, same);
  assert.deepEqual(await findImage('debian'), image);
  assert.ok((await listImages()).some(({ name }) => name === 'debian'));
  const { kernel, initrd, packages } = image.manifest;
  assert.equal(sha256Of(await readFile(image.kernel)), kernel.sha256);
  assert.equal(sha256Of(await readFile(image.initrd)), initrd.sha256);
  const name = `linux-image-${kernel.version}`;
  const fetched = await fetchPackages({ suite: 'trixie', architecture: 'riscv64', packages: [name] });
  const row = packages.find((entry) => entry.name === name);
  // The image may be older than the lists; of the same version, the hash must be the signed one.
  if (row?.version === fetched.files[0]?.version) assert.equal(row?.sha256, fetched.files[0]?.sha256);
});

test('an image of another recipe is made anew, and one that is damaged is named as such', requires('apt'), async () => {
  const image = await pullDebianImage();
  await withIsolatedCache(['apt', 'packages'], async () => {
    const folder = imageFolder('debian');
    await cp(dirname(image.kernel), folder, { recursive: true });
    const path = join(folder, 'manifest.json');
    await writeFile(path, 'no JSON');
    await assert.rejects(findImage('debian'), /the image in .* is damaged: its manifest is no JSON/);
    assert.deepEqual(await listImages(), []);
    await writeFile(path, JSON.stringify({ ...image.manifest, recipe: 'old', modules: [] }));
    assert.deepEqual((await pullDebianImage()).manifest.modules, image.manifest.modules);
    await rm(join(folder, 'kernel'));
    await assert.rejects(findImage('debian'), /kernel is missing/);
  });
});

test('it boots to a shell with job control, network and agent; exit powers off', requires('apt', 'qemu'), async () => {
  const image = await pullDebianImage();
  const { kernel, initrd } = image;
  const commandLine = `${image.commandLine} kage.hostname=proof`;
  const guest = await bootInQemu({ kernel, initrd, commandLine, limitMs: 240_000 });
  try {
    await guest.session.ready();
    const uname = await guest.session.run({ argv: ['uname', '-nrm'] });
    assert.equal(text(uname.stdout), `proof ${image.manifest.kernel.version} riscv64\n`);
    const address = await guest.session.run({ argv: ['ip', '-4', 'addr', 'show', 'dev', 'eth0'] });
    assert.match(text(address.stdout), /inet 10\.0\.2\.15\/24/);
    assert.match(
      text((await guest.session.run({ argv: ['cat', '/etc/resolv.conf'] })).stdout),
      /^nameserver 10\.0\.2\.3$/m,
    );
    const modules = await guest.session.run({
      argv: ['sh', '-c', 'modprobe -a ext4 9p overlay kvm; echo $?; cat /proc/modules'],
    });
    assert.match(text(modules.stdout), /^0\n(.*\n)*ext4 /);
    const twice = await guest.session.run({
      argv: ['sh', '-c', 'cat; echo no >&2; exit 9'],
      stdin: Buffer.alloc(100_000, 'x'),
    });
    assert.deepEqual([twice.stdout.length, text(twice.stderr), twice.exitCode], [100_000, 'no\n', 9]);

    await guest.shows(/root@proof:~# /);
    guest.type(`(echo run''ning; sleep 1000) | cat\n`);
    await guest.shows(/running/);
    guest.type('\x03');
    await guest.shows(/running[\s\S]*root@proof:~# /);
    guest.type('echo status $?; sleep 1000 & jobs; kill %1; exit\n');
    await guest.shows(/status 130/);
    await guest.shows(/\[1\]\+ +Running +sleep 1000/);
    assert.equal(await guest.ended, 0);
  } finally {
    await guest.kill();
  }
});

test('the agent shuts the guest down', requires('apt', 'qemu'), async () => {
  const { kernel, initrd, commandLine } = await pullDebianImage();
  const guest = await bootInQemu({ kernel, initrd, commandLine: `${commandLine} kage.shell=off`, limitMs: 240_000 });
  try {
    await guest.session.shutdown('poweroff');
    assert.equal(await guest.ended, 0);
  } finally {
    await guest.kill();
  }
});

test(
  "the overlay brings the agent into somebody else's initramfs, a compressed one too",
  requires('apt', 'qemu'),
  async () => {
    const { kernel, initrd, commandLine } = await pullDebianImage();
    const base = (await readFile(initrd)).subarray(0, (await stat(join(dirname(initrd), 'base.cpio'))).size);
    const script = [
      '#!/bin/sh',
      'busybox mount -t proc proc /proc',
      'mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev; mount -t tmpfs tmpfs /run',
      'modprobe virtio_mmio',
      'echo "their init is process $$ with $*"',
      'while :; do sleep 1000; done',
    ];
    const links = ['mount', 'mkdir'].map(
      (name): CpioEntry => ({ kind: 'link', path: `bin/${name}`, mode: 0o777, target: 'busybox' }),
    );
    const theirs = cpio([{ kind: 'file', path: 'init', mode: 0o755, data: Buffer.from(script.join('\n')) }, ...links]);
    const folder = await mkdtemp(join(tmpdir(), 'kagemusha-overlay-'));
    const path = join(folder, 'initrd');
    await writeFile(path, await withAgentOverlay(gzipSync(Buffer.concat([base, theirs]), { level: 1 })));
    const words = `${commandLine} ${agentOverlayWords} -- one two`;
    const guest = await bootInQemu({ kernel, initrd: path, commandLine: words, limitMs: 240_000 });
    try {
      const { stdout, exitCode } = await guest.session.run({ argv: ['cat', '/proc/1/cmdline'] });
      assert.deepEqual([text(stdout).split('\0').slice(0, 4), exitCode], [['/bin/sh', '/init', 'one', 'two'], 0]);
      await guest.shows(/their init is process 1 with one two/);
      await guest.session.shutdown('poweroff');
      assert.equal(await guest.ended, 0);
    } finally {
      await guest.kill();
      await rm(folder, { recursive: true });
    }
  },
);
