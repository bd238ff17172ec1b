/**
 * Cases of traps, returns, permissions and interrupts with the hypervisor extension: privileged specification, chapter
 * "Hypervisor Extension", "Traps", "Trap Entry", "Trap Return", "Hypervisor Instructions".
 * Long: tables of cases.
 */
import { FEATURE } from '../../state.ts';
import {
  type ExpectedTrap,
  enteredGuest,
  HS,
  HYPERVISOR,
  inMode,
  M,
  MODES,
  toGuest,
  toHypervisor,
  toMachine,
  U,
  type VirtualMode,
  VS,
  VSTVEC,
  VU,
} from './guest-state.testing.ts';
import {
  ALL_FEATURES,
  csrrs,
  csrrw,
  EBREAK,
  ECALL,
  type HartCase,
  HYPERVISOR_FEATURES,
  MRET,
  MTVEC,
  NOP,
  type Registers,
  SFENCE_INVAL_IR,
  SFENCE_W_INVAL,
  SRET,
  STVEC,
  sfenceVma,
  sinvalVma,
  WFI,
  WRS_NTO,
  WRS_STO,
} from './hart-case.testing.ts';

const [SIE, MIE, SPIE, MPIE, SPP] = [2n, 8n, 0x20n, 0x80n, 0x100n];
const [MPRV, SUM, MXR, TVM, TW, TSR] = [17n, 18n, 19n, 20n, 21n, 22n].map((bit) => 1n << bit) as [
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
  bigint,
];
const [VTVM, VTW, VTSR] = [TVM, TW, TSR];
const [SPV, SPVP, HU] = [1n << 7n, 1n << 8n, 1n << 9n];
const MPV = 1n << 39n;
const FS_DIRTY = 0x6000n;

type Destination = 'M' | 'HS' | 'VS';

function trapTo(where: Destination, before: Registers, trap: ExpectedTrap): Registers {
  return where === 'M' ? toMachine(before, trap) : where === 'HS' ? toHypervisor(before, trap) : toGuest(before, trap);
}

/** Where an exception goes from a mode. */
function destination(at: VirtualMode, toHost: boolean, further: boolean): Destination {
  if (at === M || !toHost) return 'M';
  return at.virtual === 1n && further ? 'VS' : 'HS';
}

/** mstatus, and where V is 1 both areas' bits, before. */
const STATUSES: readonly Registers[] = [
  {},
  { mstatus: SIE | MIE | SPIE | MPIE | SPP | SUM, sstatus: MXR | SPP, vsstatus: 0n },
  { mstatus: FS_DIRTY | MXR, sstatus: 0x2000n | SIE, vsstatus: 0x4000n },
  { mstatus: 0x2000n, sstatus: 0x4000n | SUM, vsstatus: 0x2000n, hstatus: SPV | SPVP | HU | VTVM },
];

const VIRTUAL_WORD = csrrs(1, 0x600, 0);
const ILLEGAL_WORD = csrrs(1, 0x8ff, 0);

interface Raised {
  readonly what: string;
  readonly word: number;
  readonly cause: (at: VirtualMode) => number;
  readonly tval: bigint;
  readonly in?: readonly VirtualMode[];
}

const RAISED: readonly Raised[] = [
  { what: 'ecall', word: ECALL, cause: (at) => ({ U: 8, VU: 8, HS: 9, VS: 10, M: 11 })[at.name], tval: 0n },
  { what: 'ebreak', word: EBREAK, cause: () => 3, tval: 0x8000_1000n },
  { what: 'an illegal instruction', word: ILLEGAL_WORD, cause: () => 2, tval: BigInt(ILLEGAL_WORD) },
  { what: 'a virtual instruction', word: VIRTUAL_WORD, cause: () => 22, tval: BigInt(VIRTUAL_WORD), in: [VS, VU] },
];

