/**
 * The disassembler: an instruction's bits as the assembler reads them, by the rows' templates. It prints the
 * instructions as they are, without aliases (`addi a0, zero, 1`, never `li`), like `objdump -M no-aliases`.
 */
import { must } from '../base/assert.ts';
import { COMPRESSED_CODES, operandName, ROW_CODES } from './code.ts';
import type { Decoded, Decoder } from './decoder.ts';
import { defaultRoundingMode, OPERAND_SYNTAX, type OperandContext } from './operands.ts';
import { type Pattern, readField, readImmediate } from './pattern.ts';
import type { CompressedRow, Row } from './row.ts';

const PATTERNS: ReadonlyMap<Row | CompressedRow, Pattern> = new Map(
  [...ROW_CODES, ...COMPRESSED_CODES].map(({ row, pattern }) => [row, pattern]),
);

/** The text of the instruction at `pc`: `c.addi sp, -16`; or its bits as data where it is none. */
export function disassemble(decoder: Decoder, bits: number, pc = 0n): string {
  const decoded = decoder.decode(bits);
  if (decoded) return disassembleDecoded(decoded, pc);
  return (bits & 3) === 3 ? `.word 0x${(bits >>> 0).toString(16)}` : `.half 0x${(bits & 0xffff).toString(16)}`;
}

/** The text of a decoded instruction; a compressed one's own, not that of what it expands to. */
export function disassembleDecoded(decoded: Decoded, pc: bigint): string {
  const row = decoded.compressed ?? decoded.row;
  const pattern = must(PATTERNS.get(row));
  const immediate = pattern.immediate && readImmediate(pattern.immediate, decoded.bits);
  const context: OperandContext = {
    pc,
    immediate: pattern.immediate,
    relative: decoded.row.kind === 'branch' || decoded.row.name === 'jal',
    evaluate: () => undefined,
  };
  const operandValue = (name: string): number => {
    const operand = must(operandName(name), `${row.name}: ${name}`);
    if (operand === 'imm') return must(immediate);
    return readField(must(pattern.fields.find((field) => field.name === operand)), decoded.bits);
  };
  const space = row.assembly.indexOf(' ');
  const mnemonic = space < 0 ? row.assembly : row.assembly.slice(0, space);
  const operands = (space < 0 ? '' : row.assembly.slice(space + 1))
    .split(', ')
    .filter((template) => {
      if (template === 'rm') return operandValue('rm') !== defaultRoundingMode(row.name);
      return template !== '' && !(template.endsWith('?') && operandValue(template.slice(0, -1)) === 0);
    })
    .map((template) =>
      template
        .replace('?', '')
        .replace(/\w+/g, (name) =>
          Object.hasOwn(OPERAND_SYNTAX, name) ? must(OPERAND_SYNTAX[name]).print(operandValue(name), context) : name,
        ),
    );
  return [mnemonic.replace(/N$/, String(immediate)) + ordering(pattern, decoded.bits), operands.join(', ')]
    .filter((part) => part !== '')
    .join(' ');
}

/** `.aq`, `.rl`, `.aqrl` of atomics. */
function ordering(pattern: Pattern, bits: number): string {
  const set = pattern.fields
    .filter(({ name }) => name === 'aq' || name === 'rl')
    .filter((field) => readField(field, bits) === 1);
  return set.length === 0 ? '' : `.${set.map(({ name }) => name).join('')}`;
}
