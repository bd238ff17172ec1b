/**
 * `node src/host/images/disk-in-qemu.testing.ts [PACKAGE...]`: builds a full Debian disk with python3 and gcc (or the
 * packages named), its second stage in the reference QEMU, boots it to systemd's login and works in it. Takes
 * minutes, so it is a script and no test. Prints what it saw; exit code 1 if something is not as it must be.
 */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDebianDisk } from './disk.ts';
import { bootInQemu } from './qemu.testing.ts';

const limitMs = 1_500_000;
const packages = process.argv.length > 2 ? process.argv.slice(2) : ['python3', 'gcc', 'libc6-dev'];
const started = performance.now();
const say = (line: string): void => {
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
};

let step = '';
const image = await buildDebianDisk({
  name: 'proof-disk',
  packages,
  progress: (progress) => {
    if (progress.step !== step) say(progress.step);
    step = progress.step;
  },
  boot: async (plan) => {
    const guest = await bootInQemu({ ...plan, disks: [plan.disk], limitMs });
    return await guest.ended;
  },
});
say(`built ${image.disk}`);
const folder = await mkdtemp(join(tmpdir(), 'kagemusha-disk-'));
const disk = join(folder, 'disk.raw');
await copyFile(image.disk ?? '', disk);
const guest = await bootInQemu({ ...image, disks: [disk], limitMs });
try {
  await guest.shows(/proof-disk login: /);
  say('login');
  const sh = async (script: string): Promise<string> => {
    const { stdout, stderr, exitCode } = await guest.session.run({ argv: ['sh', '-c', script] });
    const output = Buffer.from(stdout).toString('utf8').trim();
    say(`${script}: ${output}`);
    assert.equal(exitCode, 0, Buffer.from(stderr).toString('utf8'));
    return output;
  };
  assert.equal(await sh('systemctl is-system-running --wait'), 'running');
  assert.equal(await sh("dpkg --audit; dpkg -l | grep -c '^i[^i]' || :"), '0');
  if (packages.includes('python3')) assert.equal(await sh('python3 -c "print(sum(range(10**6)))"'), '499999500000');
  if (packages.includes('gcc')) {
    const program = '#include <stdio.h>\\nint main(void) { puts("compiled"); }\\n';
    assert.equal(await sh(`printf '${program}' > a.c && gcc -O2 a.c && ./a.out`), 'compiled');
  }
  await guest.session.shutdown('poweroff');
  assert.equal(await guest.ended, 0);
  say('powered off');
} finally {
  await guest.kill();
  await rm(folder, { recursive: true });
}