/** hedeleg cannot delegate these, but the state is what it is. */
const exceptions: HartCase[] = RAISED.flatMap(({ what, word, cause, tval, in: modes = MODES }) =>
  modes.flatMap((at) =>
    STATUSES.flatMap((status, i) =>
      (
        [
          [false, false],
          [true, false],
          [true, true],
          [false, true],
        ] as const
      ).map(([toHost, further]): HartCase => {
        const bit = 1n << BigInt(cause(at));
        const before: Registers = {
          ...HYPERVISOR,
          ...inMode(at),
          ...status,
          medeleg: toHost ? bit : 0n,
          hedeleg: further ? bit : 0n,
        };
        const where = destination(at, toHost, further);
        return {
          name: `${what} in ${at.name}, medeleg ${toHost}, hedeleg ${further}, status ${i}: to ${where}`,
          before,
          program: [word],
          after: trapTo(where, before, { cause: cause(at), tval }),
        };
      }),
    ),
  ),
);

const vectored: HartCase[] = ([false, true] as const).map((further) => {
  const before: Registers = {
    ...HYPERVISOR,
    ...inMode(VU),
    medeleg: 8n,
    hedeleg: further ? 8n : 0n,
    stvec: STVEC | 1n,
    vstvec: VSTVEC | 1n,
  };
  return {
    name: `exceptions do not use vectors${further ? ', in VS either' : ''}`,
    before,
    program: [EBREAK],
    after: trapTo(further ? 'VS' : 'HS', before, { cause: 3, tval: 0x8000_1000n }),
  };
});

const SBI = HYPERVISOR_FEATURES | FEATURE.sbi;
const builtInSbi: HartCase[] = [
  {
    name: 'ecall from HS with the built-in SBI leaves the engine',
    before: { ...HYPERVISOR, ...inMode(HS), features: SBI },
    program: [ECALL],
    leaves: 'call',
  },
  ...[VS, VU].map((at): HartCase => {
    const before: Registers = { ...HYPERVISOR, ...inMode(at), features: SBI, medeleg: 0x500n };
    return {
      name: `ecall from ${at.name} with the built-in SBI traps to HS`,
      before,
      program: [ECALL],
      after: toHypervisor(before, { cause: at === VS ? 10 : 8 }),
    };
  }),
];

const TARGET = 0x8000_4000n;

/** Returns to a guest, and within it; V, both statuses, MPRV. */
const returns: HartCase[] = [
  ...[0n, 1n, 3n].flatMap((mpp) =>
    [0n, MPV].flatMap((mpv) =>
      [0n, FS_DIRTY, 0x2000n].map((vsstatus): HartCase => {
        const before: Registers = {
          ...HYPERVISOR,
          mepc: TARGET,
          mstatus: (mpp << 11n) | mpv | MPIE | MPRV | SIE | SUM | 0x4000n,
          vsstatus: vsstatus | SPIE | MXR,
        };
        // MPIE becomes 1 and MIE what it was, MPP U, MPV 0; MPRV stays on a return to M.
        const returned = MPIE | MIE | SIE | SUM | 0x4000n | (mpp === 3n ? MPRV : 0n);
        const toGuestMode = mpv !== 0n && mpp !== 3n;
        return {
          name: `mret, MPP ${mpp}, MPV ${mpv === 0n ? 0 : 1}, vsstatus ${vsstatus.toString(16)}`,
          before,
          program: [MRET],
          after: { mode: mpp, pc: TARGET, mstatus: returned, ...(toGuestMode ? enteredGuest(before, returned) : {}) },
        };
      }),
    ),
  ),
  ...[HS, M].flatMap((at) =>
    [0n, SPV].flatMap((spv) =>
      [0n, 1n].map((spp): HartCase => {
        const before: Registers = {
          ...HYPERVISOR,
          ...inMode(at),
          sepc: TARGET,
          vsepc: 0x8000_5000n,
          hstatus: spv | SPVP | HU,
          mstatus: (spp << 8n) | SPIE | MXR | MPRV | FS_DIRTY,
          vsstatus: 0x2000n | SIE | SUM,
        };
        const returned = SIE | SPIE | MXR | FS_DIRTY;
        return {
          name: `sret in ${at.name}, SPV ${spv === 0n ? 0 : 1}, SPP ${spp}`,
          before,
          program: [SRET],
          after: {
            mode: spp,
            pc: TARGET,
            hstatus: SPVP | HU,
            mstatus: returned,
            ...(spv === 0n ? {} : enteredGuest(before, returned)),
          },
        };
      }),
    ),
  ),
  ...[0n, 1n].map(
    (spp): HartCase => ({
      name: `sret in VS, SPP ${spp}: SPV does not count`,
      before: {
        ...HYPERVISOR,
        ...inMode(VS),
        sepc: 0x8000_5000n,
        vsepc: TARGET,
        hstatus: SPV,
        mstatus: (spp << 8n) | SPIE,
        sstatus: SPP,
      },
      program: [SRET],
      after: { mode: spp, pc: TARGET, mstatus: SIE | SPIE },
    }),
  ),
];

