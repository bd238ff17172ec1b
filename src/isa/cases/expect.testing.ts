/**
 * The whole outcome that the manual asks for, of any case of a 32-bit row: from the operands' values, read off the
 * case's bits by the standard fields, and the expectation of its mnemonic. Nothing here uses the rows' semantics.
 */
import { assert, must } from '../../base/assert.ts';
import { ROUNDING_MODES } from '../../base/float/index.ts';
import { expectFloat, type FloatInputs } from './expect-float.testing.ts';
import { AMO_EXPECTATIONS, BRANCH_EXPECTATIONS, INTEGER_EXPECTATIONS } from './expect-integer.testing.ts';
import {
  CASE_DATA,
  CASE_PC,
  CASE_RAM,
  CASE_VECTOR,
  type InstructionCase,
  initialData,
  initialF,
  initialX,
  type Outcome,
} from './instruction-case.testing.ts';

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const ILLEGAL = 2;
const LOAD_MISALIGNED = 4;
const LOAD_FAULT = 5;
const STORE_MISALIGNED = 6;
const STORE_FAULT = 7;
const FLOAT_LOADS: Readonly<Record<string, number>> = { flh: 2, flw: 4, fld: 8 };
const FLOAT_STORES: Readonly<Record<string, number>> = { fsh: 2, fsw: 4, fsd: 8 };
const LOADS: Readonly<Record<string, number>> = { lb: 1, lh: 2, lw: 4, ld: 8, lbu: 1, lhu: 2, lwu: 4 };
const STORES: Readonly<Record<string, number>> = { sb: 1, sh: 2, sw: 4, sd: 8 };
/** Instructions that do nothing to registers and memory. */
const NOTHING = new Set([
  'fence',
  'fence.tso',
  'fence.i',
  'pause',
  'wrs.nto',
  'wrs.sto',
  'prefetch.i',
  'prefetch.r',
  'prefetch.w',
]);

