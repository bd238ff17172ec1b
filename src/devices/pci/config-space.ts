/**
 * A function's configuration space as rows (PCI Express Base 6.0, section 7.5): what is read after reset, which bits a
 * write changes, which it clears, and what happens then. Reads, writes, resets, the tables of docs/pcie.md and the
 * invariants that the fuzzer checks derive from the same rows.
 *
 * Bytes without a row are reserved: they read as zero and keep nothing (section 7.4).
 */
import { assert } from '../../base/assert.ts';
import type { AccessBytes } from '../device.ts';

/** One register. Masks and values are unsigned and fit `bytes`. */
export interface ConfigRow {
  readonly at: number;
  readonly bytes: AccessBytes;
  /** As the specification spells it. */
  readonly name: string;
  /** 0 by default. */
  readonly reset?: number;
  /** Bits that take the value written: RW. */
  readonly writable?: number;
  /** Bits that a one written clears: RW1C. Only the function sets them. */
  readonly clears?: number;
  /** Bits that a function-level or hot reset leaves: the sticky ones (RWS, RW1CS, ROS). */
  readonly sticky?: number;
  /** What is read, where that is not what is stored. */
  read?(stored: number): number;
  /** After a write that met one of its bytes. */
  wrote?(value: number, before: number): void;
  /** One clause for the docs. */
  readonly does: string;
}

/** How far a reset goes: `power` forgets all, `function` (FLR, hot reset of the link) leaves sticky bits. */
export type ResetDepth = 'power' | 'function';

export const CONFIG_BYTES = 4096;
/** Where extended capabilities begin. */
export const EXTENDED_AT = 256;

/** Configuration registers over bytes of shared memory. The owner's lock orders accesses. */
export class ConfigSpace {
  readonly rows: readonly ConfigRow[];
  readonly #bytes: Uint8Array;
  readonly #writable = new Uint8Array(CONFIG_BYTES);
  readonly #clears = new Uint8Array(CONFIG_BYTES);
  readonly #sticky = new Uint8Array(CONFIG_BYTES);
  /** Rows of each aligned dword. */
  readonly #at = new Map<number, ConfigRow[]>();

  /** `bytes`: CONFIG_BYTES of the function's block, borrowed. */
  constructor(rows: readonly ConfigRow[], bytes: Uint8Array) {
    assert(bytes.length === CONFIG_BYTES, 'configuration space is 4 KiB');
    const taken = new Uint8Array(CONFIG_BYTES);
    for (const row of rows) {
      checkRow(row);
      for (let i = 0; i < row.bytes; i++) {
        assert(taken[row.at + i] === 0, `register ${row.name} overlaps another at 0x${row.at.toString(16)}`);
        taken[row.at + i] = 1;
        this.#writable[row.at + i] = (row.writable ?? 0) >>> (8 * i);
        this.#clears[row.at + i] = (row.clears ?? 0) >>> (8 * i);
        this.#sticky[row.at + i] = (row.sticky ?? 0) >>> (8 * i);
      }
      const dword = row.at >> 2;
      const others = this.#at.get(dword);
      if (others === undefined) this.#at.set(dword, [row]);
      else others.push(row);
    }
    this.rows = rows;
    this.#bytes = bytes;
  }

  /** Stores what registers have after such a reset; calls no `wrote`. */
  reset(depth: ResetDepth): void {
    const bytes = this.#bytes;
    if (depth === 'power') bytes.fill(0);
    for (const { at, bytes: count, reset = 0 } of this.rows) {
      for (let i = 0; i < count; i++) {
        const kept = depth === 'power' ? 0 : (this.#sticky[at + i] ?? 0);
        bytes[at + i] = ((bytes[at + i] ?? 0) & kept) | ((reset >>> (8 * i)) & ~kept & 0xff);
      }
    }
  }

  /** An access by software: naturally aligned, within the space. */
  read(at: number, bytes: AccessBytes): number {
    const rows = this.#at.get(at >> 2);
    if (rows === undefined) return 0;
    let value = this.get(at, bytes);
    for (const row of rows) {
      if (row.read === undefined || row.at >= at + bytes || row.at + row.bytes <= at) continue;
      value = splice(value, at, bytes, row.read(this.get(row.at, row.bytes)), row);
    }
    return value;
  }

  /** The same. False: no register is there. */
  write(at: number, bytes: AccessBytes, value: number): boolean {
    const rows = this.#at.get(at >> 2)?.filter((row) => row.at < at + bytes && row.at + row.bytes > at);
    if (rows === undefined || rows.length === 0) return false;
    const before = rows.map((row) => this.get(row.at, row.bytes));
    for (let i = 0; i < bytes; i++) this.#writeByte(at + i, (value >>> (8 * i)) & 0xff);
    rows.forEach((row, i) => row.wrote?.(this.get(row.at, row.bytes), before[i] ?? 0));
    return true;
  }

  /** What is stored, for the function itself. */
  get(at: number, bytes: AccessBytes): number {
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (this.#bytes[at + i] ?? 0);
    return value;
  }

  /** Stores, whatever software may write there. */
  set(at: number, bytes: AccessBytes, value: number): void {
    for (let i = 0; i < bytes; i++) this.#bytes[at + i] = value >>> (8 * i);
  }

  /** Bytes that software cannot change are left alone: the function may be setting a bit there meanwhile. */
  #writeByte(at: number, value: number): void {
    const writable = this.#writable[at] ?? 0;
    const clears = this.#clears[at] ?? 0;
    if ((writable | clears) === 0) return;
    const old = this.#bytes[at] ?? 0;
    this.#bytes[at] = ((old & ~writable) | (value & writable)) & ~(value & clears);
  }
}

function checkRow({ at, bytes, name, reset = 0, writable = 0, clears = 0 }: ConfigRow): void {
  assert(at % bytes === 0 && at >= 0 && at + bytes <= CONFIG_BYTES, `register ${name} is misplaced`);
  assert((writable & clears) === 0, `register ${name}: bits are both RW and RW1C`);
  const most = 2 ** (8 * bytes);
  assert(
    [reset, writable, clears].every((value) => value >= 0 && value < most),
    `register ${name} is too narrow`,
  );
}

/** Replaces in `value`, read at `at`, the bytes that `row` covers. */
function splice(value: number, at: number, bytes: number, from: number, row: ConfigRow): number {
  for (let i = 0; i < bytes; i++) {
    const inRow = at + i - row.at;
    if (inRow < 0 || inRow >= row.bytes) continue;
    const byte = (from >>> (8 * inRow)) & 0xff;
    value = (value & ~(0xff << (8 * i))) | (byte << (8 * i));
  }
  return value >>> 0;
}

/** The rows as a Markdown table, in order of offset. */
export function configAsMarkdown(rows: readonly ConfigRow[]): string {
  const lines = ['| offset | bytes | register | reset | RW | RW1C | what it does |', '|---|---|---|---|---|---|---|'];
  const inOrder = [...rows].sort((a, b) => a.at - b.at);
  for (const { at, bytes, name, reset = 0, writable = 0, clears = 0, does } of inOrder) {
    const mask = (value: number) => (value === 0 ? '' : hex(value));
    lines.push(`| ${hex(at)} | ${bytes} | ${name} | ${hex(reset)} | ${mask(writable)} | ${mask(clears)} | ${does} |`);
  }
  return lines.join('\n');
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** What is read where nobody answers. */
export function allOnes(bytes: AccessBytes): number {
  return bytes === 4 ? 0xffff_ffff : bytes === 2 ? 0xffff : 0xff;
}
