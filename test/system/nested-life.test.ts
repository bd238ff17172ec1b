/**
 * What happens to a guest while it has a guest of its own: it is kept in a file and goes on, it gets a twin. The second
 * Linux notices nothing of it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { requires } from '../capability.ts';
import { nestedInitrd } from '../nested-guest.ts';
import { debianImage, Guest } from './guest.testing.ts';
import {
  bootSecondLevel,
  endSecondLevel,
  type FirstLevel,
  firstLevelWords,
  nestedSession,
  workInSecondLevel,
} from './nested.testing.ts';

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-nested-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function firstLevel() {
  const image = await debianImage();
  const append = `${image.commandLine} kage.net=off kage.agent=off ${firstLevelWords}`;
  const boot = { kernel: image.kernel, initrd: await nestedInitrd(image), append, agent: false, network: false };
  return { ...boot, nested: true, memoryBytes: 512 * MiB } as const;
}

/** Has the second level count in the background, into a file. */
async function count(level: FirstLevel): Promise<void> {
  level.type('(while :; do echo x >> /count; sleep 0.05; done) & sleep 1; wc -l < /count; echo cou""nts\n');
  await level.shows(/\n\d+\r?\ncounts\r?\n/);
}

/** That it still does, and loses nothing: the numbers of lines rise, and each line is whole. */
async function stillCounts(level: FirstLevel): Promise<void> {
  level.type(
    'a=$(wc -l < /count); sleep 1; b=$(wc -l < /count); [ $b -gt $a ] && [ -z "$(grep -v "^x$" /count)" ] && echo go""es on\n',
  );
  await level.shows(/goes on\r?\n/);
}

describe('a guest that has a guest', requires('apt', 'cross'), () => {
  test('is kept in a file with it, AIA and all, and both go on', async () => {
    const file = join(folder, 'both.kage');
    {
      await using level = await Guest.start({ ...(await firstLevel()), aia: 'aplic-imsic', aiaGuests: 2 });
      await bootSecondLevel(level, { aia: 'hardware' });
      await count(level);
      await level.machine.snapshot(file, { stop: true });
    }
    await using restored = await Guest.restore(file);
    await stillCounts(restored);
    const { cpus, interrupts } = await workInSecondLevel(restored);
    assert.deepEqual([cpus, /APLIC-MSI/.test(interrupts)], [1, true]);
    assert.ok((await endSecondLevel(restored)).mmio > 1000);
    restored.type('poweroff -f\n');
    assert.deepEqual(await restored.machine.exited, { reason: 'poweroff', code: 0 });
  });

  test('has a twin, and each of the four goes on by itself', async () => {
    const room = { partitions: 2, memoryBytes: 1024 * MiB };
    await using level = await Guest.start({ ...(await firstLevel()), room });
    await bootSecondLevel(level);
    await count(level);
    await using twin = Guest.of(await level.machine.fork());
    await Promise.all([level, twin].map(stillCounts));
    const said = await Promise.all([level, twin].map(async (each) => (await workInSecondLevel(each)).cpus));
    assert.deepEqual(said, [1, 1]);
    await endSecondLevel(level);
    await stillCounts(twin);
    await endSecondLevel(twin);
  });

  test('has a neighbour, an ordinary guest in the same machine', async () => {
    const options = await firstLevel();
    const room = { partitions: 2, memoryBytes: 768 * MiB };
    await using level = await Guest.start({ ...options, room });
    const { kernel, initrd, append, agent, network } = options;
    const boot = { kernel, initrd, agent, network, append: append.replace(firstLevelWords, 'kage.hostname=beside') };
    await using beside = Guest.of(await level.machine.createPartition({ ...boot, memoryBytes: 256 * MiB }));
    const session = nestedSession(level);
    await beside.shows(/root@beside:~# /);
    beside.type('grep -m 1 -o "rv64[a-z]*" /proc/cpuinfo\n');
    assert.match(await beside.shows(/\nrv64[a-z]*\r?\n/), /\nrv64[a-gi-z]*\r?\n/, 'it has no hypervisor extension');
    let rounds = 0;
    const ended = session.then(() => true);
    while (!(await Promise.race([ended, new Promise<false>((resolve) => setTimeout(resolve, 500, false))]))) {
      beside.type(`seq 1 5000 | md5sum; echo round ${rounds} o""ver\n`);
      assert.match(
        await beside.shows(new RegExp(`round ${rounds++} over\\r?\\n`)),
        /\na5a208cd26b07cadade3450fe14d1d93/,
      );
    }
    assert.ok(rounds > 3, `${rounds} rounds`);
    const { cpus, interrupts, isa, exits } = await session;
    assert.deepEqual([cpus, /SiFive PLIC\s.*ttyS0/.test(interrupts), /: rv64imafdc_/.test(isa)], [1, true, true]);
    assert.ok(exits.mmio > 1000);
    beside.type('poweroff -f\n');
    assert.deepEqual(await beside.machine.exited, { reason: 'poweroff', code: 0 });
  });

  test('cannot have one where H is hidden', async () => {
    await using level = await Guest.start({ ...(await firstLevel()), cpu: 'rv64,h=true', nested: false });
    await level.shows(/root@l1:~# /);
    level.type('modprobe kvm; echo "modprobe: $?"; ls /dev/kvm; grep -m 1 isa /proc/cpuinfo; echo do""ne\n');
    const said = await level.shows(/done\r?\n/);
    assert.match(said, /modprobe: [^0]/);
    assert.match(said, /\/dev\/kvm: No such file/);
    assert.match(said, /: rv64imafdc_/);
  });
});
