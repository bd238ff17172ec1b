/**
 * Twins of Debian guests: both go on, each with what it writes, whoever ends first; what must differ between them differs;
 * on one hart and on several, with disks and without.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { connectMachine, listMachines } from '../../src/host/index.ts';
import type { MachineHandle, MachineOptions } from '../../src/host/machine/index.ts';
import { createQcow2, openQcow2 } from '../../src/host/storage/index.ts';
import { createMachine } from '../../src/index.ts';
import { assemble } from '../../src/isa/index.ts';
import { requires } from '../capability.ts';
import { freePort } from './free-port.testing.ts';
import { debianImage } from './guest.testing.ts';

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-fork-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function debian(more: MachineOptions = {}): Promise<MachineHandle> {
  const { kernel, initrd, commandLine } = await debianImage();
  const room = { partitions: 8, memoryBytes: 1024 * MiB };
  return await createMachine({ kernel, initrd, append: commandLine, memoryBytes: 256 * MiB, room, ...more });
}

async function told(machine: MachineHandle, script: string): Promise<string> {
  const { stdout } = await machine.exec(['sh', '-c', script], { signal: AbortSignal.timeout(60_000) });
  return Buffer.from(stdout).toString().trim();
}

/** Writes a file, checks it and counts, for ever: ends `broken` at the first wrong byte, `sound` when it is stopped. */
const load = `
mkdir -p /load; cd /load; n=0
while [ ! -e /stop ]; do
  n=$((n + 1)); head -c 200000 /dev/urandom > data; md5sum data > sum; md5sum -c sum > /dev/null || break; echo $n > count
done
[ -e /stop ] && echo sound > end || echo broken > end`;
const startLoad = `(setsid sh -c '${load}' > /dev/null 2>&1 &)`;
const endLoad = 'touch /stop; while [ ! -e /load/end ]; do sleep 0.2; done; cat /load/end';
/** Until the load has got further. */
const goesOn = 'a=$(cat /load/count); while [ "$(cat /load/count)" = "$a" ]; do sleep 0.1; done; echo on';

for (const cpus of [1, 2])
  test(`a guest of ${cpus} harts at work has twins, and they have, too; all go on by themselves`, {
    ...requires('apt'),
    timeout: 240_000,
  }, async () => {
    await using first = await debian({ cpus, processors: 2 });
    await first.ready();
    await told(first, `echo first > /who; ${startLoad}; while [ ! -e /load/count ]; do sleep 0.1; done`);
    const one = await first.fork();
    await told(one, 'echo one > /who');
    const two = await first.fork({ name: `two-${process.pid}` });
    const grand = await one.fork();
    assert.deepEqual([one.info.fork?.of, grand.info.fork?.of], [first.info.name, one.info.name]);
    assert.equal(two.info.name, `two-${process.pid}`);
    await Promise.all([told(two, 'echo two > /who'), told(grand, 'cat /who; echo grand > /who')]).then(([, who]) =>
      assert.equal(who, 'one'),
    );
    const everybody = [first, one, two, grand];
    assert.deepEqual(await Promise.all(everybody.map((guest) => told(guest, 'cat /who'))), [
      ...['first', 'one', 'two', 'grand'],
    ]);
    assert.deepEqual(await Promise.all(everybody.map((guest) => told(guest, goesOn))), ['on', 'on', 'on', 'on']);
    const boots = await Promise.all(everybody.map((guest) => told(guest, 'cat /proc/sys/kernel/random/boot_id')));
    assert.equal(new Set(boots).size, 1, 'of one boot');
    // The first ends first, then a twin; whoever is left has lost nothing.
    await first.kill();
    assert.deepEqual(await Promise.all([one, two, grand].map((guest) => told(guest, goesOn))), ['on', 'on', 'on']);
    await one.kill();
    for (const guest of [two, grand]) assert.equal(await told(guest, endLoad), 'sound');
    assert.equal((await two.stop()).reason, 'poweroff');
    assert.equal(await told(grand, 'cat /who'), 'grand');
    await grand.kill();
  });

