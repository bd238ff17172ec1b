/**
 * What a hypervisor is told of a guest's faults: stval, htval and htinst (mtval, mtval2, mtinst), GVA, by instruction:
 * privileged specification, "Trap Entry", "Transformed Instruction or Pseudoinstruction for mtinst or htinst".
 *
 *   VA            VS-stage -> GPA          G-stage -> physical
 *   0x8000_0000   the same, 1 GiB          the same, 1 GiB: code, tables; RAM ends in it
 *   0x4000_0000   0x4000_d000              DATA
 *   0x4000_1000   0x4000_e000              -
 *   0x4000_2000   -
 *   0xc000_0000   table at 0x4000_e000     -
 *   0             table at 0x4000_f000,    not to be written
 *                 its leaf without A
 */
import { HS, HYPERVISOR, inMode, M, toGuest, toHypervisor, toMachine, U, VS, VU } from './guest-state.testing.ts';
import { type HartCase, NOP, PC, type Registers } from './hart-case.testing.ts';

const [V, R, W, X, USER, A, D] = [1n, 2n, 4n, 8n, 16n, 64n, 128n];
const ADUE = 1n << 61n;
const [MPRV, MPV, MPP_S] = [1n << 17n, 1n << 39n, 1n << 11n];
const [SPVP, HU] = [1n << 8n, 1n << 9n];
const FS = 0x2000n;
const LEAF = V | R | W | X | A | D;
const GLEAF = LEAF | USER;

const GROOT = 0x8000_4000n;
const GMIDDLE = 0x8000_8000n;
const GLAST = 0x8000_9000n;
const ROOT = 0x8000_a000n;
const MIDDLE = 0x8000_b000n;
const LAST = 0x8000_c000n;
const DATA = 0x8000_d000n;
const READ_ONLY = 0x8000_f000n;

function pte(address: bigint, bits: bigint): bigint {
  return ((address >> 12n) << 10n) | bits;
}

const MEMORY: readonly (readonly [bigint, bigint])[] = [
  [GROOT + 16n, pte(0x8000_0000n, GLEAF)],
  [GROOT + 8n, pte(GMIDDLE, V)],
  [GMIDDLE, pte(GLAST, V)],
  [GLAST + 0xdn * 8n, pte(DATA, GLEAF)],
  [GLAST + 0xen * 8n, 0n],
  [GLAST + 0xfn * 8n, pte(READ_ONLY, V | R | USER | A | D)],
  [ROOT + 16n, pte(0x8000_0000n, LEAF)],
  [ROOT + 8n, pte(MIDDLE, V)],
  [ROOT + 24n, pte(0x4000_e000n, V)],
  [ROOT, pte(0x4000_f000n, V)],
  [MIDDLE, pte(LAST, V)],
  [LAST, pte(0x4000_d000n, LEAF)],
  [LAST + 8n, pte(0x4000_e000n, LEAF)],
  [LAST + 16n, 0n],
  [READ_ONLY, pte(0x8000_0000n, V | R | W | X)],
  [DATA, 0x1122_3344_5566_7788n],
];

const MAPPED: Registers = {
  ...HYPERVISOR,
  vsatp: (8n << 60n) | (ROOT >> 12n),
  hgatp: (8n << 60n) | (3n << 44n) | (GROOT >> 12n),
  menvcfg: ADUE | 0xf0n,
  henvcfg: ADUE | 0xf0n,
  senvcfg: 0xf0n,
  // What is overwritten.
  htval: 0x99n,
  htinst: 0x99n,
  mtval2: 0x99n,
  mtinst: 0x99n,
};
const ALL_TO_HOST = 0xf0_b7ffn;

const READABLE = 0x4000_0000n;
const UNMAPPED = 0x4000_1000n;
const UNMAPPED_GPA = 0x4000_e000n;
const ABSENT = 0x4000_2000n;
const NO_RAM = 0xa000_0000n;