/** There and back: the host's status is as it was, floating point that the guest has changed apart. */
const roundTrips: HartCase[] = [
  {
    name: 'into the guest and out again',
    before: {
      ...HYPERVISOR,
      ...inMode(HS),
      sepc: 0x8000_1004n,
      hstatus: SPV,
      mstatus: SPP | SPIE | SUM | 0x4000n,
      vsstatus: 0x2000n | MXR,
      medeleg: 0x400n,
    },
    program: [SRET, ECALL],
    after: {
      mode: 1n,
      pc: STVEC,
      sepc: 0x8000_1004n,
      scause: 10n,
      hstatus: SPV | SPVP,
      mstatus: SPP | SPIE | SUM | 0x4000n,
      vsstatus: 0x2000n | MXR,
      sstatus: SIE | SPIE | SUM | 0x4000n,
    },
  },
  {
    name: 'a guest that changes floating-point state makes both FS Dirty',
    before: { ...HYPERVISOR, ...inMode(VS), mstatus: 0x2000n, sstatus: 0x4000n, vsstatus: 0x2000n },
    program: [csrrw(0, 0x002, 0), ECALL],
    after: {
      ...toMachine(
        { ...HYPERVISOR, ...inMode(VS), pc: 0x8000_1004n, mstatus: FS_DIRTY, sstatus: 0x4000n, vsstatus: 0x2000n },
        { cause: 10 },
      ),
      vsstatus: FS_DIRTY,
    },
  },
  {
    name: 'a guest that does not leaves them',
    before: { ...HYPERVISOR, ...inMode(VS), mstatus: 0x4000n, sstatus: 0x4000n, vsstatus: FS_DIRTY },
    program: [ECALL],
    after: {
      ...toMachine(
        { ...HYPERVISOR, ...inMode(VS), mstatus: 0x4000n, sstatus: 0x4000n, vsstatus: FS_DIRTY },
        { cause: 10 },
      ),
      vsstatus: FS_DIRTY,
    },
  },
];

const hfenceVvma = (rs1: number, rs2: number): number => 0x2200_0073 | (rs1 << 15) | (rs2 << 20);
const hfenceGvma = (rs1: number, rs2: number): number => 0x6200_0073 | (rs1 << 15) | (rs2 << 20);
const hinvalVvma = (rs1: number, rs2: number): number => 0x2600_0073 | (rs1 << 15) | (rs2 << 20);
const hinvalGvma = (rs1: number, rs2: number): number => 0x6600_0073 | (rs1 << 15) | (rs2 << 20);

type Permission = 'allowed' | 2 | 22;
interface Permitted {
  readonly what: string;
  readonly words: readonly number[];
  readonly expect: (at: VirtualMode, mstatus: bigint, hstatus: bigint) => Permission;
}