describe('a twin', requires('apt'), () => {
  test('has other random numbers, another generation and address, and the network; its original is as it was', {
    timeout: 240_000,
  }, async () => {
    const port = await freePort();
    await using first = await debian({ publish: [`127.0.0.1:${port}:80`] });
    await first.ready();
    const address = 'cat /sys/class/net/eth0/address';
    const mac = await told(first, `echo 1 > /page; ${address}`);
    const [one, two] = [await first.fork(), await first.fork()];
    assert.deepEqual([one.info.publish, first.info.publish.length], [[], 1]);
    // Their first commands: each of two packets is answered.
    const twoPackets = 'ping -c 2 -i 0.2 -W 5 10.0.2.2 | grep -o "[0-9]* packets received"';
    const received = await Promise.all([one, two].map((twin) => told(twin, twoPackets)));
    assert.deepEqual(received, ['2 packets received', '2 packets received']);
    const macs = await Promise.all([one, two].map((twin) => told(twin, address)));
    assert.equal(new Set([mac, ...macs]).size, 3, `${mac}, ${macs}`);
    assert.equal(await told(first, address), mac);
    const drawn = 'head -c 16 /dev/urandom | od -An -tx1';
    const numbers = await Promise.all([first, one, two].map((guest) => told(guest, drawn)));
    assert.equal(new Set(numbers).size, 3);
    const reseeded = 'dmesg | grep -c "reseeded due to virtual machine fork"';
    assert.deepEqual(await Promise.all([first, one, two].map((guest) => told(guest, `${reseeded}; true`))), [
      '0',
      '1',
      '1',
    ]);
    const reach = 'ping -c 1 -W 5 10.0.2.2 > /dev/null && echo reached';
    assert.deepEqual(await Promise.all([first, one, two].map((guest) => told(guest, reach))), Array(3).fill('reached'));
    const seconds = Number(await told(one, 'date +%s'));
    assert.ok(Math.abs(seconds - Date.now() / 1000) < 5, 'it knows the time');
    for (const guest of [one, two]) await guest.kill();
  });

  test('writes to disks of its own; those of its original keep what that writes', { timeout: 240_000 }, async () => {
    const files = ['kept.img', 'read.img', 'base.img'].map((name) => join(folder, name));
    for (const file of files) writeFileSync(file, Buffer.alloc(MiB, 'a'));
    const [kept = '', read = '', base = ''] = files;
    const image = join(folder, 'kept.qcow2');
    await createQcow2(image, { sizeBytes: MiB, backing: { name: 'read.img', format: 'raw' } });
    await using first = await debian({
      drives: [{ file: kept }, { file: read, readOnly: true }, { file: base, overlay: true }, { file: image }],
    });
    await first.ready();
    const put = (letter: string, at: number): string =>
      `for d in vda vdc vdd; do head -c 4096 /dev/zero | tr '\\0' ${letter} | dd of=/dev/$d bs=4096 seek=${at} conv=notrunc 2> /dev/null; done; sync`;
    const see = `for d in vda vdb vdc vdd; do for at in 0 1 2 3; do dd if=/dev/$d bs=4096 skip=$at count=1 2> /dev/null | head -c 1; done; echo; done`;
    const drop = 'sync; echo 3 > /proc/sys/vm/drop_caches';
    await told(first, put('b', 0));
    const twin = await first.fork();
    await Promise.all([told(first, put('c', 1)), told(twin, put('d', 2))]);
    const grand = await twin.fork();
    await Promise.all([told(first, put('e', 0)), told(twin, put('f', 2)), told(grand, put('g', 3))]);
    const seen = await Promise.all([first, twin, grand].map((guest) => told(guest, `${drop}; ${see}`)));
    assert.deepEqual(
      seen.map((text) => text.split('\n')),
      [
        ['ecaa', 'aaaa', 'ecaa', 'ecaa'],
        ['bafa', 'aaaa', 'bafa', 'bafa'],
        ['badg', 'aaaa', 'badg', 'badg'],
      ],
    );
    await first.kill();
    assert.equal(await told(grand, `${drop}; ${see}`), 'badg\naaaa\nbadg\nbadg');
    await twin.kill();
    assert.equal(await told(grand, `${drop}; ${see}`), 'badg\naaaa\nbadg\nbadg');
    await grand.kill();
    const letters = (file: string): string =>
      [0, 1, 2, 3].map((at) => String.fromCharCode(readFileSync(file)[at * 4096] ?? 0)).join('');
    assert.deepEqual(files.map(letters), ['ecaa', 'aaaa', 'aaaa']);
    const { disk, close } = await openQcow2(image, { readOnly: true });
    const pages = new Uint8Array(4 * 4096);
    await disk.read(0, [pages]);
    assert.equal([0, 1, 2, 3].map((at) => String.fromCharCode(pages[at * 4096] ?? 0)).join(''), 'ecaa');
    await close();
  });
});

const spin = (): MachineOptions => {
  const bios = join(folder, 'spin.bin');
  writeFileSync(bios, assemble('again: j again', 0x8000_0000n).bytes);
  return { bios, memoryBytes: 4 * MiB, network: false };
};

test('what has no room for a twin says so, and goes on', { timeout: 60_000 }, async () => {
  await using alone = await createMachine(spin());
  await assert.rejects(alone.fork(), { code: 'machine-closed' });
  assert.equal(alone.info.state, 'running');
  await using first = await createMachine({ ...spin(), room: { partitions: 3, memoryBytes: 32 * MiB } });
  const [one, two] = [await first.fork(), await first.fork()];
  await assert.rejects(first.fork(), { code: 'machine-full' });
  await one.kill();
  const three = await first.fork();
  await first.kill();
  await assert.rejects(first.fork(), { code: 'machine-ended' });
  assert.deepEqual([two.info.state, three.info.state], ['running', 'running']);
  await Promise.all([two.kill(), three.kill()]);
});

