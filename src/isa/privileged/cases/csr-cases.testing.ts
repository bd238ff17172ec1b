/**
 * Cases of the CSRs, from the manual's listing (privileged specification, "CSR Listing"): who may read and write
 * each, what a write of each leaves behind. The list is written down again here, so that the table cannot agree
 * with itself alone.
 */
import { FEATURE } from '../../state.ts';
import {
  ALL_FEATURES,
  csrrc,
  csrrci,
  csrrs,
  csrrsi,
  csrrw,
  csrrwi,
  HART_ID,
  type HartCase,
  INSTRET,
  MISA,
  machineTrap,
  type Registers,
  TIME,
} from './hart-case.testing.ts';

export interface ListedCsr {
  readonly number: number;
  readonly name: string;
  /** What it reads in an opened hart (OPEN). */
  readonly reads: bigint;
}

const STCE = 1n << 63n;
const FS_DIRTY = 3n << 13n;
const SD = 1n << 63n;
const UXL = 2n << 32n;
const SXL = 2n << 34n;
const ALL = (1n << 64n) - 1n;
const PMP_ADDRESS = (1n << 54n) - 1n;

/** Everything that can be allowed to lower modes is. */
const OPEN: Registers = {
  ...{ mstatus: FS_DIRTY, menvcfg: STCE, mcounteren: 0xffff_ffffn, scounteren: 0xffff_ffffn },
  ...{ miselect: 0x70n, siselect: 0x70n },
};

// biome-ignore format: table
const SINGLE: readonly (readonly [number, string, bigint])[] = [
  [0x001, 'fflags', 0n], [0x002, 'frm', 0n], [0x003, 'fcsr', 0n],
  [0xc00, 'cycle', INSTRET], [0xc01, 'time', TIME], [0xc02, 'instret', INSTRET],
  [0x100, 'sstatus', SD | FS_DIRTY | UXL], [0x104, 'sie', 0n], [0x105, 'stvec', 0x8000_3000n], [0x106, 'scounteren', 0xffff_ffffn],
  [0x10a, 'senvcfg', 0n], [0x140, 'sscratch', 0n], [0x141, 'sepc', 0n], [0x142, 'scause', 0n], [0x143, 'stval', 0n],
  [0x144, 'sip', 0n], [0x14d, 'stimecmp', ALL], [0x180, 'satp', 0n],
  [0xf11, 'mvendorid', 0n], [0xf12, 'marchid', 0n], [0xf13, 'mimpid', 0n], [0xf14, 'mhartid', HART_ID], [0xf15, 'mconfigptr', 0n],
  [0x300, 'mstatus', SD | FS_DIRTY | UXL | SXL], [0x301, 'misa', MISA], [0x302, 'medeleg', 0n], [0x303, 'mideleg', 0n],
  [0x304, 'mie', 0n], [0x305, 'mtvec', 0x8000_2000n], [0x306, 'mcounteren', 0xffff_ffffn], [0x30a, 'menvcfg', STCE],
  [0x320, 'mcountinhibit', 0n], [0x340, 'mscratch', 0n], [0x341, 'mepc', 0n], [0x342, 'mcause', 0n], [0x343, 'mtval', 0n], [0x344, 'mip', 0n],
  [0x747, 'mseccfg', 0n], [0x7a0, 'tselect', 0n], [0x7a1, 'tdata1', 0n], [0x7a2, 'tdata2', 0n], [0x7a3, 'tdata3', 0n], [0x7a4, 'tinfo', 1n],
  [0x150, 'siselect', 0x70n], [0x151, 'sireg', 0n], [0x15c, 'stopei', 0n], [0xdb0, 'stopi', 0n],
  [0x308, 'mvien', 0n], [0x309, 'mvip', 0n], [0x350, 'miselect', 0x70n], [0x351, 'mireg', 0n], [0x35c, 'mtopei', 0n], [0xfb0, 'mtopi', 0n],
  [0xb00, 'mcycle', INSTRET], [0xb02, 'minstret', INSTRET],
];

function range(first: number, last: number, step = 1): number[] {
  return Array.from({ length: (last - first) / step + 1 }, (_, i) => first + i * step);
}

