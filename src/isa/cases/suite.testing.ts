/** The shared suite: every machine that runs instructions runs all directed cases, and must do what the manual says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import { ROW_CODES, rowCode } from '../code.ts';
import { createDecoder } from '../decoder.ts';
import { DEFAULT_EXTENSIONS } from '../extensions.ts';
import { readImmediate } from '../pattern.ts';
import { PRIVILEGED } from '../privileged/rows.ts';
import { expectedOutcome } from './expect.testing.ts';
import { casesOf, compressedCases } from './generate.testing.ts';
import { CASE_PC, type CaseMachine, type InstructionCase, initialX, type Outcome } from './instruction-case.testing.ts';
import { randomCases } from './random.testing.ts';

const RANDOM_SEED = 1;
const RANDOM_COUNT = 20_000;

/** Declares the tests, one for each row and one for all 16-bit instructions. */
export function testCases(machine: CaseMachine): void {
  for (const code of ROW_CODES) {
    if (PRIVILEGED.includes(code.row)) continue;
    test(`${code.row.name} does what the manual says`, () => {
      let count = 0;
      for (const c of casesOf(code)) {
        const imm = code.pattern.immediate ? readImmediate(code.pattern.immediate, c.bits) : 0;
        assertSame(machine.run(c), expectedOutcome(c, BigInt(imm)), c);
        count++;
      }
      assert.ok(count > 0);
    });
  }
  test('random instructions do what the manual says', () => {
    for (const c of randomCases(RANDOM_SEED, RANDOM_COUNT)) {
      const { immediate } = rowCode(c.row.name).pattern;
      assertSame(machine.run(c), expectedOutcome(c, BigInt(immediate ? readImmediate(immediate, c.bits) : 0)), c);
    }
  });
  test('every 16-bit instruction does what its expansion does', () => testCompressed(machine));
}

function testCompressed(machine: CaseMachine): void {
  const decoder = createDecoder(DEFAULT_EXTENSIONS);
  let count = 0;
  for (const c of compressedCases(decoder)) {
    const { row, rd, rs1, expanded } = must(decoder.decode(c.bits));
    const long = machine.run({ ...c, bits: expanded, length: 4 });
    // Behind it lies the instruction two bytes on: the pc unless it jumps, and the link of c.jalr.
    const isZero = initialX(c, rs1) === 0n;
    const jumps = row.kind === 'jump' || (row.name === 'beq' && isZero) || (row.name === 'bne' && !isZero);
    const x = long.x.map((value, i) => (row.name === 'jalr' && i === rd && i !== 0 ? value - 2n : value));
    if (!jumps && !long.trap) assert.equal(long.pc, CASE_PC + 4n);
    assertSame(machine.run(c), { ...long, x, pc: jumps || long.trap ? long.pc : CASE_PC + 2n }, c);
    count++;
  }
  assert.equal(count, decoder.expansions.filter((expansion) => expansion !== 0).length);
}

/** The comparison in full is slow: it is for the message. */
export function assertSame(actual: Outcome, expected: Outcome, c: InstructionCase): void {
  if (!isSame(actual, expected)) assert.deepEqual(actual, expected, show(c));
}

function isSame(a: Outcome, b: Outcome): boolean {
  return (
    a.pc === b.pc &&
    a.trap?.cause === b.trap?.cause &&
    a.trap?.tval === b.trap?.tval &&
    a.fflags === b.fflags &&
    a.isFloatDirty === b.isFloatDirty &&
    a.x.every((value, i) => value === b.x[i]) &&
    a.f.every((value, i) => value === b.f[i]) &&
    a.data.every((value, i) => value === b.data[i])
  );
}

/** All that a case says, to run it alone. */
function show(c: InstructionCase): string {
  const registers = (name: string, map: ReadonlyMap<number, bigint>) =>
    Array.from(map, ([i, value]) => `${name}${i}=${value.toString(16)}`).join(' ');
  return `${c.name} ${c.bits.toString(16)} frm=${c.frm} ${registers('x', c.x)} ${registers('f', c.f)}`;
}
