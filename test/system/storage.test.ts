/**
 * Disks as users have them: qcow2 images against QEMU's own tools, a guest that makes its system on one and boots from
 * it, and NBD servers that die under a guest at work. (test/long/storage.ts goes on with the seeds.)
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createQcow2, openDisk } from '../../src/host/storage/index.ts';
import { runPowerCuts } from '../../src/host/storage/qcow2/power-cut.testing.ts';
import { requires } from '../capability.ts';
import { isThorough } from '../thorough.ts';
import { programPath } from '../toolbox.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { NbdServerProcess } from './nbd-servers.testing.ts';
import { assertClean, qemuImg, runQcow2Oracle } from './qcow2-oracle.testing.ts';

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-storage-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test(
  'qcow2: random operations, ours and those of QEMU by turns, with QEMU as the judge',
  requires('disks'),
  async () => {
    for (let seed = 1; seed <= (isThorough ? 12 : 5); seed++) await runQcow2Oracle(folder, seed);
  },
);

test('qcow2: power may be cut at any write: QEMU finds no error and no leak either', requires('disks'), async () => {
  const path = join(folder, 'cut.qcow2');
  let count = 0;
  for (let seed = 1; seed <= (isThorough ? 6 : 3); seed++) {
    const sample = (medium: Uint8Array): void => {
      if (count++ % 23 !== 0) return;
      writeFileSync(path, medium);
      assertClean(path, `seed ${seed}, medium ${count}`);
    };
    await runPowerCuts({ seed, clusterBytes: [512, 1024, 4096][seed % 3] ?? 512, withErrors: seed % 2 === 0, sample });
  }
  assert.ok(count > 400, `${count} media`);
});

/** Copies the running system to a file system on /dev/vda, with a first process that tells of it. */
const install = `
set -e
mke2fs /dev/vda > /dev/null
modprobe ext4
mkdir /disk; mount -t ext4 -o discard /dev/vda /disk
cd /disk; mkdir proc sys dev run tmp root
cp -a /bin /sbin /lib /usr /etc . 2> /dev/null || :
head -c 2000000 /dev/urandom > data; md5sum data > sum
printf '%s\\n' '#!/bin/sh' 'cd /; md5sum -c sum && echo "booted from qcow2"' 'poweroff -f' > hello; chmod +x hello
head -c 12000000 /dev/urandom > gone; sync; rm gone; sync
fstrim /disk
cd /; umount /disk`;

test('a guest makes its system on a qcow2 image over another, and boots from it; what it discards takes no room', {
  ...requires('apt', 'disks'),
  timeout: 240_000,
}, async () => {
  const base = join(folder, 'base.qcow2');
  const disk = join(folder, 'system.qcow2');
  await createQcow2(base, { sizeBytes: 192 * MiB, compression: 'zstd' });
  await createQcow2(disk, { sizeBytes: 256 * MiB, backing: { name: 'base.qcow2', format: 'qcow2' } });
  const { kernel, initrd, commandLine } = await debianImage();
  const machine = { kernel, initrd, append: commandLine, memoryBytes: 256 * MiB, cpus: 2, drives: [{ file: disk }] };
  {
    await using guest = await Guest.start(machine);
    const { code, stderr } = await guest.run(install);
    assert.equal(code, 0, stderr);
    await guest.machine.stop();
  }
  assertClean(disk, 'after the guest');
  const used = (JSON.parse(qemuImg('check', '--output=json', disk)) as { 'allocated-clusters': number })[
    'allocated-clusters'
  ];
  assert.ok(used * 65536 < 90 * MiB, `${used} clusters are allocated`);
  assert.ok(statSync(base).size < MiB);
  await using guest = await Guest.start({ ...machine, append: `${commandLine} root=/dev/vda rw init=/hello` });
  await guest.shows(/booted from qcow2/);
  await guest.machine.exited;
});

test('NBD by TLS: with the right authority, and not otherwise', requires('disks'), async () => {
  const [good, other] = [certificates('good'), certificates('other')];
  qemuImg('create', '-q', '-f', 'raw', join(folder, 'tls.raw'), '1M');
  const socket = join(folder, 'tls.sock');
  const tls = ['--tls=require', `--tls-certificates=${good}`];
  await using server = NbdServerProcess.nbdkit(join(folder, 'tls.raw'), socket, tls);
  await server.start();
  const open = (scheme: string, more = '') =>
    openDisk({ path: `${scheme}+unix:///?socket=${socket}${more}`, mode: 'write' });
  const { backend, close } = await open('nbds', `&tls-certificates=${good}`);
  const bytes = new Uint8Array(65536).fill(3);
  await backend.write(512, [bytes]);
  await backend.flush();
  await backend.read(512, [bytes.fill(0)]);
  assert.ok(bytes.every((byte) => byte === 3));
  await close();
  await assert.rejects(open('nbds', `&tls-certificates=${other}`), { code: 'nbd-tls' });
  await assert.rejects(open('nbds', `&tls-certificates=${good}&tls-hostname=elsewhere`), { code: 'nbd-tls' });
  await assert.rejects(open('nbds', `&tls-certificates=${join(folder, 'none')}`), { code: 'nbd-tls' });
  await assert.rejects(open('nbd'), /TLS/);
});