/** Every CSR of the hart. */
export const LISTED_CSRS: readonly ListedCsr[] = [
  ...SINGLE.map(([number, name, reads]) => ({ number, name, reads })),
  ...range(3, 31).flatMap((n) => [
    { number: 0xc00 + n, name: `hpmcounter${n}`, reads: 0n },
    { number: 0xb00 + n, name: `mhpmcounter${n}`, reads: 0n },
    { number: 0x320 + n, name: `mhpmevent${n}`, reads: 0n },
  ]),
  ...range(0, 14, 2).map((n) => ({ number: 0x3a0 + n, name: `pmpcfg${n}`, reads: n === 0 ? 0x1fn : 0n })),
  ...range(0, 63).map((n) => ({ number: 0x3b0 + n, name: `pmpaddr${n}`, reads: n === 0 ? PMP_ADDRESS : 0n })),
].sort((a, b) => a.number - b.number);

const MODES = [0n, 1n, 3n] as const;

/** Reads in every mode: the value, or an illegal instruction below the mode that bits 9:8 of the number name. */
const reads: HartCase[] = LISTED_CSRS.flatMap(({ number, name, reads: value }) =>
  MODES.map((mode): HartCase => {
    const program = [csrrs(5, number, 0)];
    const before = { ...OPEN, mode };
    if (mode >= BigInt((number >> 8) & 3))
      return { name: `${name} reads in mode ${mode}`, before, program, afterX: { 5: value } };
    return {
      name: `${name} is illegal in mode ${mode}`,
      before,
      program,
      after: machineTrap(before, 2, BigInt(program[0] ?? 0)),
    };
  }),
);

/** Numbers with bits 11:10 = 11 are read-only: csrrs and csrrc write unless their source field is zero. */
const readOnly: HartCase[] = LISTED_CSRS.filter(({ number }) => number >> 10 === 3).flatMap(
  ({ number, name, reads: value }) => [
    ...[
      csrrw(0, number, 0),
      csrrs(5, number, 1),
      csrrc(5, number, 1),
      csrrwi(0, number, 0),
      csrrsi(5, number, 1),
      csrrci(5, number, 1),
    ].map(
      (word): HartCase => ({
        name: `${name} is read-only: ${word.toString(16)}`,
        before: OPEN,
        program: [word],
        after: machineTrap(OPEN, 2, BigInt(word)),
        afterX: { 5: 0n },
      }),
    ),
    ...[csrrc(5, number, 0), csrrsi(5, number, 0), csrrci(5, number, 0)].map(
      (word): HartCase => ({
        name: `${name} is read by ${word.toString(16)}`,
        before: OPEN,
        program: [word],
        afterX: { 5: value },
      }),
    ),
  ],
);

/** CSRs that the hart does not have: RV32's, the hypervisor's, odd pmpcfg, debug mode's, custom ones. */
const absent: HartCase[] = [
  0x000, 0x004, 0x015, 0x101, 0x107, 0x14e, 0x181, 0x200, 0x310, 0x321, 0x322, 0x30c, 0x3a1, 0x3a3, 0x3f0, 0x5a8, 0x600,
  0x680, 0x740, 0x744, 0x7a5, 0x7a8, 0x7b0, 0x7c0, 0x8ff, 0xb01, 0xb80, 0xc80, 0xda0, 0xfb1, 0xfff,
].map((number) => {
  const program = [csrrs(5, number, 0)];
  return {
    name: `${number.toString(16)} is no CSR`,
    before: OPEN,
    program,
    after: machineTrap(OPEN, 2, BigInt(program[0] ?? 0)),
  };
});

const FEATURE_OF: readonly (readonly [bigint, readonly string[]])[] = [
  [FEATURE.float, ['fflags', 'frm', 'fcsr']],
  [FEATURE.zicntr, ['cycle', 'time', 'instret']],
  [FEATURE.zihpm, range(3, 31).map((n) => `hpmcounter${n}`)],
  [FEATURE.sstc, ['stimecmp']],
  [FEATURE.smepmp, ['mseccfg']],
  [FEATURE.smaia, ['mvien', 'mvip', 'miselect', 'mireg', 'mtopei', 'mtopi']],
  [FEATURE.ssaia, ['siselect', 'sireg', 'stopei', 'stopi']],
  [
    FEATURE.supervisor,
    [
      'sstatus',
      'sie',
      'stvec',
      'scounteren',
      'senvcfg',
      'sscratch',
      'sepc',
      'scause',
      'stval',
      'sip',
      'satp',
      'medeleg',
      'mideleg',
      'mvien',
      'mvip',
    ],
  ],
];