type Instruction = readonly [
  name: string,
  word: number,
  access: 'load' | 'store',
  transformed: bigint,
  offset?: bigint,
];

// biome-ignore format: table
const INSTRUCTIONS: readonly Instruction[] = [
  ['lb x5, 0(x1)',             0x0000_8283, 'load',  0x0000_0283n],
  ['lbu x5, 0(x1)',            0x0000_c283, 'load',  0x0000_4283n],
  ['lh x5, 0(x1)',             0x0000_9283, 'load',  0x0000_1283n],
  ['lhu x5, 0(x1)',            0x0000_d283, 'load',  0x0000_5283n],
  ['lw x5, 0(x1)',             0x0000_a283, 'load',  0x0000_2283n],
  ['lwu x5, 0(x1)',            0x0000_e283, 'load',  0x0000_6283n],
  ['ld x5, 8(x1)',             0x0080_b283, 'load',  0x0000_3283n, 8n],
  ['ld x5, -8(x1)',            0xff80_b283, 'load',  0x0000_3283n, -8n],
  ['ld x0, 0(x1)',             0x0000_b003, 'load',  0x0000_3003n],
  ['flh f5, 0(x1)',            0x0000_9287, 'load',  0x0000_1287n],
  ['flw f5, 0(x1)',            0x0000_a287, 'load',  0x0000_2287n],
  ['fld f5, 0(x1)',            0x0000_b287, 'load',  0x0000_3287n],
  ['sb x2, 0(x1)',             0x0020_8023, 'store', 0x0020_0023n],
  ['sh x2, 0(x1)',             0x0020_9023, 'store', 0x0020_1023n],
  ['sw x2, 0(x1)',             0x0020_a023, 'store', 0x0020_2023n],
  ['sd x2, 8(x1)',             0x0020_b423, 'store', 0x0020_3023n, 8n],
  ['sd x2, -8(x1)',            0xfe20_bc23, 'store', 0x0020_3023n, -8n],
  ['fsw f2, 0(x1)',            0x0020_a027, 'store', 0x0020_2027n],
  ['fsd f2, 0(x1)',            0x0020_b027, 'store', 0x0020_3027n],
  ['amoadd.w x5, x2, (x1)',    0x0020_a2af, 'store', 0x0020_22afn],
  ['amoswap.d.aqrl x5, x2',    0x0e20_b2af, 'store', 0x0e20_32afn],
  ['amomaxu.d.rl x5, x2',      0xe220_b2af, 'store', 0xe220_32afn],
  ['lr.d.aq x5, (x1)',         0x1400_b2af, 'load',  0x1400_32afn],
  ['lr.w x5, (x1)',            0x1000_a2af, 'load',  0x1000_22afn],
  ['sc.d x5, x2, (x1)',        0x1820_b2af, 'store', 0x1820_32afn],
  ['cbo.zero (x1)',            0x0040_a00f, 'store', 0x0040_200fn],
  ['cbo.clean (x1)',           0x0010_a00f, 'store', 0x0010_200fn],
  ['cbo.flush (x1)',           0x0020_a00f, 'store', 0x0020_200fn],
  ['cbo.inval (x1)',           0x0000_a00f, 'store', 0x0000_200fn],
  ['c.lw x9, 0(x8)',           0x0001_4004, 'load',  0x0000_2481n],
  ['c.ld x9, 8(x8)',           0x0001_6404, 'load',  0x0000_3481n, 8n],
  ['c.fld f9, 0(x8)',          0x0001_2004, 'load',  0x0000_3485n],
  ['c.lbu x9, 0(x8)',          0x0001_8004, 'load',  0x0000_4481n],
  ['c.lh x9, 0(x8)',           0x0001_8444, 'load',  0x0000_1481n],
  ['c.ldsp x5, 0(sp)',         0x0001_6282, 'load',  0x0000_3281n],
  ['c.lwsp x5, 4(sp)',         0x0001_4292, 'load',  0x0000_2281n, 4n],
  ['c.sw x9, 0(x8)',           0x0001_c004, 'store', 0x0090_2021n],
  ['c.sd x9, 0(x8)',           0x0001_e004, 'store', 0x0090_3021n],
  ['c.fsd f9, 0(x8)',          0x0001_a004, 'store', 0x0090_3025n],
  ['c.sb x9, 0(x8)',           0x0001_8804, 'store', 0x0090_0021n],
  ['c.sdsp x9, 8(sp)',         0x0001_e426, 'store', 0x0090_3021n, 8n],
];

