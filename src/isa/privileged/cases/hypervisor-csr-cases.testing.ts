/**
 * Cases of the hypervisor extension's CSRs, and of what V makes of the others ("Hypervisor and Virtual Supervisor CSRs",
 * "Trap Cause Codes", Smstateen, Sstc): who may read each, what a write leaves, which registers are one.
 */
import { FEATURE } from '../../state.ts';
import type { ListedCsr } from './csr-cases.testing.ts';
import {
  HS,
  HYPERVISOR,
  inMode,
  M,
  MODES,
  toMachine,
  U,
  type VirtualMode,
  VS,
  VSTVEC,
  VU,
} from './guest-state.testing.ts';
import {
  csrrc,
  csrrs,
  csrrw,
  type HartCase,
  HYPERVISOR_FEATURES,
  type Registers,
  STVEC,
  TIME,
} from './hart-case.testing.ts';

const ALL = (1n << 64n) - 1n;
const SE = 1n << 63n;
const ENVCFG = 1n << 62n;
const [STCE, PBMTE, ADUE] = [1n << 63n, 1n << 62n, 1n << 61n];
const UXL = 2n << 32n;
const DELTA = 0x1000n;

/** Everything that can be allowed to lower modes is, and the two status areas hold different things. */
const OPEN: Registers = {
  ...HYPERVISOR,
  menvcfg: STCE | PBMTE | ADUE | 0xf0n,
  henvcfg: STCE | PBMTE | ADUE | 0xf0n,
  mcounteren: 0xffff_ffffn,
  hcounteren: 0xffff_ffffn,
  scounteren: 0xffff_ffffn,
  mstateen0: SE | ENVCFG,
  mstateen1: SE,
  mstateen2: SE,
  mstateen3: SE,
  hstateen0: SE | ENVCFG,
  hstateen1: SE,
  hstateen2: SE,
  hstateen3: SE,
  htimedelta: DELTA,
  sscratch: 0x11n,
  vsscratch: 0x12n,
  sepc: 0x20n,
  vsepc: 0x24n,
  scause: 0x31n,
  vscause: 0x32n,
  stval: 0x41n,
  vstval: 0x42n,
  satp: 0x51n,
  vsatp: 0x52n,
  stimecmp: ALL - 1n,
  vstimecmp: ALL - 2n,
};

/** Number, name, what it reads in HS- and M-mode, and in VS-mode if that is allowed. */
type Listed = readonly [number, string, bigint, bigint?];

// biome-ignore format: table
const LISTED: readonly Listed[] = [
  [0x200, 'vsstatus', UXL], [0x204, 'vsie', 0n], [0x205, 'vstvec', VSTVEC], [0x240, 'vsscratch', 0x12n], [0x241, 'vsepc', 0x24n],
  [0x242, 'vscause', 0x32n], [0x243, 'vstval', 0x42n], [0x244, 'vsip', 0n], [0x24d, 'vstimecmp', ALL - 2n], [0x280, 'vsatp', 0x52n],
  [0x600, 'hstatus', 2n << 32n], [0x602, 'hedeleg', 0n], [0x603, 'hideleg', 0n], [0x604, 'hie', 0n], [0x605, 'htimedelta', DELTA],
  [0x606, 'hcounteren', 0xffff_ffffn], [0x607, 'hgeie', 0n], [0x60a, 'henvcfg', STCE | PBMTE | ADUE | 0xf0n],
  [0x60c, 'hstateen0', SE | ENVCFG], [0x60d, 'hstateen1', SE], [0x60e, 'hstateen2', SE], [0x60f, 'hstateen3', SE],
  [0x643, 'htval', 0n], [0x644, 'hip', 0n], [0x645, 'hvip', 0n], [0x64a, 'htinst', 0n], [0x680, 'hgatp', 0n], [0xe12, 'hgeip', 0n],
  [0x10c, 'sstateen0', 0n, 0n], [0x10d, 'sstateen1', 0n, 0n], [0x10e, 'sstateen2', 0n, 0n], [0x10f, 'sstateen3', 0n, 0n],
  [0x30c, 'mstateen0', SE | ENVCFG], [0x30d, 'mstateen1', SE], [0x30e, 'mstateen2', SE], [0x30f, 'mstateen3', SE],
  [0x34a, 'mtinst', 0n], [0x34b, 'mtval2', 0n],
];
export const HYPERVISOR_CSRS_LISTED: readonly ListedCsr[] = LISTED.map(([number, name, reads]) => ({
  number,
  name,
  reads,
}));