const switchedOff: HartCase[] = FEATURE_OF.flatMap(([feature, names]) =>
  names.map((name): HartCase => {
    const number = LISTED_CSRS.find((c) => c.name === name)?.number ?? 0;
    const before = { ...OPEN, features: ALL_FEATURES & ~feature };
    const program = [csrrs(5, number, 0)];
    return {
      name: `${name} without its extension is illegal`,
      before,
      program,
      after: machineTrap(before, 2, BigInt(program[0] ?? 0)),
    };
  }),
);

/** Conditions beyond privilege. */
// biome-ignore format: table
const CONDITIONS: readonly (readonly [string, number, Registers, boolean])[] = [
  ['fcsr needs FS', 0x003, { mode: 0n }, false],
  ['fcsr needs FS in M, too', 0x003, {}, false],
  ['fcsr reads while FS is Initial', 0x003, { mstatus: 1n << 13n }, true],
  ['fcsr reads while FS is Clean', 0x003, { mstatus: 2n << 13n }, true],
  ['stimecmp needs STCE in S', 0x14d, { mode: 1n, mcounteren: 2n }, false],
  ['stimecmp needs TM in S', 0x14d, { mode: 1n, menvcfg: STCE }, false],
  ['stimecmp in S', 0x14d, { mode: 1n, menvcfg: STCE, mcounteren: 2n }, true],
  ['stimecmp in M needs neither', 0x14d, {}, true],
  ['satp with TVM in S', 0x180, { mode: 1n, mstatus: 1n << 20n }, false],
  ['satp with TVM in M', 0x180, { mstatus: 1n << 20n }, true],
  ...([[0xc00, 0], [0xc01, 1], [0xc02, 2], [0xc03, 3], [0xc1f, 31]] as const).flatMap(([number, bit]) => {
    const on = 1n << BigInt(bit);
    const off = 0xffff_ffffn & ~on;
    const rows: (readonly [string, number, Registers, boolean])[] = [
      [`counter ${bit} in M needs no enable`, number, {}, true],
      [`counter ${bit} in S`, number, { mode: 1n, mcounteren: on }, true],
      [`counter ${bit} in S, not enabled`, number, { mode: 1n, mcounteren: off, scounteren: on }, false],
      [`counter ${bit} in U`, number, { mode: 0n, mcounteren: on, scounteren: on }, true],
      [`counter ${bit} in U, not enabled by M`, number, { mode: 0n, mcounteren: off, scounteren: on }, false],
      [`counter ${bit} in U, not enabled by S`, number, { mode: 0n, mcounteren: on, scounteren: off }, false],
      [`counter ${bit} in U of a hart without S`, number, { mode: 0n, mcounteren: on, features: ALL_FEATURES & ~FEATURE.supervisor }, true],
    ];
    return rows;
  }),
];

const conditions: HartCase[] = CONDITIONS.map(([name, number, before, legal]) => {
  const program = [csrrs(5, number, 0)];
  if (legal) return { name: `${name}: legal`, before, program };
  return { name: `${name}: illegal`, before, program, after: machineTrap(before, 2, BigInt(program[0] ?? 0)) };
});

interface Written {
  readonly csr: string;
  readonly write: bigint;
  readonly reads: bigint;
  readonly before?: Registers;
  readonly why: string;
}

const NO = (feature: bigint): Registers => ({ features: ALL_FEATURES & ~feature });
const ONES = ALL;
const MPP_S = 1n << 11n;
const MPP_RESERVED = 2n << 11n;