const has = (status: bigint, bit: bigint): boolean => (status & bit) !== 0n;
const supervisorFence: Permitted['expect'] = (at, mstatus, hstatus) => {
  if (at === U) return 2;
  if (at === VU) return 22;
  if (at === VS) return has(hstatus, VTVM) ? 22 : 'allowed';
  return at === HS && has(mstatus, TVM) ? 2 : 'allowed';
};
const hypervisorFence: Permitted['expect'] = (at) => (at === U ? 2 : at.virtual === 1n ? 22 : 'allowed');
const unconditional: Permitted['expect'] = (at) => (at === U ? 2 : at === VU ? 22 : 'allowed');

const PERMITTED: readonly Permitted[] = [
  {
    what: 'sfence.vma',
    words: [sfenceVma(0, 0), sfenceVma(1, 0), sfenceVma(0, 2), sfenceVma(1, 2)],
    expect: supervisorFence,
  },
  { what: 'sinval.vma', words: [sinvalVma(1, 2)], expect: supervisorFence },
  { what: 'sfence.w.inval', words: [SFENCE_W_INVAL], expect: unconditional },
  { what: 'sfence.inval.ir', words: [SFENCE_INVAL_IR], expect: unconditional },
  {
    what: 'hfence.vvma',
    words: [hfenceVvma(0, 0), hfenceVvma(1, 0), hfenceVvma(0, 2), hfenceVvma(1, 2)],
    expect: hypervisorFence,
  },
  { what: 'hinval.vvma', words: [hinvalVvma(1, 2)], expect: hypervisorFence },
  {
    what: 'hfence.gvma',
    words: [hfenceGvma(0, 0), hfenceGvma(1, 0), hfenceGvma(0, 2), hfenceGvma(1, 2), hinvalGvma(1, 2)],
    expect: (at, mstatus, hstatus) => (at === HS && has(mstatus, TVM) ? 2 : hypervisorFence(at, mstatus, hstatus)),
  },
  {
    what: 'sret',
    words: [SRET],
    expect: (at, mstatus, hstatus) => {
      if (at === VS) return has(hstatus, VTSR) ? 22 : 'allowed';
      return at === HS && has(mstatus, TSR) ? 2 : unconditional(at, mstatus, hstatus);
    },
  },
  { what: 'mret', words: [MRET], expect: (at) => (at === M ? 'allowed' : 2) },
  {
    what: 'wfi',
    words: [WFI],
    expect: (at, mstatus, hstatus) => {
      if (at === M) return 'allowed';
      if (has(mstatus, TW) || at === U) return 2;
      return at === VU || (at === VS && has(hstatus, VTW)) ? 22 : 'allowed';
    },
  },
  {
    what: 'wrs.nto',
    words: [WRS_NTO],
    expect: (at, mstatus, hstatus) => {
      if (at === M) return 'allowed';
      if (has(mstatus, TW)) return 2;
      return at.virtual === 1n && has(hstatus, VTW) ? 22 : 'allowed';
    },
  },
  { what: 'wrs.sto', words: [WRS_STO], expect: () => 'allowed' },
];

const permissions: HartCase[] = PERMITTED.flatMap(({ what, words, expect }) =>
  words.flatMap((word) =>
    MODES.flatMap((at) =>
      [0n, TVM, TW, TSR, TVM | TW | TSR].flatMap((mstatus) =>
        [0n, VTVM, VTW, VTSR, VTVM | VTW | VTSR].map((hstatus): HartCase => {
          const before: Registers = { ...HYPERVISOR, ...inMode(at), mstatus, hstatus };
          const result = expect(at, mstatus, hstatus);
          const name = `${what} ${(word >>> 0).toString(16)} in ${at.name}, mstatus ${mstatus.toString(16)}, hstatus ${hstatus.toString(16)}: ${result}`;
          if (result !== 'allowed')
            return {
              name,
              before,
              program: [word],
              after: toMachine(before, { cause: result, tval: BigInt(word >>> 0) }),
            };
          const isReturn = what === 'sret' || what === 'mret';
          return {
            name,
            before,
            program: [word],
            after: isReturn ? { pc: 0n } : {},
            ...(what === 'wfi' ? { leaves: 'wait' } : {}),
            ...(isReturn ? { free: ['mstatus', 'mode'] } : {}),
          };
        }),
      ),
    ),
  ),
);

