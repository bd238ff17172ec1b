/**
 * A random world for a hart: RAM with code, data and page tables of Sv39, Sv48 and Sv57, trap handlers that always
 * find a way on, registers and CSRs. Physical pages of RAM, from RAM_BASE:
 *
 *   0 M-mode's handler   1 its table of ways on   2 S-mode's handler   3 to 18 code   19 to 94 data   96 on: page tables
 *
 * M-mode's handler goes on at a place chosen by a congruential generator in mscratch: another pc, mode, satp and
 * other pointers; some ways change a page-table entry first, and fence; some exchange an instruction where ways lead,
 * which is hot code. S-mode's handler skips the instruction, or calls M-mode where skipping helps nothing.
 * Virtual addresses: 64 pages at VA_LOW (mostly user's) and at VA_HIGH (mostly supervisor's) go to random places; RAM
 * itself is mapped one to one.
 */
import { assemble } from '../isa/index.ts';
import type { Random } from './random.testing.ts';
import { POINTERS } from './random-code.testing.ts';
import { GUEST_FENCES, GUEST_WAYS, randomGuestState, randomGuests } from './random-guests.testing.ts';

export const RAM_BASE = 0x8000_0000;
export const RAM_PAGES = 128;
export const RAM_BYTES = RAM_PAGES * 4096;
export const CODE = { first: 3, pages: 16 } as const;
export const DATA = { first: 19, pages: 76 } as const;
export const TABLES = { first: 96, pages: 32 } as const;
export const MACHINE_VECTOR = BigInt(RAM_BASE);
export const SUPERVISOR_VECTOR = BigInt(RAM_BASE + 2 * 4096);
const VA_LOW = 0x4000_0000n;
const VA_HIGH = -0x4000_0000n;
const WINDOW_PAGES = 64;
const WAYS = 32;
const WAY_BYTES = 128;
const HOT_WAYS = 4;
const MODES = [
  { mode: 8n, levels: 3 },
  { mode: 9n, levels: 4 },
  { mode: 10n, levels: 5 },
] as const;

const handlers = (hasGuests: boolean): string => `
  auipc t2, 1
  lui t0, 0x20
  csrc mstatus, t0
  csrr t0, mcause
  bge t0, x0, exception
  csrw mie, x0
exception:
  csrr t0, mscratch
  slli t1, t0, 2
  add t0, t0, t1
  addi t0, t0, 0x339
  csrw mscratch, t0
  srli t1, t0, 7
  andi t1, t1, 31
  slli t1, t1, 7
  add t2, t2, t1
  ld t0, 0(t2)
  csrw mepc, t0
  lui t0, 0x2
  addi t0, t0, -0x800
  csrc mstatus, t0
${hasGuests ? GUEST_WAYS : ''}
  ld t0, 8(t2)
  csrs mstatus, t0
  ld t0, 16(t2)
  csrw satp, t0
  ld t0, 64(t2)
  beq t0, x0, keep
  ld t3, 72(t2)
  ld t1, 0(t0)
  xor t1, t1, t3
  sd t1, 0(t0)
  sfence.vma x0, x0
${hasGuests ? GUEST_FENCES : ''}
keep:
  ld t0, 80(t2)
  beq t0, x0, unpatched
  ld t3, 88(t2)
  lwu t1, 0(t0)
  xor t1, t1, t3
  sw t1, 0(t0)
unpatched:
  ld x2, 24(t2)
  ld x8, 32(t2)
  ld x9, 40(t2)
  ld x10, 48(t2)
  ld x11, 56(t2)
  mret
`;
const SKIP = `
  csrr t0, scause
  bge t0, x0, exception
  csrw sie, x0
  sret
exception:
  addi t1, x0, 12
  beq t0, t1, call
  addi t1, x0, 1
  beq t0, t1, call
  csrr t0, sepc
  addi t0, t0, 4
  csrw sepc, t0
  sret
call:
  ecall
`;

