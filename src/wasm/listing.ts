/**
 * Lists a function as text for people, after WebAssembly's text format: control flow line by line, expressions folded.
 * It leaves two things out to be read easily: `local.get`, of which the name alone stands, and what the defaults are
 * (alignment, offsets of zero). So it shows code and cannot be assembled again.
 *
 *   local.set $a0 (i64.add $a0 (i64.const 1))
 *   br_if $loop1 (i64.lt_u $a0 $a1)  ;; likely
 */
import { assert, must } from '../base/assert.ts';
import { ByteReader } from './byte-reader.ts';
import type { Note } from './function.ts';
import { MNEMONICS, type Mnemonic, PREFIXES, prefixed } from './mnemonics.ts';
import { type ReadFunction, type ReadModule, valueType } from './module-reader.ts';
import { OP, type ValueType } from './opcodes.ts';

export interface ListingOptions {
  /** A local's name at an offset into the body, without its dollar sign; undefined: its number serves. */
  localName?(index: number, at: number): string | undefined;
  /** What to write for the offset of an access at the address in a local: `vcpu.pc`. */
  offsetName?(local: number, offset: number, at: number): string | undefined;
  /** What to write for a constant: an address that has a name. */
  constantName?(value: bigint): string | undefined;
  /** Comments that stand in front of the code from an offset into the body on, in order. */
  readonly notes?: readonly Note[];
  noteText?(value: number): string;
}

/** A word and its operands; `local` where it is nothing but a local's value. */
export interface Expression {
  readonly mnemonic: Mnemonic;
  readonly words: readonly string[];
  readonly operands: readonly Expression[];
  /** Offset into the body at which it begins, operands included. */
  readonly from: number;
  readonly local?: number;
  /** Of an access to memory. */
  readonly offset?: number;
}

const WIDTH = 110;

/** The function's lines, without newlines. */
export function listFunction(module: ReadModule, code: ReadFunction, options: ListingOptions = {}): string[] {
  return new Lister(module, code, options).list();
}

/**
 * Calls `visit` for each statement of a function: an instruction that leaves nothing on the stack, with its operands,
 * and how many blocks it stands in.
 */
export function eachStatement(
  module: ReadModule,
  code: ReadFunction,
  visit: (statement: Expression, depth: number) => void,
): void {
  new Lister(module, code, {}).list(visit);
}

class Lister {
  readonly #module: ReadModule;
  readonly #code: ReadFunction;
  readonly #options: ListingOptions;
  readonly #reader: ByteReader;
  readonly #lines: string[] = [];
  readonly #stack: Expression[] = [];
  /** Names of the blocks that are open, outermost first; undefined: an if. */
  readonly #labels: string[] = [];
  #blocks = 0;
  #notes: Note[];
  #visit: ((statement: Expression, depth: number) => void) | undefined;

  constructor(module: ReadModule, code: ReadFunction, options: ListingOptions) {
    this.#module = module;
    this.#code = code;
    this.#options = options;
    this.#reader = new ByteReader(must(code.body, `${code.name} is imported`));
    this.#notes = [...(options.notes ?? [])];
  }

