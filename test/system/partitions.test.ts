/**
 * Several guests in one machine: on the same processors, out of the same memory. Bare-metal programs, which know what
 * must be at their addresses, and say by their exit code if it is not.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { listMachines } from '../../src/host/index.ts';
import type { MachineHandle, PartitionOptions } from '../../src/host/machine/index.ts';
import { createMachine } from '../../src/index.ts';
import { assemble } from '../../src/isa/index.ts';
import { requires } from '../capability.ts';
import { debianImage } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-partitions-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const MiB = 2 ** 20;
let files = 0;

function program(source: string): PartitionOptions & { readonly bios: string } {
  const bios = join(folder, `program-${files++}.bin`);
  writeFileSync(bios, assemble(source, 0x8000_0000n).bytes);
  return { bios, memoryBytes: 4 * MiB, network: false };
}

const END = `
end:
    li t0, 0x100000
    sw t1, 0(t0)
    j end
`;

/** For ever. */
const spin = 'again: j again';

/** Ends with code 0 if all of its memory behind the program holds zeros at first, and then what it wrote: `canary`, mixed with the address. */
const canaries = (canary: number, passes: number): string => `
    li s0, 0x80001000
    li s1, 0x80200000
    li s2, ${canary}
    mv t2, s0
zeros:
    ld t0, 0(t2)
    bnez t0, stranger
    xor t0, t2, s2
    sd t0, 0(t2)
    addi t2, t2, 256
    bne t2, s1, zeros
    li s3, ${passes}
pass:
    mv t2, s0
check:
    ld t0, 0(t2)
    xor t1, t2, s2
    bne t0, t1, stranger
    sd t1, 0(t2)
    addi t2, t2, 256
    bne t2, s1, check
    addi s3, s3, -1
    bnez s3, pass
    li t1, 0x5555
    j end
stranger:
    li t1, 0x13333
${END}`;

/** Naps, looks at its canary after each, and writes another; ends with code 0 if nobody else ever had a hand in it. */
const napsBesideCanary = (canary: number, times: number): string => `
    li t0, 0x80
    csrw mie, t0
    li s0, 0x80180000
    li s2, ${canary}
    li s3, ${times}
    li s5, 0x2004000
    sd s2, 0(s0)
nap:
    rdtime t0
    addi t0, t0, 200
    sd t0, 0(s5)
sleep:
    wfi
    csrr t0, mip
    andi t0, t0, 0x80
    beqz t0, sleep        # wfi may return for no reason
    ld t0, 0(s0)
    bne t0, s2, stranger
    addi s2, s2, 2
    sd s2, 0(s0)
    addi s3, s3, -1
    bnez s3, nap
    li t1, 0x5555
    j end
stranger:
    li t1, 0x13333
${END}`;

/** Sleeps for so many ticks, so many times, by its own timer, and counts its wakings: others run meanwhile. */
const sleeper = (times: number): string => `
    li t0, 0x80
    csrw mie, t0            # the timer
    li s3, ${times}
    csrr s4, mhartid
    slli s4, s4, 3
    li s5, 0x2004000        # mtimecmp
    add s5, s5, s4
nap:
    rdtime t0
    addi t0, t0, 200
    sd t0, 0(s5)
    wfi
    addi s3, s3, -1
    bnez s3, nap
    li t1, 0x5555
${END}`;

const POWEROFF = { reason: 'poweroff', code: 0 };

async function used(machine: MachineHandle): Promise<number> {
  const { vcpus } = (await machine.stats()) as { vcpus: { usedMs: number }[] };
  return vcpus.reduce((sum, { usedMs }) => sum + usedMs, 0);
}

const touched = async (machine: MachineHandle): Promise<number> =>
  ((await machine.stats()) as { memory: { touchedBytes: number } }).memory.touchedBytes;

test('guests with the same addresses on one processor see nothing of each other', { timeout: 120_000 }, async () => {
  for (const options of [{ translate: false }, { translate: true, hotThreshold: 50 }]) {
    await using first = await createMachine({
      ...program(canaries(0x1234, 400)),
      ...{ processors: 1, room: { memoryBytes: 64 * MiB }, ...options },
    });
    // While two compute, others nap: at each waking they come in between.
    const naps = await Promise.all([1, 2].map(() => first.createPartition(program(sleeper(2000)))));
    const rest = await Promise.all(
      [0x777, 0x4321].map((canary) => first.createPartition(program(canaries(canary, 400)))),
    );
    for (const each of [first, ...rest, ...naps]) assert.deepEqual(await each.exited, POWEROFF);
    const last = (await naps[0]?.stats()) as { vcpus: { sleeps: number }[] };
    assert.ok((last.vcpus[0]?.sleeps ?? 0) > 100, 'they slept');
  }
});