/** Of hlv, hlvx and hsv: bare in both stages, so that they are plain accesses. */
const DATA = 0x8000_d000n;
// biome-ignore format: table
const GUEST_ACCESSES: readonly (readonly [name: string, word: number, reads: bigint | undefined])[] = [
  ['hlv.b',   0x6000_c2f3, 0xffff_ffff_ffff_fff8n], ['hlv.bu',  0x6010_c2f3, 0xf8n],
  ['hlv.h',   0x6400_c2f3, 0xffff_ffff_ffff_f7f8n], ['hlv.hu',  0x6410_c2f3, 0xf7f8n], ['hlvx.hu', 0x6430_c2f3, 0xf7f8n],
  ['hlv.w',   0x6800_c2f3, 0xffff_ffff_f5f6_f7f8n], ['hlv.wu',  0x6810_c2f3, 0xf5f6_f7f8n], ['hlvx.wu', 0x6830_c2f3, 0xf5f6_f7f8n],
  ['hlv.d',   0x6c00_c2f3, 0xf1f2_f3f4_f5f6_f7f8n],
  ['hsv.b',   0x6220_c073, undefined], ['hsv.h', 0x6620_c073, undefined], ['hsv.w', 0x6a20_c073, undefined], ['hsv.d', 0x6e20_c073, undefined],
];

const guestAccesses: HartCase[] = GUEST_ACCESSES.flatMap(([name, word, value]) =>
  MODES.flatMap((at) =>
    [0n, HU].map((hu): HartCase => {
      const before: Registers = { ...HYPERVISOR, ...inMode(at), hstatus: hu | SPVP };
      const result: Permission = at.virtual === 1n ? 22 : at === U && hu === 0n ? 2 : 'allowed';
      const title = `${name} in ${at.name}, HU ${hu === 0n ? 0 : 1}: ${result}`;
      const common = {
        name: title,
        before,
        memory: [[DATA, 0xf1f2_f3f4_f5f6_f7f8n]] as const,
        x: { 1: DATA, 2: 0x55n },
      };
      if (result !== 'allowed')
        return { ...common, program: [word], after: toMachine(before, { cause: result, tval: BigInt(word) }) };
      return { ...common, program: [word], ...(value === undefined ? {} : { afterX: { 5: value } }) };
    }),
  ),
);

/** Harts without the extension may be served by an engine that knows it: there its instructions are illegal. */
const absent: HartCase[] = [
  ...[hfenceVvma(1, 2), hfenceGvma(1, 2), hinvalVvma(1, 2), hinvalGvma(1, 2)],
  ...GUEST_ACCESSES.map(([, word]) => word),
].flatMap((word) =>
  [U, HS, M].map((at): HartCase => {
    const before: Registers = { ...inMode(at), features: ALL_FEATURES, hstatus: HU };
    const {
      mstatus = 0n,
      pc = 0n,
      mepc = 0n,
      mcause = 0n,
      mtval = 0n,
      mode = 0n,
    } = toMachine({ ...HYPERVISOR, ...before }, { cause: 2, tval: BigInt(word >>> 0) });
    return {
      name: `${(word >>> 0).toString(16)} in ${at.name} of a hart without H`,
      before: { ...before, mtvec: MTVEC },
      program: [word],
      after: { mstatus, pc, mepc, mcause, mtval, mode },
    };
  }),
);

export const GUEST_TRAP_CASES: readonly HartCase[] = [
  ...absent,
  ...exceptions,
  ...vectored,
  ...builtInSbi,
  ...returns,
  ...roundTrips,
  ...permissions,
  ...guestAccesses,
];

