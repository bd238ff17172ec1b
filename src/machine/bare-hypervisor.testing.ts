/**
 * A hypervisor of some hundred instructions with a guest on each of two harts: it makes two-stage tables, enters the guest,
 * writes down what it traps for, emulates loads that nobody answers by what htinst says, injects interrupts, changes
 * tables under both guests and has the harts fence by the SBI. Its image begins at START, in supervisor mode:
 *
 *   hypervisor | guest's code | three pages of values | data of both | the hypervisor's record | registers | tables
 *
 * The guest has the image at GUEST_BASE in its physical memory, as high as the second stage's mode allows, and at WINDOW
 * in its virtual one; of the rest it has nothing. At the end the hypervisor tells record and data on the SBI's console, so
 * that it may run anywhere.
 */
import assert from 'node:assert/strict';
import { must } from '../base/assert.ts';
import { assemble } from '../isa/index.ts';
import {
  A,
  AHEAD,
  AT,
  BASE,
  D,
  DATA,
  EMULATED,
  GPA,
  guestCode,
  hypervisorCode,
  NOWHERE_VA,
  PAGE,
  probes,
  pte,
  R,
  RECORD_WORDS,
  STAGE_MODES,
  type StageMode,
  TOLD,
  type Trapped,
  U,
  UPDATE_VA,
  V,
  VA,
  VALUES,
  VALUES_AT,
  W,
  WINDOW,
  WRITE_OF_TABLE,
  X,
} from './bare-hypervisor-code.testing.ts';
import { START } from './bare-machine.testing.ts';

export { STAGE_MODES, type StageMode };

/** Its levels, each with nine bits of index. */
const levelsOf = (mode: StageMode): number => Number(STAGE_MODES[mode]) - 5;

/** The image for a mode of both stages, and what must come of it. */
export class BareHypervisor {
  readonly bytes = new Uint8Array(AT.end);
  readonly #mode: StageMode;
  readonly #base: bigint;
  readonly #words = new DataView(this.bytes.buffer);
  #nextTable: number = AT.tables;
  /** Offsets of PTEs that the hypervisor changes, and of the guest's root. */
  readonly #valueStagePte: number;
  readonly #valuePte: number;
  readonly #guestRoot: number;
  readonly #updatePte: number;