/** WARL: what is written, and what reads afterwards. */
// biome-ignore format: table
const WRITTEN: readonly Written[] = [
  { csr: 'fflags', write: ONES, reads: 0x1fn, before: OPEN, why: 'five flags' },
  { csr: 'frm', write: ONES, reads: 7n, before: OPEN, why: 'reserved modes are kept' },
  { csr: 'fcsr', write: ONES, reads: 0xffn, before: OPEN, why: 'frm and fflags' },
  { csr: 'fcsr', write: 0x65n, reads: 0x65n, before: OPEN, why: 'frm above fflags' },
  { csr: 'mstatus', write: ONES, reads: SD | SXL | UXL | 0x7e79aan, why: 'implemented bits' },
  { csr: 'mstatus', write: 0n, reads: SXL | UXL, before: { mstatus: 0x7e79aan }, why: 'UXL and SXL are fixed' },
  { csr: 'mstatus', write: MPP_RESERVED, reads: SXL | UXL | MPP_S, before: { mstatus: MPP_S }, why: 'MPP = 2 leaves MPP' },
  { csr: 'mstatus', write: MPP_S, reads: SXL | UXL | MPP_S, why: 'MPP = 1' },
  { csr: 'mstatus', write: MPP_S, reads: UXL, before: NO(FEATURE.supervisor), why: 'MPP = 1 without S-mode leaves MPP' },
  { csr: 'mstatus', write: ONES, reads: SD | UXL | 0x227888n, before: NO(FEATURE.supervisor), why: 'no S-mode' },
  { csr: 'mstatus', write: ONES, reads: SXL | UXL | 0x7e19aan, before: NO(FEATURE.float), why: 'no floating point, no FS' },
  { csr: 'mstatus', write: 1n << 13n, reads: SXL | UXL | (1n << 13n), why: 'SD is 0 unless FS is Dirty: Initial' },
  { csr: 'mstatus', write: 2n << 13n, reads: SXL | UXL | (2n << 13n), why: 'SD is 0 unless FS is Dirty: Clean' },
  { csr: 'mstatus', write: 3n << 13n, reads: SD | SXL | UXL | (3n << 13n), why: 'SD is 1 if FS is Dirty' },
  { csr: 'sstatus', write: ONES, reads: SD | UXL | 0xc6122n, why: "supervisor's bits" },
  { csr: 'sstatus', write: 0n, reads: UXL, before: { mstatus: ONES & 0x7e79aan }, why: "supervisor's bits cleared" },
  { csr: 'sstatus', write: ONES, reads: UXL | 0xc0122n, before: NO(FEATURE.float), why: 'no floating point, no FS' },
  { csr: 'misa', write: 0n, reads: MISA, why: 'extensions are fixed' },
  { csr: 'medeleg', write: ONES, reads: 0xb3ffn, why: 'what lower modes can raise; never ecall from M' },
  { csr: 'mideleg', write: ONES, reads: 0x222n, why: "supervisor's interrupts only" },
  { csr: 'mie', write: ONES, reads: 0xaaan, why: 'implemented interrupts' },
  { csr: 'mie', write: ONES, reads: 0x888n, before: NO(FEATURE.supervisor), why: 'no S-mode' },
  { csr: 'mip', write: ONES, reads: 0x222n, why: "supervisor's bits are software's" },
  { csr: 'mip', write: ONES, reads: 0x202n, before: { menvcfg: STCE }, why: 'STIP is not, with Sstc' },
  { csr: 'mip', write: ONES, reads: 0n, before: NO(FEATURE.supervisor), why: 'no S-mode' },
  { csr: 'mip', write: 0n, reads: 0xa88n, before: { lines: 0xaaan, mip: 0x222n }, why: 'lines stay; SSIP has none' },
  { csr: 'sie', write: ONES, reads: 0x202n, before: { mideleg: 0x202n }, why: 'delegated interrupts only' },
  { csr: 'sie', write: 0n, reads: 0n, before: { mideleg: 0x222n, mie: 0xaaan }, why: 'delegated interrupts cleared' },
  { csr: 'sie', write: ONES, reads: 0n, why: 'nothing delegated' },
  { csr: 'sip', write: ONES, reads: 2n, before: { mideleg: 0x222n }, why: 'only SSIP is writable' },
  { csr: 'sip', write: ONES, reads: 0n, before: { mideleg: 0x220n }, why: 'SSIP only if delegated' },
  { csr: 'sip', write: 0n, reads: 0x220n, before: { mideleg: 0x222n, mip: 0x222n }, why: 'STIP and SEIP are read-only' },
  { csr: 'mtvec', write: 0x8000_0004n, reads: 0x8000_0004n, why: 'direct' },
  { csr: 'mtvec', write: 0x8000_0005n, reads: 0x8000_0005n, why: 'vectored' },
  { csr: 'mtvec', write: 0x8000_0006n, reads: 0x8000_2000n, why: 'mode 2 is reserved' },
  { csr: 'mtvec', write: ONES, reads: 0x8000_2000n, why: 'mode 3 is reserved' },
  { csr: 'stvec', write: 0xffff_ffff_8000_0101n, reads: 0xffff_ffff_8000_0101n, why: 'vectored' },
  { csr: 'stvec', write: 2n, reads: 0x8000_3000n, why: 'mode 2 is reserved' },
  { csr: 'mcounteren', write: ONES, reads: 0xffff_ffffn, why: '32 counters' },
  { csr: 'mcounteren', write: ONES, reads: 7n, before: NO(FEATURE.zihpm), why: 'no Zihpm' },
  { csr: 'mcounteren', write: ONES, reads: 0xffff_fff8n, before: NO(FEATURE.zicntr), why: 'no Zicntr' },
  { csr: 'scounteren', write: ONES, reads: 0xffff_ffffn, why: '32 counters' },
  { csr: 'mcountinhibit', write: ONES, reads: 5n, why: 'cycles and instructions' },
  { csr: 'menvcfg', write: 0xe000_0000_0000_00f1n, reads: 0xe000_0000_0000_00f1n, why: 'all there is' },
  { csr: 'menvcfg', write: ONES, reads: 0xe000_0000_0000_00f1n, why: 'nothing else' },
  { csr: 'menvcfg', write: 0x20n, reads: 0x10n, before: { menvcfg: 0x10n }, why: 'CBIE = 2 is reserved' },
  { csr: 'menvcfg', write: ONES, reads: 0x6000_0000_0000_00f1n, before: NO(FEATURE.sstc), why: 'no Sstc, no STCE' },
  { csr: 'menvcfg', write: ONES, reads: 0xa000_0000_0000_00f1n, before: NO(FEATURE.svpbmt), why: 'no Svpbmt, no PBMTE' },
  { csr: 'menvcfg', write: ONES, reads: 0xc000_0000_0000_00f1n, before: NO(FEATURE.svadu), why: 'no Svadu, no ADUE' },
  { csr: 'menvcfg', write: ONES, reads: 0xe000_0000_0000_0001n, before: NO(FEATURE.cbo), why: 'no cache-block instructions' },
  { csr: 'senvcfg', write: ONES, reads: 0xf1n, why: 'cache blocks and FIOM' },
  { csr: 'senvcfg', write: 0x60n, reads: 0x70n, before: { senvcfg: 0x30n }, why: 'CBIE = 2 is reserved' },
  { csr: 'mscratch', write: ONES, reads: ONES, why: 'a word' },
  { csr: 'sscratch', write: ONES, reads: ONES, why: 'a word' },
  { csr: 'mepc', write: ONES, reads: ONES - 1n, why: 'bit 0 is zero' },
  { csr: 'mepc', write: ONES, reads: ONES - 3n, before: NO(FEATURE.c), why: 'bit 1, too, without C' },
  { csr: 'sepc', write: ONES, reads: ONES - 1n, why: 'bit 0 is zero' },
  { csr: 'sepc', write: ONES, reads: ONES - 3n, before: NO(FEATURE.c), why: 'bit 1, too, without C' },
  { csr: 'mcause', write: ONES, reads: ONES, why: 'WLRL, all kept' },
  { csr: 'scause', write: ONES, reads: ONES, why: 'WLRL, all kept' },
  { csr: 'mtval', write: ONES, reads: ONES, why: 'any address' },
  { csr: 'stval', write: ONES, reads: ONES, why: 'any address' },
  { csr: 'stimecmp', write: ONES, reads: ONES, why: 'any time' },
  ...[[8n, 0n], [9n, 0n], [10n, 0n]].map(([mode = 0n]): Written => ({
    csr: 'satp', write: (mode << 60n) | 0x0fff_ffff_ffff_ffffn, reads: (mode << 60n) | 0x0fff_ffff_ffff_ffffn, why: `mode ${mode}, 16 bits of ASID, 44 of PPN` })),
  ...[1n, 2n, 7n, 11n, 15n].map((mode): Written => ({
    csr: 'satp', write: (mode << 60n) | 5n, reads: 0x8000_0000_0000_0007n, before: { satp: 0x8000_0000_0000_0007n }, why: `mode ${mode} is reserved: nothing is written` })),
  { csr: 'satp', write: 5n, reads: 5n, before: { satp: 0x8000_0000_0000_0007n }, why: 'bare' },
  { csr: 'satp', write: 8n << 60n, reads: 0n, before: NO(FEATURE.sv39), why: 'no Sv39' },
  { csr: 'satp', write: 9n << 60n, reads: 0n, before: NO(FEATURE.sv48), why: 'no Sv48' },
  { csr: 'satp', write: 10n << 60n, reads: 0n, before: NO(FEATURE.sv57), why: 'no Sv57' },
  { csr: 'tselect', write: 1n, reads: 0n, why: 'no trigger' },
  { csr: 'tdata1', write: ONES, reads: 0n, why: 'no trigger' },
  ...['mhpmcounter3', 'mhpmevent3', 'mhpmcounter31', 'pmpaddr16', 'pmpaddr63', 'pmpcfg4', 'pmpcfg14'].map((name): Written => ({
    csr: name, write: ONES, reads: 0n, why: 'read-only zero' })),
  ...['minstret', 'mcycle'].flatMap((name): Written[] => [
    { csr: name, write: 1000n, reads: 1000n, why: 'the next instruction reads what was written' },
    { csr: name, write: 1000n, reads: 1000n, before: { mcountinhibit: 5n }, why: 'also while it is stopped' },
  ]),
];

