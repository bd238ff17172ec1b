/**
 * Random programs of hypervisors and guests, by seed: CSRs, page tables of both stages, registers, and a few instructions that are
 * begun in any mode. They end where M-mode is entered. What they may reach is the same on every machine:
 *
 *   0x8000_0000  c.ebreak everywhere, the program, HS-mode's and VS-mode's handler
 *   0x8010_0000  tables and data: entries of the program, zero otherwise
 */
import { must } from '../../../base/assert.ts';
import { randomNumbers } from '../../cases/random.testing.ts';
import { encode, rowCode } from '../../code.ts';
import { CSR_BY_NAME } from '../../csr/index.ts';

export const PROGRAM = 0x8000_1000n;
export const HOST_HANDLER = 0x8000_2000n;
const GUEST_HANDLER = 0x8000_3000n;
const LANDING = 0x8000_4000n;
const TABLES = 0x8010_0000n;
const DATA = 0x8011_8000n;
const DATA_PAGES = 4n;
const NO_RAM = 0xa000_0000n;
export const MOST_ENTRIES = 96;
export const MOST_WORDS = 16;

export interface GuestProgram {
  readonly name: string;
  /** Values that M-mode writes to INPUT_CSRS, in that order. */
  readonly csrs: readonly bigint[];
  /** x0 to x31. */
  readonly x: readonly bigint[];
  /**
   * The first is executed in M-mode, just before PROGRAM, and begins the rest: mret, or for guests sret with hstatus.SPV (in
   * QEMU 10 mstatus.MPV cannot be written).
   */
  readonly words: readonly number[];
  /** Doublewords by physical address. */
  readonly entries: readonly (readonly [bigint, bigint])[];
}

/** In the order in which they are written: what another depends on comes first, mstatus last. */
export const INPUT_CSRS: readonly string[] = [
  ...['menvcfg', 'mstateen0', 'mcounteren', 'medeleg', 'mideleg', 'mie', 'mip'],
  ...['hstatus', 'hedeleg', 'hideleg', 'hvip', 'hcounteren', 'henvcfg', 'hstateen0', 'htval', 'htinst', 'hgatp'],
  ...['mtval2', 'mtinst', 'vsstatus', 'vsatp', 'vstvec', 'vsscratch', 'vsepc', 'vscause', 'vstval'],
  ...['satp', 'stvec', 'sscratch', 'sepc', 'scause', 'stval', 'scounteren', 'senvcfg', 'mepc', 'mstatus'],
];
/** What is compared, as M-mode reads it in the end. */
export const OUTPUT_CSRS: readonly string[] = [
  ...INPUT_CSRS,
  ...['mcause', 'mtval', 'sstatus', 'hip', 'hie', 'vsip', 'vsie', 'sip', 'sie'],
];

class Chance {
  readonly next: () => number;
  constructor(seed: number) {
    this.next = randomNumbers(seed);
  }
  of<T>(list: readonly T[]): T {
    return must(list[this.next() % list.length]);
  }
  /** True once in `n`. */
  once(n: number): boolean {
    return this.next() % n === 0;
  }
  bits(): bigint {
    return (BigInt(this.next()) << 32n) | BigInt(this.next());
  }
}

const [V, R, W, X, U, A, D] = [1n, 2n, 4n, 8n, 16n, 64n, 128n];

/** An address whose entry in the root table is like no other's. */
function elsewhere(levels: number): bigint {
  return 7n << BigInt(12 + 9 * (levels - 1));
}

interface Stage {
  readonly root: bigint;
  readonly levels: number;
  readonly isGuestPhysical: boolean;
}

/** Entries as they come, and a pool of tables. */
class Memory {
  readonly entries = new Map<bigint, bigint>();
  #nextTable = TABLES + 0x8000n;