test('two guests with the same addresses take turns on one processor, thousands of times', {
  timeout: 60_000,
}, async () => {
  const naps = 10_000;
  await using first = await createMachine({
    ...program(spin),
    ...{ processors: 1, weight: 2, room: { memoryBytes: 64 * MiB } },
  });
  const pair = await Promise.all(
    [1, 2].map((canary) => first.createPartition(program(napsBesideCanary(canary, naps)))),
  );
  for (const each of pair) assert.deepEqual(await each.exited, POWEROFF);
  for (const each of pair) {
    const { scheduling } = (await each.stats()) as { scheduling: { switches: number } };
    assert.ok(scheduling.switches > naps / 4, `${scheduling.switches} switches in ${naps} naps`);
  }
});

test('who ends ends alone, by whatever end, and its memory serves the next, with zeros in it', {
  timeout: 120_000,
}, async () => {
  await using first = await createMachine({
    ...program(spin),
    ...{ processors: 2, room: { partitions: 4, memoryBytes: 16 * MiB } },
  });
  let before = 0;
  for (let round = 0; round < 12; round++) {
    const [good, bad, endless] = await Promise.all([
      first.createPartition({ ...program(canaries(0x100 + round, 3)), cap: 2 }),
      first.createPartition(program(`li t1, 0x73333\n${END}`)),
      first.createPartition({ ...program(spin), weight: 10, cpus: 2 }),
    ]);
    assert.deepEqual(await good?.exited, POWEROFF);
    assert.deepEqual(await bad?.exited, { reason: 'failure', code: 7 });
    assert.deepEqual(await endless?.kill(), { reason: 'killed', code: 137 });
    assert.equal(endless?.info.state, 'ended');
    assert.equal(first.info.state, 'running');
    const now = await touched(first);
    if (round === 0) before = now;
    else assert.ok(now <= before, `${now} bytes after round ${round}, ${before} at first`);
  }
});

/** What only harts with the hypervisor extension execute. */
const HYPERVISORS = [
  ...['hfence.vvma', 'hfence.gvma', 'hinval.vvma a0, x0', 'hlv.d a1, (a0)', 'hsv.d a1, (a0)'],
  ...['csrr a1, hstatus', 'csrr a1, vsatp', 'csrr a1, mtval2', 'csrw hgatp, x0', 'csrr a1, mstateen0'],
];

/** Ends with 100 and, beside that, how many of them are illegal; 99 if misa does not fit, 98 for other traps. */
const countIllegal = `
    la t0, trapped
    csrw mtvec, t0
    li t0, -1               # what is below machine mode may reach all of memory
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    li s0, 0
    li a0, 0x80010000
    ${HYPERVISORS.join('\n    ')}
    csrr t0, misa
    srli t0, t0, 7
    andi t0, t0, 1
    seqz t1, s0
    addi s0, s0, 100
    beq t0, t1, say
    li s0, 99
say:
    slli t1, s0, 16
    li t0, 0x3333
    or t1, t1, t0
    j end
    .balign 4
trapped:
    csrr t0, mcause
    addi t0, t0, -2
    bnez t0, other
    addi s0, s0, 1
    csrr t0, mepc
    addi t0, t0, 4
    csrw mepc, t0
    mret
other:
    li s0, 98
    j say
${END}`;

test('one partition has the hypervisor extension, its neighbour has not', { timeout: 60_000 }, async () => {
  await using first = await createMachine({
    ...program(spin),
    nested: true,
    room: { partitions: 4, memoryBytes: 24 * MiB },
  });
  for (const [options, code] of [
    [{}, 100 + HYPERVISORS.length],
    [{ nested: true }, 100],
    [{ nested: false, cpus: 2 }, 100 + HYPERVISORS.length],
  ] as const) {
    await using guest = await first.createPartition({ ...program(countIllegal), ...options });
    assert.deepEqual(await guest.exited, { reason: 'failure', code });
  }
  await using plain = await createMachine({ ...program(spin), room: { partitions: 2, memoryBytes: 12 * MiB } });
  await assert.rejects(plain.createPartition({ ...program(spin), nested: true }), { code: 'no-hypervisor-extension' });
});

test('what a machine has no room for is refused, and what is there goes on', { timeout: 60_000 }, async () => {
  await using first = await createMachine({
    ...program(spin),
    ...{ room: { partitions: 2, memoryBytes: 12 * MiB } },
  });
  const refused = async (options: object, code: string): Promise<void> =>
    assert.rejects(first.createPartition({ ...program(spin), ...options }), { code });
  await refused({ memoryBytes: 9 * MiB }, 'machine-full');
  await refused({ cpu: 'rv64' }, 'set-by-machine');
  await refused({ pin: [7] }, 'bad-pin');
  await refused({ bios: join(folder, 'nothing') }, 'firmware-not-found');
  await using second = await first.createPartition(program(spin));
  await refused({}, 'machine-full');
  assert.equal(second.info.state, 'running');
  await first.kill();
  assert.equal(second.info.state, 'running');
  const third = await second.createPartition(program(canaries(1, 1)));
  assert.deepEqual(await third.exited, POWEROFF);
  await second.kill();
  await assert.rejects(second.createPartition(program(spin)), { code: 'machine-closed' });
  await using alone = await createMachine(program(spin));
  await assert.rejects(alone.createPartition(program(spin)), { code: 'machine-closed' });
});