const written: HartCase[] = WRITTEN.map(({ csr, write, reads: value, before, why }) => {
  const number = LISTED_CSRS.find((c) => c.name === csr)?.number ?? 0;
  return {
    name: `${csr} written ${write.toString(16)}: ${why}`,
    ...(before ? { before } : {}),
    x: { 1: write },
    program: [csrrw(0, number, 1), csrrs(5, number, 0)],
    free: 'all',
    afterX: { 5: value },
  };
});

/** The instructions themselves: what is swapped, set, cleared, and when nothing is written. */
const SSCRATCH = 0x140;
const forms: HartCase[] = [
  { name: 'csrrw swaps', word: csrrw(5, SSCRATCH, 6), after: 0x0ff0n, x5: 0xf0f0n },
  { name: 'csrrw with rd = rs1', word: csrrw(6, SSCRATCH, 6), after: 0x0ff0n, x6: 0xf0f0n },
  { name: 'csrrw with rs1 = x0 writes zero', word: csrrw(5, SSCRATCH, 0), after: 0n, x5: 0xf0f0n },
  { name: 'csrrs sets', word: csrrs(5, SSCRATCH, 6), after: 0xfff0n, x5: 0xf0f0n },
  { name: 'csrrs with rd = rs1', word: csrrs(6, SSCRATCH, 6), after: 0xfff0n, x6: 0xf0f0n },
  { name: 'csrrc clears', word: csrrc(5, SSCRATCH, 6), after: 0xf000n, x5: 0xf0f0n },
  { name: 'csrrc with rd = rs1', word: csrrc(6, SSCRATCH, 6), after: 0xf000n, x6: 0xf0f0n },
  { name: 'csrrwi writes five bits', word: csrrwi(5, SSCRATCH, 0x1f), after: 0x1fn, x5: 0xf0f0n },
  { name: 'csrrsi sets', word: csrrsi(5, SSCRATCH, 0x0f), after: 0xf0ffn, x5: 0xf0f0n },
  { name: 'csrrci clears', word: csrrci(5, SSCRATCH, 0x10), after: 0xf0e0n, x5: 0xf0f0n },
].map(({ name, word, after, x5, x6 }) => ({
  name,
  before: { mode: 1n, sscratch: 0xf0f0n },
  x: { 5: 5n, 6: 0x0ff0n },
  program: [word],
  after: { sscratch: after },
  afterX: { 5: x5 ?? 5n, 6: x6 ?? 0x0ff0n },
}));