/** What a hart starts with: fields of its state, and its registers. */
export interface HartWorld {
  readonly state: Readonly<Record<string, bigint>>;
  readonly x: readonly bigint[];
  readonly f: readonly bigint[];
}

/** And RAM. */
export interface World extends HartWorld {
  readonly ram: Uint8Array;
}

/** `hasGuests`: for harts with the hypervisor extension. */
export function randomWorld(random: Random, code: Uint8Array, hasGuests = false): World {
  const ram = new Uint8Array(RAM_BYTES);
  const view = new DataView(ram.buffer);
  const page = (number: number): Uint8Array => ram.subarray(number * 4096, (number + 1) * 4096);
  page(0).set(assemble(handlers(hasGuests), MACHINE_VECTOR).bytes);
  page(2).set(assemble(SKIP, SUPERVISOR_VECTOR).bytes);
  ram.set(code, CODE.first * 4096);
  for (let i = 0; i < DATA.pages; i++) page(DATA.first + i).set(random.bytes(random.chance(0.2) ? 4096 : 256));
  const tables = new PageTables(random, view);
  const all = tables.build();
  // One address space alone keeps translations cached from way to way: a fence that does nothing shows.
  const roots = random.chance(0.6) ? [random.pick(all)] : all;
  const guests = hasGuests ? randomGuests(random, view, { base: RAM_BASE, pages: RAM_PAGES, data: DATA }) : undefined;
  const leaves = [...roots.flatMap((satp) => tables.leaves.get(satp) ?? []), ...(guests?.leaves ?? [])];
  const targets: number[] = [];
  const hotTargets: number[] = [];
  const isBareSometimes = roots.length > 1;
  const word = (at: number, value: bigint): void => view.setBigUint64(at, BigInt.asUintN(64, value), true);
  for (let way = 0; way < WAYS; way++) {
    if (way >= HOT_WAYS && random.chance(0.4)) {
      // Some places are reached often, by all harts, and written often.
      const from = 4096 + random.below(HOT_WAYS) * WAY_BYTES;
      ram.copyWithin(4096 + way * WAY_BYTES, from, from + WAY_BYTES);
      continue;
    }
    const mode = random.pick([0n, 0n, 1n, 1n, 3n]);
    const satp = isBareSometimes && random.chance(0.2) ? 0n : random.pick(roots);
    const isPhysical = mode === 3n || satp === 0n;
    const place = (first: number, pages: number): bigint => {
      const at = random.chance(0.25) ? 4096 - random.below(24) : random.below(4096);
      if (isPhysical) return BigInt(RAM_BASE + (first + random.below(pages)) * 4096 + at);
      const own = mode === 0n ? VA_LOW : VA_HIGH;
      return (
        (random.chance(0.9) ? own : random.pick([VA_LOW, VA_HIGH])) + BigInt(random.below(WINDOW_PAGES) * 4096 + at)
      );
    };
    const at = 4096 + way * WAY_BYTES;
    const pc = place(CODE.first, CODE.pages) & ~1n;
    word(at, pc);
    const target = isPhysical ? Number(pc) - RAM_BASE : tables.offsetOf(satp, pc);
    if (target !== undefined) (way < HOT_WAYS ? hotTargets : targets).push(target);
    const guest = guests?.way(mode);
    const status = (mode << 11n) | (random.wide() & 0xe_2000n) | 0x2000n | (random.chance(0.3) ? 0x80n : 0n);
    word(at + 8, status | (guest?.mstatus ?? 0n));
    for (const [i, value] of (guest?.words ?? []).entries()) word(at + 96 + i * 8, value);
    word(at + 16, satp);
    if (random.chance(0.2)) {
      word(at + 64, random.pick(leaves));
      word(at + 72, 1n << BigInt(random.pick([0, 1, 2, 3, 4, 6, 7, 10, 11])));
    }
    for (const [i] of POINTERS.entries()) {
      const isCode = random.chance(0.15);
      const pointer = place(isCode ? CODE.first : DATA.first, isCode ? CODE.pages : DATA.pages);
      word(at + 24 + i * 8, i < 3 ? pointer : pointer & ~7n);
    }
  }
  for (let way = 0; way < WAYS; way++) {
    const chosen = random.chance(0.7) ? hotTargets : targets;
    if (chosen.length === 0 || !random.chance(0.5)) continue;
    const place = random.pick(chosen) + 2 * random.below(random.chance(0.5) ? 4 : 20);
    const fresh = random.below(CODE.pages * 2048 - 2) * 2 + CODE.first * 4096;
    if (place + 4 > (CODE.first + CODE.pages) * 4096) continue;
    word(4096 + way * WAY_BYTES + 80, BigInt(RAM_BASE + place));
    word(4096 + way * WAY_BYTES + 88, BigInt((view.getUint32(place, true) ^ view.getUint32(fresh, true)) >>> 0));
  }
  return { ram, ...randomHart(random, hasGuests) };
}