/** A folder as nbdkit and we want it, of a server called localhost that is its own authority. */
function certificates(name: string): string {
  const place = join(folder, name);
  mkdirSync(place);
  const [key, cert] = [join(place, 'server-key.pem'), join(place, 'server-cert.pem')];
  const words = ['req', '-x509', '-nodes', '-days', '2', '-newkey', 'rsa:2048', '-config', join(place, 'none.cnf')];
  writeFileSync(join(place, 'none.cnf'), '[req]\ndistinguished_name=name\n[name]\n');
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync(programPath('openssl'), [...words, ...subject, '-keyout', key, '-out', cert], { stdio: 'pipe' });
  copyFileSync(cert, join(place, 'ca-cert.pem'));
  return place;
}

/** Numbered records, each acknowledged before the next; nothing is flushed unless it is asked for. */
const load = `
i=0
while [ ! -e /stop ]; do
  i=$((i + 1)); printf '%511d\\n' $i | dd of=/dev/vda bs=512 seek=$i conv=notrunc oflag=direct 2> /dev/null || break
  echo $i > /count
done
[ -e /stop ] && echo sound > /end || echo broken > /end`;
const isAsWritten = `n=$(cat /count); i=0
while [ $i -lt $n ]; do i=$((i + 1)); printf '%511d\\n' $i; done > /want
dd if=/dev/vda bs=512 skip=1 count=$n iflag=direct 2> /dev/null | cmp - /want && echo same $n`;
const goesOn = 'a=$(cat /count); while [ "$(cat /count)" = "$a" ]; do sleep 0.1; done';

test('NBD servers that are killed and come back under load: the guest waits, or errs, as asked, and loses nothing', {
  ...requires('apt', 'disks'),
  timeout: 240_000,
}, async () => {
  qemuImg('create', '-q', '-f', 'raw', join(folder, 'kit.raw'), '16M');
  qemuImg('create', '-q', '-f', 'qcow2', join(folder, 'qemu.qcow2'), '16M');
  await using kit = NbdServerProcess.nbdkit(join(folder, 'kit.raw'), join(folder, 'kit.sock'));
  await using qemu = NbdServerProcess.qemuNbd(join(folder, 'qemu.qcow2'), 'qcow2', join(folder, 'qemu.sock'));
  await Promise.all([kit.start(), qemu.start()]);
  const { kernel, initrd, commandLine } = await debianImage();
  await using guest = await Guest.start({
    ...{ kernel, initrd, append: commandLine, memoryBytes: 256 * MiB, cpus: 2 },
    drives: [{ file: kit.uri, reconnectDelaySeconds: 120 }, { file: qemu.uri }],
  });
  await guest.run(
    `(setsid sh -c '${load.replaceAll("'", "'\\''")}' > /dev/null 2>&1 &); while [ ! -e /count ]; do sleep 0.1; done`,
  );
  for (let death = 0; death < 3; death++) {
    await guest.run(goesOn);
    await kit.kill();
    await sleep(300);
    await kit.start();
  }
  await guest.run(`${goesOn}; touch /stop; while [ ! -e /end ]; do sleep 0.1; done`);
  assert.match((await guest.run(`cat /end; ${isAsWritten}`)).stdout, /sound\nsame \d+/);

  const write = 'printf "%511d\\n" 77 | dd of=/dev/vdb bs=512 seek=7 conv=notrunc,fsync oflag=direct 2>&1';
  assert.equal((await guest.run(write)).code, 0);
  await qemu.kill();
  const { code, stdout } = await guest.run(write);
  assert.notEqual(code, 0);
  assert.match(stdout, /Input\/output error/);
  await qemu.start();
  assert.equal(
    (
      await guest.run(
        `until ${write}; do sleep 0.1; done > /dev/null; dd if=/dev/vdb bs=512 skip=7 count=1 | grep -c 77`,
      )
    ).stdout,
    '1\n',
  );
  await guest.machine.stop();
});