const GUEST_PAGE = { load: 21, store: 23 } as const;
const PAGE = { load: 13, store: 15 } as const;
const ACCESS = { load: 5, store: 7 } as const;

/** The access's address in whatever register the instruction takes it from. */
function addressed(address: bigint): { readonly [index: number]: bigint } {
  return { 1: address, 2: address, 8: address };
}

interface Place {
  readonly what: string;
  readonly address: bigint;
  readonly cause: { readonly load: number; readonly store: number };
  readonly gpa?: bigint;
  readonly instruction?: bigint;
}

const PLACES: readonly Place[] = [
  { what: 'a guest-page fault', address: UNMAPPED + 0x100n, cause: GUEST_PAGE, gpa: UNMAPPED_GPA + 0x100n },
  { what: 'a page fault', address: ABSENT + 0x100n, cause: PAGE },
  { what: 'no RAM', address: NO_RAM, cause: ACCESS },
  { what: 'an implicit read', address: 0xc020_0000n, cause: GUEST_PAGE, gpa: 0x4000_e008n, instruction: 0x3000n },
  { what: 'an implicit write', address: 0n, cause: GUEST_PAGE, gpa: 0x4000_f000n, instruction: 0x3020n },
];

/** cbo.clean and its kin do not mind where there is no RAM. */
function happens(name: string, place: Place): boolean {
  return !(place.cause === ACCESS && /cbo\.(clean|flush|inval)/.test(name));
}

const faults: HartCase[] = INSTRUCTIONS.flatMap(([name, word, access, transformed, offset = 0n]) =>
  PLACES.filter((place) => happens(name, place)).flatMap((place) =>
    [0n, ALL_TO_HOST].map((medeleg): HartCase => {
      const before: Registers = { ...MAPPED, ...inMode(VS), mstatus: FS, sstatus: FS, vsstatus: FS, medeleg };
      const trap = {
        cause: place.cause[access],
        tval: place.address,
        gpa: (place.gpa ?? 0n) >> 2n,
        instruction: place.instruction ?? transformed,
      };
      return {
        name: `${name}: ${place.what}, to ${medeleg === 0n ? 'M' : 'HS'}`,
        before,
        memory: MEMORY,
        x: addressed(BigInt.asUintN(64, place.address - offset)),
        program: [word],
        after: medeleg === 0n ? toMachine(before, trap) : toHypervisor(before, trap),
      };
    }),
  ),
);

const LD = 0x0000_b283;
const SW = 0x0020_a023;
const VS_TO_HOST: Registers = { ...MAPPED, ...inMode(VS), medeleg: ALL_TO_HOST };
const JUMP = 0x0000_8067;

function jumpCase(
  name: string,
  target: bigint,
  cause: number,
  gpa: bigint,
  options: { tval?: bigint; instruction?: bigint } = {},
): HartCase {
  const { tval = target, instruction = 0n } = options;
  return {
    name: `a fetch: ${name}`,
    before: VS_TO_HOST,
    memory: [...MEMORY, [DATA + 0xff8n, 0x0003_0000_0000_0000n]],
    x: { 1: target },
    program: [JUMP, NOP],
    after: toHypervisor({ ...VS_TO_HOST, pc: target }, { cause, tval, gpa: gpa >> 2n, instruction }),
  };
}