  list(visit?: (statement: Expression, depth: number) => void): string[] {
    this.#visit = visit;
    this.#head();
    while (!this.#reader.isAtEnd) this.#instruction();
    this.#flush();
    return this.#lines;
  }

  #head(): void {
    const { name, type } = this.#code;
    const end = this.#reader.end;
    const params = type.params.map((param, i) => ` (param ${this.#local(i, end)} ${param})`);
    const results = type.results.map((result) => ` (result ${result})`);
    this.#lines.push(`func $${name}${params.join('')}${results.join('')}`);
    let index = type.params.length;
    const byType = new Map<ValueType, string[]>();
    this.#reader.each(() => {
      const count = this.#reader.u32();
      const local = valueType(this.#reader.u8());
      for (let i = 0; i < count; i++) byType.set(local, [...(byType.get(local) ?? []), this.#local(index++, end)]);
    });
    for (const [local, names] of byType) {
      let line = `  local ${local}`;
      for (const each of names) {
        if (line.length + each.length >= WIDTH) {
          this.#lines.push(line);
          line = `  local ${local}`;
        }
        line += ` ${each}`;
      }
      this.#lines.push(line);
    }
  }

  #instruction(): void {
    const { at } = this.#reader;
    const opcode = this.#reader.u8();
    const key = PREFIXES.includes(opcode) ? prefixed(opcode, this.#reader.u32()) : opcode;
    const mnemonic = MNEMONICS.get(key);
    assert(mnemonic !== undefined, `no instruction has opcode 0x${key.toString(16)}`);
    const hint = this.#code.hints.get(at);
    const likelihood = hint === undefined ? '' : `  ;; ${hint}`;
    switch (key) {
      case OP.end:
        this.#flush();
        this.#noteUpTo(at);
        if (this.#reader.isAtEnd) return;
        this.#labels.pop();
        this.#line('end');
        return;
      case OP.else:
        this.#flush();
        this.#noteUpTo(at);
        this.#line('else', -1);
        return;
      case OP.block:
      case OP.loop:
      case OP.if: {
        assert(this.#reader.u8() === 0x40, 'blocks have no results here');
        const label = `${mnemonic.name}${++this.#blocks}`;
        const statement = this.#take(mnemonic, at, mnemonic.pops, key === OP.if ? [] : [`$${label}`]);
        this.#statement(statement, likelihood);
        this.#labels.push(label);
        return;
      }
    }
    const { words, pops, pushes, offset, local } = this.#immediate(mnemonic, key);
    const expression: Expression = {
      ...this.#take(mnemonic, at, pops, words),
      ...(offset === undefined ? {} : { offset }),
      ...(local === undefined ? {} : { local }),
    };
    if (pushes > 0) this.#stack.push(expression);
    else this.#statement(expression, likelihood);
  }

  /** What follows the opcode, as words; and what the instruction takes and leaves. */
  #immediate(mnemonic: Mnemonic, key: number): Immediates {
    const reader = this.#reader;
    const { pops, pushes } = mnemonic;
    const plain = (...words: string[]): Immediates => ({ words, pops, pushes });
    switch (mnemonic.immediate) {
      case 'none':
      case 'blockType':
        return key === OP.return ? { ...plain(), pops: this.#code.type.results.length } : plain();
      case 'label':
        return plain(this.#label(reader.u32()));
      case 'labels':
        return plain(...reader.each(() => this.#label(reader.u32())), this.#label(reader.u32()));
      case 'local': {
        const local = reader.u32();
        // A local that gets its name here has it already.
        return { ...plain(this.#local(local, reader.at)), local };
      }
      case 'function': {
        const { name, type } = must(this.#module.functions[reader.u32()]);
        return { words: [`$${name}`], pops: type.params.length, pushes: type.results.length };
      }
      case 'indirect': {
        const type = must(this.#module.types[reader.u32()]);
        reader.u32();
        const words = [...type.params.map((param) => `(param ${param})`), ...type.results.map((r) => `(result ${r})`)];
        return { words, pops: type.params.length + 1, pushes: type.results.length };
      }
      case 'i32':
      case 'i64':
        return plain(this.#constant(reader.signed()));
      case 'f32':
        return plain(String(reader.f32()));
      case 'f64':
        return plain(String(reader.f64()));
      case 'memory': {
        reader.u8();
        const offset = reader.u32();
        const address = this.#stack.at(-pops);
        const base = address !== undefined && address.mnemonic.name === 'local.get' ? address.local : undefined;
        const name = base === undefined ? undefined : this.#options.offsetName?.(base, offset, reader.at);
        const words = name === undefined ? (offset === 0 ? [] : [`offset=${offset}`]) : [`offset=${name}`];
        return { ...plain(...words), offset };
      }
      case 'byte':
        reader.u8();
        return plain();
      case 'twoBytes':
        reader.u8();
        reader.u8();
        return plain();
    }
  }

  #take(mnemonic: Mnemonic, at: number, pops: number, words: readonly string[]): Expression {
    assert(this.#stack.length >= pops, `${mnemonic.name} lacks operands`);
    const operands = this.#stack.splice(this.#stack.length - pops, pops);
    return { mnemonic, words, operands, from: operands[0]?.from ?? at };
  }

  #statement(statement: Expression, comment: string): void {
    this.#flush();
    this.#visit?.(statement, this.#labels.length);
    this.#noteUpTo(statement.from);
    this.#print(statement, comment, false);
  }

  /** What lies on the stack when a statement is made that does not take it. */
  #flush(): void {
    for (const expression of this.#stack.splice(0)) {
      this.#noteUpTo(expression.from);
      this.#print(expression, '', true);
    }
  }

  #noteUpTo(offset: number): void {
    while (this.#notes[0] !== undefined && this.#notes[0].at <= offset) {
      const { value } = must(this.#notes.shift());
      this.#line(`;; ${this.#options.noteText?.(value) ?? value}`);
    }
  }

  #print(expression: Expression, comment: string, isOperand: boolean): void {
    const indent = this.#labels.length * 2 + 2;
    for (const line of broken(expression, isOperand, indent)) this.#lines.push(line);
    const last = this.#lines.length - 1;
    this.#lines[last] = `${this.#lines[last]}${comment}`;
  }

  #line(text: string, outdent = 0): void {
    this.#lines.push(`${'  '.repeat(this.#labels.length + 1 + outdent)}${text}`);
  }

  #local(index: number, at: number): string {
    return `$${this.#options.localName?.(index, at) ?? index}`;
  }

  #constant(value: bigint): string {
    return this.#options.constantName?.(value) ?? integerText(value);
  }

  #label(depth: number): string {
    const label = this.#labels.at(-1 - depth);
    return label === undefined ? '$func' : `$${label}`;
  }
}

interface Immediates {
  readonly words: readonly string[];
  readonly pops: number;
  readonly pushes: number;
  readonly offset?: number;
  readonly local?: number;
}

/** In one line if it fits, else each operand on its own. */
function broken(expression: Expression, isOperand: boolean, indent: number): string[] {
  const whole = flat(expression, isOperand);
  if (indent + whole.length <= WIDTH || expression.operands.length === 0) return [`${' '.repeat(indent)}${whole}`];
  const { mnemonic, words, operands } = expression;
  const lines = [`${' '.repeat(indent)}${isOperand ? '(' : ''}${[mnemonic.name, ...words].join(' ')}`];
  for (const operand of operands) lines.push(...broken(operand, true, indent + 2));
  if (isOperand) lines[lines.length - 1] = `${lines.at(-1)})`;
  return lines;
}

function flat({ mnemonic, words, operands }: Expression, isOperand: boolean): string {
  if (mnemonic.name === 'local.get') return words.join('');
  const text = [mnemonic.name, ...words, ...operands.map((operand) => flat(operand, true))].join(' ');
  return isOperand ? `(${text})` : text;
}

/** Masks and addresses are read more easily in hexadecimal, small numbers in decimal. */
function integerText(value: bigint): string {
  const size = value < 0n ? -value : value;
  return size < 10_000n ? String(value) : `${value < 0n ? '-' : ''}0x${size.toString(16)}`;
}