const INTERRUPTS = [
  { cause: 11, name: 'MEI', level: 'M' },
  { cause: 3, name: 'MSI', level: 'M' },
  { cause: 7, name: 'MTI', level: 'M' },
  { cause: 9, name: 'SEI', level: 'S' },
  { cause: 1, name: 'SSI', level: 'S' },
  { cause: 5, name: 'STI', level: 'S' },
  { cause: 12, name: 'SGEI', level: 'G' },
  { cause: 10, name: 'VSEI', level: 'V' },
  { cause: 2, name: 'VSSI', level: 'V' },
  { cause: 6, name: 'VSTI', level: 'V' },
] as const;
type Level = (typeof INTERRUPTS)[number]['level'];

/** Interrupts that are pending, by whatever makes each so. */
function raised(causes: readonly number[]): Registers {
  const bits = causes.reduce((all, cause) => all | (1n << BigInt(cause)), 0n);
  return {
    lines: bits & 0xa88n,
    mip: bits & 0x446n,
    ...(bits & 0x20n ? { menvcfg: 1n << 63n, stimecmp: 0n, lines: bits & 0xaa8n } : {}),
    ...(bits & 0x1000n ? { guestFiles: 1n, hgeip: 2n, hgeie: 2n } : {}),
  };
}

/** Where an interrupt of a level goes, and whether the mode lets it be taken now. Enables are of the mode's own area. */
function taken(
  level: Level,
  at: VirtualMode,
  delegated: boolean,
  further: boolean,
  enables: bigint,
): Destination | undefined {
  const toHost = level === 'V' || level === 'G' || (level === 'S' && delegated);
  if (!toHost) return at !== M || has(enables, MIE) ? 'M' : undefined;
  if (at === M) return undefined;
  if (level === 'V' && further) return at === VU || (at === VS && has(enables, SIE)) ? 'VS' : undefined;
  return at !== HS || has(enables, SIE) ? 'HS' : undefined;
}

const gating: HartCase[] = INTERRUPTS.flatMap(({ cause, name, level }) =>
  MODES.flatMap((at) =>
    [0n, SIE, MIE].flatMap((enables) =>
      (
        [
          [false, false],
          [true, false],
          [true, true],
        ] as const
      ).flatMap(([delegated, further]) =>
        [0n, 1n].map((vector): HartCase => {
          const before: Registers = {
            ...HYPERVISOR,
            ...inMode(at),
            mstatus: enables,
            ...(at.virtual === 1n ? { sstatus: has(enables, SIE) ? 0n : SIE } : {}),
            mie: 1n << BigInt(cause),
            ...raised([cause]),
            mideleg: delegated ? 0x222n : 0n,
            hideleg: further ? 0x444n : 0n,
            mtvec: MTVEC | vector,
            stvec: STVEC | vector,
            vstvec: VSTVEC | vector,
          };
          const where = taken(level, at, delegated, further, enables);
          const title = `${name} in ${at.name}, enables ${enables.toString(16)}, mideleg ${delegated}, hideleg ${further}, vector ${vector}`;
          const program = [NOP];
          if (where === undefined) return { name: `${title}: not taken`, before, program };
          return {
            name: `${title}: to ${where}`,
            before,
            program,
            after: trapTo(where, before, { cause, isInterrupt: true }),
          };
        }),
      ),
    ),
  ),
);

/** Of each pair for HS-mode, the earlier in the manual's list comes first. */
const FOR_HS = [9, 1, 5, 12, 10, 2, 6];
const priorities: HartCase[] = FOR_HS.flatMap((first, i) =>
  FOR_HS.slice(i + 1).map((second): HartCase => {
    const before: Registers = {
      ...HYPERVISOR,
      ...inMode(VS),
      mie: 0x1666n,
      mideleg: 0x222n,
      ...raised([first, second]),
    };
    return {
      name: `interrupt ${first} before ${second}`,
      before,
      program: [NOP],
      after: toHypervisor(before, { cause: first, isInterrupt: true }),
    };
  }),
);