  /** Leads `address` to `entry` at `level`, through tables that are there or new ones. */
  map({ root, levels, isGuestPhysical }: Stage, address: bigint, entry: bigint, level = 0): void {
    let table = root;
    for (let i = levels - 1; i > level; i--) {
      const at = table + this.#index(address, i, isGuestPhysical && i === levels - 1) * 8n;
      let pointer = this.entries.get(at);
      if (pointer === undefined) {
        pointer = ((this.#nextTable >> 12n) << 10n) | V;
        this.#nextTable += 4096n;
        this.entries.set(at, pointer);
      }
      // A leaf is there already: it stays.
      if ((pointer & (R | X)) !== 0n) return;
      table = ((pointer >> 10n) & ((1n << 44n) - 1n)) << 12n;
    }
    this.entries.set(table + this.#index(address, level, isGuestPhysical && level === levels - 1) * 8n, entry);
  }
  #index(address: bigint, level: number, isWide: boolean): bigint {
    return (address >> (12n + 9n * BigInt(level))) & (isWide ? 2047n : 511n);
  }
}

const ROOTS = { guestPhysical: TABLES, guest: TABLES + 0x4000n, host: TABLES + 0x5000n };
/** Where neither RAM nor a device of `virt` is: an access that is not translated faults. */
const VIRTUAL_PAGES = [0x1_4000_0000n, 0x1_4000_1000n, 0x1_4000_2000n, 0x1_4000_3000n, 0x1_8040_0000n];
const GUEST_PHYSICAL_PAGES = [0x1_5000_0000n, 0x1_5000_1000n, 0x1_5000_2000n, 0x1_5000_3000n];
/** Not over a page's end: QEMU 10 writes the first part of a store whose second fails. */
const OFFSETS = [0n, 0n, 8n, 16n, 0xff8n, 0xff8n, 1n, 2n];

/** A leaf's bits: mostly useful. */
function leafBits(chance: Chance, isGuestPhysical: boolean): bigint {
  const usual = V | R | W | A | D | (isGuestPhysical ? U : 0n);
  switch (chance.next() % 8) {
    case 0:
      return chance.bits() & 0xffn;
    case 1:
      return V | (chance.bits() & (R | W | X | U | A | D));
    case 2:
      return usual & ~(chance.once(2) ? A | D : D);
    case 3:
      return V | X | A | D | (chance.bits() & U);
    case 4:
      return usual | (chance.bits() & (1n << 61n));
    default:
      return usual | (chance.bits() & X);
  }
}

/** Where code, tables and data are: everything is allowed, or rarely not. */
function homeBits(chance: Chance, isGuestPhysical: boolean, isUser: boolean): bigint {
  if (chance.once(24)) return leafBits(chance, isGuestPhysical);
  return V | R | W | X | A | D | (isGuestPhysical || isUser ? U : 0n);
}

function page(address: bigint): bigint {
  return (address >> 12n) << 10n;
}

const SPACES: readonly (readonly [mode: bigint, levels: number])[] = [
  [8n, 3],
  [8n, 3],
  [9n, 4],
  [10n, 5],
];

function tables(chance: Chance, memory: Memory, isUser: boolean): { vsatp: bigint; hgatp: bigint; satp: bigint } {
  const [first, second, host] = [chance.of(SPACES), chance.of(SPACES), chance.of(SPACES)];
  const guest: Stage = { root: ROOTS.guest, levels: first[1], isGuestPhysical: false };
  const physical: Stage = { root: ROOTS.guestPhysical, levels: second[1], isGuestPhysical: true };
  const hosts: Stage = { root: ROOTS.host, levels: host[1], isGuestPhysical: false };
  memory.map(physical, 0x8000_0000n, page(0x8000_0000n) | homeBits(chance, true, isUser), 1);
  memory.map(guest, 0x8000_0000n, page(0x8000_0000n) | homeBits(chance, false, isUser), 1);
  memory.map(hosts, 0x8000_0000n, page(0x8000_0000n) | homeBits(chance, false, isUser), 1);
  const targets = [...GUEST_PHYSICAL_PAGES, DATA, DATA + 0x1000n];
  for (const va of VIRTUAL_PAGES) {
    if (chance.once(8)) continue;
    memory.map(guest, va, page(chance.of(targets)) | leafBits(chance, false));
    memory.map(hosts, va, page(dataPage(chance)) | leafBits(chance, false));
  }
  for (const gpa of GUEST_PHYSICAL_PAGES) {
    if (!chance.once(6)) memory.map(physical, gpa, page(dataPage(chance)) | leafBits(chance, true));
  }
  // A table of the guest where the G-stage has nothing, and one that cannot be written.
  if (chance.once(3)) memory.map(guest, elsewhere(first[1]), page(0x1_5000_0000n) | V, first[1] - 1);
  const atp = (mode: bigint, root: bigint, bare: number): bigint =>
    chance.once(bare) ? 0n : (mode << 60n) | (root >> 12n);
  return {
    vsatp: atp(first[0], guest.root, 8),
    hgatp: atp(second[0], physical.root, 10) | (chance.bits() & (0x3fffn << 44n)),
    satp: atp(host[0], hosts.root, 3),
  };
}

function dataPage(chance: Chance): bigint {
  return chance.once(12) ? NO_RAM : DATA + 4096n * (chance.bits() % DATA_PAGES);
}

/** Not MPRV, which the harness would feel, and not HS-mode's MXR, which in QEMU 10 lets page tables be read, too. */
const MSTATUS_FREE = 0x7e_61a2n & ~((1n << 17n) | (1n << 19n));
const [SRET, MRET] = [0x1020_0073, 0x3020_0073];
const SPV = 1n << 7n;
const CODES = [8n, 9n, 10n, 2n, 12n, 13n, 15n, 20n, 21n, 22n, 23n, 0n, 1n, 4n, 5n, 6n, 7n];

/** Bits of which each is set with a chance of one in `n`. */
function some(chance: Chance, bits: bigint, n: number): bigint {
  let out = 0n;
  for (let bit = 1n; bit <= bits; bit <<= 1n) if ((bits & bit) !== 0n && chance.once(n)) out |= bit;
  return out;
}

function csrValues(
  chance: Chance,
  atps: { vsatp: bigint; hgatp: bigint; satp: bigint },
  mode: bigint,
  isGuest: boolean,
): Record<string, bigint> {
  const environment = (7n << 61n) | 0xf1n;
  const most = (bits: bigint): bigint => bits & ~some(chance, bits, 5);
  // CBIE 2 is reserved: QEMU keeps it.
  const legal = (bits: bigint): bigint => (((bits >> 4n) & 3n) === 2n ? bits | 0x10n : bits);
  const status = most(3n << 13n) | some(chance, MSTATUS_FREE, 4);
  // One at a time: QEMU 10 takes the one of the lowest number first, unless it has AIA.
  const pending = chance.once(4) ? chance.of([2n, 0x200n, 4n, 0x400n]) : 0n;
  const menvcfg = legal(most(environment));
  // QEMU 10 looks at henvcfg for PBMTE and ADUE while V is 1 alone, not for hlv and hsv.
  const guests = legal(most(environment));
  const henvcfg = isGuest ? guests : (guests & ~(3n << 61n)) | (menvcfg & (3n << 61n));
  return {
    menvcfg,
    mstateen0: most((1n << 63n) | (1n << 62n)),
    mcounteren: most(7n),
    // Breakpoints end a program: they are never delegated.
    medeleg: CODES.reduce((all, code) => all | (chance.once(2) ? 1n << code : 0n), 0n),
    mideleg: most(0x222n),
    // Not VSTIP: while Sstc is on, QEMU does not let hvip say anything of it.
    mie: pending === 0n ? 0n : pending | some(chance, 0x1626n, 2),
    mip: pending & 0x202n,
    hstatus: (some(chance, 0x70_03c0n, 3) & ~SPV) | (isGuest ? SPV : 0n),
    hedeleg: chance.once(2) ? chance.bits() & 0xb1f7n : 0n,
    hideleg: chance.bits() & 0x444n,
    hvip: pending & 0x404n,
    hcounteren: most(7n),
    henvcfg,
    hstateen0: most((1n << 63n) | (1n << 62n)),
    vsstatus: some(chance, 0xc_0122n, 3) | most(3n << 13n),
    ...atps,
    vstvec: GUEST_HANDLER | BigInt(chance.next() & 1),
    stvec: HOST_HANDLER | BigInt(chance.next() & 1),
    vsepc: chance.of([LANDING, PROGRAM + 8n, must(VIRTUAL_PAGES[0])]),
    sepc: isGuest ? PROGRAM : chance.of([LANDING, PROGRAM + 8n, must(VIRTUAL_PAGES[0])]),
    scounteren: most(7n),
    senvcfg: legal(most(0xf1n)),
    mepc: PROGRAM,
    // TSR is for VS-mode, too, in QEMU 10, and wfi in VU-mode with TW a virtual instruction.
    mstatus: isGuest ? (status & ~((1n << 8n) | (3n << 21n))) | (mode << 8n) : status | (mode << 11n),
  };
}

/**
 * Not those of which QEMU 10 keeps other bits (senvcfg, henvcfg, hgatp, hstatus, hedeleg, hideleg, medeleg, sepc, vsepc,
 * counter enables) or none (htinst), or shows more or less (hvip,
 * sstateen0, vsstatus), or takes others for its own (vsie); nor fcsr, whose write makes one FS Dirty there, the
 * statuses, whose UXL can be written there, the timers, which are to stand still, and what could lead
 * away: page tables where there is no RAM (a page fault there, an access fault here) and vectors.
 */
const CSR_NAMES: readonly string[] = [
  ...['sscratch', 'scause', 'stval', 'vsscratch', 'vscause', 'vstval'],
  ...['hie', 'htval', 'htimedelta', 'hstateen0', 'hgeip'],
];
const CSR_ROWS = ['csrrw', 'csrrs', 'csrrc', 'csrrs', 'csrrs'];
/** Not atomics, which are a load and a store in QEMU 10 where there is one hart. */
const MEMORY_ROWS = [
  ...['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld', 'sb', 'sh', 'sw', 'sd', 'ld', 'sd'],
  ...['lr.d', 'flw', 'fld', 'fsw', 'fsd'],
];
/** Not hlvx, whose faults are those of fetches in QEMU 10. */
const GUEST_ROWS = [
  ...['hlv.b', 'hlv.bu', 'hlv.h', 'hlv.hu', 'hlv.w', 'hlv.wu', 'hlv.d'],
  ...['hsv.b', 'hsv.h', 'hsv.w', 'hsv.d'],
];
/** Not sfence.w.inval and sfence.inval.ir, which QEMU 10 lets U-mode execute; nor cache blocks, whose tval is the block's there. */
const OTHER_ROWS = [
  'ecall',
  'sret',
  'mret',
  'wfi',
  'sfence.vma',
  'sinval.vma',
  'hfence.vvma',
  'hfence.gvma',
  'hinval.vvma',
  'hinval.gvma',
];

/** Registers 1 to 15 hold addresses, the others anything. */
function instruction(chance: Chance): number {
  const rs1 = 1 + (chance.next() % 15);
  const any = 16 + (chance.next() % 15);
  const rd = chance.once(6) ? 0 : any;
  const make = (name: string, operands: Parameters<typeof encode>[1]): number =>
    must(encode(rowCode(name).pattern, operands));
  switch (chance.next() % 8) {
    case 0:
    case 1:
      return make(chance.of(CSR_ROWS), {
        rd,
        rs1: chance.once(3) ? 0 : any,
        csr: must(CSR_BY_NAME.get(chance.of(CSR_NAMES))).number,
      });
    case 2:
    case 3:
    case 4:
      return make(chance.of(MEMORY_ROWS), { rd, rs1, rs2: any, imm: 0 });
    case 5:
    case 6:
      return make(chance.of(GUEST_ROWS), { rd, rs1, rs2: any });
    default:
      return make(chance.of(OTHER_ROWS), { rs1: chance.once(2) ? 0 : rs1, rs2: chance.once(2) ? 0 : any });
  }
}

function addressValue(chance: Chance): bigint {
  if (chance.once(16)) return chance.bits();
  const base = chance.of([
    ...VIRTUAL_PAGES,
    ...VIRTUAL_PAGES,
    ...GUEST_PHYSICAL_PAGES,
    elsewhere(3),
    elsewhere(4),
    elsewhere(5),
    DATA,
    NO_RAM,
  ]);
  return base + chance.of(OFFSETS);
}

/** The same for the same seed. */
export function guestProgram(seed: number): GuestProgram {
  // Seeds that follow each other begin alike: they are spread first.
  const chance = new Chance(Math.imul(seed, 0x9e37_79b1));
  for (let i = 0; i < 8; i++) chance.next();
  const [mode, isGuest] = chance.of([
    [1n, true],
    [1n, true],
    [1n, true],
    [0n, true],
    [1n, false],
    [1n, false],
    [0n, false],
    [3n, false],
  ] as const);
  const memory = new Memory();
  const atps = tables(chance, memory, mode === 0n);
  for (let i = 0n; i < DATA_PAGES; i++)
    for (const offset of [0n, 8n, 16n, 0xff8n]) memory.entries.set(DATA + i * 4096n + offset, chance.bits());
  const values = csrValues(chance, atps, mode, isGuest);
  const x = Array.from({ length: 32 }, (_, i) => (i === 0 ? 0n : i < 16 ? addressValue(chance) : otherValue(chance)));
  const rest = Array.from({ length: 1 + (chance.next() % 8) }, () => instruction(chance));
  const words = [isGuest ? SRET : MRET, ...rest];
  const entries = [...memory.entries];
  return { name: `seed ${seed}`, csrs: INPUT_CSRS.map((name) => values[name] ?? 0n), x, words, entries };
}

function otherValue(chance: Chance): bigint {
  switch (chance.next() % 4) {
    case 0:
      return 1n << (chance.bits() % 64n);
    case 1:
      return chance.bits() & 0xfff_ffffn;
    case 2:
      return addressValue(chance);
    default:
      return chance.bits();
  }
}