/** Counts in each page of its memory, on and on; a page that is not as it left it ends it. */
const writer = `
    li s0, 0x80100000
    li s1, 0x80200000
    li s2, 0
round:
    addi s2, s2, 1
    mv t0, s0
page:
    ld t1, 0(t0)
    addi t1, t1, 1
    sd t1, 0(t0)
    li t2, 4096
    add t0, t0, t2
    bne t0, s1, page
    mv t0, s0
check:
    ld t1, 0(t0)
    bne t1, s2, wrong
    li t2, 4096
    add t0, t0, t2
    bne t0, s1, check
    j round
wrong:
    li t0, 0x100000
    li t1, 0x13333
    sw t1, 0(t0)
end: j end`;

async function looked(guest: MachineHandle): Promise<{ instructions: number; copies: number }> {
  const { vcpus } = (await guest.stats()) as {
    vcpus: { instructions: number; exits: { copyPage: number } }[];
  };
  return { instructions: vcpus[0]?.instructions ?? 0, copies: vcpus[0]?.exits.copyPage ?? 0 };
}

test('guests that write all of their memory while they are forked again and again see their own numbers', {
  timeout: 120_000,
}, async () => {
  const bios = join(folder, 'writer.bin');
  writeFileSync(bios, assemble(writer, 0x8000_0000n).bytes);
  for (const options of [{ translate: false }, { translate: true, hotThreshold: 50 }]) {
    await using first = await createMachine({
      ...{ bios, memoryBytes: 4 * MiB, network: false, processors: 2, ...options },
      room: { partitions: 16, memoryBytes: 64 * MiB },
    });
    const runs = async (guest: MachineHandle, steps: number): Promise<void> => {
      const { instructions } = await looked(guest);
      while ((await looked(guest)).instructions < instructions + steps && guest.info.state === 'running')
        await new Promise((resolve) => setTimeout(resolve, 2));
    };
    const all: MachineHandle[] = [first];
    for (let i = 0; i < 12; i++) {
      const guest = all[(i * 5) % all.length] as MachineHandle;
      await runs(guest, 100_000);
      all.push(await guest.fork());
    }
    await Promise.all(all.map((guest) => runs(guest, 1_000_000)));
    for (const guest of all) assert.equal(guest.info.state, 'running', 'no page changed that it did not write');
    const { copies } = await looked(first);
    assert.ok(copies > 20, `${copies} pages were copied because they had been read and were written`);
    await Promise.all(all.map((guest) => guest.kill()));
  }
});

test('where frames run out, the guest that finds none ends alone', { timeout: 120_000 }, async () => {
  const bios = join(folder, 'filler.bin');
  const filler = `
    li s0, 0x80100000
    li s1, 0x83f00000
    li t2, 4096
    mv t0, s0
page:
    sd t0, 0(t0)
    add t0, t0, t2
    bne t0, s1, page
again:
    mv t0, s0
check:
    ld t1, 0(t0)
    bne t1, t0, wrong
    add t0, t0, t2
    bne t0, s1, check
    j again
wrong:
    li t0, 0x100000
    li t1, 0x13333
    sw t1, 0(t0)
end: j end`;
  writeFileSync(bios, assemble(filler, 0x8000_0000n).bytes);
  const options = { bios, memoryBytes: 64 * MiB, network: false };
  await using first = await createMachine({
    ...options,
    startPaused: true,
    room: { partitions: 6, memoryBytes: 64 * MiB },
  });
  const twins = [await first.fork(), await first.fork(), await first.fork()];
  const ends = await Promise.race([
    Promise.all(twins.map((twin) => twin.exited)).then(() => 'all'),
    Promise.any(twins.map((twin) => twin.exited)),
  ]);
  assert.deepEqual(ends, { reason: 'error', code: 125, message: 'the guests own all frames of the machine' });
  assert.equal(first.info.state, 'paused');
  await Promise.all(twins.map((twin) => twin.kill()));
});

test('twins are reached by their names, by other processes too', { timeout: 60_000 }, async () => {
  const name = `forked-${process.pid}`;
  await using first = await createMachine({ ...spin(), name, room: { partitions: 3, memoryBytes: 32 * MiB } });
  await using remote = await connectMachine(name);
  const { name: made, pausedMs } = await remote.fork({ name: `${name}-b` });
  assert.ok(made === `${name}-b` && pausedMs > 0);
  assert.ok((await listMachines()).some((machine) => machine.name === made));
  await using twin = await connectMachine(made);
  assert.equal((await twin.info()).fork?.of, name);
  await twin.kill();
  assert.equal(first.info.state, 'running');
});
