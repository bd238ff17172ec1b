/**
 * Directed cases of every row that is not privileged, and of every 16-bit instruction: operand aliasing (rd=rs1,
 * rd=rs2, rd=x0, all equal), boundary values, every rounding mode, every misalignment.
 */
import { assert, must } from '../../base/assert.ts';
import { encode, operandName, type RowCode, rowCode, templateOperands } from '../code.ts';
import type { Decoder } from '../decoder.ts';
import type { FloatLetter } from '../machine.ts';
import type { Immediate } from '../pattern.ts';
import { CASE_DATA, CASE_PC, type InstructionCase } from './instruction-case.testing.ts';
import { FEW_INTEGERS, fewFloatRegisters, floatRegisters, INTEGERS } from './values.testing.ts';

/** An address at which neither RAM nor a device of the virt machine answers. */
const NOWHERE = 0x1100_0000n;

type Source = 'rs1' | 'rs2' | 'rs3';
type Registers = { readonly [name in 'rd' | Source]?: number };

/** The cases of a row. Privileged rows have none here: their effects are not of registers and memory alone. */
export function* casesOf(code: RowCode): Generator<InstructionCase> {
  const { row } = code;
  if (row.kind === 'branch' || row.name === 'jal') yield* jumpCases(code, [0x7000n]);
  else if (row.name === 'jalr') yield* jumpCases(code, [CASE_PC, CASE_PC + 1n, CASE_PC + 2n, 0n, (1n << 64n) - 1n]);
  else if (row.assembly.includes('(rs1)')) yield* memoryCases(code);
  else yield* valueCases(code);
  if (row.kind === 'float' || /^f[ls][hwd]$/.test(row.name))
    yield { ...must(firstOf(casesWithFloat(code))), isFloatOn: false };
}

/** One case for each 16-bit instruction that exists, with an address in the data window where it needs one. */
export function* compressedCases(decoder: Decoder): Generator<InstructionCase> {
  for (let bits = 0; bits < 0x10000; bits++) {
    const decoded = (bits & 3) === 3 ? undefined : decoder.decode(bits);
    if (!decoded?.compressed) continue;
    const x = new Map<number, bigint>();
    const f = new Map<number, bigint>();
    for (let i = 0; i < 32; i++) {
      x.set(i, INTEGERS[(bits * 7 + i * 3) % INTEGERS.length] as bigint);
      f.set(i, 0xffff_ffff_3f80_0000n + BigInt(bits * 32 + i));
    }
    const isAddress = decoded.row.assembly.includes('(rs1)');
    if (isAddress) x.set(decoded.rs1, BigInt.asUintN(64, CASE_DATA.middle + BigInt((bits % 31) - 15 - decoded.imm)));
    yield { ...EMPTY, name: decoded.compressed.name, row: decoded.compressed, bits, length: 2, x, f };
  }
}

const EMPTY = { before: [], x: new Map(), f: new Map(), frm: 0, isFloatOn: true } as const;

/** rd and the sources in registers of their own, then in all ways the same, then x0. */
function assignments(code: RowCode): readonly { label: string; registers: Registers }[] {
  const fields = code.pattern.fields.map(({ name }) => name);
  const named = (['rd', 'rs1', 'rs2', 'rs3'] as const).filter((name) => fields.includes(name));
  const own = { rd: 10, rs1: 11, rs2: 12, rs3: 13 } as const;
  const of = (change: (name: 'rd' | Source) => number): Registers =>
    Object.fromEntries(named.map((name) => [name, change(name)]));
  const result = [{ label: 'distinct', registers: of((name) => own[name]) }];
  for (const [i, a] of named.entries()) {
    for (const b of named.slice(i + 1)) {
      result.push({ label: `${a}=${b}`, registers: of((name) => (name === a ? own[b] : own[name])) });
    }
    result.push({ label: `${a}=x0`, registers: of((name) => (name === a ? 0 : own[name])) });
  }
  if (named.length > 2) result.push({ label: 'all equal', registers: of(() => 11) });
  return result;
}

