/**
 * Two harts that reach memory in every way, over and over, as a kernel and as its user: fetch, load, store, atomic, page
 * walk, update of A and D. Each way has a frame of its own, mapped for both; each hart counts per way what went well and
 * what faulted. So a right that is taken from one domain must show in one place, on both harts, and nowhere else.
 */
import assert from 'node:assert/strict';
import { must } from '../base/assert.ts';
import { HART } from '../hypervisor/index.ts';
import { assemble } from '../isa/index.ts';
import { BareMachine, START } from './bare-machine.testing.ts';
import type { BoardOptions } from './board-config.ts';

export const WAYS = ['fetch', 'load', 'store', 'amo', 'walk', 'update'] as const;
export type Way = (typeof WAYS)[number];
export const MODES = ['kernel', 'user'] as const;
export type Mode = (typeof MODES)[number];

const PAGE = 4096;
const RECORDS = 0x8050_0000;
const USER_CODE = 0x8060_0000;
const USER_CODE_PAGES = 1;
const ROOT = 0x8030_0000;
const MIDDLE = ROOT + PAGE;
/** Last tables: one of mappings for both modes each, and of walks and updates. */
const table = (area: number): number => ROOT + (2 + area) * PAGE;
const AREA = { kernel: 0, user: 1, 'kernel walk': 2, 'user walk': 3, 'kernel update': 4, 'user update': 5 } as const;
const va = (area: number): number => 0x4000_0000 + area * 0x20_0000;
const USER_VA = va(AREA.user) + 0x10_0000;
/** The frame that each way reaches, by its guest-physical address. */
export const FRAME: Readonly<Record<Way, number>> = {
  fetch: 0x8040_0000,
  load: 0x8040_1000,
  store: 0x8040_2000,
  amo: 0x8040_3000,
  walk: 0x8040_4000,
  update: 0x8040_5000,
};
/** The table that a mode's walks and updates read and write. */
export const TABLE: Readonly<Record<'walk' | 'update', Readonly<Record<Mode, number>>>> = {
  walk: { kernel: table(AREA['kernel walk']), user: table(AREA['user walk']) },
  update: { kernel: table(AREA['kernel update']), user: table(AREA['user update']) },
};
const FLAGS = { kernel: 0xcfn, user: 0xdfn } as const;
/** V, R, W, X, U, A, D. */
const DIRTY = 0x80n;

const number = (mode: Mode, way: Way): number => MODES.indexOf(mode) * WAYS.length + WAYS.indexOf(way);
/** Where a hart's mode writes in a frame. */
const place = (hart: number, mode: Mode): number => 64 + hart * 16 + MODES.indexOf(mode) * 8;

/** One access: a1 is what it gave. t0 is free; s3 is what is stored, s4 the hart. */
function access(mode: Mode, way: Way): string {
  const at = (area: number, from: number): string => `li t0, ${va(area) + from}\nslli t1, s4, 4\nadd t0, t0, t1`;
  const own = MODES.indexOf(mode) * 8 + 64;
  switch (way) {
    case 'fetch':
      return `li t0, ${va(AREA[mode])}\njalr ra, 0(t0)`;
    case 'load':
      return `li t0, ${va(AREA[mode]) + PAGE}\nld a1, 0(t0)`;
    case 'store':
      return `${at(AREA[mode], 2 * PAGE)}\nsd s3, ${own}(t0)`;
    case 'amo':
      return `${at(AREA[mode], 3 * PAGE)}\naddi t0, t0, ${own}\nli t1, 1\namoadd.d a1, t1, (t0)`;
    case 'walk':
      return `li t0, ${va(AREA[`${mode} walk`])}\nld a1, 0(t0)`;
    case 'update':
      return `${at(AREA[`${mode} update`], 0)}\nsd s3, ${own}(t0)`;
  }
}

const userPiece = (way: Way): number => WAYS.indexOf(way) * 64;

function program(): string {
  const probes = MODES.flatMap((mode) =>
    WAYS.map((way) => {
      const n = number(mode, way);
      const enter = `li t0, ${USER_VA + userPiece(way)}\ncsrw sepc, t0\nli t0, 0x100\ncsrc sstatus, t0\nsret`;
      const count = `ld t0, ${n * 16}(s0)\naddi t0, t0, 1\nsd t0, ${n * 16}(s0)\nsd a1, ${n * 16 + 8}(s0)`;
      return `
  li s1, ${n}
  la s2, behind${n}
  ${mode === 'user' ? enter : `${access(mode, way)}\n${count}`}
behind${n}:`;
    }),
  );
  return `
start:
  mv s4, a0
  li s0, ${RECORDS}
  slli t0, s4, 12
  add s0, s0, t0
  la t0, handler
  csrw stvec, t0
  li t0, ${(8n << 60n) | BigInt(ROOT / PAGE)}
  csrw satp, t0
  sfence.vma
  mv s3, s4
round:
  addi s3, s3, 2
  ${probes.join('\n')}
  j round

handler:
  csrr t1, scause
  slli t0, s1, 4
  add t0, t0, s0
  li t2, 8
  beq t1, t2, well
  ld t2, 512(t0)
  addi t2, t2, 1
  sd t2, 512(t0)
  sd t1, 520(t0)
  j resume
well:
  ld t2, 0(t0)
  addi t2, t2, 1
  sd t2, 0(t0)
  sd a1, 8(t0)
resume:
  csrw sepc, s2
  li t0, 0x100
  csrs sstatus, t0
  sret`;
}