/** CSRs that are there without it, and what V makes of them. */
// biome-ignore format: table
const SUPERVISORS: readonly Listed[] = [
  [0x100, 'sstatus', UXL, UXL], [0x104, 'sie', 0n, 0n], [0x105, 'stvec', STVEC, VSTVEC], [0x106, 'scounteren', 0xffff_ffffn, 0xffff_ffffn],
  [0x10a, 'senvcfg', 0n, 0n], [0x140, 'sscratch', 0x11n, 0x12n], [0x141, 'sepc', 0x20n, 0x24n], [0x142, 'scause', 0x31n, 0x32n],
  [0x143, 'stval', 0x41n, 0x42n], [0x144, 'sip', 0n, 0n], [0x14d, 'stimecmp', ALL - 1n, ALL - 2n], [0x180, 'satp', 0x51n, 0x52n],
  [0x301, 'misa', 0x8000_0000_0014_112dn], [0x302, 'medeleg', 0n], [0x303, 'mideleg', 0x1444n], [0x344, 'mip', 0n], [0x304, 'mie', 0n],
];

/** Below the level that bits 9:8 name: illegal, but virtual for a guest where HS-mode could. */
function outcome(number: number, at: VirtualMode): 'reads' | 2 | 22 {
  const level = (number >> 8) & 3;
  if (at === M) return 'reads';
  if (level === 3 || at === U) return 2;
  if (at === HS) return 'reads';
  return level === 1 && at === VS ? 'reads' : 22;
}

function trapped(before: Registers, cause: 2 | 22, word: number | undefined): Registers {
  return toMachine(before, { cause, tval: BigInt((word ?? 0) >>> 0) });
}

const reads: HartCase[] = [...LISTED, ...SUPERVISORS].flatMap(([number, name, host, guest]) =>
  MODES.map((at): HartCase => {
    const program = [csrrs(5, number, 0)];
    const before = { ...OPEN, ...inMode(at) };
    const result = outcome(number, at);
    const value = at === VS ? (guest ?? 0n) : host;
    if (result === 'reads') return { name: `${name} reads in ${at.name}`, before, program, afterX: { 5: value } };
    return {
      name: `${name} in ${at.name}: ${result === 2 ? 'illegal' : 'virtual'} instruction`,
      before,
      program,
      after: trapped(before, result, program[0]),
    };
  }),
);

/** Without the extension, the CSR is not there, whoever asks. */
const absent: HartCase[] = LISTED.flatMap(([number, name]) => {
  const feature = name.includes('stateen') ? FEATURE.smstateen : FEATURE.h;
  return [HS, VS, M].map((at): HartCase => {
    const before = { ...OPEN, ...inMode(at), features: HYPERVISOR_FEATURES & ~feature };
    const program = [csrrs(5, number, 0)];
    const after = { ...trapped(before, 2, program[0]) };
    if (feature === FEATURE.h) {
      // Such a hart has neither V nor these registers; the case is of M- and S-mode alone.
      const { mtval2: _, mtinst: __, ...rest } = after;
      return {
        name: `${name} without its extension in ${at.name}`,
        before: { ...before, virtual: 0n },
        program,
        after: { ...rest, mstatus: (rest.mstatus ?? 0n) & ~(1n << 39n) },
      };
    }
    return { name: `${name} without its extension in ${at.name}`, before, program, after };
  });
});

/** A read-only CSR is illegal to write in every mode, for guests, too. */
const readOnly: HartCase[] = MODES.map((at): HartCase => {
  const program = [csrrw(0, 0xe12, 1)];
  const before = { ...OPEN, ...inMode(at) };
  return { name: `hgeip is read-only in ${at.name}`, before, program, after: trapped(before, 2, program[0]) };
});

type Condition = readonly [string, number, VirtualMode, Registers, 'legal' | 2 | 22];
const TM = 2n;
const TVM = 1n << 20n;
const VTVM = 1n << 20n;
const ENABLES = 0xffff_ffffn;

