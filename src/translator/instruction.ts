/**
 * An instruction as the translator sees it: decoded, with the registers that it reads and writes. Instructions repeat,
 * so they are kept by their bits.
 */
import { type Decoded, type Decoder, templateOperands } from '../isa/index.ts';

export interface Instruction extends Decoded {
  /** Registers by number, x0 left out; a bit mask of those that are read. */
  readonly reads: number;
  readonly writes: number | undefined;
  readonly floatReads: readonly number[];
  readonly floatWrites: number | undefined;
  /** How a region treats it: within a block, as its end, or not at all (it is left to the interpreter). */
  readonly role: Role;
  /** The hart is without it: an overlay's substitute stands for it. */
  readonly isEmulated: boolean;
}

export type Role = 'inside' | 'branch' | 'jump' | 'jumpRegister' | 'interpret' | Sensitive;
/** Done in a region only where it is promoted. `away`: what follows is elsewhere, in another mode perhaps. */
export type Sensitive = 'sensitive' | 'away';

export function isSensitive(role: Role): role is Sensitive {
  return role === 'sensitive' || role === 'away';
}

/** Reads of counters: of sensitive instructions those that leave translation, interrupts and floating point alone. */
export function isCounterRead({ row, csr }: Decoded): boolean {
  return row.kind === 'csr' && csr >= 0xc00 && csr < 0xc20;
}
const AWAY: ReadonlySet<string> = new Set(['ecall', 'sret', 'mret']);

/** Instructions that are kept. */
const MOST_KNOWN = 1 << 14;

/** The instruction at the start of `bits` (32 bits, or 16 where bits 1 and 0 say so); undefined where it is illegal. */
export class InstructionCache {
  readonly #decoders: CodeDecoders;
  readonly #known = { own: new Map<number, Instruction | undefined>(), emulated: new Map<number, Instruction>() };

  constructor(decoders: CodeDecoders) {
    this.#decoders = decoders;
  }

  get(bits: number): Instruction | undefined {
    const key = (bits & 3) === 3 ? bits >>> 0 : bits & 0xffff;
    const { own } = this.#known;
    const known = own.get(key);
    if (known !== undefined || own.has(key)) return known;
    // Bounded: a guest may execute what it likes, and each takes some 300 bytes.
    if (own.size > MOST_KNOWN) own.clear();
    const { decoder, isTrapped } = this.#decoders;
    const decoded = decoder.decode(key);
    // A policy's substitutes count every execution: they are the interpreter's.
    const made = decoded && describe(decoded, false, isTrapped?.(decoded) === true ? 'interpret' : roleOf(decoded));
    own.set(key, made);
    return made;
  }

  /** The same for the original of a substitute that emulates it. */
  getEmulated(bits: number): Instruction | undefined {
    const { emulated } = this.#known;
    const known = emulated.get(bits);
    if (known !== undefined) return known;
    if (emulated.size > MOST_KNOWN) emulated.clear();
    const decoded = this.#decoders.emulation?.decode(bits);
    const made = decoded && describe(decoded, true, roleOf(decoded));
    if (made) emulated.set(bits, made);
    return made;
  }
}

/** What the hart has; that and what is emulated for it; what a policy traps. */
export interface CodeDecoders {
  readonly decoder: Decoder;
  readonly emulation?: Decoder;
  readonly isTrapped?: (decoded: Decoded) => boolean;
}

function describe(decoded: Decoded, isEmulated: boolean, role: Role): Instruction {
  const names = templateOperands(decoded.row.assembly);
  let reads = 0;
  const floatReads = [];
  for (const field of ['rs1', 'rs2', 'rs3'] as const) {
    if (names.includes(field) && decoded[field] !== 0) reads |= 1 << decoded[field];
    if (names.includes(`f${field}`)) floatReads.push(decoded[field]);
  }
  return {
    ...decoded,
    reads,
    floatReads,
    writes: names.includes('rd') && decoded.rd !== 0 ? decoded.rd : undefined,
    floatWrites: names.includes('frd') ? decoded.rd : undefined,
    role,
    isEmulated,
  };
}

/** fflags, frm, fcsr: compilers read and write flags around comparisons, so regions do it as part of floating point. */
export function isFloatState({ row, csr }: Decoded): boolean {
  return row.kind === 'csr' && csr >= 1 && csr <= 3;
}

function roleOf(decoded: Decoded): Role {
  const { row, rm } = decoded;
  switch (row.kind) {
    case 'branch':
      return 'branch';
    case 'jump':
      return row.name === 'jal' ? 'jump' : 'jumpRegister';
    case 'csr':
      return isFloatState(decoded) ? 'inside' : 'sensitive';
    case 'system':
      if (row.name === 'fence' || row.name === 'fence.tso') return 'inside';
      if (row.name === 'ebreak') return 'interpret';
      return AWAY.has(row.name) ? 'away' : 'sensitive';
    case 'float':
      // Reserved rounding modes are illegal instructions.
      return / rm /.test(row.pattern) && (rm === 5 || rm === 6) ? 'interpret' : 'inside';
    default:
      return row.name === 'cbo.zero' ? 'interpret' : 'inside';
  }
}

/** Whether a fence keeps a load (or device read, R or I) behind an earlier store (W or O). fence.tso (fm 1000) does not. */
export function ordersLoadsBehindStores(bits: number): boolean {
  const [mode, before, after] = [bits >>> 28, (bits >>> 24) & 15, (bits >>> 20) & 15];
  return mode !== 8 && (before & 5) !== 0 && (after & 10) !== 0;
}
