/**
 * Looking at code of a machine that runs (`kage explain`, `kage explain hot`): by the instruction clock the run is the same
 * as without, to the instruction; with harts on threads of their own, which drop and rewrite what is looked at, every
 * answer is whole.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { CodeExplanation, CodeStatus, MachineOptions, MachineStats } from '../../src/host/machine/index.ts';
import { assemble } from '../../src/isa/index.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-explain-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const BASE = 0x8000_0000n;

/** Every hart works through a loop with calls, and rewrites an instruction of it now and then; hart 0 ends the machine. */
const program = `
    la s0, patch
    la s4, words
    csrr s5, mhartid
    li s1, 0
loop:
    addi s1, s1, 1
    call work
    slli t0, s1, 46
    bnez t0, again
    srli t1, s1, 18
    andi t1, t1, 1
    slli t1, t1, 2
    add t1, t1, s4
    lw t2, 0(t1)
    sw t2, 0(s0)
    fence.i
again:
    li t0, 6000000
    bltu s1, t0, loop
    bnez s5, rest
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
rest:
    wfi
    j rest
work:
    addi a0, a0, 3
patch:
    addi a1, a1, 1
    xor a2, a2, a0
    ret
    .balign 4
words:
    addi a1, a1, 1
    addi a1, a1, 2`;

const { bytes, symbols } = assemble(program, BASE);
const path = join(folder, 'program.bin');
writeFileSync(path, bytes);
const places = [...symbols.values(), 0n, 0x1000_0000n, 0x8080_0000n, (1n << 64n) - 2n];

/** Runs to the end; `looks` at everything all the time. */
async function run(
  options: MachineOptions,
  looks: boolean,
): Promise<{ stats: MachineStats; console: string; seen: CodeExplanation[] }> {
  await using guest = await Guest.start(
    { bios: path, memoryBytes: 16 << 20, network: false, translate: true, hotThreshold: 20, ...options },
    120_000,
  );
  const { machine } = guest;
  const seen: CodeExplanation[] = [];
  let isRunning = true;
  const exited = machine.exited.then((status) => {
    isRunning = false;
    return status;
  });
  for (let i = 0; looks && isRunning; i++) {
    const pc = places[i % (places.length + 1)];
    seen.push(await machine.explain({ hart: i % (options.cpus ?? 1), ...(pc === undefined ? {} : { pc }) }));
    if (i % 10 === 0) assert.ok((await machine.hotRegions(5)).length <= 5);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(await exited, { reason: 'poweroff', code: 0 });
  return { stats: await machine.stats(), console: guest.console, seen };
}

describe('kage explain', () => {
  for (const cpus of [1, 2]) {
    test(`by the instruction clock a run that is looked at is the run that is not (${cpus} harts)`, async () => {
      const options = { clock: 'instructions', seed: 3, cpus } as const;
      const [alone, watched] = [await run(options, false), await run(options, true)];
      assert.ok(watched.seen.length > 10, `${watched.seen.length} looks`);
      assert.ok(watched.seen.some(({ status }) => status === 'translated'));
      assert.deepEqual(watched.stats, alone.stats);
      assert.equal(watched.console, alone.console);
    });
  }

  test('harts on their own threads, which rewrite their code: every answer is whole', async () => {
    const { seen } = await run({ cpus: 2, codeMemoryBytes: 1 << 20 }, true);
    assert.ok(seen.length > 10, `${seen.length} looks`);
    for (const { pc, status, blocks, wasm, region } of seen) {
      assert.equal(region !== undefined, status === 'translated');
      if (status === 'translated') assert.equal(region?.at, pc);
      if (wasm !== undefined) assert.match(wasm.lines.at(-1) ?? '', /return \$budget/);
      if (wasm !== undefined) assert.ok(blocks.length > 0);
    }
    const statuses = new Set(seen.map(({ status }) => status));
    for (const status of ['unexecuted', 'device', 'untouched'] as const) assert.ok(statuses.has(status), status);
    assert.ok(['cold', 'hot', 'inside', 'translated'].some((status) => statuses.has(status as CodeStatus)));
  });
});