/** A hart for a world: its own registers, interrupts, PMP; handlers, ways and page tables are all harts'. */
export function randomHart(random: Random, hasGuests = false): HartWorld {
  const state = randomState(random);
  if (hasGuests) Object.assign(state, randomGuestState(random, SUPERVISOR_VECTOR));
  return { state, x: list(random), f: list(random) };
}

function list(random: Random): bigint[] {
  return Array.from({ length: 32 }, (_, i) => (i === 0 ? 0n : random.value()));
}

function randomState(random: Random): Record<string, bigint> {
  const state: Record<string, bigint> = {
    // The first instruction is a call into the handler.
    pc: MACHINE_VECTOR,
    mode: 3n,
    mtvec: MACHINE_VECTOR,
    stvec: SUPERVISOR_VECTOR,
    mscratch: random.wide(),
    mstatus: 0x2000n,
    medeleg: random.chance(0.5) ? 0n : random.wide() & 0xb1ffn & ~0x200n,
    mideleg: random.wide() & 0x222n,
    mie: random.chance(0.5) ? 0n : random.wide() & 0xaaan,
    menvcfg: (random.wide() & (3n << 61n)) | 0xf0n,
    senvcfg: 0xf0n,
    mcounteren: 7n,
    scounteren: 7n,
    frm: BigInt(random.below(5)),
    pmpcfg2: 0x1fn << 56n,
    pmpaddr15: (1n << 54n) - 1n,
    pmpcfg0: 0n,
  };
  if (random.chance(0.3)) {
    // A few small regions of data and code with rights of their own; the last entry opens the rest.
    for (let entry = 0; entry < 4; entry++) {
      const address = BigInt(RAM_BASE + CODE.first * 4096 + random.below((CODE.pages + DATA.pages) * 4096)) >> 2n;
      const kind = BigInt(random.pick([1, 2, 3]));
      const rights = BigInt(random.pick([0, 1, 3, 4, 5, 7]));
      state[`pmpaddr${entry}`] = kind === 3n ? address | ((1n << BigInt(random.below(12))) - 1n) : address;
      state['pmpcfg0'] = (state['pmpcfg0'] ?? 0n) | (((kind << 3n) | rights) << BigInt(8 * entry));
    }
  }
  return state;
}

/** Page tables of the three modes, with leaves that are mostly usable. */
class PageTables {
  readonly #random: Random;
  readonly #view: DataView;
  #next: number = TABLES.first;
  /** Physical addresses of the windows' leaves, by satp. */
  readonly leaves = new Map<bigint, bigint[]>();

  constructor(random: Random, view: DataView) {
    this.#random = random;
    this.#view = view;
  }