const MIP = 0x344;
const effects: HartCase[] = [
  {
    name: 'a write of fflags makes FS Dirty',
    before: { mstatus: 1n << 13n },
    program: [csrrw(0, 1, 0)],
    after: { mstatus: FS_DIRTY },
  },
  {
    name: 'a write of frm makes FS Dirty',
    before: { mstatus: 1n << 13n },
    program: [csrrwi(0, 2, 3)],
    after: { frm: 3n, mstatus: FS_DIRTY },
  },
  {
    name: 'a write of fcsr makes FS Dirty',
    before: { mstatus: 2n << 13n },
    program: [csrrw(0, 3, 0)],
    after: { mstatus: FS_DIRTY },
  },
  { name: 'a read of fcsr does not', before: { mstatus: 1n << 13n }, program: [csrrs(5, 3, 0)] },
  {
    name: 'sstatus leaves the rest of mstatus',
    before: { mstatus: 0x7e79aan },
    program: [csrrw(0, 0x100, 0)],
    after: { mstatus: 0x721888n },
  },
  {
    name: 'sie leaves the rest of mie',
    before: { mie: 0xaaan, mideleg: 0x222n },
    program: [csrrw(0, 0x104, 0)],
    after: { mie: 0x888n },
  },
  { name: 'mip reads the line of SEIP', before: { lines: 0x200n }, program: [csrrs(5, MIP, 0)], afterX: { 5: 0x200n } },
  {
    name: 'csrrs of another bit does not write the line of SEIP back',
    before: { lines: 0x200n },
    x: { 1: 2n },
    program: [csrrs(5, MIP, 1)],
    after: { mip: 2n },
    afterX: { 5: 0x200n },
  },
  {
    name: "csrrc of another bit keeps software's SEIP",
    before: { lines: 0x200n, mip: 0x202n },
    x: { 1: 2n },
    program: [csrrc(5, MIP, 1)],
    after: { mip: 0x200n },
    afterX: { 5: 0x202n },
  },
  {
    name: 'csrrw of SEIP writes it',
    before: { lines: 0x200n },
    x: { 1: 0x200n },
    program: [csrrw(0, MIP, 1)],
    after: { mip: 0x200n },
  },
  {
    name: 'STIP reads the line with Sstc',
    before: { lines: 0x20n, menvcfg: STCE, stimecmp: 0n },
    program: [csrrs(5, MIP, 0)],
    afterX: { 5: 0x20n },
  },
  { name: 'and not without', before: { lines: 0x20n, mip: 0n }, program: [csrrs(5, MIP, 0)], afterX: { 5: 0n } },
  {
    name: 'minstret stops and keeps its count',
    program: [csrrwi(0, 0x320, 4), csrrs(5, 0xb02, 0), csrrs(6, 0xb02, 0)],
    after: { mcountinhibit: 4n },
    free: ['minstretOffset'],
    afterX: { 5: INSTRET + 1n, 6: INSTRET + 1n },
  },
  {
    name: 'minstret starts where it stopped',
    before: { mcountinhibit: 4n, minstretOffset: 77n },
    program: [csrrwi(0, 0x320, 0), csrrs(5, 0xb02, 0), csrrs(6, 0xb02, 0)],
    after: { mcountinhibit: 0n },
    free: ['minstretOffset'],
    afterX: { 5: 77n, 6: 78n },
  },
  {
    name: 'instret reads as minstret does',
    x: { 1: 100n },
    program: [csrrw(0, 0xb02, 1), csrrs(5, 0xc02, 0), csrrs(6, 0xc00, 0)],
    free: ['minstretOffset'],
    afterX: { 5: 100n, 6: INSTRET + 2n },
  },
];

export const CSR_CASES: readonly HartCase[] = [
  ...reads,
  ...readOnly,
  ...absent,
  ...switchedOff,
  ...conditions,
  ...written,
  ...forms,
  ...effects,
];