/** What delegation further to VS-mode leaves of it: the guest is told as a supervisor is. */
const toGuests: HartCase[] = [VS, VU].flatMap((at) =>
  (
    [
      [LD, 13],
      [SW, 15],
    ] as const
  ).map(([word, cause]): HartCase => {
    const before: Registers = { ...MAPPED, ...inMode(at), medeleg: ALL_TO_HOST, hedeleg: 0xb1ffn, pc: PC };
    // VU-mode cannot fetch from pages of VS-mode: that is its fault.
    const trap = at === VU ? { cause: 12, tval: PC } : { cause, tval: ABSENT };
    return {
      name: `a page fault in ${at.name}, delegated further: ${word.toString(16)}`,
      before,
      memory: MEMORY,
      x: addressed(ABSENT),
      program: [word],
      after: toGuest(before, trap),
    };
  }),
);

function one(name: string, before: Registers, word: number, address: bigint, after: Registers): HartCase {
  return { name, before, memory: MEMORY, x: addressed(address), program: [word], after };
}

const HLV_D = 0x6c00_c2f3;
const HLVX_WU = 0x6830_c2f3;
const HSV_W = 0x6a20_c073;
const FROM_HOST: Registers = { ...MAPPED, ...inMode(HS), hstatus: SPVP, medeleg: ALL_TO_HOST };
const FROM_USER: Registers = { ...MAPPED, ...inMode(U), hstatus: SPVP | HU, medeleg: ALL_TO_HOST };
const FROM_MACHINE: Registers = { ...MAPPED, ...inMode(M), mstatus: MPRV | MPV | MPP_S };
const GPA = UNMAPPED_GPA >> 2n;
const guests = { isGuestAccess: true } as const;

