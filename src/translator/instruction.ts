/**
 * An instruction as the translator sees it: decoded, with the registers that it reads and writes. Instructions repeat,
 * so they are kept by their bits.
 */
import { type Decoded, type Decoder, templateOperands } from '../isa/index.ts';

export interface Instruction extends Decoded {
  /** Registers by number, x0 left out; `fields` f0 to f31 for floating point. */
  readonly reads: readonly number[];
  readonly readMask: number;
  readonly writes: number | undefined;
  readonly floatReads: readonly number[];
  readonly floatWrites: number | undefined;
  /** How a region treats it: within a block, as its end, or not at all (it is left to the interpreter). */
  readonly role: Role;
}

export type Role = 'inside' | 'branch' | 'jump' | 'jumpRegister' | 'interpret';

/** The instruction at the start of `bits` (32 bits, or 16 where bits 1 and 0 say so); undefined where it is illegal. */
export class InstructionCache {
  readonly #decoder: Decoder;
  readonly #known = new Map<number, Instruction | undefined>();

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  get(bits: number): Instruction | undefined {
    const key = (bits & 3) === 3 ? bits >>> 0 : bits & 0xffff;
    const known = this.#known.get(key);
    if (known !== undefined || this.#known.has(key)) return known;
    // Bounded: a guest may execute what it likes.
    if (this.#known.size > 1 << 16) this.#known.clear();
    const decoded = this.#decoder.decode(key);
    const made = decoded && describe(decoded);
    this.#known.set(key, made);
    return made;
  }
}

function describe(decoded: Decoded): Instruction {
  const names = templateOperands(decoded.row.assembly);
  const reads = [];
  const floatReads = [];
  for (const field of ['rs1', 'rs2', 'rs3'] as const) {
    if (names.includes(field) && decoded[field] !== 0) reads.push(decoded[field]);
    if (names.includes(`f${field}`)) floatReads.push(decoded[field]);
  }
  return {
    ...decoded,
    reads,
    readMask: reads.reduce((mask, register) => mask | (1 << register), 0),
    floatReads,
    writes: names.includes('rd') && decoded.rd !== 0 ? decoded.rd : undefined,
    floatWrites: names.includes('frd') ? decoded.rd : undefined,
    role: roleOf(decoded),
  };
}

function roleOf({ row, rm }: Decoded): Role {
  switch (row.kind) {
    case 'branch':
      return 'branch';
    case 'jump':
      return row.name === 'jal' ? 'jump' : 'jumpRegister';
    case 'csr':
      return 'interpret';
    case 'system':
      return row.name === 'fence' || row.name === 'fence.tso' ? 'inside' : 'interpret';
    case 'float':
      // Reserved rounding modes are illegal instructions.
      return / rm /.test(row.pattern) && (rm === 5 || rm === 6) ? 'interpret' : 'inside';
    default:
      return row.name === 'cbo.zero' ? 'interpret' : 'inside';
  }
}
