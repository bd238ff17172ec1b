/**
 * Random cases by seed: any row, any registers, values drawn from boundaries, floating-point patterns and noise.
 * Addresses are made to fall into the data window, jumps into the code, so that most cases do something.
 */
import { must } from '../../base/assert.ts';
import { encode, ROW_CODES, type RowCode, rowCode } from '../code.ts';
import { readImmediate } from '../pattern.ts';
import { PRIVILEGED } from '../privileged/rows.ts';
import { CASE_DATA, CASE_PC, type InstructionCase } from './instruction-case.testing.ts';
import { floatRegisters, INTEGERS } from './values.testing.ts';

/** Numbers below 2^32 from a seed, the same everywhere (xorshift32). */
export function randomNumbers(seed: number): () => number {
  let state = (seed | 1) >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state;
  };
}

/** `count` cases; the same for the same seed. */
export function* randomCases(seed: number, count: number): Generator<InstructionCase> {
  const next = randomNumbers(seed);
  const rows = ROW_CODES.filter(({ row }) => !PRIVILEGED.includes(row));
  for (let i = 0; i < count; i++) yield randomCase(must(rows[next() % rows.length]), next);
}

const PATTERNS = [...floatRegisters('h'), ...floatRegisters('s'), ...floatRegisters('d')];

function randomCase(code: RowCode, next: () => number): InstructionCase {
  const { row, pattern } = code;
  const bits = ((next() & ~pattern.mask) | pattern.match) >>> 0;
  const imm = pattern.immediate ? readImmediate(pattern.immediate, bits) : 0;
  const rs1 = (bits >>> 15) & 31;
  const values = (): ReadonlyMap<number, bigint> =>
    new Map(Array.from({ length: 31 }, (_, i) => [i + 1, randomValue(next)] as const));
  const x = new Map(values());
  if (row.assembly.includes('(rs1)') && rs1 !== 0)
    x.set(rs1, BigInt.asUintN(64, randomAddress(row.name, row.kind, next) - BigInt(imm)));
  const isReserved =
    row.name.startsWith('sc.') && rs1 !== 0 && rs1 !== 14 && (x.get(rs1) ?? 0n) % 8n === 0n && next() % 2 === 0;
  const reserve = (): number => must(encode(rowCode(row.name.replace('sc', 'lr')).pattern, { rd: 14, rs1 }));
  return {
    name: `random ${row.name}`,
    row,
    bits,
    length: 4,
    before: isReserved ? [reserve()] : [],
    x,
    f: new Map([[0, randomValue(next)], ...values()]),
    frm: next() % 8,
    isFloatOn: next() % 16 !== 0,
  };
}

function randomAddress(name: string, kind: string, next: () => number): bigint {
  if (name === 'jalr') return CASE_PC - 0x400n + BigInt(next() % 0x800);
  const at = CASE_DATA.base + 16n + BigInt(next() % (CASE_DATA.sizeBytes - 32));
  // Atomics at odd places only trap: rarely.
  return kind === 'amo' && next() % 8 !== 0 ? at - (at % 8n) : at;
}

function randomValue(next: () => number): bigint {
  const noise = (BigInt(next()) << 32n) | BigInt(next());
  switch (next() % 8) {
    case 0:
    case 1:
      return must(INTEGERS[next() % INTEGERS.length]);
    case 2:
    case 3:
      return must(PATTERNS[next() % PATTERNS.length]);
    case 4:
      return noise >> BigInt(next() % 64);
    case 5:
      return BigInt.asUintN(64, BigInt.asIntN(64, noise) >> BigInt(next() % 64));
    case 6:
      return noise | 0xffff_ffff_0000_0000n;
    default:
      return noise;
  }
}
