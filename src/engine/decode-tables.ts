/**
 * The decoder of generated code, as data: instruction words go by opcode and funct3 to a bucket, whose candidates
 * are tried in order; a candidate names the operation and the format, which is the code that extracts the operands.
 * 16-bit instructions are replaced by what they expand to, and the operation by its two-byte sibling.
 */
import { assert, must } from '../base/assert.ts';
import type { Decoder, Immediate } from '../isa/index.ts';
import type { FunctionBuilder, I32, Local } from '../wasm/index.ts';
import { csrIndexTable } from './csr-functions.ts';
import { PLAN } from './memory-plan.ts';
import { ENTRY, type Operations, SPECIAL } from './operations.ts';

/** Emits code that adds the operand fields to `low` and sets `immediate`. */
export type FormatBuilder = (f: FunctionBuilder, bits: I32, low: Local<I32>, immediate: Local<I32>) => void;

const CANDIDATE_BYTES = 16;
/** Bits of an instruction that choose the bucket: opcode[6:2], funct3. */
const BUCKET_BITS = 0x707c;

interface Candidate {
  readonly mask: number;
  readonly match: number;
  readonly operation: number;
  readonly format: number;
}

/** What a policy traps: a row by its name, or every access to a CSR by an instruction of Zicsr. */
export interface Policy {
  readonly row?: string;
  readonly csr?: number;
}

interface Format {
  readonly key: string;
  readonly writesX: boolean;
  readonly immediate: Immediate | 'csr' | 'rs3' | undefined;
}

export class DecodeTables {
  readonly formats: readonly FormatBuilder[];
  /** Of the hart's own instructions, and of these with the emulated ones. */
  readonly #candidates: { readonly own: Candidate[][]; readonly emulation: Candidate[][] };
  readonly #decoder: Decoder;
  readonly #emulation: Decoder;
  readonly #operations: Operations;

  /** `emulation`: knows the instructions that are emulated besides the hart's own. */
  constructor(decoder: Decoder, emulation: Decoder, operations: Operations) {
    this.#decoder = decoder;
    this.#emulation = emulation;
    this.#operations = operations;
    const formats: Format[] = [{ key: 'none', writesX: false, immediate: undefined }];
    const isOwn = new Set(decoder.rows.map(({ row }) => row));
    const rows = emulation.rows.map(({ row, pattern }) => {
      const names = pattern.fields.map((field) => field.name);
      const immediate = names.includes('csr')
        ? ('csr' as const)
        : names.includes('rs3')
          ? ('rs3' as const)
          : pattern.immediate;
      const writesX = names.includes('rd') && !/\bfrd\b/.test(row.assembly);
      const key = JSON.stringify([writesX, immediate]);
      let format = formats.findIndex((known) => known.key === key);
      if (format < 0) format = formats.push({ key, writesX, immediate }) - 1;
      const operation = operations.numberOf(row.name, 4);
      return { row, candidate: { mask: pattern.mask, match: pattern.match, operation, format } };
    });
    this.formats = formats.map((format) => (f, bits, low, immediate) => emitFormat(format, f, bits, low, immediate));
    const own = rows.filter(({ row }) => isOwn.has(row)).map(({ candidate }) => candidate);
    this.#candidates = { own: buckets(own), emulation: buckets(rows.map(({ candidate }) => candidate)) };
  }