/** What a hart counted of one way. */
export interface Count {
  readonly well: number;
  readonly last: bigint;
  readonly faults: number;
  readonly cause: number;
}

export class Probes {
  readonly machine: BareMachine;

  constructor(options: BoardOptions = {}) {
    this.machine = new BareMachine(program(), { cpus: 2, ...options });
    const { board } = this.machine;
    const put = (gpa: number, bytes: Uint8Array): void => assert.ok(board.guestMemory.setUp(gpa, bytes));
    const pte = (gpa: number, flags: bigint): bigint => (BigInt(gpa) >> 2n) | flags;
    const entry = (at: number, index: number, value: bigint): void =>
      put(at + index * 8, new Uint8Array(BigUint64Array.of(value).buffer));
    entry(ROOT, 2, pte(0x8000_0000, FLAGS.kernel));
    entry(ROOT, 1, pte(MIDDLE, 1n));
    for (let area = 0; area < 6; area++) entry(MIDDLE, area, pte(table(area), 1n));
    for (const mode of MODES) {
      for (const [i, way] of (['fetch', 'load', 'store', 'amo'] as const).entries())
        entry(table(AREA[mode]), i, pte(FRAME[way], FLAGS[mode]));
      entry(TABLE.walk[mode], 0, pte(FRAME.walk, FLAGS[mode]));
      entry(TABLE.update[mode], 0, pte(FRAME.update, FLAGS[mode]));
    }
    for (let i = 0; i < USER_CODE_PAGES; i++) entry(table(AREA.user), 256 + i, pte(USER_CODE + i * PAGE, FLAGS.user));
    for (const way of WAYS)
      put(
        USER_CODE + userPiece(way),
        assemble(`${access('user', way)}\necall`, BigInt(USER_VA + userPiece(way))).bytes,
      );
    this.mark(1);
    const second = must(board.vcpus[1]);
    second.status = HART.started;
    second.state.x[10] = 1n;
    for (const vcpu of board.vcpus) assert.equal(vcpu.state.pc, BigInt(START));
  }

  /** What fetched code gives, and loads find, from now on: whoever sees it did so later. */
  mark(value: number): void {
    const { guestMemory } = this.machine.board;
    guestMemory.setUp(FRAME.fetch, assemble(`li a1, ${value}\nret`, 0n).bytes);
    for (const way of ['load', 'walk'] as const)
      guestMemory.setUp(FRAME[way], new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  /** As if the page had never been written through this mode's mapping: its next store updates D. */
  clean(mode: Mode): void {
    const { guestMemory } = this.machine.board;
    const bytes = new Uint8Array(8);
    guestMemory.read(TABLE.update[mode], bytes);
    const entry = new BigUint64Array(bytes.buffer);
    entry[0] = must(entry[0]) & ~DIRTY;
    guestMemory.setUp(TABLE.update[mode], bytes);
  }

  run(slices = 60): this {
    this.machine.run(slices);
    return this;
  }

  count(hart: number, mode: Mode, way: Way): Count {
    const at = RECORDS + hart * PAGE + number(mode, way) * 16;
    const [well, last] = this.#words(at, 2);
    const [faults, cause] = this.#words(at + 512, 2);
    return { well: Number(well), last: must(last), faults: Number(faults), cause: Number(cause) };
  }

  /** What that hart and mode last wrote in this way. */
  written(hart: number, mode: Mode, way: Way): bigint {
    return must(this.#words(FRAME[way] + place(hart, mode), 1)[0]);
  }

  /** Everything that says where memory is: the map, and all page tables. */
  layout(): Uint8Array {
    const { board } = this.machine;
    const tables = new Uint8Array(8 * PAGE);
    board.guestMemory.read(ROOT, tables);
    const map = board.memory.u8.subarray(board.map.at, board.map.at + board.map.pages * 4);
    return new Uint8Array(Buffer.concat([map, tables]));
  }

  #words(gpa: number, count: number): bigint[] {
    const bytes = new Uint8Array(count * 8);
    assert.ok(this.machine.board.guestMemory.read(gpa, bytes));
    return [...new BigUint64Array(bytes.buffer)];
  }
}