  constructor(mode: StageMode) {
    this.#mode = mode;
    this.#base = BASE[mode];
    for (const [i, at] of VALUES_AT.entries()) this.#put(at, must(VALUES[i]));
    this.#guestRoot = this.#table();
    const [code, data] = [V | R | X | A, V | R | W | A | D];
    this.#mapImage(AT.guest, code);
    this.#mapImage(AT.data, data);
    const [first, , third] = VALUES_AT;
    this.#valuePte = this.#mapGuest(WINDOW + BigInt(first), BigInt(first), data);
    this.#valueStagePte = this.#mapStage(BigInt(first), first, data | U);
    this.#mapStage(BigInt(third), third, data | U);
    this.#mapGuest(VA.device, GPA.device, data);
    this.#mapGuest(VA.fetch, GPA.fetch, code);
    this.#mapGuest(VA.readOnly, GPA.readOnly, data);
    this.#mapStage(GPA.readOnly, AT.data, V | R | U | A | D);
    const hole = this.#mapGuest(VA.hole, 0n, 0n, 1);
    this.#put(hole, pte(this.#base + GPA.hole, V));
    this.#updatePte = this.#mapGuest(UPDATE_VA, BigInt(AT.data), V | R | W);
    // The guest's tables are its own memory; that one it may only read.
    const tables = this.#nextTable;
    for (let at: number = AT.tables; at < tables; at += PAGE) {
      const isUpdated = at === this.#updatePte - (this.#updatePte % PAGE);
      this.#mapStage(BigInt(at), at, isUpdated ? V | R | U | A | D : data | U);
    }
    const place = {
      ...{ mode, base: this.#base, guestRoot: this.#guestRoot },
      ...{ valueStagePte: this.#valueStagePte, valuePte: this.#valuePte },
    };
    this.#code(0, hypervisorCode(place), BigInt(START), AT.guest);
    this.#code(AT.guest, guestCode(this.#base), WINDOW + BigInt(AT.guest), PAGE);
  }

  /** What the hypervisor must have written down. */
  get expected(): readonly Omit<Trapped, 'sepc'>[] {
    const update = (this.#base + BigInt(this.#updatePte)) >> 2n;
    return probes(this.#base).map(([, trapped]) =>
      trapped.htinst === WRITE_OF_TABLE ? { ...trapped, htval: update } : trapped,
    );
  }

  /** Of what it said on the console: the memory behind START, as far as it was told. */
  static memoryOf(said: string): DataView {
    const memory = new DataView(new ArrayBuffer(AT.end));
    const words = [...said.matchAll(/^[0-9a-f]{16}(?=\r?$)/gm)].map(([digits]) => BigInt(`0x${digits}`));
    let next = 0;
    for (const [at, count] of TOLD)
      for (let i = 0; i < count; i++) memory.setBigUint64(at + i * 8, must(words[next++], said), true);
    return memory;
  }

  /** What it wrote down, of the memory behind START. */
  trapped(memory: DataView): readonly Trapped[] {
    const word = (i: number): bigint => memory.getBigUint64(AT.record + 16 + i * 8, true);
    return Array.from({ length: Number(memory.getBigUint64(AT.record, true)) }, (_, i) => ({
      cause: Number(word(i * RECORD_WORDS)),
      ...{ stval: word(i * RECORD_WORDS + 1), htval: word(i * RECORD_WORDS + 2) },
      ...{ htinst: word(i * RECORD_WORDS + 3), sepc: word(i * RECORD_WORDS + 4) },
    }));
  }

  /** Ticks of the hypervisor's own timer. */
  ticks(memory: DataView): number {
    return Number(memory.getBigUint64(AT.record + 8, true));
  }

  /** Causes and stval of what the guest's own handler took. */
  handled(memory: DataView): readonly (readonly [cause: bigint, stval: bigint])[] {
    const found: (readonly [bigint, bigint])[] = [];
    for (let at: number = AT.data + DATA.handled; memory.getBigUint64(at, true) !== 0n; at += 16)
      found.push([memory.getBigUint64(at, true), memory.getBigUint64(at + 8, true)]);
    return found;
  }

  /** The values that the second hart's guest saw, before and after each change. */
  seen(memory: DataView): readonly bigint[] {
    return Array.from({ length: DATA.seenCount }, (_, i) => memory.getBigUint64(AT.data + DATA.seen + i * 8, true));
  }

  /** The load that was emulated, and the guest's time when its timer was due and when it came. */
  results(memory: DataView): { readonly loaded: bigint; readonly due: bigint; readonly came: bigint } {
    const word = (i: number): bigint => memory.getBigUint64(AT.data + DATA.time + i * 8, true);
    return { loaded: word(0), due: word(1), came: word(2) };
  }

  #put(offset: number, value: bigint): void {
    this.#words.setBigUint64(offset, value, true);
  }
  #table(): number {
    const at = this.#nextTable;
    this.#nextTable += PAGE;
    assert.ok(this.#nextTable <= AT.end, 'the image has room for its tables');
    return at;
  }

  /** The offset of the PTE of `address` at `last` (0: a page's), with the tables on the way made by `pointTo`. */
  #walk(root: number, address: bigint, last: number, wider: number, pointTo: (table: number) => bigint): number {
    let table = root;
    for (let level = levelsOf(this.#mode) - 1; ; level--) {
      const isRoot = level === levelsOf(this.#mode) - 1;
      const mask = (1n << BigInt(isRoot ? 9 + wider : 9)) - 1n;
      const at = table + Number((address >> BigInt(12 + 9 * level)) & mask) * 8;
      if (level === last) return at;
      const value = this.#words.getBigUint64(at, true);
      table = value === 0n ? this.#table() : this.#offsetOf(value, root === AT.root);
      if (value === 0n) this.#put(at, pointTo(table));
    }
  }

  #offsetOf(entry: bigint, isStage: boolean): number {
    return Number(((entry >> 10n) << 12n) - (isStage ? BigInt(START) : this.#base));
  }

  /** The second stage: a page of the guest, behind its base, is one of the image. */
  #mapStage(gpa: bigint, offset: number, flags: bigint): number {
    const at = this.#walk(AT.root, this.#base + gpa, 0, 2, (table) => pte(BigInt(START + table), V));
    this.#put(at, pte(BigInt(START + offset), flags));
    return at;
  }

  /** The guest's own tables: a page, or at another level a table, of its physical memory. */
  #mapGuest(va: bigint, gpa: bigint, flags: bigint, level = 0): number {
    const at = this.#walk(this.#guestRoot, va, level, 0, (table) => pte(this.#base + BigInt(table), V));
    this.#put(at, pte(this.#base + gpa, flags));
    return at;
  }

  /** A page of the image, as the guest's, in both. */
  #mapImage(offset: number, flags: bigint): void {
    this.#mapGuest(WINDOW + BigInt(offset), BigInt(offset), flags);
    this.#mapStage(BigInt(offset), offset, flags | U);
  }

  #code(offset: number, source: string, at: bigint, mostBytes: number): void {
    const { bytes } = assemble(source, at);
    assert.ok(bytes.length <= mostBytes, `${bytes.length} bytes of code`);
    this.bytes.set(bytes, offset);
  }
}

const INTERRUPT = 1n << 63n;

/** What must be in its memory at the end, wherever it ran. `writesTables`: see QEMU's deviation where it is given. */
export function checkHypervisor(hypervisor: BareHypervisor, memory: DataView, { writesTables = false } = {}): void {
  assert.deepEqual(
    hypervisor.trapped(memory).map(({ sepc: _, ...trapped }) => trapped),
    hypervisor.expected.filter(({ htinst }) => !writesTables || htinst !== WRITE_OF_TABLE),
  );
  assert.deepEqual(hypervisor.handled(memory), [
    [13n, NOWHERE_VA],
    [INTERRUPT | 1n, 0n],
    [INTERRUPT | 9n, 0n],
    [INTERRUPT | 5n, 0n],
  ]);
  const { loaded, due, came } = hypervisor.results(memory);
  assert.equal(loaded, EMULATED);
  assert.ok(due > AHEAD && came >= due, `due at ${due}, came at ${came}`);
  assert.equal(hypervisor.ticks(memory), 2, 'the hypervisor’s timer, once on each hart');
  assert.deepEqual(hypervisor.seen(memory), VALUES);
}
