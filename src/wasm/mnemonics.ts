/**
 * The instructions' names in the text format, and what follows their opcodes: derived from the tables that the builder
 * writes with (opcodes.ts), so that what can be written can be listed.
 */
import { ATOMIC, ATOMIC_RMW, BINARY, COMPARE, CONVERT, EQZ, LOAD, OP, SIMD, STORE, UNARY } from './opcodes.ts';

/** What stands behind an opcode. */
export type Immediate =
  | 'none'
  | 'blockType'
  | 'label'
  | 'labels'
  | 'local'
  | 'function'
  | 'indirect'
  | 'i32'
  | 'i64'
  | 'f32'
  | 'f64'
  | 'memory'
  /** Bytes that are always the same: a lane, a memory's number. */
  | 'byte'
  | 'twoBytes';

export interface Mnemonic {
  readonly name: string;
  readonly immediate: Immediate;
  /** Operands that it takes from the stack; calls and returns take as many as their types say. */
  readonly pops: number;
  readonly pushes: 0 | 1;
}

/** Bytes that announce another opcode. */
export const PREFIXES: readonly number[] = [OP.prefix, OP.simd, OP.atomic];

/** Of an opcode behind a prefix: the key by which MNEMONICS knows it. */
export function prefixed(prefix: number, opcode: number): number {
  return prefix * 0x10000 + opcode;
}

/** Everything in OP but the prefixes. Blocks, calls and returns have their operands counted by the lister. */
const CONTROL = {
  unreachable: ['none', 0, 0],
  block: ['blockType', 0, 0],
  loop: ['blockType', 0, 0],
  if: ['blockType', 1, 0],
  else: ['none', 0, 0],
  end: ['none', 0, 0],
  br: ['label', 0, 0],
  br_if: ['label', 1, 0],
  br_table: ['labels', 1, 0],
  return: ['none', 0, 0],
  call: ['function', 0, 0],
  call_indirect: ['indirect', 1, 0],
  return_call: ['function', 0, 0],
  return_call_indirect: ['indirect', 1, 0],
  drop: ['none', 1, 0],
  select: ['none', 3, 1],
  local_get: ['local', 0, 1],
  local_set: ['local', 1, 0],
  local_tee: ['local', 1, 1],
  i32_const: ['i32', 0, 1],
  i64_const: ['i64', 0, 1],
  f32_const: ['f32', 0, 1],
  f64_const: ['f64', 0, 1],
} as const satisfies Record<
  Exclude<keyof typeof OP, 'prefix' | 'simd' | 'atomic'>,
  readonly [immediate: Immediate, pops: number, pushes: 0 | 1]
>;

/** By opcode, or `prefixed`. */
export const MNEMONICS: ReadonlyMap<number, Mnemonic> = new Map(entries());

function* entries(): Generator<[number, Mnemonic]> {
  for (const [name, [immediate, pops, pushes]] of Object.entries(CONTROL))
    yield [
      OP[name as keyof typeof CONTROL],
      { name: name.replace(/^(local|[if]\d\d)_/, '$1.'), immediate, pops, pushes },
    ];
  const plain = function* (
    tables: Readonly<Record<string, Readonly<Record<string, number>>>>,
    immediate: Immediate,
    pops: number,
    pushes: 0 | 1,
  ): Generator<[number, Mnemonic]> {
    for (const [type, table] of Object.entries(tables))
      for (const [name, opcode] of Object.entries(table))
        yield [key(opcode), { name: `${type}.${name}`, immediate, pops, pushes }];
  };
  yield* plain(UNARY, 'none', 1, 1);
  yield* plain({ i32: { eqz: EQZ.i32 }, i64: { eqz: EQZ.i64 } }, 'none', 1, 1);
  yield* plain(BINARY, 'none', 2, 1);
  yield* plain(COMPARE, 'none', 2, 1);
  yield* plain(LOAD, 'memory', 1, 1);
  yield* plain(STORE, 'memory', 2, 0);
  for (const [name, [opcode]] of Object.entries(CONVERT))
    yield [key(opcode), { name: name.replace('_', '.'), immediate: 'none', pops: 1, pushes: 1 }];
  yield [prefixed(OP.prefix, 0x0a), { name: 'memory.copy', immediate: 'twoBytes', pops: 3, pushes: 0 }];
  yield [prefixed(OP.prefix, 0x0b), { name: 'memory.fill', immediate: 'byte', pops: 3, pushes: 0 }];
  for (const [type, { splat, extract_lane, relaxed_madd }] of Object.entries(SIMD)) {
    const shape = type === 'f32' ? 'f32x4' : 'f64x2';
    yield [prefixed(OP.simd, splat), { name: `${shape}.splat`, immediate: 'none', pops: 1, pushes: 1 }];
    yield [prefixed(OP.simd, extract_lane), { name: `${shape}.extract_lane`, immediate: 'byte', pops: 1, pushes: 1 }];
    yield [prefixed(OP.simd, relaxed_madd), { name: `${shape}.relaxed_madd`, immediate: 'none', pops: 3, pushes: 1 }];
  }
  yield* atomics();
}

/** Behind a prefix, opcodes of conversions are written as 0xfcNN. */
function key(opcode: number): number {
  return opcode > 255 ? prefixed(opcode >>> 8, opcode & 255) : opcode;
}

function* atomics(): Generator<[number, Mnemonic]> {
  yield [prefixed(OP.atomic, ATOMIC.fence), { name: 'atomic.fence', immediate: 'byte', pops: 0, pushes: 0 }];
  for (const type of ['i32', 'i64'] as const) {
    const [load, store] = [ATOMIC[`${type}_load`], ATOMIC[`${type}_store`]];
    yield [prefixed(OP.atomic, load), { name: `${type}.atomic.load`, immediate: 'memory', pops: 1, pushes: 1 }];
    yield [prefixed(OP.atomic, store), { name: `${type}.atomic.store`, immediate: 'memory', pops: 2, pushes: 0 }];
  }
  const variants = [
    ...['i32.atomic.rmw.', 'i64.atomic.rmw.', 'i32.atomic.rmw8.', 'i32.atomic.rmw16.'],
    ...['i64.atomic.rmw8.', 'i64.atomic.rmw16.', 'i64.atomic.rmw32.'],
  ];
  for (const [operation, first] of Object.entries(ATOMIC_RMW)) {
    const pops = operation === 'cmpxchg' ? 3 : 2;
    for (const [i, variant] of variants.entries()) {
      const name = `${variant}${operation}${/\d\.$/.test(variant) ? '_u' : ''}`;
      yield [prefixed(OP.atomic, first + i), { name, immediate: 'memory', pops, pushes: 1 }];
    }
  }
}