  /** Makes these rows and CSRs trap by policy; a policy's number is its place in the list, counted from 1. */
  writePolicies(buffer: ArrayBufferLike, policies: readonly Policy[]): void {
    const rows = new Uint8Array(buffer, PLAN.policyRows, 1024).fill(0);
    const csrs = new Uint8Array(buffer, PLAN.policyCsrs, 4096).fill(0);
    policies.forEach(({ row, csr }, i) => {
      if (csr !== undefined) csrs[csr] = i + 1;
      if (row === undefined) return;
      for (const { number, row: own } of this.#operations.all) if (own.name === row) rows[number] = i + 1;
    });
  }

  /** Writes the tables to their places in a machine's memory. */
  write(buffer: ArrayBufferLike): void {
    const u32 = new Uint32Array(buffer);
    let at: number = PLAN.decodeCandidates;
    for (const { place, lists } of [
      { place: PLAN.decodeBuckets, lists: this.#candidates.own },
      { place: PLAN.emulationBuckets, lists: this.#candidates.emulation },
    ]) {
      lists.forEach((list, bucket) => {
        u32[place / 4 + bucket] = at;
        for (const { mask, match, operation, format } of list) {
          u32.set([mask, match, operation, format], at / 4);
          at += CANDIDATE_BYTES;
        }
      });
    }
    assert(at <= PLAN.csrIndex, 'too many candidates');
    new Uint16Array(buffer).set(csrIndexTable(), PLAN.csrIndex / 2);
    const siblings = new Uint16Array(buffer, PLAN.compressedSiblings, 1024);
    const near = new Uint8Array(buffer, PLAN.nearFlags, 1024);
    siblings.fill(SPECIAL.illegal);
    for (const { number, row, bytes, isNear } of this.#operations.all) {
      if (this.#operations.all.some((other) => other.row === row && other.bytes === bytes && other.isNear) && !isNear)
        near[number] = 1;
      if (bytes === 2 && !isNear) siblings[this.#operations.numberOf(row.name, 4)] = number;
    }
    const emulated = new Uint8Array(buffer, PLAN.emulationFlags, 1024);
    for (const { number, row } of this.#operations.all) emulated[number] = this.#operations.isEmulated(row) ? 1 : 0;
    const csrRows = new Uint8Array(buffer, PLAN.csrRows, 1024);
    for (const { number, row } of this.#operations.all) csrRows[number] = row.kind === 'csr' ? 1 : 0;
    u32.set(this.#decoder.expansions, PLAN.expansions / 4);
    u32.set(this.#emulation.expansions, PLAN.emulationExpansions / 4);
  }
}

/** By opcode and funct3; each list ends with a candidate that matches everything: illegal. */
function buckets(candidates: readonly Candidate[]): Candidate[][] {
  return Array.from({ length: 256 }, (_, bucket) => {
    const bits = ((bucket & 31) << 2) | ((bucket >> 5) << 12);
    const list = candidates.filter(({ mask, match }) => ((match ^ bits) & mask & BUCKET_BITS) === 0);
    return [...list, { mask: 0, match: 0, operation: SPECIAL.illegal, format: 0 }];
  });
}

function emitFormat(format: Format, f: FunctionBuilder, bits: I32, low: Local<I32>, immediate: Local<I32>): void {
  const { i32 } = f;
  const field = (at: number, width: number): I32 => i32.and(i32.shrU(bits, i32.const(at)), i32.const(2 ** width - 1));
  const place = (value: I32, at: number): I32 => i32.shl(value, i32.const(at));
  const rdField = f.let(field(7, 5));
  const rd = format.writesX ? f.select(rdField, rdField, i32.const(32)) : rdField;
  f.set(
    low,
    [
      place(rd, ENTRY.rd),
      place(field(15, 5), ENTRY.rs1),
      place(field(20, 5), ENTRY.rs2),
      place(field(12, 3), ENTRY.rm),
    ].reduce((a, b) => i32.or(a, b), low.get),
  );
  f.set(immediate, immediateOf(format.immediate, f, bits));
}

function immediateOf(immediate: Format['immediate'], f: FunctionBuilder, bits: I32): I32 {
  const { i32 } = f;
  if (immediate === undefined) return i32.const(0);
  if (immediate === 'csr') return i32.shrU(bits, i32.const(20));
  if (immediate === 'rs3') return i32.shrU(bits, i32.const(27));
  const pieces = immediate.pieces.map(({ fromBit, toBit, width }) => {
    const isTop = toBit + width - 1 === immediate.topBit;
    // Left-align, then shift right with or without sign, then to its place.
    const aligned = i32.shl(bits, i32.const(32 - fromBit - width));
    const amount = i32.const(32 - width);
    const value = immediate.signed && isTop ? i32.shrS(aligned, amount) : i32.shrU(aligned, amount);
    return i32.shl(value, i32.const(toBit));
  });
  return must(pieces.reduce<I32 | undefined>((a, b) => (a === undefined ? b : i32.or(a, b)), undefined));
}
