import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { requires } from '../../test/capability.ts';
import { programPath } from '../../test/toolbox.ts';
import { must } from '../base/assert.ts';
import { ROW_CODES, type RowCode } from './code.ts';
import { CSRS } from './csr/index.ts';
import { createDecoder } from './decoder.ts';
import { disassemble } from './disassembler.ts';
import { parseCpu } from './extensions.ts';
import { defaultRoundingMode } from './operands.ts';

const decoder = createDecoder(parseCpu('rv64,h=on,smstateen=on'));
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-objdump-'));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Placed {
  readonly bits: number;
  readonly length: 2 | 4;
}

/** objdump's text of each instruction, the first at address 0; targets of jumps as hexadecimal numbers. */
function objdump(instructions: readonly Placed[]): readonly string[] {
  const bytes = instructions.flatMap(({ bits, length }) => Array.from({ length }, (_, i) => (bits >>> (8 * i)) & 0xff));
  const path = join(folder, 'instructions.bin');
  writeFileSync(path, Uint8Array.from(bytes));
  const options = ['-D', '-b', 'binary', '-m', 'riscv:rv64', '-M', 'no-aliases,max', '--no-show-raw-insn', '-z'];
  const listing = execFileSync(programPath('riscv64-linux-gnu-objdump'), [...options, path], { maxBuffer: 2 ** 28 });
  const lines = listing.toString().matchAll(/^\s*[\da-f]+:\t(.*)$/gm);
  return Array.from(lines, ([, text = '']) => text.replace(/\s*[#<].*$/, '').trim());
}

/** Our text in objdump's spacing, with numbers as it writes them. */
function ours(bits: number, pc: number): string {
  return disassemble(decoder, bits, BigInt(pc)).replace(' ', '\t').replaceAll(', ', ',');
}

/** 16-bit hints and may-be-operations that objdump names after what they are to become, or after RV128. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  'c.mop.1': 'c.sspush\tra',
  'c.mop.5': 'c.sspopchk\tt0',
  'c.add\tzero,sp': 'c.ntl.p1',
  'c.add\tzero,gp': 'c.ntl.pall',
  'c.add\tzero,tp': 'c.ntl.s1',
  'c.add\tzero,t0': 'c.ntl.all',
};

/** Our text in objdump's words where the two differ and mean the same. */
function reworded(text: string): string {
  const nop = /^c\.nop(?:\t(.*))?$/.exec(text);
  if (nop) return `c.addi\tzero,${nop[1] ?? '0'}`;
  const unshifted = /^(c\.s[lr][la]i)\t(\w+),0x0$/.exec(text);
  if (unshifted) return `${unshifted[1]}64\t${unshifted[2]}`;
  return OTHER_NAMES[text] ?? text;
}

/** objdump writes FLI's constants as C's %a does: 0x1.4p-2. */
function decimalConstant(text: string): string {
  return text.replace(
    /(-?)0x1(?:\.([\da-f]+))?p([+-]\d+)$/,
    (_, sign: string, fraction: string | undefined, exponent: string) => {
      const significand = 1 + Number.parseInt(fraction ?? '0', 16) / 16 ** (fraction?.length ?? 1);
      return `${sign}${constant(significand * 2 ** Number(exponent))}`;
    },
  );
}

function constant(value: number): string {
  return value < 2 ** -14 ? value.toExponential().replace('e-5', 'e-05') : String(value);
}

function compare(instructions: readonly Placed[]): void {
  const theirs = objdump(instructions);
  assert.equal(theirs.length, instructions.length);
  let pc = 0;
  const differences: string[] = [];
  for (const [i, { bits, length }] of instructions.entries()) {
    const [a, b] = [reworded(ours(bits, pc)), decimalConstant(theirs[i] ?? '')];
    if (a !== b) differences.push(`${bits.toString(16)}: ours '${a}', objdump '${b}'`);
    pc += length;
  }
  assert.deepEqual(differences.slice(0, 20), []);
}

/**
 * Random operands, apart from what objdump has no text for: reserved rounding modes, modes of exact conversions, bits
 * of fences that mean nothing, CSRs that this hart does not have, and landing pads (auipc to x0).
 */
function instruction({ row, pattern }: RowCode, noise: number): number {
  if (row.name === 'fence.i') return pattern.match;
  let bits = (noise & ~pattern.mask) | pattern.match;
  if (row.name === 'fence') bits = (bits & 0x0ff0707f) | 0x01100000;
  if (row.kind === 'csr') bits = (bits & 0xfffff) | (must(CSRS[(noise >>> 20) % CSRS.length]).number << 20);
  if (row.name === 'auipc') bits |= 1 << 7;
  if (pattern.fields.some(({ name }) => name === 'rm')) {
    const mode = (noise >>> 12) & 7;
    if (mode === 5 || mode === 6 || defaultRoundingMode(row.name) === 0) bits &= ~(7 << 12);
  }
  return bits >>> 0;
}

test('32-bit instructions of every row read as objdump has them', requires('cross'), () => {
  const instructions: Placed[] = [];
  let state = 5;
  for (const code of ROW_CODES) {
    for (let i = 0; i < 200; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      instructions.push({ bits: instruction(code, state ^ (state >>> 15)), length: 4 });
    }
  }
  compare(instructions);
});

test('16-bit instructions read as objdump has them, all of them', requires('cross'), () => {
  const instructions: Placed[] = [];
  for (let bits = 0; bits < 0x10000; bits++) if (decoder.expansions[bits] !== 0) instructions.push({ bits, length: 2 });
  compare(instructions);
});