test('snapshots are of machines for one guest, kept boots too', { timeout: 60_000 }, async () => {
  const file = join(folder, 'several.kage');
  await using first = await createMachine({ ...program(spin), room: { memoryBytes: 32 * MiB } });
  await using second = await first.createPartition(program(spin));
  for (const machine of [first, second]) await assert.rejects(machine.snapshot(file), { code: 'snapshot-partitions' });
  const boots = { ...program(spin), bootSnapshot: true } as PartitionOptions;
  await assert.rejects(first.createPartition(boots), { code: 'snapshot-partitions' });
  assert.ok(!existsSync(file));
  assert.deepEqual([first.info.state, second.info.state], ['running', 'running']);
});

test('rights are taken from one partition alone, while others run on the same processor', {
  timeout: 60_000,
}, async () => {
  await using first = await createMachine({ ...program(spin), processors: 1, room: { memoryBytes: 32 * MiB } });
  const writer = await first.createPartition(program(canaries(0x321, 100_000)));
  await using other = await first.createPartition(program(canaries(0x123, 100_000)));
  const pages = { domains: ['firmware'], start: 0x8010_0000, end: 0x8020_0000 };
  while ((await touched(writer)) < 2 * MiB) await new Promise((resolve) => setTimeout(resolve, 10));
  await writer.protect({ action: 'deny', rights: 'w', ...pages });
  const violations = async (machine: MachineHandle): Promise<number> => (await machine.violations()).length;
  while ((await violations(writer)) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual([await violations(first), await violations(other)], [0, 0]);
  await writer.kill();
  await assert.rejects(writer.protection(), { code: 'machine-ended' });
  // Who comes next has all rights to the frames.
  const next = await first.createPartition(program(canaries(0x555, 3)));
  assert.deepEqual(await next.exited, POWEROFF);
});

test('each is reached by its name, and paused alone', { timeout: 60_000 }, async () => {
  const name = `partition-${process.pid}`;
  await using first = await createMachine({ ...program(spin), processors: 1, room: { memoryBytes: 32 * MiB } });
  await using second = await first.createPartition({ ...program(spin), name });
  assert.ok((await listMachines()).some((machine) => machine.name === name));
  await second.pause();
  const until = async (machine: MachineHandle, ms: number): Promise<void> => {
    while ((await used(machine)) < ms) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  // Its last slice is accounted for a moment after it stands still.
  await until(first, (await used(first)) + 100);
  const mine = await used(second);
  await until(first, (await used(first)) + 100);
  assert.equal(await used(second), mine);
  await second.resume();
  await until(second, mine + 50);
  await second.kill();
  assert.ok(!(await listMachines()).some((machine) => machine.name === name));
});

test('two Debian guests of two harts on two processors, with disks of their own', {
  ...requires('apt'),
  timeout: 240_000,
}, async () => {
  const { kernel, initrd, commandLine } = await debianImage();
  const linux = { kernel, initrd, append: commandLine, cpus: 2, memoryBytes: 256 * MiB };
  const disks = ['one', 'two'].map((word) => {
    const file = join(folder, `${word}.img`);
    writeFileSync(file, Buffer.alloc(MiB, word));
    return { drives: [{ file }], word };
  });
  const [one, two] = disks;
  assert.ok(one && two);
  const room = { memoryBytes: 1024 * MiB };
  await using first = await createMachine({ ...linux, drives: one.drives, processors: 2, room });
  await using second = await first.createPartition({ ...linux, drives: two.drives });
  const say = async (machine: MachineHandle, script: string): Promise<string> =>
    Buffer.from((await machine.exec(['sh', '-c', script])).stdout).toString();
  const work = 'nproc; head -c 3 /dev/vda; for i in 1 2 3; do head -c 300000 /dev/zero | md5sum & done; wait';
  const [mine, other] = await Promise.all([say(first, work), say(second, work)]);
  assert.match(mine, /^2\none/);
  assert.match(other, /^2\ntwo/);
  assert.equal(mine.slice(5), other.slice(5));
  assert.equal(mine.match(/[0-9a-f]{32}/g)?.length, 3);
  assert.equal((await second.stop()).reason, 'poweroff');
  assert.match(await say(first, 'echo alive'), /alive/);
});
