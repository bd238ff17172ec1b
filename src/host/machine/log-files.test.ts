/** The file of `--trap-log`, as machines write it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { assemble } from '../../isa/index.ts';
import { createMachine, type MachineOptions } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-trap-log-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const turns = 20;
/** Every hart writes a CSR and executes an emulated instruction, some times; the first one then ends the machine. */
const bios = join(folder, 'program.bin');
writeFileSync(
  bios,
  assemble(
    `
      li s0, ${turns}
    1: csrw mscratch, s0
      sh1add a0, s0, a0
      addi s0, s0, -1
      bnez s0, 1b
      li t0, 0x80001000
      li t1, 1
      amoadd.w t1, t1, (t0)
      csrr t2, mhartid
    2: bnez t2, 2b
      li t1, 2
    3: lw t2, 0(t0)
      bne t1, t2, 3b
      li t0, 0x100000
      li t1, 0x5555
      sw t1, 0(t0)
    4: j 4b`,
    0x8000_0000n,
  ).bytes,
);

const options = { bios, cpus: 2, memoryBytes: 4 << 20, network: false, agent: false, cpu: 'rv64,zba=emulate' } as const;

async function logged(more: MachineOptions): Promise<{ lines: string[]; traps: unknown }> {
  const trapLog = join(folder, 'traps.log');
  const machine = await createMachine({ ...options, traps: ['mscratch', 'sh1add'], trapLog, ...more });
  assert.deepEqual(await machine.exited, { reason: 'poweroff', code: 0 });
  const { overlay } = (await machine.stats()) as unknown as { overlay: { traps: unknown } };
  return { lines: readFileSync(trapLog, 'utf8').trimEnd().split('\n'), traps: overlay.traps };
}

describe('a machine with --trap and --trap-log', () => {
  for (const overlay of [true, false]) {
    for (const clock of ['real', 'instructions'] as const) {
      test(`${overlay ? 'by overlay' : 'by trap'}, ${clock} clock: a line for each execution of each hart`, async () => {
        const { lines, traps } = await logged({ overlay, clock });
        assert.deepEqual(traps, { mscratch: 2 * turns, sh1add: 2 * turns });
        const turn = ['M 0000000080000004 34041073 mscratch', 'M 0000000080000008 20a42533 sh1add'];
        for (const hart of [0, 1]) {
          const expected = Array.from({ length: turns }, () => turn.map((line) => `hart ${hart} ${line}`)).flat();
          assert.deepEqual(
            lines.filter((line) => line.startsWith(`hart ${hart} `)),
            expected,
          );
        }
        assert.equal(lines.length, 4 * turns);
      });
    }
  }

  test('counts what the log had no room for', async () => {
    const endless = join(folder, 'endless.bin');
    const source = readFileSync(bios);
    // 20,000 turns on one hart: more than fits between two looks at the ring by the instruction clock.
    const many = assemble('lui s0, 5', 0x8000_0000n).bytes;
    writeFileSync(endless, Buffer.concat([many, source.subarray(many.length)]));
    const { lines, traps } = await logged({ bios: endless, clock: 'instructions' });
    const count = 5 << 12;
    assert.deepEqual(traps, { mscratch: 2 * count, sh1add: 2 * count });
    const lost = lines.flatMap((line) => /^\.\.\. (\d+) more$/.exec(line)?.[1] ?? []).map(Number);
    assert.ok(lost.length > 0);
    assert.equal(lost.reduce((sum, one) => sum + one, 0) + lines.length - lost.length, 4 * count);
  });

  test('a file that cannot be written is an error before anything starts', async () => {
    const trapLog = join(folder, 'nowhere', 'traps.log');
    await assert.rejects(createMachine({ ...options, traps: ['wfi'], trapLog }), {
      code: 'bad-trap-log',
      message: /nowhere\/traps\.log cannot be written/,
      fix: /--trap-log/,
    });
    assert.ok(!readdirSync(folder).includes('nowhere'));
  });

  test('a machine that cannot start leaves no file, and what stood in it stays', async () => {
    const firmware = join(folder, 'large.bin');
    const [kept, made] = [join(folder, 'kept.log'), join(folder, 'made.log')];
    writeFileSync(firmware, new Uint8Array(2 << 20));
    writeFileSync(kept, 'of the last run');
    for (const trapLog of [kept, made]) {
      const tooLittle = { ...options, bios: firmware, memoryBytes: 1 << 20, traps: ['wfi'], trapLog };
      await assert.rejects(createMachine(tooLittle), { message: /needs 2 MiB|memory/ });
    }
    assert.equal(readFileSync(kept, 'utf8'), 'of the last run');
    assert.ok(!readdirSync(folder).includes('made.log'));
  });
});
