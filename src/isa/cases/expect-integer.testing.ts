/**
 * What integer instructions give, written from the manual by other means than the table's: plain integers, strings
 * of binary and hexadecimal digits. `a` and `b` are rs1 and rs2 as signed numbers, or `b` is the immediate; results
 * are taken modulo 2^64.
 */

type Expectation = (a: bigint, b: bigint) => bigint;

const u = (value: bigint): bigint => BigInt.asUintN(64, value);
const w = (value: bigint): bigint => BigInt.asIntN(32, value);
const uw = (value: bigint): bigint => BigInt.asUintN(32, value);
const mod = (value: bigint, by: bigint): bigint => ((value % by) + by) % by;
const power = (exponent: bigint): bigint => 2n ** exponent;
const floor = (a: bigint, b: bigint): bigint => (a - mod(a, b)) / b;
const yes = (condition: boolean): bigint => (condition ? 1n : 0n);
const binary = (value: bigint, bits: number): string => BigInt.asUintN(bits, value).toString(2).padStart(bits, '0');
const fromBinary = (digits: string): bigint => BigInt(`0b${digits}`);
const bytes = (value: bigint): readonly string[] => u(value).toString(16).padStart(16, '0').match(/../g) ?? [];
const fromBytes = (parts: readonly string[]): bigint => BigInt(`0x${parts.join('')}`);
const bitwise = (a: bigint, b: bigint, rule: (x: string, y: string) => boolean): bigint => {
  const y = binary(b, 64);
  return fromBinary(Array.from(binary(a, 64), (x, i) => (rule(x, y.charAt(i)) ? '1' : '0')).join(''));
};
const rotated = (a: bigint, left: bigint, bits: number): bigint => {
  const digits = binary(a, bits);
  const at = Number(mod(left, BigInt(bits)));
  return fromBinary(digits.slice(at) + digits.slice(0, at));
};
const withBit = (a: bigint, at: bigint, digit: (old: string) => string): bigint => {
  const digits = Array.from(binary(a, 64));
  const index = 63 - Number(mod(at, 64n));
  digits[index] = digit(digits[index] as string);
  return fromBinary(digits.join(''));
};
const count = (digits: string, digit: string): bigint => BigInt(digits.split(digit).length - 1);
const leading = (digits: string): bigint => BigInt(digits.length - digits.replace(/^0+/, '').length);
const trailing = (digits: string): bigint => BigInt(digits.length - digits.replace(/0+$/, '').length);
/** Column by column, as one multiplies on paper, without carries. */
const carryless = (a: bigint, b: bigint): string => {
  const x = binary(a, 64);
  const y = binary(b, 64);
  const columns = new Array<number>(128).fill(0);
  for (let i = 0; i < 64; i++) {
    if (y[i] === '1')
      for (let j = 0; j < 64; j++) if (x[j] === '1') columns[i + j + 1] = (columns[i + j + 1] as number) ^ 1;
  }
  return columns.join('');
};
/** Towards zero, by magnitudes. */
const divided = (a: bigint, b: bigint): bigint => {
  if (b === 0n) return -1n;
  const magnitude = floor(a < 0n ? -a : a, b < 0n ? -b : b);
  return a < 0n === b < 0n ? magnitude : -magnitude;
};
const inOrder = (a: bigint, b: bigint): readonly [bigint, bigint] => (a < b ? [a, b] : [b, a]);
const least: Expectation = (a, b) => inOrder(a, b)[0];
const greatest: Expectation = (a, b) => inOrder(a, b)[1];
const rest = (a: bigint, b: bigint): bigint => (b === 0n ? a : a - divided(a, b) * b);

const sll: Expectation = (a, b) => a * power(mod(b, 64n));
const srl: Expectation = (a, b) => floor(u(a), power(mod(b, 64n)));
const sra: Expectation = (a, b) => floor(a, power(mod(b, 64n)));
const sllw: Expectation = (a, b) => w(a * power(mod(b, 32n)));
const srlw: Expectation = (a, b) => w(floor(uw(a), power(mod(b, 32n))));
const sraw: Expectation = (a, b) => floor(w(a), power(mod(b, 32n)));
const and: Expectation = (a, b) => bitwise(a, b, (x, y) => x === '1' && y === '1');
const or: Expectation = (a, b) => bitwise(a, b, (x, y) => x === '1' || y === '1');
const xor: Expectation = (a, b) => bitwise(a, b, (x, y) => x !== y);
const slt: Expectation = (a, b) => yes(a < b);
const sltu: Expectation = (a, b) => yes(u(a) < u(b));
const ror: Expectation = (a, b) => rotated(a, -b, 64);
const rorw: Expectation = (a, b) => w(rotated(a, -b, 32));
const bclr: Expectation = (a, b) => withBit(a, b, () => '0');
const bset: Expectation = (a, b) => withBit(a, b, () => '1');
const binv: Expectation = (a, b) => withBit(a, b, (old) => (old === '0' ? '1' : '0'));
const bext: Expectation = (a, b) => BigInt(binary(a, 64).charAt(63 - Number(mod(b, 64n))));