// biome-ignore format: table
const CONDITIONS: readonly Condition[] = [
  ['satp with TVM', 0x180, HS, { mstatus: TVM }, 2],
  ['satp with TVM', 0x180, VS, { mstatus: TVM }, 'legal'],
  ['satp with VTVM', 0x180, VS, { hstatus: VTVM }, 22],
  ['satp with VTVM', 0x180, HS, { hstatus: VTVM }, 'legal'],
  ['satp with VTVM', 0x180, VU, { hstatus: VTVM }, 22],
  ['satp with TVM', 0x180, VU, { mstatus: TVM }, 22],
  ['vsatp with TVM', 0x280, HS, { mstatus: TVM }, 'legal'],
  ['hgatp with TVM', 0x680, HS, { mstatus: TVM }, 2],
  ['hgatp with TVM', 0x680, M, { mstatus: TVM }, 'legal'],
  ['hgatp with TVM', 0x680, VS, { mstatus: TVM }, 22],
  ['hgatp with TVM', 0x680, VU, { mstatus: TVM }, 22],
  ['stimecmp without menvcfg.STCE', 0x14d, VS, { menvcfg: 0n }, 2],
  ['stimecmp without menvcfg.STCE', 0x14d, VU, { menvcfg: 0n }, 2],
  ['stimecmp without henvcfg.STCE', 0x14d, VS, { henvcfg: 0n }, 22],
  ['stimecmp without henvcfg.STCE', 0x14d, HS, { henvcfg: 0n }, 'legal'],
  ['stimecmp without hcounteren.TM', 0x14d, VS, { hcounteren: ENABLES & ~TM }, 22],
  ['stimecmp without hcounteren.TM', 0x14d, HS, { hcounteren: ENABLES & ~TM }, 'legal'],
  ['stimecmp without mcounteren.TM', 0x14d, VS, { mcounteren: ENABLES & ~TM }, 2],
  ['vstimecmp without menvcfg.STCE', 0x24d, HS, { menvcfg: 0n }, 2],
  ['vstimecmp without menvcfg.STCE', 0x24d, M, { menvcfg: 0n }, 'legal'],
  ['vstimecmp without menvcfg.STCE', 0x24d, VS, { menvcfg: 0n }, 2],
  ['vstimecmp without henvcfg.STCE', 0x24d, HS, { henvcfg: 0n }, 'legal'],
  ['vstimecmp without mcounteren.TM', 0x24d, HS, { mcounteren: 0n }, 2],
  ...([[0xc00, 0], [0xc01, 1], [0xc02, 2], [0xc03, 3], [0xc1f, 31]] as const).flatMap(([number, bit]): Condition[] => {
    const off = ENABLES & ~(1n << BigInt(bit));
    return [
      [`counter ${bit} without hcounteren`, number, VS, { hcounteren: off }, 22],
      [`counter ${bit} without hcounteren`, number, VU, { hcounteren: off }, 22],
      [`counter ${bit} without hcounteren`, number, HS, { hcounteren: off }, 'legal'],
      [`counter ${bit} without hcounteren`, number, U, { hcounteren: off }, 'legal'],
      [`counter ${bit} without mcounteren`, number, VS, { mcounteren: off }, 2],
      [`counter ${bit} without mcounteren`, number, VU, { mcounteren: off }, 2],
      [`counter ${bit} without mcounteren and hcounteren`, number, VS, { mcounteren: off, hcounteren: off }, 2],
      [`counter ${bit} without scounteren`, number, VU, { scounteren: off }, 22],
      [`counter ${bit} without scounteren`, number, U, { scounteren: off }, 2],
      [`counter ${bit} without scounteren`, number, VS, { scounteren: off }, 'legal'],
    ];
  }),
  ['senvcfg without mstateen0.ENVCFG', 0x10a, HS, { mstateen0: SE }, 2],
  ['senvcfg without mstateen0.ENVCFG', 0x10a, VS, { mstateen0: SE }, 2],
  ['senvcfg without mstateen0.ENVCFG', 0x10a, M, { mstateen0: 0n }, 'legal'],
  ['senvcfg without hstateen0.ENVCFG', 0x10a, VS, { hstateen0: SE }, 22],
  ['senvcfg without hstateen0.ENVCFG', 0x10a, HS, { hstateen0: 0n }, 'legal'],
  ['senvcfg without hstateen0.ENVCFG', 0x10a, VU, { hstateen0: SE }, 22],
  ['henvcfg without mstateen0.ENVCFG', 0x60a, HS, { mstateen0: SE }, 2],
  ['henvcfg without mstateen0.ENVCFG', 0x60a, VS, { mstateen0: SE }, 2],
  ['henvcfg without hstateen0.ENVCFG', 0x60a, HS, { hstateen0: 0n }, 'legal'],
  ['menvcfg without mstateen0.ENVCFG', 0x30a, M, { mstateen0: 0n }, 'legal'],
  ...[0, 1, 2, 3].flatMap((n): Condition[] => [
    [`sstateen${n} without mstateen${n}.SE`, 0x10c + n, HS, { [`mstateen${n}`]: 0n }, 2],
    [`sstateen${n} without mstateen${n}.SE`, 0x10c + n, VS, { [`mstateen${n}`]: 0n }, 2],
    [`sstateen${n} without hstateen${n}.SE`, 0x10c + n, VS, { [`hstateen${n}`]: 0n }, 22],
    [`sstateen${n} without hstateen${n}.SE`, 0x10c + n, HS, { [`hstateen${n}`]: 0n }, 'legal'],
    [`hstateen${n} without mstateen${n}.SE`, 0x60c + n, HS, { [`mstateen${n}`]: 0n }, 2],
    [`hstateen${n} without mstateen${n}.SE`, 0x60c + n, VS, { [`mstateen${n}`]: 0n }, 2],
    [`hstateen${n} without mstateen${n}.SE`, 0x60c + n, M, { [`mstateen${n}`]: 0n }, 'legal'],
    [`hstateen${n} without hstateen${n}.SE`, 0x60c + n, VS, { [`hstateen${n}`]: 0n }, 22],
  ]),
  ['fcsr in VS with FS Off', 0x003, VS, {}, 2],
  ['fcsr in VU with FS on', 0x003, VU, { mstatus: 1n << 13n }, 'legal'],
];

