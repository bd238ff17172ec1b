/**
 * Programs of a few instructions in the place of firmware: how a machine ends (the test device's codes), and the
 * instruction clock, which gives the same run for the same seed: same console, same counters, to the instruction.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { ExitStatus, MachineOptions } from '../../src/host/machine/index.ts';
import { assemble } from '../../src/isa/index.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-bare-metal-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let programs = 0;

/** The program, assembled for the start of memory, as a file. */
function program(source: string): string {
  const path = join(folder, `program-${programs++}.bin`);
  writeFileSync(path, assemble(source, 0x8000_0000n).bytes);
  return path;
}

/** Every hart writes `word` to the test device. */
const finish = (word: number): string => `
    li t0, 0x100000
    li t1, ${word}
    sw t1, 0(t0)
1:  j 1b`;

async function run(
  source: string,
  options: MachineOptions = {},
): Promise<{ status: ExitStatus; console: string; instructions: number[] }> {
  await using guest = await Guest.start(
    { bios: program(source), memoryBytes: 16 << 20, network: false, ...options },
    60_000,
  );
  const status = await guest.machine.exited;
  const { vcpus } = (await guest.machine.stats()) as { vcpus: { instructions: number }[] };
  return { status, console: guest.console, instructions: vcpus.map((vcpu) => vcpu.instructions) };
}

describe('the test device ends the machine', () => {
  for (const code of [1, 2, 42, 125, 255]) {
    test(`with failure ${code}`, async () => {
      assert.deepEqual((await run(finish(code * 65536 + 0x3333))).status, { reason: 'failure', code });
    });
  }

  test('with failure 1 where the guest fails with 0, or with a code that no process can end with', async () => {
    assert.deepEqual((await run(finish(0x3333))).status, { reason: 'failure', code: 1 });
    assert.deepEqual((await run(finish(256 * 65536 + 0x3333))).status, { reason: 'failure', code: 1 });
  });

  test('with success', async () => {
    assert.deepEqual((await run(finish(0x5555))).status, { reason: 'poweroff', code: 0 });
  });

  test('with the wish for another start', async () => {
    assert.deepEqual((await run(finish(0x7777))).status, { reason: 'reboot', code: 0 });
  });
});

/**
 * Harts race for a shared counter, each with a walk of its own, and print who was where; the first that sees the
 * counter full waits for the timer by wfi and ends the machine. What is printed depends on the order of the harts.
 */
const race = `
    csrr s0, mhartid
    li s1, 0x80100000       # the counter
    li s2, 0x10000000       # the UART
    addi s3, s0, 5
again:
    li t0, 1000
    mul t0, t0, s3
2:  addi t0, t0, -1
    bnez t0, 2b
    li t1, 1
    amoadd.d t2, t1, (s1)
    addi t3, s0, 48         # the hart's digit
    sb t3, 0(s2)
    rdtime t4
    andi t4, t4, 15
    addi t4, t4, 97         # a letter for the time
    sb t4, 0(s2)
    li t5, 40
    blt t2, t5, again
    bne t2, t5, rest
    li t0, 0x02004000       # mtimecmp: 10 ms from now
    slli t1, s0, 3
    add t0, t0, t1
    rdtime t1
    li t2, 100000
    add t1, t1, t2
    sd t1, 0(t0)
    li t0, 128
    csrw mie, t0
    wfi
    ${finish(0x5555)}
rest:
    wfi
    j rest`;

describe('the instruction clock', () => {
  for (const cpus of [1, 3]) {
    test(`${cpus} ${cpus === 1 ? 'hart' : 'harts'}: the same seed gives the same run`, async () => {
      const options = { clock: 'instructions', seed: 7, cpus } as const;
      const [first, second] = [await run(race, options), await run(race, options)];
      assert.deepEqual(first.status, { reason: 'poweroff', code: 0 });
      assert.deepEqual(second, first);
      assert.ok(first.console.length >= 80, first.console);
      for (let hart = 0; hart < cpus; hart++) assert.ok(first.console.includes(String(hart)), first.console);
      for (const count of first.instructions) assert.ok(count > 1000, String(first.instructions));
    });
  }
});