/** `imm` is the immediate's value; the bits were made from it. */
export function expectedOutcome(c: InstructionCase, imm: bigint): Outcome {
  const field = (at: number, width: number): number => (c.bits >>> at) & (2 ** width - 1);
  const [rd, rs1, rs2, rs3, rm] = [field(7, 5), field(15, 5), field(20, 5), field(27, 5), field(12, 3)];
  const x = Array.from({ length: 32 }, (_, i) => initialX(c, i));
  const f = Array.from({ length: 32 }, (_, i) => initialF(c, i));
  const data = initialData();
  const reservation = runBefore(c, x);
  const [a, b] = [must(x[rs1]), must(x[rs2])];
  const after = { pc: CASE_PC + 4n, trap: undefined, x, f, fflags: 0, isFloatDirty: false, data };
  const { name, kind } = c.row as { name: string; kind: string };
  const setX = (value: bigint): void => {
    if (rd !== 0) x[rd] = u64(value);
  };
  const trapped = (cause: number, tval: bigint): Outcome => ({
    ...after,
    pc: CASE_VECTOR,
    trap: { cause, tval: u64(tval) },
  });
  const illegal = (): Outcome => trapped(ILLEGAL, BigInt(c.bits));
  const address = u64(a + imm);

  const isFloat = kind === 'float' || name in FLOAT_LOADS || name in FLOAT_STORES;
  if (isFloat && !c.isFloatOn) return illegal();
  if (NOTHING.has(name)) return after;
  if (name in BRANCH_EXPECTATIONS) {
    const taken = must(BRANCH_EXPECTATIONS[name])(BigInt.asIntN(64, a), BigInt.asIntN(64, b));
    return taken ? { ...after, pc: u64(CASE_PC + imm) } : after;
  }
  if (name === 'jal' || name === 'jalr') {
    setX(CASE_PC + 4n);
    return { ...after, pc: name === 'jal' ? u64(CASE_PC + imm) : address - (address % 2n) };
  }
  if (name === 'lui' || name === 'auipc') {
    setX(name === 'lui' ? imm : CASE_PC + imm);
    return after;
  }
  if (name in LOADS || name in FLOAT_LOADS) {
    const size = must(LOADS[name] ?? FLOAT_LOADS[name]);
    const value = readData(data, address, size);
    if (value === undefined) return trapped(LOAD_FAULT, address);
    if (name in LOADS) setX(name.endsWith('u') ? value : BigInt.asIntN(size * 8, value));
    else f[rd] = u64(value | (-1n << BigInt(size * 8)));
    return { ...after, isFloatDirty: name in FLOAT_LOADS };
  }
  if (name in STORES || name in FLOAT_STORES) {
    const size = must(STORES[name] ?? FLOAT_STORES[name]);
    const written = writeData(data, address, size, name in STORES ? b : must(f[rs2]));
    return written ? after : trapped(STORE_FAULT, address);
  }
  if (kind === 'amo') {
    const size = name.endsWith('.w') ? 4 : 8;
    const isLoad = name.startsWith('lr.');
    if (a % BigInt(size) !== 0n) return trapped(isLoad ? LOAD_MISALIGNED : STORE_MISALIGNED, a);
    const old = readData(data, a, size);
    if (old === undefined) return trapped(isLoad ? LOAD_FAULT : STORE_FAULT, a);
    const signed = BigInt.asIntN(size * 8, old);
    const operation = AMO_EXPECTATIONS[name.slice(0, -2)];
    if (operation) writeData(data, a, size, operation(signed, BigInt.asIntN(size * 8, b)));
    if (!name.startsWith('sc.')) setX(signed);
    else {
      const succeeds = reservation === `${size} at ${a}`;
      if (succeeds) writeData(data, a, size, b);
      setX(succeeds ? 0n : 1n);
    }
    return after;
  }
  if (name.startsWith('cbo.')) {
    const block = a - (a % 64n);
    if (name !== 'cbo.zero') return after;
    if (readData(data, block, 8) === undefined) return trapped(STORE_FAULT, a);
    data.fill(0, Number(block - CASE_DATA.base), Number(block - CASE_DATA.base) + 64);
    return after;
  }
  if (kind === 'float') {
    const mode = rm === 7 ? c.frm : rm;
    const rounds = c.row.pattern.includes(' rm ');
    if (rounds && mode > 4) return illegal();
    const inputs: FloatInputs = {
      f1: must(f[rs1]),
      f2: must(f[rs2]),
      f3: must(f[rs3]),
      x1: a,
      mode: rounds ? must(ROUNDING_MODES[mode]) : 0,
      constant: rs1,
    };
    const { to, value, flags } = expectFloat(name, inputs);
    if (to === 'x') setX(value);
    else f[rd] = value;
    // To f registers FS gets dirty; to x registers, where flags can be raised (Machine.float).
    const isFloatDirty = to === 'f' || !(name.startsWith('fclass') || name.startsWith('fmv.x'));
    return { ...after, fflags: flags, isFloatDirty };
  }
  const second = c.row.assembly.includes('imm') ? imm : BigInt.asIntN(64, b);
  setX(must(INTEGER_EXPECTATIONS[name], `no expectation for ${name}`)(BigInt.asIntN(64, a), second));
  return after;
}

/** Only load-reserved instructions come before; gives the reservation they leave. */
function runBefore(c: InstructionCase, x: bigint[]): string | undefined {
  let reservation: string | undefined;
  const data = initialData();
  for (const bits of c.before) {
    const size = 2 ** ((bits >>> 12) & 7);
    const at = must(x[(bits >>> 15) & 31]);
    assert((bits & 0x7f) === 0x2f && bits >>> 27 === 2, 'a load-reserved');
    const value = at % BigInt(size) === 0n ? readData(data, at, size) : undefined;
    if (value === undefined) return undefined;
    x[(bits >>> 7) & 31] = u64(BigInt.asIntN(size * 8, value));
    reservation = `${size} at ${at}`;
  }
  return reservation;
}

/** Little-endian, from the window; undefined where there is no RAM. */
function readData(data: Uint8Array, address: bigint, size: number): bigint | undefined {
  if (address < CASE_RAM.base || address >= CASE_RAM.base + BigInt(CASE_RAM.sizeBytes)) return undefined;
  const at = Number(address - CASE_DATA.base);
  const digits = Array.from(data.subarray(at, at + size), (byte) => byte.toString(16).padStart(2, '0'));
  assert(digits.length === size, 'cases stay within the window');
  return BigInt(`0x${digits.toReversed().join('')}`);
}

function writeData(data: Uint8Array, address: bigint, size: number, value: bigint): boolean {
  if (readData(data, address, size) === undefined) return false;
  const at = Number(address - CASE_DATA.base);
  for (let i = 0; i < size; i++) data[at + i] = Number((u64(value) / 256n ** BigInt(i)) % 256n);
  return true;
}