  /** satp's values. */
  build(): bigint[] {
    return MODES.map(({ mode, levels }) => {
      const root = this.#next++;
      const leaves: bigint[] = [];
      this.#put(root, levels, BigInt(RAM_BASE), 2, leaf(BigInt(RAM_BASE) >> 12n, 0xcfn));
      for (const window of [VA_LOW, VA_HIGH]) {
        for (let i = 0; i < WINDOW_PAGES; i++) {
          const va = window + BigInt(i * 4096);
          leaves.push(this.#put(root, levels, va, 0, this.#randomLeaf(window === VA_LOW)));
        }
        // A superpage behind the window: all of RAM, or what lies round it; sometimes misaligned.
        const ppn = (BigInt(RAM_BASE) >> 12n) + (this.#random.chance(0.2) ? 8n : 0n);
        this.#put(root, levels, window + 0x20_0000n, 1, leaf(ppn, 0xcfn | (this.#random.chance(0.5) ? 16n : 0n)));
      }
      const satp = (mode << 60n) | (BigInt(this.#random.below(4)) << 44n) | BigInt(RAM_BASE / 4096 + root);
      this.leaves.set(satp, leaves);
      return satp;
    });
  }

  /** Where in RAM a window's address leads, if it leads to code. */
  offsetOf(satp: bigint, va: bigint): number | undefined {
    const window = BigInt.asIntN(64, va) < 0n ? VA_HIGH : VA_LOW;
    const index = Number((BigInt.asIntN(64, va) - window) >> 12n) + (window === VA_LOW ? 0 : WINDOW_PAGES);
    const place = this.leaves.get(satp)?.[index];
    if (place === undefined) return undefined;
    const entry = this.#view.getBigUint64(Number(place) - RAM_BASE, true);
    const page = Number((entry >> 10n) & ((1n << 44n) - 1n)) - RAM_BASE / 4096;
    const isCode = (entry & 9n) === 9n && page >= CODE.first && page < CODE.first + CODE.pages;
    return isCode ? page * 4096 + Number(va & 0xfffn) : undefined;
  }

  #put(root: number, levels: number, va: bigint, level: number, entry: bigint): bigint {
    let table = root;
    for (let at = levels - 1; at > level; at--) {
      const place = slot(table, va, at);
      let pointer = this.#view.getBigUint64(place, true);
      if ((pointer & 1n) === 0n) {
        pointer = leaf(BigInt(RAM_BASE / 4096 + this.#next++), 1n);
        this.#view.setBigUint64(place, pointer, true);
      }
      table = Number(pointer >> 10n) - RAM_BASE / 4096;
    }
    this.#view.setBigUint64(slot(table, va, level), BigInt.asUintN(64, entry), true);
    return BigInt(RAM_BASE + slot(table, va, level));
  }

  #randomLeaf(isUser: boolean): bigint {
    const random = this.#random;
    const isCode = random.chance(0.4);
    let page = (isCode ? CODE.first : DATA.first) + random.below(isCode ? CODE.pages : DATA.pages);
    let flags = random.chance(0.7) ? 0xcfn : BigInt(random.word() & 0xff) | (random.chance(0.7) ? 0x4bn : 0n);
    flags = random.chance(0.9) === isUser ? flags | 16n : flags & ~16n;
    if (random.chance(0.05)) {
      page = TABLES.first + random.below(16);
      flags &= ~4n;
    }
    if (random.chance(0.03)) page = 0x7000 + random.below(256);
    let entry = leaf(BigInt(RAM_BASE / 4096 + page), flags);
    if (random.chance(0.08)) entry = leaf(BigInt(RAM_BASE / 4096 + random.below(5) * 16 + 8), flags) | (1n << 63n);
    if (random.chance(0.03)) entry |= 1n << BigInt(54 + random.below(10));
    return entry;
  }
}

function leaf(ppn: bigint, flags: bigint): bigint {
  return (ppn << 10n) | flags;
}

function slot(table: number, va: bigint, level: number): number {
  return table * 4096 + Number((va >> BigInt(12 + 9 * level)) & 511n) * 8;
}
