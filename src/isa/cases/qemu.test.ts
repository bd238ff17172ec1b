import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { programPath } from '../../../test/toolbox.ts';
import { must } from '../../base/assert.ts';
import { ROW_CODES } from '../code.ts';
import { createDecoder } from '../decoder.ts';
import { DEFAULT_EXTENSIONS } from '../extensions.ts';
import { PRIVILEGED } from '../privileged/rows.ts';
import { casesOf, compressedCases } from './generate.testing.ts';
import { CASE_DATA, CASE_PC, type InstructionCase, type Outcome } from './instruction-case.testing.ts';
import { runInQemu } from './qemu-machine.testing.ts';
import { randomCases } from './random.testing.ts';
import { referenceMachine } from './reference-machine.testing.ts';
import { assertSame } from './suite.testing.ts';

/**
 * CASES=all runs every directed case, CASES=1000000 that many random ones; otherwise it is a part that takes seconds.
 * SEED=n begins with the random cases of that seed; the seeds of a run are printed.
 */
const asked = process.env['CASES'];
const STRIDE = asked === 'all' ? 1 : 16;
const RANDOM = Number(asked) || 10_000;

/** What cannot be compared: what QEMU 10 does otherwise, and where its harness would not get control back. */
const EXCLUDED: readonly { readonly why: string; is(c: InstructionCase, o: Outcome): boolean }[] = [
  {
    why: 'misaligned atomics are done (one hart)',
    is: (c, o) => kindOf(c) === 'amo' && (o.trap?.cause === 4 || o.trap?.cause === 6),
  },
  {
    why: 'a store-conditional without reservation fails before it looks at its address',
    is: (c, o) => c.row.name.startsWith('sc.') && o.trap !== undefined,
  },
  {
    why: 'sc.w behind lr.d, sc.d behind lr.w: stores and says that it failed',
    is: (c) => c.row.name.startsWith('sc.') && c.before.some((bits) => ((bits ^ c.bits) & 0x7000) !== 0),
  },
  {
    why: 'lands in the data window',
    is: (_, o) => !o.trap && o.pc >= CASE_DATA.base && o.pc < CASE_DATA.base + BigInt(CASE_DATA.sizeBytes),
  },
  {
    why: 'lands in its own code',
    is: (c, o) => !o.trap && o.pc >= CASE_PC - 8n && o.pc < CASE_PC + 8n && o.pc !== CASE_PC + BigInt(c.length),
  },
];

function kindOf({ row }: InstructionCase): string {
  return 'kind' in row ? row.kind : 'compressed';
}

/**
 * FS gets Dirty here with every operation that can raise flags; in QEMU only with writes of f registers, also where
 * flags were raised. A trap's pc is its vector here, in the harness the instruction.
 */
function comparable(c: InstructionCase, o: Outcome, expected: Outcome): Outcome {
  const writesFloat = c.row.assembly.includes('frd');
  return {
    ...o,
    pc: expected.trap ? expected.pc : o.pc,
    isFloatDirty: writesFloat ? o.isFloatDirty : expected.isFloatDirty,
  };
}

async function compare(all: readonly InstructionCase[]): Promise<number> {
  const reference = referenceMachine();
  const pairs = all
    .map((c) => [c, reference.run(c)] as const)
    .filter(([c, o]) => !EXCLUDED.some((rule) => rule.is(c, o)));
  const outcomes = await runInQemu(
    programPath('qemu-system-riscv64'),
    pairs.map(([c]) => c),
  );
  for (const [i, [c, expected]] of pairs.entries()) assertSame(comparable(c, must(outcomes[i]), expected), expected, c);
  return pairs.length;
}

test('the reference machine and QEMU agree on directed cases', { ...requires('qemu'), timeout: 600_000 }, async () => {
  const rows = ROW_CODES.filter(({ row }) => !PRIVILEGED.includes(row));
  const all = [...rows.flatMap((code) => [...casesOf(code)]), ...compressedCases(createDecoder(DEFAULT_EXTENSIONS))];
  // A stride that has no factor in common with the generator's loops.
  const chosen = all.filter((_, i) => STRIDE === 1 || i % 37 < 37 / STRIDE);
  assert.ok((await compare(chosen)) > chosen.length / 2);
});

test('the reference machine and QEMU agree on random instructions', {
  ...requires('qemu'),
  timeout: 3_600_000,
}, async (t) => {
  const first = Number(process.env['SEED']) || (Date.now() & 0xffff) + 1;
  for (let done = 0, seed = first; done < RANDOM; done += 16_384, seed++) {
    t.diagnostic(`seed ${seed}`);
    await compare([...randomCases(seed, Math.min(16_384, RANDOM - done))]);
  }
});