/** Arithmetic, integer and floating-point: operands' values, immediates and rounding modes. */
function* valueCases(code: RowCode): Generator<InstructionCase> {
  const { row } = code;
  const operands = sourcesOf(code);
  const immediates = code.pattern.immediate ? boundaries(code.pattern.immediate) : [0];
  const constants = row.assembly.includes('fconst') ? Array.from({ length: 32 }, (_, i) => i) : [0];
  const modes = roundingModes(code);
  for (const { label, registers } of assignments(code)) {
    const few = fewTuples(operands);
    const tuples = label === 'distinct' && operands.length > 0 ? manyTuples(operands) : few;
    let index = 0;
    for (const imm of immediates) {
      for (const zimm of constants) {
        for (const tuple of tuples) {
          const mode = must(modes[index++ % Math.min(modes.length, 5)]);
          yield make(code, label, registers, { imm, zimm, rm: mode.rm }, operands, tuple, mode.frm);
        }
      }
    }
    // Every mode, reserved ones too, with values that round differently.
    if (label !== 'distinct' || modes.length === 1) continue;
    for (const mode of modes) {
      for (const tuple of few) yield make(code, label, registers, { rm: mode.rm }, operands, tuple, mode.frm);
    }
  }
}

/** Loads, stores and atomics: every offset to the page boundary, an address without memory, all aliasing. */
function* memoryCases(code: RowCode): Generator<InstructionCase> {
  const operands = sourcesOf(code).filter(({ name }) => name !== 'rs1');
  const values = operands[0]?.few.slice(0, 6) ?? [0n];
  const immediates = code.pattern.immediate ? boundaries(code.pattern.immediate) : [0];
  const ordered = code.row.kind === 'amo';
  let index = 0;
  for (const { label, registers } of assignments(code)) {
    for (let offset = -16; offset <= 16; offset++) {
      const address = offset === 16 ? NOWHERE : CASE_DATA.middle + BigInt(offset);
      const imm = must(immediates[index++ % immediates.length]);
      const base = BigInt.asUintN(64, address - BigInt(imm));
      for (const value of values) {
        const ordering = ordered ? { aq: index & 1, rl: (index >> 1) & 1 } : {};
        const plain = make(code, label, registers, { imm, ...ordering }, operands, [value], 0);
        // The address wins where it shares its register with the value.
        const x = new Map([...plain.x, [registers.rs1 ?? 0, base], [15, base + 16n]]);
        for (const before of prologues(code, registers, address)) yield { ...plain, x, before };
      }
    }
  }
}

/** A store-conditional without a reservation, with its own, with one of the other size, with one elsewhere. */
function prologues(code: RowCode, registers: Registers, address: bigint): readonly (readonly number[])[] {
  const isReservable = registers.rs1 !== 0 && address % 8n === 0n && address >= CASE_DATA.base;
  if (!code.row.name.startsWith('sc.') || !isReservable) return [[]];
  const reserve = (size: string, rs1: number): number => must(encode(rowCode(`lr.${size}`).pattern, { rd: 14, rs1 }));
  const [own, other] = code.row.name === 'sc.w' ? ['w', 'd'] : ['d', 'w'];
  const rs1 = registers.rs1 ?? 0;
  const elsewhere = reserve(own, 15);
  return [[], [reserve(own, rs1)], [reserve(other, rs1)], [elsewhere], [reserve(own, rs1), elsewhere]];
}

/** Branches with all pairs of a few values, jumps with all boundaries of their offsets. */
function* jumpCases(code: RowCode, bases: readonly bigint[]): Generator<InstructionCase> {
  const operands = sourcesOf(code);
  const isBranch = operands.length === 2;
  const tuples = isBranch ? product(operands.map(() => FEW_INTEGERS)) : bases.map((base) => [base]);
  for (const { label, registers } of assignments(code)) {
    for (const imm of boundaries(must(code.pattern.immediate))) {
      for (const tuple of tuples) yield make(code, label, registers, { imm }, operands, tuple, 0);
    }
  }
}

interface SourceOperand {
  readonly name: Source;
  readonly isFloat: boolean;
  readonly many: readonly bigint[];
  readonly few: readonly bigint[];
}