const conditions: HartCase[] = CONDITIONS.map(([what, number, at, changed, expected]) => {
  const program = [csrrs(5, number, 0)];
  const before = { ...OPEN, ...inMode(at), ...changed };
  const name = `${what} in ${at.name}: ${expected === 'legal' ? 'legal' : expected === 2 ? 'illegal' : 'virtual'}`;
  if (expected === 'legal') return { name, before, program };
  return { name, before, program, after: trapped(before, expected, program[0]) };
});

const time: HartCase[] = MODES.map((at) => ({
  name: `time in ${at.name}`,
  before: { ...OPEN, ...inMode(at) },
  program: [csrrs(5, 0xc01, 0)],
  afterX: { 5: at.virtual === 1n ? TIME + DELTA : TIME },
}));
time.push({
  name: 'the sum of time and htimedelta is truncated',
  before: { ...OPEN, ...inMode(VS), htimedelta: ALL },
  program: [csrrs(5, 0xc01, 0)],
  afterX: { 5: TIME - 1n },
});

/** What VS-mode writes is the guest's, and nothing else: all fields that are not named stay. */
// biome-ignore format: table
const GUEST_WRITES: readonly (readonly [string, number, bigint, Registers])[] = [
  ['stvec', 0x105, 0x8000_4001n, { vstvec: 0x8000_4001n }],
  ['stvec of a reserved mode', 0x105, 0x8000_4002n, {}],
  ['sscratch', 0x140, 0x99n, { vsscratch: 0x99n }],
  ['sepc', 0x141, 0x99n, { vsepc: 0x98n }],
  ['scause', 0x142, 0x99n, { vscause: 0x99n }],
  ['stval', 0x143, 0x99n, { vstval: 0x99n }],
  ['satp', 0x180, (8n << 60n) | 0x99n, { vsatp: (8n << 60n) | 0x99n }],
  ['satp of a reserved mode', 0x180, (7n << 60n) | 0x99n, {}],
  ['stimecmp', 0x14d, ALL - 9n, { vstimecmp: ALL - 9n }],
  ['scounteren', 0x106, 7n, { scounteren: 7n }],
  ['senvcfg', 0x10a, 0x80n, { senvcfg: 0x80n }],
];