const FOR_VS = [10, 2, 6];
const guestPriorities: HartCase[] = FOR_VS.flatMap((first, i) =>
  FOR_VS.slice(i + 1).map((second): HartCase => {
    const before: Registers = {
      ...HYPERVISOR,
      ...inMode(VU),
      mie: 0x444n,
      hideleg: 0x444n,
      ...raised([first, second]),
    };
    return {
      name: `interrupt ${first} before ${second} in VS`,
      before,
      program: [NOP],
      after: toGuest(before, { cause: first, isInterrupt: true }),
    };
  }),
);

function selected(name: string, before: Registers, where: Destination | undefined, cause = 0): HartCase {
  const all = { ...HYPERVISOR, ...before };
  if (where === undefined) return { name, before: all, program: [NOP] };
  return { name, before: all, program: [NOP], after: trapTo(where, all, { cause, isInterrupt: true }) };
}

// biome-ignore format: table
const selection: HartCase[] = [
  selected("one for HS-mode comes before VS-mode's of higher priority", { ...inMode(VU), mie: 0x404n, hideleg: 0x400n, mip: 0x404n }, 'HS', 2),
  selected('one for M-mode comes before both', { ...inMode(VU), mie: 0x484n, hideleg: 0x400n, mip: 0x404n, lines: 0x80n }, 'M', 7),
  selected("VS-mode's is not taken while V is 0", { ...inMode(U), mie: 0x444n, hideleg: 0x444n, mip: 0x444n }, undefined),
  selected('the comparison with vstimecmp', { ...inMode(VU), mie: 0x40n, hideleg: 0x40n, lines: 0x40n, vstimecmp: 0n, menvcfg: 1n << 63n, henvcfg: 1n << 63n }, 'VS', 6),
  selected('the guest interrupt file that VGEIN names', { ...inMode(VU), mie: 0x400n, hideleg: 0x400n, guestFiles: 5n, hgeip: 0x20n, hstatus: 5n << 12n }, 'VS', 10),
  selected('a guest interrupt file that VGEIN does not name', { ...inMode(VU), mie: 0x1400n, hideleg: 0x400n, guestFiles: 5n, hgeip: 0x20n, hstatus: 4n << 12n }, undefined),
  selected("mideleg does not matter to guests' interrupts", { ...inMode(HS), mstatus: SIE, mie: 0x40n, mip: 0x40n }, 'HS', 6),
  { name: 'wfi goes on for an interrupt of VS-mode', before: { ...HYPERVISOR, ...inMode(VS), mie: 4n, mip: 4n, hideleg: 4n }, program: [WFI] },
  { name: 'an interrupt that a guest enables is taken before its next instruction', before: { ...HYPERVISOR, ...inMode(VS), mie: 4n, mip: 4n, hideleg: 4n }, x: { 1: SIE }, program: [csrrs(0, 0x100, 1), NOP], after: { pc: VSTVEC, vsepc: 0x8000_1004n, vscause: (1n << 63n) | 1n, mstatus: SPIE | SPP, vsstatus: SIE } },
  { name: 'an interrupt that hvip raises is taken when the guest runs', before: { ...HYPERVISOR, ...inMode(HS), mie: 4n, hideleg: 4n, hstatus: SPV, sepc: 0x8000_1008n, mideleg: 0n }, x: { 1: 4n }, program: [csrrs(0, 0x645, 1), SRET, NOP], after: { mip: 4n, virtual: 1n, mode: 1n, hstatus: 0n, pc: VSTVEC, vsepc: 0x8000_1008n, vscause: (1n << 63n) | 1n, mstatus: 0n, sstatus: SPIE } },
];

export const GUEST_INTERRUPT_CASES: readonly HartCase[] = [...gating, ...priorities, ...guestPriorities, ...selection];
