/** Opcodes of the Wasm binary format that the builder emits (core specification, section 5.4; threads proposal). */
export const VALUE_TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c } as const;
export type ValueType = keyof typeof VALUE_TYPE;

// biome-ignore format: table
export const OP = {
  unreachable: 0x00, block: 0x02, loop: 0x03, if: 0x04, else: 0x05, end: 0x0b, br: 0x0c, br_if: 0x0d, br_table: 0x0e,
  return: 0x0f, call: 0x10, call_indirect: 0x11, return_call: 0x12, return_call_indirect: 0x13, drop: 0x1a, select: 0x1b,
  local_get: 0x20, local_set: 0x21, local_tee: 0x22,
  i32_const: 0x41, i64_const: 0x42, f32_const: 0x43, f64_const: 0x44, prefix: 0xfc, simd: 0xfd, atomic: 0xfe,
} as const;

/** Unary and binary operations by type: name -> opcode (0xfcNN for prefixed ones). */
// biome-ignore format: table
export const UNARY = {
  i32: { clz: 0x67, ctz: 0x68, popcnt: 0x69, extend8_s: 0xc0, extend16_s: 0xc1 },
  i64: { clz: 0x79, ctz: 0x7a, popcnt: 0x7b, extend8_s: 0xc2, extend16_s: 0xc3, extend32_s: 0xc4 },
  f32: { abs: 0x8b, neg: 0x8c, ceil: 0x8d, floor: 0x8e, trunc: 0x8f, nearest: 0x90, sqrt: 0x91 },
  f64: { abs: 0x99, neg: 0x9a, ceil: 0x9b, floor: 0x9c, trunc: 0x9d, nearest: 0x9e, sqrt: 0x9f },
} as const;

/** Tests for zero: the result is i32. */
export const EQZ = { i32: 0x45, i64: 0x50 } as const;

// biome-ignore format: table
export const BINARY = {
  i32: { add: 0x6a, sub: 0x6b, mul: 0x6c, div_s: 0x6d, div_u: 0x6e, rem_s: 0x6f, rem_u: 0x70, and: 0x71, or: 0x72, xor: 0x73,
         shl: 0x74, shr_s: 0x75, shr_u: 0x76, rotl: 0x77, rotr: 0x78 },
  i64: { add: 0x7c, sub: 0x7d, mul: 0x7e, div_s: 0x7f, div_u: 0x80, rem_s: 0x81, rem_u: 0x82, and: 0x83, or: 0x84, xor: 0x85,
         shl: 0x86, shr_s: 0x87, shr_u: 0x88, rotl: 0x89, rotr: 0x8a },
  f32: { add: 0x92, sub: 0x93, mul: 0x94, div: 0x95, min: 0x96, max: 0x97, copysign: 0x98 },
  f64: { add: 0xa0, sub: 0xa1, mul: 0xa2, div: 0xa3, min: 0xa4, max: 0xa5, copysign: 0xa6 },
} as const;

/** Comparisons: the result is i32. */
// biome-ignore format: table
export const COMPARE = {
  i32: { eq: 0x46, ne: 0x47, lt_s: 0x48, lt_u: 0x49, gt_s: 0x4a, gt_u: 0x4b, le_s: 0x4c, le_u: 0x4d, ge_s: 0x4e, ge_u: 0x4f },
  i64: { eq: 0x51, ne: 0x52, lt_s: 0x53, lt_u: 0x54, gt_s: 0x55, gt_u: 0x56, le_s: 0x57, le_u: 0x58, ge_s: 0x59, ge_u: 0x5a },
  f32: { eq: 0x5b, ne: 0x5c, lt: 0x5d, gt: 0x5e, le: 0x5f, ge: 0x60 },
  f64: { eq: 0x61, ne: 0x62, lt: 0x63, gt: 0x64, le: 0x65, ge: 0x66 },
} as const;

/** Conversions, named `to_from` as the text format does without its dots. */
// biome-ignore format: table
export const CONVERT = {
  i32_wrap_i64: [0xa7, 'i32'], i64_extend_i32_s: [0xac, 'i64'], i64_extend_i32_u: [0xad, 'i64'],
  f32_convert_i32_s: [0xb2, 'f32'], f32_convert_i32_u: [0xb3, 'f32'], f32_convert_i64_s: [0xb4, 'f32'], f32_convert_i64_u: [0xb5, 'f32'],
  f32_demote_f64: [0xb6, 'f32'], f64_convert_i32_s: [0xb7, 'f64'], f64_convert_i32_u: [0xb8, 'f64'], f64_convert_i64_s: [0xb9, 'f64'],
  f64_convert_i64_u: [0xba, 'f64'], f64_promote_f32: [0xbb, 'f64'], i32_reinterpret_f32: [0xbc, 'i32'], i64_reinterpret_f64: [0xbd, 'i64'],
  f32_reinterpret_i32: [0xbe, 'f32'], f64_reinterpret_i64: [0xbf, 'f64'],
  i32_trunc_sat_f32_s: [0xfc00, 'i32'], i32_trunc_sat_f32_u: [0xfc01, 'i32'], i32_trunc_sat_f64_s: [0xfc02, 'i32'], i32_trunc_sat_f64_u: [0xfc03, 'i32'],
  i64_trunc_sat_f32_s: [0xfc04, 'i64'], i64_trunc_sat_f32_u: [0xfc05, 'i64'], i64_trunc_sat_f64_s: [0xfc06, 'i64'], i64_trunc_sat_f64_u: [0xfc07, 'i64'],
} as const satisfies Record<string, readonly [number, ValueType]>;

// biome-ignore format: table
export const LOAD = {
  i32: { load: 0x28, load8_s: 0x2c, load8_u: 0x2d, load16_s: 0x2e, load16_u: 0x2f },
  i64: { load: 0x29, load8_s: 0x30, load8_u: 0x31, load16_s: 0x32, load16_u: 0x33, load32_s: 0x34, load32_u: 0x35 },
  f32: { load: 0x2a }, f64: { load: 0x2b },
} as const;

// biome-ignore format: table
export const STORE = {
  i32: { store: 0x36, store8: 0x3a, store16: 0x3b }, i64: { store: 0x37, store8: 0x3c, store16: 0x3d, store32: 0x3e },
  f32: { store: 0x38 }, f64: { store: 0x39 },
} as const;

/** Atomic read-modify-write families; +0 i32, +1 i64, +2 i32.8, +3 i32.16, +4 i64.8, +5 i64.16, +6 i64.32. */
export const ATOMIC_RMW = { add: 0x1e, sub: 0x25, and: 0x2c, or: 0x33, xor: 0x3a, xchg: 0x41, cmpxchg: 0x48 } as const;
export const ATOMIC = { fence: 0x03, i32_load: 0x10, i64_load: 0x11, i32_store: 0x17, i64_store: 0x18 } as const;

/** The few vector instructions in use: a scalar multiply-add goes through one lane (relaxed SIMD). */
export const SIMD = {
  f32: { splat: 0x13, extract_lane: 0x1f, relaxed_madd: 0x105 },
  f64: { splat: 0x14, extract_lane: 0x21, relaxed_madd: 0x107 },
} as const;

/** log2 of the natural alignment of a memory opcode. */
export function alignmentOf(opcode: number): number {
  const log = [2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2];
  return log[opcode - 0x28] ?? 0;
}