/** The registers that a row reads, with values to try. */
function sourcesOf(code: RowCode): readonly SourceOperand[] {
  const letter = sourceFormat(code.row.name);
  return templateOperands(code.row.assembly)
    .filter((name) => /^f?rs[123]$/.test(name))
    .map((name) => {
      const isFloat = name.startsWith('f');
      return {
        name: must(operandName(name)) as Source,
        isFloat,
        many: isFloat ? floatRegisters(letter) : INTEGERS,
        few: isFloat ? fewFloatRegisters(letter) : FEW_INTEGERS,
      };
    });
}

/** The format of a mnemonic's floating-point operands: the last letter, `w` being S's bits. */
function sourceFormat(name: string): FloatLetter {
  const last = name.at(-1);
  return last === 'h' || last === 'd' ? last : 's';
}

/** All values of one operand; each value of one with a few of the others, for two; a few of each, for three. */
function manyTuples(operands: readonly SourceOperand[]): readonly (readonly bigint[])[] {
  const [a, b, c] = operands;
  assert(a, 'a row without sources has no tuples');
  if (!b) return a.many.map((value) => [value]);
  if (c) return product(operands.map(({ few }) => few));
  return [...product([a.many, b.few]), ...product([a.few, b.many])];
}

/** Each of one operand's few values with some of the others'. */
function fewTuples(operands: readonly SourceOperand[]): readonly (readonly bigint[])[] {
  const shifts = operands.length > 1 ? [0, 1, 3] : [0];
  const length = operands[0]?.few.length ?? 1;
  return shifts.flatMap((shift) =>
    Array.from({ length }, (_, i) => operands.map(({ few }, k) => must(few[(i + k * shift) % few.length]))),
  );
}

function product(lists: readonly (readonly bigint[])[]): readonly (readonly bigint[])[] {
  return lists.reduce<readonly (readonly bigint[])[]>(
    (tuples, list) => tuples.flatMap((tuple) => list.map((value) => [...tuple, value])),
    [[]],
  );
}

/** The instruction's own modes first, then through frm, then those that are reserved. */
function roundingModes(code: RowCode): readonly { rm: number; frm: number }[] {
  if (!code.pattern.fields.some(({ name }) => name === 'rm')) return [{ rm: 0, frm: 0 }];
  const own = [0, 1, 2, 3, 4, 5, 6].map((rm) => ({ rm, frm: 3 }));
  return [...own, ...[0, 1, 2, 3, 4, 5, 6, 7].map((frm) => ({ rm: 7, frm }))];
}

function boundaries({ signed, topBit, lowBit }: Immediate): readonly number[] {
  const unit = 2 ** lowBit;
  const most = signed ? 2 ** topBit - unit : 2 ** (topBit + 1) - unit;
  return signed
    ? [0, unit, -unit, most, -most - unit, 8 * unit]
    : [0, unit, most, (most + unit) / 2, (most + unit) / 2 - unit];
}

function make(
  code: RowCode,
  label: string,
  registers: Registers,
  fields: {
    readonly imm?: number;
    readonly zimm?: number;
    readonly rm?: number;
    readonly aq?: number;
    readonly rl?: number;
  },
  operands: readonly SourceOperand[],
  tuple: readonly bigint[],
  frm: number,
): InstructionCase {
  const bits = must(encode(code.pattern, { ...fields, ...registers }), `${code.row.name} cannot be encoded`);
  const contents = (isFloat: boolean): ReadonlyMap<number, bigint> =>
    new Map(
      operands.flatMap((o, i) => (o.isFloat === isFloat ? [[must(registers[o.name]), tuple[i] ?? 0n] as const] : [])),
    );
  return {
    ...EMPTY,
    name: `${code.row.name} ${label}`,
    row: code.row,
    bits,
    length: 4,
    x: contents(false),
    f: contents(true),
    frm,
  };
}

function casesWithFloat(code: RowCode): Generator<InstructionCase> {
  return code.row.assembly.includes('(rs1)') ? memoryCases(code) : valueCases(code);
}

function firstOf<T>(generator: Generator<T>): T | undefined {
  return generator.next().value as T | undefined;
}