const guestWrites: HartCase[] = GUEST_WRITES.map(([name, number, value, after]) => ({
  name: `${name} written in VS`,
  before: { ...OPEN, ...inMode(VS) },
  x: { 1: value },
  program: [csrrw(0, number, 1)],
  after,
}));

interface Written {
  readonly csr: string;
  readonly write: bigint;
  readonly reads: bigint;
  readonly before?: Registers;
  readonly why: string;
}

const without = (feature: bigint): Registers => ({ features: HYPERVISOR_FEATURES & ~feature });
const NUMBERS = new Map(
  [...LISTED, ...SUPERVISORS, [0x300, 'mstatus', 0n] as const].map(([number, name]) => [name, number]),
);

/** WARL, written and read in M-mode. */
// biome-ignore format: table
const WRITTEN: readonly Written[] = [
  { csr: 'mstatus', write: ALL, reads: (1n << 63n) | 0xca_007e_79aan, why: 'MPV and GVA' },
  { csr: 'medeleg', write: ALL, reads: 0xf0_b7ffn, why: "guests' exceptions can be delegated" },
  { csr: 'mideleg', write: ALL, reads: 0x1666n, why: "guests' interrupts are delegated always" },
  { csr: 'mideleg', write: 0n, reads: 0x1444n, why: "guests' interrupts are delegated always" },
  { csr: 'mie', write: ALL, reads: 0x1eeen, why: "guests' interrupts" },
  { csr: 'mip', write: ALL, reads: 0x206n, before: { menvcfg: STCE }, why: 'of guests only VSSIP' },
  { csr: 'mip', write: 0n, reads: 0x440n, before: { mip: 0x444n }, why: 'VSTIP and VSEIP are hvip\'s' },
  { csr: 'hstatus', write: ALL, reads: (2n << 32n) | 0x70_03c0n, why: 'implemented bits; no guest interrupt file' },
  { csr: 'hstatus', write: ALL, reads: (2n << 32n) | 0x73_f3c0n, before: { guestFiles: 63n }, why: 'VGEIN up to GEILEN' },
  { csr: 'hstatus', write: 6n << 12n, reads: (2n << 32n) | (2n << 12n), before: { guestFiles: 5n, hstatus: 2n << 12n }, why: 'VGEIN beyond GEILEN stays' },
  { csr: 'hstatus', write: 5n << 12n, reads: (2n << 32n) | (5n << 12n), before: { guestFiles: 5n }, why: 'VGEIN = GEILEN' },
  { csr: 'hedeleg', write: ALL, reads: 0xb1ffn, why: 'neither calls to HS-mode nor its exceptions' },
  { csr: 'hideleg', write: ALL, reads: 0x444n, why: "VS-mode's interrupts" },
  { csr: 'hie', write: ALL, reads: 0x1444n, why: "guests' interrupts" },
  { csr: 'hip', write: ALL, reads: 4n, why: 'only VSSIP is writable' },
  { csr: 'hip', write: 0n, reads: 0x440n, before: { mip: 0x444n }, why: 'only VSSIP is writable' },
  { csr: 'hvip', write: ALL, reads: 0x444n, why: "VS-mode's interrupts" },
  { csr: 'hgeie', write: ALL, reads: 0n, why: 'no guest interrupt file' },
  { csr: 'hgeie', write: ALL, reads: 0x3en, before: { guestFiles: 5n }, why: 'bits 1 to GEILEN' },
  { csr: 'hgeie', write: ALL, reads: ALL - 1n, before: { guestFiles: 63n }, why: 'bits 1 to GEILEN' },
  { csr: 'hcounteren', write: ALL, reads: 0xffff_ffffn, why: '32 counters' },
  { csr: 'hcounteren', write: ALL, reads: 7n, before: without(FEATURE.zihpm), why: 'no Zihpm' },
  { csr: 'htimedelta', write: ALL, reads: ALL, why: 'any' },
  { csr: 'htval', write: ALL, reads: ALL, why: 'any' },
  { csr: 'htinst', write: ALL, reads: ALL, why: 'any' },
  { csr: 'mtval2', write: ALL, reads: ALL, why: 'any' },
  { csr: 'mtinst', write: ALL, reads: ALL, why: 'any' },
  { csr: 'henvcfg', write: ALL, reads: 0xe000_0000_0000_00f1n, before: { menvcfg: STCE | PBMTE | ADUE }, why: 'all there is' },
  { csr: 'henvcfg', write: ALL, reads: 0xf1n, before: { menvcfg: 0n, henvcfg: 0n }, why: 'the highest three only where menvcfg has them' },
  { csr: 'henvcfg', write: ALL, reads: PBMTE | 0xf1n, before: { menvcfg: PBMTE, henvcfg: 0n }, why: 'PBMTE where menvcfg has it' },
  { csr: 'henvcfg', write: 0x20n, reads: 0x10n, before: { henvcfg: 0x10n }, why: 'CBIE = 2 is reserved' },
  { csr: 'henvcfg', write: ALL, reads: 1n, before: { ...without(FEATURE.cbo), menvcfg: 0n }, why: 'no cache-block instructions' },
  ...[8n, 9n, 10n].map((mode): Written => ({ csr: 'hgatp', write: (mode << 60n) | 0x0fff_ffff_ffff_ffffn, reads: (mode << 60n) | 0x03ff_ffff_ffff_fffcn, why: `mode ${mode}, 14 bits of VMID, a root of four pages` })),
  { csr: 'hgatp', write: 0x0123_0000_0000_0010n, reads: 0x0123_0000_0000_0010n, why: 'bare keeps the other fields' },
  ...[1n, 7n, 11n, 15n].map((mode): Written => ({ csr: 'hgatp', write: (mode << 60n) | 0x40n, reads: 0x8000_0000_0000_0040n, before: { hgatp: 0x8000_0000_0000_0080n }, why: `mode ${mode} is reserved: MODE stays` })),
  { csr: 'hgatp', write: (10n << 60n) | 4n, reads: 4n, before: without(FEATURE.sv57), why: 'no Sv57' },
  { csr: 'vsatp', write: (9n << 60n) | 0x0fff_ffff_ffff_ffffn, reads: (9n << 60n) | 0x0fff_ffff_ffff_ffffn, why: '16 bits of ASID, 44 of PPN' },
  { csr: 'vsatp', write: (7n << 60n) | 5n, reads: 0x52n, why: 'a reserved mode: nothing is written' },
  { csr: 'vsstatus', write: ALL, reads: (1n << 63n) | UXL | 0xc_6122n, why: "supervisor's bits" },
  { csr: 'vsstatus', write: ALL, reads: UXL | 0xc_0122n, before: without(FEATURE.float), why: 'no floating point, no FS' },
  { csr: 'vstvec', write: 0x8000_4001n, reads: 0x8000_4001n, why: 'vectored' },
  { csr: 'vstvec', write: ALL, reads: VSTVEC, why: 'mode 3 is reserved' },
  { csr: 'vsepc', write: ALL, reads: ALL - 1n, why: 'bit 0 is zero' },
  { csr: 'vsepc', write: ALL, reads: ALL - 3n, before: without(FEATURE.c), why: 'bit 1, too, without C' },
  ...['vsscratch', 'vscause', 'vstval', 'vstimecmp'].map((name): Written => ({ csr: name, write: ALL, reads: ALL, why: 'any' })),
  { csr: 'mstateen0', write: ALL, reads: SE | ENVCFG, why: 'what there is' },
  { csr: 'mstateen1', write: ALL, reads: SE, why: 'what there is' },
  { csr: 'hstateen0', write: ALL, reads: SE | ENVCFG, why: 'what there is' },
  { csr: 'hstateen0', write: ALL, reads: SE, before: { mstateen0: SE }, why: 'zero where mstateen0 is' },
  { csr: 'hstateen1', write: ALL, reads: 0n, before: { mstateen1: 0n }, why: 'zero where mstateen1 is' },
  { csr: 'sstateen0', write: ALL, reads: 0n, why: 'no state of user mode' },
];

