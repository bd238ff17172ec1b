/**
 * A small assembler for tests and tools: instructions by the rows' templates, the usual aliases, labels, data. It
 * follows the GNU assembler's names and operand order, but never compresses or relaxes: 16-bit instructions are
 * written as such (`c.addi`), and every instruction has its size before labels are known. Left out: sections, symbols
 * of other files, relocations, macros, `%hi` and `%lo` (`la` is relative to pc).
 *
 *   source -> statements with sizes (labels get addresses) -> bytes
 */
import { OperatorError } from '../base/errors.ts';
import { expandAlias } from './aliases.ts';
import { COMPRESSED_CODES, type CompressedCode, encode, operandName, ROW_CODES, type RowCode } from './code.ts';
import { expand } from './decoder.ts';
import { type Directive, directiveBytes, directiveSize } from './directives.ts';
import { evaluate, type Symbols } from './expressions.ts';
import { loadAddress, loadImmediate } from './load-immediate.ts';
import { defaultRoundingMode, OPERAND_SYNTAX, type OperandContext } from './operands.ts';
import { registerNumber } from './registers.ts';

export interface Assembly {
  readonly bytes: Uint8Array;
  /** Addresses of the labels. */
  readonly symbols: ReadonlyMap<string, bigint>;
}

interface Statement {
  readonly line: number;
  readonly at: bigint;
  readonly sizeBytes: number;
  readonly content: Content;
}

type Content =
  | Directive
  | { readonly kind: 'instruction'; readonly text: string }
  | { readonly kind: 'address'; readonly register: string; readonly label: string };

type Code = RowCode | CompressedCode;
const CODES: ReadonlyMap<string, Code> = new Map(
  [...ROW_CODES, ...COMPRESSED_CODES].map((code) => [code.row.name, code]),
);

/** Assembles a program whose first byte lies at `origin`. Throws OperatorError (`bad-assembly`) that names the line. */
export function assemble(source: string, origin = 0n): Assembly {
  const symbols = new Map<string, bigint>();
  const locals: { name: string; at: bigint }[] = [];
  const statements: Statement[] = [];
  let at = origin;
  source.split('\n').forEach((raw, index) => {
    const line = index + 1;
    for (let text of withoutComment(raw).split(';')) {
      for (let label = LABEL.exec(text); label; label = LABEL.exec(text)) {
        const name = label[1] as string;
        if (/^\d+$/.test(name)) locals.push({ name, at });
        else if (symbols.has(name)) throw badAssembly(line, `label '${name}' is there twice`);
        else symbols.set(name, at);
        text = text.slice(label[0].length);
      }
      for (const content of contents(text.trim(), line)) {
        const sizeBytes = sizeOf(content, at);
        statements.push({ line, at, sizeBytes, content });
        at += BigInt(sizeBytes);
      }
    }
  });
  const bytes = new Uint8Array(Number(at - origin));
  for (const statement of statements) {
    const lookup: Symbols = (name) => symbols.get(name) ?? localLabel(locals, name, statement.at);
    bytes.set(bytesOf(statement, lookup), Number(statement.at - origin));
  }
  return { bytes, symbols };
}

/** The bits of one instruction at `pc`; targets of branches are addresses. Throws as `assemble` does. */
export function assembleInstruction(text: string, pc = 0n): number {
  return instructionBits(text, pc, () => undefined, 1);
}

const LABEL = /^\s*([\w.$]+):/;