export const INTEGER_EXPECTATIONS: Readonly<Record<string, Expectation>> = {
  addi: (a, b) => a + b,
  slti: slt,
  sltiu: sltu,
  xori: xor,
  ori: or,
  andi: and,
  slli: sll,
  srli: srl,
  srai: sra,
  addiw: (a, b) => w(a + b),
  slliw: sllw,
  srliw: srlw,
  sraiw: sraw,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  sll,
  slt,
  sltu,
  xor,
  srl,
  sra,
  or,
  and,
  addw: (a, b) => w(a + b),
  subw: (a, b) => w(a - b),
  sllw,
  srlw,
  sraw,
  mul: (a, b) => a * b,
  mulh: (a, b) => floor(a * b, power(64n)),
  mulhsu: (a, b) => floor(a * u(b), power(64n)),
  mulhu: (a, b) => floor(u(a) * u(b), power(64n)),
  div: divided,
  divu: (a, b) => divided(u(a), u(b)),
  rem: rest,
  remu: (a, b) => rest(u(a), u(b)),
  mulw: (a, b) => w(w(a) * w(b)),
  divw: (a, b) => w(divided(w(a), w(b))),
  divuw: (a, b) => w(divided(uw(a), uw(b))),
  remw: (a, b) => w(rest(w(a), w(b))),
  remuw: (a, b) => w(rest(uw(a), uw(b))),
  'add.uw': (a, b) => uw(a) + b,
  sh1add: (a, b) => 2n * a + b,
  sh2add: (a, b) => 4n * a + b,
  sh3add: (a, b) => 8n * a + b,
  'sh1add.uw': (a, b) => 2n * uw(a) + b,
  'sh2add.uw': (a, b) => 4n * uw(a) + b,
  'sh3add.uw': (a, b) => 8n * uw(a) + b,
  'slli.uw': (a, b) => uw(a) * power(b),
  andn: (a, b) => bitwise(a, b, (x, y) => x === '1' && y === '0'),
  orn: (a, b) => bitwise(a, b, (x, y) => x === '1' || y === '0'),
  xnor: (a, b) => bitwise(a, b, (x, y) => x === y),
  clz: (a) => leading(binary(a, 64)),
  ctz: (a) => trailing(binary(a, 64)),
  cpop: (a) => count(binary(a, 64), '1'),
  clzw: (a) => leading(binary(a, 32)),
  ctzw: (a) => trailing(binary(a, 32)),
  cpopw: (a) => count(binary(a, 32), '1'),
  min: least,
  minu: (a, b) => (u(a) < u(b) ? a : b),
  max: greatest,
  maxu: (a, b) => (u(a) < u(b) ? b : a),
  'sext.b': (a) => BigInt(Int8Array.of(Number(mod(a, 256n)))[0] as number),
  'sext.h': (a) => BigInt(Int16Array.of(Number(mod(a, 65536n)))[0] as number),
  'zext.h': (a) => mod(a, 65536n),
  rol: (a, b) => rotated(a, b, 64),
  ror,
  rori: ror,
  rolw: (a, b) => w(rotated(a, b, 32)),
  rorw,
  roriw: rorw,
  'orc.b': (a) => fromBytes(bytes(a).map((byte) => (byte === '00' ? '00' : 'ff'))),
  rev8: (a) => fromBytes(bytes(a).toReversed()),
  clmul: (a, b) => fromBinary(carryless(a, b).slice(64)),
  clmulh: (a, b) => fromBinary(carryless(a, b).slice(0, 64)),
  clmulr: (a, b) => fromBinary(carryless(a, b).slice(1, 65)),
  bclr,
  bclri: bclr,
  bext,
  bexti: bext,
  binv,
  binvi: binv,
  bset,
  bseti: bset,
  'czero.eqz': (a, b) => (b === 0n ? 0n : a),
  'czero.nez': (a, b) => (b !== 0n ? 0n : a),
  'mop.r.N': () => 0n,
  'mop.rr.N': () => 0n,
};

/** Whether a branch is taken. */
export const BRANCH_EXPECTATIONS: Readonly<Record<string, (a: bigint, b: bigint) => boolean>> = {
  beq: (a, b) => a === b,
  bne: (a, b) => a !== b,
  blt: (a, b) => a < b,
  bge: (a, b) => a >= b,
  bltu: (a, b) => u(a) < u(b),
  bgeu: (a, b) => u(a) >= u(b),
};

/** What an atomic leaves in memory: operands signed, of the access's size. */
export const AMO_EXPECTATIONS: Readonly<Record<string, (old: bigint, value: bigint) => bigint>> = {
  amoswap: (_, value) => value,
  amoadd: (old, value) => old + value,
  amoxor: xor,
  amoand: and,
  amoor: or,
  amomin: least,
  amomax: greatest,
  amominu: (old, value) => (u(old) < u(value) ? old : value),
  amomaxu: (old, value) => (u(old) > u(value) ? old : value),
};