const written: HartCase[] = WRITTEN.map(({ csr, write, reads: value, before, why }) => {
  const number = NUMBERS.get(csr) ?? 0;
  return {
    name: `${csr} written ${write.toString(16)}: ${why}`,
    before: { ...OPEN, ...before },
    x: { 1: write },
    program: [csrrw(0, number, 1), csrrs(5, number, 0)],
    free: 'all',
    afterX: { 5: value },
  };
});

const [MIE, MIP, SIE_CSR, SIP, HIE, HIP, HVIP, VSIE, VSIP] = [
  0x304, 0x344, 0x104, 0x144, 0x604, 0x644, 0x645, 0x204, 0x244,
];

/** What each register reads of a state, by name. */
interface View {
  readonly name: string;
  readonly at?: VirtualMode;
  readonly before: Registers;
  readonly reads: readonly (readonly [number, bigint])[];
}

// biome-ignore format: table
const VIEWS: readonly View[] = [
  { name: 'software raises', before: { mip: 0x444n, hideleg: 0x444n }, reads: [[MIP, 0x444n], [HIP, 0x444n], [HVIP, 0x444n], [VSIP, 0x222n], [SIP, 0n]] },
  { name: 'not delegated further', before: { mip: 0x444n }, reads: [[HIP, 0x444n], [VSIP, 0n]] },
  { name: 'one of them delegated further', before: { mip: 0x444n, hideleg: 0x40n }, reads: [[VSIP, 0x20n]] },
  { name: 'the comparison with vstimecmp', before: { lines: 0x40n, vstimecmp: 0n, hideleg: 0x444n }, reads: [[MIP, 0x40n], [HIP, 0x40n], [HVIP, 0n], [VSIP, 0x20n]] },
  { name: 'a guest interrupt file', before: { guestFiles: 3n, hgeip: 8n, hstatus: 3n << 12n, hideleg: 0x444n }, reads: [[MIP, 0x400n], [HIP, 0x400n], [HVIP, 0n], [VSIP, 0x200n], [0xe12, 8n]] },
  { name: 'a guest interrupt file that VGEIN does not name', before: { guestFiles: 3n, hgeip: 8n, hstatus: 2n << 12n }, reads: [[MIP, 0n], [0xe12, 8n]] },
  { name: 'a guest interrupt file that HS-mode takes', before: { guestFiles: 3n, hgeip: 8n, hgeie: 8n }, reads: [[MIP, 0x1000n], [HIP, 0x1000n], [SIP, 0n], [VSIP, 0n]] },
  { name: 'VGEIN 0 names none', before: { guestFiles: 3n, hgeip: 0xen }, reads: [[HIP, 0n]] },
  { name: 'enables', before: { mie: 0x1eeen, mideleg: 0x222n, hideleg: 0x444n }, reads: [[MIE, 0x1eeen], [HIE, 0x1444n], [VSIE, 0x222n], [SIE_CSR, 0x222n]] },
  { name: 'enables, not delegated further', before: { mie: 0x1eeen, mideleg: 0x222n }, reads: [[HIE, 0x1444n], [VSIE, 0n], [SIE_CSR, 0x222n]] },
  { name: 'pending, as VS-mode sees it', at: VS, before: { mip: 0x464n, mideleg: 0x222n, hideleg: 0x444n }, reads: [[SIP, 0x222n]] },
  { name: "pending, as VS-mode sees it: HS-mode's are not its own", at: VS, before: { mip: 0x202n, lines: 0x200n, mideleg: 0x222n, hideleg: 0x444n }, reads: [[SIP, 0n]] },
  { name: 'enables, as VS-mode sees them', at: VS, before: { mie: 0x262n, mideleg: 0x222n, hideleg: 0x444n }, reads: [[SIE_CSR, 0x20n]] },
];