function withoutComment(line: string): string {
  return line.replace(/(#|\/\/).*$/, '');
}

/** What a statement's text stands for: nothing, data, or one or several instructions. */
function contents(text: string, line: number): readonly Content[] {
  if (text === '') return [];
  const { mnemonic, operands } = split(text);
  if (mnemonic.startsWith('.')) return [{ kind: 'directive', name: mnemonic, operands }];
  const instruction = (instructionText: string) => ({ kind: 'instruction', text: instructionText }) as const;
  if (mnemonic === 'li' || mnemonic === 'la') {
    const [register = '', value = ''] = operands;
    if (operands.length !== 2) throw badAssembly(line, `'${text}' needs a register and a value`);
    if (mnemonic === 'la') return [{ kind: 'address', register, label: value }];
    const constant = evaluate(value, () => undefined);
    if (constant === undefined) throw badAssembly(line, `'${value}' is not a number`);
    return loadImmediate(register, constant).map(instruction);
  }
  return [instruction(text)];
}

function bytesOf({ content, line, at, sizeBytes }: Statement, symbols: Symbols): Uint8Array {
  if (content.kind === 'directive') {
    const bytes = directiveBytes(content, sizeBytes, (text) => evaluate(text, symbols, at));
    if (!bytes) throw badAssembly(line, `'${content.name} ${content.operands.join(', ')}' is no data`);
    return bytes;
  }
  if (content.kind === 'instruction') return littleEndian(instructionBits(content.text, at, symbols, line), sizeBytes);
  const target = evaluate(content.label, symbols, at);
  const pair = target === undefined ? undefined : loadAddress(content.register, BigInt.asIntN(64, target - at));
  if (!pair) throw badAssembly(line, `'${content.label}' is no address within 2 GiB`);
  const [first, second] = pair.map((text) => littleEndian(instructionBits(text, at, symbols, line), 4));
  return Uint8Array.of(...(first ?? []), ...(second ?? []));
}

function sizeOf(content: Content, at: bigint): number {
  switch (content.kind) {
    case 'directive':
      return directiveSize(content, at);
    case 'address':
      return 8;
    case 'instruction':
      return content.text.startsWith('c.') ? 2 : 4;
  }
}

function littleEndian(bits: number, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => bits >>> (8 * i));
}

function instructionBits(text: string, pc: bigint, symbols: Symbols, line: number): number {
  const written = split(text);
  const alias = expandAlias(written.mnemonic, written.operands);
  const { mnemonic, operands } = alias === undefined ? written : split(alias);
  const found = findCode(mnemonic);
  if (!found) throw badAssembly(line, `there is no instruction '${mnemonic}'`);
  const { code, fixed } = found;
  const kind = 'target' in code ? code.target.row.kind : code.row.kind;
  const name = 'target' in code ? code.target.row.name : code.row.name;
  const context: OperandContext = {
    pc,
    immediate: code.pattern.immediate,
    relative: kind === 'branch' || name === 'jal',
    evaluate: (expression) => evaluate(expression, symbols, pc),
  };
  const values = parseOperands(code, operands, context);
  const bits = values && encode(code.pattern, { ...fixed, ...values });
  if (bits === undefined || ('target' in code && expand(code, bits) === undefined)) {
    throw badAssembly(line, `'${text}' does not fit '${code.row.assembly}'`);
  }
  return bits;
}

/** A mnemonic's row, and the operands that are part of the mnemonic: ordering of atomics, number of a may-be-operation. */
function findCode(mnemonic: string): { code: Code; fixed: { aq?: number; rl?: number; imm?: number } } | undefined {
  const plain = CODES.get(mnemonic);
  if (plain) return { code: plain, fixed: {} };
  const [, stem = '', suffix = ''] = /^(.*)\.(aq|rl|aqrl|\d+)$/.exec(mnemonic) ?? [];
  const ordered = CODES.get(stem);
  if (ordered?.pattern.fields.some(({ name }) => name === 'aq') && !/\d/.test(suffix)) {
    return { code: ordered, fixed: { aq: suffix.startsWith('aq') ? 1 : 0, rl: suffix.endsWith('rl') ? 1 : 0 } };
  }
  const numbered = CODES.get(`${stem}.N`);
  return numbered && { code: numbered, fixed: { imm: Number(suffix) } };
}

function parseOperands(
  code: Code,
  operands: readonly string[],
  context: OperandContext,
): Record<string, number> | undefined {
  const { assembly, name } = code.row;
  const space = assembly.indexOf(' ');
  const templates = space < 0 ? [] : assembly.slice(space + 1).split(', ');
  const values: Record<string, number> = {};
  if (operands.length > templates.length) return undefined;
  for (const [i, template] of templates.entries()) {
    const text = operands[i];
    if (text === undefined) {
      if (template === 'rm') values['rm'] = defaultRoundingMode(name);
      else if (!template.endsWith('?')) return undefined;
      continue;
    }
    // `imm(rs1)` has two parts; `(rs1)` may be written with an offset of 0.
    const [, offset = '', base] = /^(.*?)\s*(?:\(\s*(\w+)\s*\))?$/.exec(text) ?? [];
    const [, offsetTemplate = '', baseTemplate] = /^(.*?)(?:\((\w+)\))?$/.exec(template) ?? [];
    if ((base === undefined) !== (baseTemplate === undefined)) return undefined;
    if (base !== undefined && !parseOne(baseTemplate as string, base, context, values)) return undefined;
    if (
      offsetTemplate === ''
        ? offset !== '' && offset !== '0'
        : !parseOne(offsetTemplate, offset || '0', context, values)
    ) {
      return undefined;
    }
  }
  return values;
}

function parseOne(template: string, text: string, context: OperandContext, values: Record<string, number>): boolean {
  const name = template.replace('?', '');
  const operand = operandName(name);
  if (!operand)
    return text === name || (registerNumber(name) !== undefined && registerNumber(name) === registerNumber(text));
  const value = OPERAND_SYNTAX[name]?.parse(text, context);
  if (value === undefined) return false;
  values[operand] = value;
  return true;
}

function split(text: string): { mnemonic: string; operands: readonly string[] } {
  const [, mnemonic = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(text.trim()) ?? [];
  return { mnemonic, operands: rest === '' ? [] : rest.split(',').map((operand) => operand.trim()) };
}

/** `1b`: the last label 1 up to here; `1f`: the next one. */
function localLabel(locals: readonly { name: string; at: bigint }[], name: string, here: bigint): bigint | undefined {
  const [, number, direction] = /^(\d+)([bf])$/.exec(name) ?? [];
  if (direction === 'b') return locals.findLast((label) => label.name === number && label.at <= here)?.at;
  return locals.find((label) => label.name === number && label.at > here)?.at;
}

function badAssembly(line: number, what: string): OperatorError {
  return new OperatorError(
    'bad-assembly',
    `line ${line}: ${what}`,
    'Correct the line; docs/isa.md lists instructions and aliases.',
  );
}