// biome-ignore format: table
const others: HartCase[] = [
  one('a misaligned load: the distance to the page that fails', VS_TO_HOST, LD, UNMAPPED - 4n, toHypervisor(VS_TO_HOST, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x0002_3283n })),
  one('a misaligned load that fails at its first byte', VS_TO_HOST, LD, UNMAPPED + 0xffcn, toHypervisor(VS_TO_HOST, { cause: 21, tval: UNMAPPED + 0xffcn, gpa: (UNMAPPED_GPA + 0xffcn) >> 2n, instruction: 0x0000_3283n })),
  one('a misaligned store', VS_TO_HOST, SW, UNMAPPED - 1n, toHypervisor(VS_TO_HOST, { cause: 23, tval: UNMAPPED, gpa: GPA, instruction: 0x0020_a023n })),
  one('a misaligned compressed load', VS_TO_HOST, 0x0001_6004, UNMAPPED - 7n, toHypervisor(VS_TO_HOST, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x0003_b481n })),
  one('the lowest two bits of the address are in stval alone', VS_TO_HOST, 0x0000_8283, UNMAPPED + 3n, toHypervisor(VS_TO_HOST, { cause: 21, tval: UNMAPPED + 3n, gpa: GPA, instruction: 0x0000_0283n })),
  one('a misaligned atomic', VS_TO_HOST, 0x0020_a2af, READABLE + 2n, toHypervisor(VS_TO_HOST, { cause: 6, tval: READABLE + 2n, instruction: 0x0020_22afn })),
  one('a misaligned load-reserved', VS_TO_HOST, 0x1400_b2af, READABLE + 4n, toHypervisor(VS_TO_HOST, { cause: 4, tval: READABLE + 4n, instruction: 0x1400_32afn })),
  jumpCase('a guest-page fault', UNMAPPED, 20, UNMAPPED_GPA),
  jumpCase('its second half lies in a page that fails', UNMAPPED - 2n, 20, UNMAPPED_GPA, { tval: UNMAPPED }),
  jumpCase('a page fault', ABSENT, 12, 0n),
  jumpCase('no RAM', NO_RAM, 1, 0n),
  jumpCase('an implicit read', 0xc020_0000n, 20, 0x4000_e008n, { instruction: 0x3000n }),
  jumpCase('an implicit write', 0n, 20, 0x4000_f000n, { instruction: 0x3020n }),
  one('hlv.d', FROM_HOST, HLV_D, UNMAPPED, toHypervisor(FROM_HOST, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x6c00_42f3n, ...guests })),
  one('hlvx.wu', FROM_HOST, HLVX_WU, UNMAPPED, toHypervisor(FROM_HOST, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x6830_42f3n, ...guests })),
  one('hsv.w', FROM_HOST, HSV_W, UNMAPPED, toHypervisor(FROM_HOST, { cause: 23, tval: UNMAPPED, gpa: GPA, instruction: 0x6a20_4073n, ...guests })),
  one('hsv.w, misaligned', FROM_HOST, HSV_W, UNMAPPED - 2n, toHypervisor(FROM_HOST, { cause: 23, tval: UNMAPPED, gpa: GPA, instruction: 0x6a21_4073n, ...guests })),
  one('hlv.d: a page fault is HS-mode\'s, never VS-mode\'s', { ...FROM_HOST, hedeleg: 0xb1ffn }, HLV_D, ABSENT, toHypervisor(FROM_HOST, { cause: 13, tval: ABSENT, instruction: 0x6c00_42f3n, ...guests })),
  one('hlv.d: no RAM', FROM_HOST, HLV_D, NO_RAM, toHypervisor(FROM_HOST, { cause: 5, tval: NO_RAM, instruction: 0x6c00_42f3n, ...guests })),
  one('hlv.d: an implicit read', FROM_HOST, HLV_D, 0xc020_0000n, toHypervisor(FROM_HOST, { cause: 21, tval: 0xc020_0000n, gpa: 0x4000_e008n >> 2n, instruction: 0x3000n, ...guests })),
  one('hlv.d in U-mode', FROM_USER, HLV_D, UNMAPPED, toHypervisor(FROM_USER, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x6c00_42f3n, ...guests })),
  one('hlv.d in M-mode', { ...MAPPED, ...inMode(M), hstatus: SPVP }, HLV_D, UNMAPPED, toMachine({ ...MAPPED, ...inMode(M) }, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x6c00_42f3n, ...guests })),
  one('MPRV with MPV', FROM_MACHINE, LD, UNMAPPED, toMachine(FROM_MACHINE, { cause: 21, tval: UNMAPPED, gpa: GPA, instruction: 0x0000_3283n, ...guests })),
  one('MPRV with MPV: a page fault', FROM_MACHINE, LD, ABSENT, toMachine(FROM_MACHINE, { cause: 13, tval: ABSENT, instruction: 0x0000_3283n, ...guests })),
  one('where V is 0 nothing is told', { ...MAPPED, ...inMode(HS), satp: (8n << 60n) | (ROOT >> 12n), medeleg: ALL_TO_HOST }, LD, ABSENT, toHypervisor({ ...MAPPED, ...inMode(HS) }, { cause: 13, tval: ABSENT })),
];

/** What goes well, so that the tables are known to be right. */
const good: HartCase[] = [
  {
    name: 'a load through both stages',
    before: VS_TO_HOST,
    memory: MEMORY,
    x: { 1: READABLE },
    program: [LD],
    afterX: { 5: 0x1122_3344_5566_7788n },
  },
  {
    name: 'hlv.d through both stages',
    before: FROM_HOST,
    memory: MEMORY,
    x: { 1: READABLE },
    program: [HLV_D],
    afterX: { 5: 0x1122_3344_5566_7788n },
  },
  {
    name: 'hsv.w, then hlv.d',
    before: FROM_HOST,
    memory: MEMORY,
    x: { 1: READABLE, 2: 0xaabb_ccddn },
    program: [HSV_W, HLV_D],
    afterX: { 5: 0x1122_3344_aabb_ccddn },
  },
];

export const GUEST_FAULT_CASES: readonly HartCase[] = [...good, ...faults, ...toGuests, ...others];