const views: HartCase[] = VIEWS.map(({ name, at = M, before, reads: expected }) => ({
  name: `views of interrupts: ${name}`,
  before: { ...OPEN, ...inMode(at), ...before },
  program: expected.map(([number], i) => csrrs(5 + i, number, 0)),
  afterX: Object.fromEntries(expected.map(([, value], i) => [5 + i, value])),
}));

type Effect = readonly [
  name: string,
  at: VirtualMode,
  before: Registers,
  word: number,
  value: bigint,
  after: Registers,
];
const DELEGATED: Registers = { mideleg: 0x222n, hideleg: 0x444n };

// biome-ignore format: table
const EFFECTS: readonly Effect[] = [
  ['hvip', M, { mip: 0x202n }, csrrw(0, HVIP, 1), 0x444n, { mip: 0x646n }],
  ['hvip cleared', M, { mip: 0x646n }, csrrc(0, HVIP, 1), 0x40n, { mip: 0x606n }],
  ['hvip does not take what a line says', M, { lines: 0x40n, vstimecmp: 0n }, csrrs(5, HVIP, 1), 4n, { mip: 4n }],
  ['hip: VSSIP', M, {}, csrrw(0, HIP, 1), 0x444n, { mip: 4n }],
  ['mip: VSSIP', M, {}, csrrs(0, MIP, 1), 0x444n, { mip: 4n }],
  ['vsip: SSIP', M, DELEGATED, csrrw(0, VSIP, 1), 0x222n, { mip: 4n }],
  ['vsip: SSIP that is not delegated', M, { hideleg: 0x440n }, csrrw(0, VSIP, 1), 0x222n, {}],
  ['sip in VS', VS, DELEGATED, csrrw(0, SIP, 1), 0x222n, { mip: 4n }],
  ["sip in VS leaves HS-mode's", VS, { ...DELEGATED, mip: 0x206n }, csrrw(0, SIP, 1), 0n, { mip: 0x202n }],
  ['hie', M, { mie: 0xaaan }, csrrw(0, HIE, 1), ALL, { mie: 0x1eeen }],
  ['vsie', M, { ...DELEGATED, mie: 0xaaan }, csrrw(0, VSIE, 1), ALL, { mie: 0xeeen }],
  ['vsie changes what is delegated alone', M, { hideleg: 0x40n, mie: 0x404n }, csrrw(0, VSIE, 1), 0x20n, { mie: 0x444n }],
  ['sie in VS', VS, { ...DELEGATED, mie: 0xaaan }, csrrw(0, SIE_CSR, 1), 0x202n, { mie: 0xeaen }],
  ['sie in HS', HS, { ...DELEGATED, mie: 0x1eeen }, csrrw(0, SIE_CSR, 1), 0n, { mie: 0x1cccn }],
  ['sstatus in VS', VS, { mstatus: 1n << 22n, sstatus: 0x6000n }, csrrw(0, 0x100, 1), 0x4_4122n, { mstatus: (1n << 22n) | 0x4_4122n, vsstatus: 0x4_4122n }],
  ["sstatus in VS: HS-mode's FS is less", VS, { sstatus: 0x2000n }, csrrw(0, 0x100, 1), 0x6000n, { mstatus: 0x2000n, vsstatus: 0x6000n }],
  ["sstatus in VS: HS-mode's FS is Off", VS, { sstatus: 0n }, csrrw(0, 0x100, 1), 0x6000n, { mstatus: 0n, vsstatus: 0x6000n }],
  ['sstatus in VS: FS was Dirty', VS, { mstatus: 0x6000n, sstatus: 0x4000n, vsstatus: 0x2000n }, csrrw(0, 0x100, 1), 0n, { mstatus: 0n, sstatus: 0x6000n, vsstatus: 0n }],
];

