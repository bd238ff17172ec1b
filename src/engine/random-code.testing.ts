/**
 * Random instructions of all rows, biased so that a program gets somewhere: bases of memory accesses are registers
 * that hold addresses, jumps mostly stay near, CSR writes that end everything (vectors, lockdown) are rare.
 */
import { COMPRESSED_CODES, CSRS, type Decoder, encode, type RowCode } from '../isa/index.ts';
import type { Random } from './random.testing.ts';

/** Registers that hold addresses: x2, x8, x9 (any alignment), x10, x11 (aligned to eight). */
export const POINTERS = [2, 8, 9, 10, 11] as const;
const ALIGNED = [10, 11] as const;
/** CSRs whose value decides whether the program can go on; written rarely. */
const FRAGILE = /^(mtvec|v?stvec|mseccfg|pmp.*|v?satp|hgatp|[mh]edeleg|mscratch|mie|mstatus|misa)$/;

/** How often each kind of row is chosen. */
const WEIGHTS = { alu: 30, branch: 8, jump: 4, load: 14, store: 14, amo: 8, float: 16, csr: 4, system: 1, hint: 1 };
type Kind = keyof typeof WEIGHTS;

export interface CodeOptions {
  /** Rows that must not be chosen. */
  readonly without?: (name: string) => boolean;
  /** Whether CSR instructions may name any CSR, or none but fflags, frm and fcsr. */
  readonly csrs: 'all' | 'float';
  readonly weights?: Partial<Record<Kind, number>>;
}

export class CodeGenerator {
  readonly #random: Random;
  readonly #options: CodeOptions;
  readonly #kinds: readonly Kind[];
  readonly #rows = new Map<string, RowCode[]>();
  readonly #short: readonly number[];

  readonly #hasCompressed: boolean;

  constructor(random: Random, decoder: Decoder, options: CodeOptions) {
    this.#hasCompressed = decoder.expansions.some((expansion) => expansion !== 0);
    this.#random = random;
    this.#options = options;
    for (const code of decoder.rows) {
      if (options.without?.(code.row.name)) continue;
      const list = this.#rows.get(code.row.kind) ?? [];
      list.push(code);
      this.#rows.set(code.row.kind, list);
    }
    const weights = { ...WEIGHTS, ...options.weights };
    this.#kinds = (Object.keys(weights) as Kind[]).flatMap((kind) =>
      this.#rows.has(kind) ? new Array<Kind>(weights[kind]).fill(kind) : [],
    );
    this.#short = COMPRESSED_CODES.filter(({ row }) => !options.without?.(row.name)).map(
      ({ pattern }) => pattern.match,
    );
    this.#masks = COMPRESSED_CODES.filter(({ row }) => !options.without?.(row.name)).map(({ pattern }) => pattern.mask);
  }
  readonly #masks: readonly number[];

  /** Instructions for that many bytes; the last one may be cut. */
  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count + 4);
    for (let at = 0; at < count; ) {
      const { bits, length } = this.instruction();
      for (let i = 0; i < length; i++) out[at + i] = bits >>> (8 * i);
      at += length;
    }
    return out.subarray(0, count);
  }

  instruction(): { bits: number; length: 2 | 4 } {
    if (this.#hasCompressed && this.#random.chance(0.25)) return { bits: this.#compressed(), length: 2 };
    return { bits: this.#long(), length: 4 };
  }

  #compressed(): number {
    const random = this.#random;
    const which = random.below(this.#short.length);
    const mask = this.#masks[which] ?? 0;
    return ((this.#short[which] ?? 0) | (random.word() & ~mask & 0xffff)) >>> 0;
  }

  #long(): number {
    const random = this.#random;
    const kind = random.pick(this.#kinds);
    const code = random.pick(this.#rows.get(kind) ?? []);
    const { pattern, row } = code;
    let bits = (pattern.match | (random.word() & ~pattern.mask)) >>> 0;
    const put = (at: number, width: number, value: number): void => {
      const mask = (2 ** width - 1) * 2 ** at;
      bits = ((bits & ~mask) | ((value * 2 ** at) & mask)) >>> 0;
    };
    for (const { name } of pattern.fields) {
      if (name === 'rd') put(7, 5, this.#destination());
      else if (name === 'rm') put(12, 3, random.chance(0.95) ? random.pick([0, 1, 2, 3, 4, 7]) : random.pick([5, 6]));
      else if (name === 'rs1' && row.assembly.includes('(rs1)'))
        put(15, 5, random.chance(0.04) ? random.below(32) : random.pick(kind === 'amo' ? ALIGNED : POINTERS));
      else if (name === 'csr') {
        const number = this.#csr();
        put(20, 12, number);
      }
    }
    if (kind === 'branch' || row.name === 'jal') {
      const range = random.chance(0.9) ? 40 : row.name === 'jal' ? 12000 : 2000;
      const imm = 2 * (random.below(range) - Math.floor(range / 3));
      const values = {
        rd: (bits >>> 7) & 31,
        rs1: (bits >>> 15) & 31,
        rs2: (bits >>> 20) & 31,
        imm: imm === 0 ? 4 : imm,
      };
      bits = encode(pattern, values) ?? bits;
    }
    return bits;
  }

  #destination(): number {
    const random = this.#random;
    const rd = random.below(32);
    const isPointer = POINTERS.some((pointer) => pointer === rd);
    return isPointer && random.chance(0.97) ? 5 + random.below(3) : rd;
  }

  #csr(): number {
    const random = this.#random;
    if (this.#options.csrs === 'float') return random.pick([1, 2, 3]);
    if (random.chance(0.1)) return random.below(4096);
    const { name, number } = random.pick(CSRS);
    return FRAGILE.test(name) && random.chance(0.8) ? 0x140 : number;
  }
}