const effects: HartCase[] = EFFECTS.map(([name, at, before, word, value, after]) => ({
  name: `writes: ${name}`,
  before: { ...OPEN, ...inMode(at), ...before },
  x: { 1: value },
  program: [word],
  after,
}));

const FS_READS: readonly (readonly [string, Registers, bigint])[] = [
  ["VS-mode's own, though HS-mode's is Off", { mstatus: 0n, sstatus: 0n, vsstatus: 0x4000n }, 0x4000n],
  ["VS-mode's own, though HS-mode's is less", { mstatus: 0x2000n, sstatus: 0x2000n, vsstatus: 0x4000n }, 0x4000n],
  ['Dirty since', { mstatus: 0x6000n, sstatus: 0x2000n, vsstatus: 0x4000n }, (1n << 63n) | 0x6000n],
];
const fsReads: HartCase[] = FS_READS.map(([name, before, value]) => ({
  name: `FS of sstatus in VS: ${name}`,
  before: { ...OPEN, ...inMode(VS), ...before },
  program: [csrrs(5, 0x100, 0)],
  afterX: { 5: UXL | value },
}));

export const HYPERVISOR_CSR_CASES: readonly HartCase[] = [
  ...reads,
  ...absent,
  ...readOnly,
  ...conditions,
  ...time,
  ...guestWrites,
  ...written,
  ...views,
  ...effects,
  ...fsReads,
];
