/**
 * Cases of translation in two stages: privileged specification, "Two-Stage Address Translation", hlv, hlvx and hsv, MPRV
 * with MPV, henvcfg's PBMTE and ADUE.
 *
 *   VA --VS-stage tables, at guest-physical addresses--> GPA --G-stage tables--> PAGE
 *
 * All guest-physical addresses lie where there is no RAM, so that a stage that is left out shows.
 */
import { assert } from '../../../base/assert.ts';
import { type Access, type AccessCase, fault, guestFault, type Outcome } from './access-case.testing.ts';
import { HS, HYPERVISOR, inMode, M, U, VS, VU } from './guest-state.testing.ts';
import type { Registers } from './hart-case.testing.ts';

const [V, R, W, X, USER, G, A, D] = [1n, 2n, 4n, 8n, 16n, 32n, 64n, 128n];
const [N, PBMT_NC] = [1n << 63n, 1n << 61n];
const [ADUE, PBMTE] = [1n << 61n, 1n << 62n];
const [SUM, MXR, MPRV, MPV] = [1n << 18n, 1n << 19n, 1n << 17n, 1n << 39n];
const SPVP = 1n << 8n;
/** Everything, for VS-mode; and for guests. */
const LEAF = V | R | W | X | A | D;
const GLEAF = LEAF | USER;

interface Paging {
  readonly name: string;
  readonly mode: bigint;
  readonly levels: number;
}
const [SV39, SV48, SV57]: readonly [Paging, Paging, Paging] = [
  { name: 'Sv39', mode: 8n, levels: 3 },
  { name: 'Sv48', mode: 9n, levels: 4 },
  { name: 'Sv57', mode: 10n, levels: 5 },
];
const PAGINGS = [SV39, SV48, SV57] as const;
const ACCESSES: readonly Access[] = ['fetch', 'load', 'store'];

/** Physical: the G-stage root (16 KiB), its other tables, where VS-stage tables really are, the pages reached. */
const GROOT = 0x8010_0000n;
const GTABLES = 0x8020_0000n;
const TABLES_AT = 0x8030_0000n;
const PAGE = 0x8040_0000n;
const OTHER = 0x8050_0000n;
/** Guest-physical: VS-stage tables, and what VA and the page behind it map to. */
const TABLES = 0x10_0000_0000n;
const GPA = 0x20_1234_5000n;
const GPA_OTHER = 0x20_5555_5000n;
const VA = 0x12_3456_7890n & 0x3f_ffff_f000n;

/** TABLES_AT within its large page. */
const TABLES_OFFSET = TABLES_AT & 0x1f_ffffn;
const VSROOT = TABLES + TABLES_OFFSET;

type Entries = (readonly [bigint, bigint])[];

function pte(address: bigint, bits: bigint): bigint {
  return ((address >> 12n) << 10n) | bits;
}

function index(address: bigint, level: number, bits = 9): bigint {
  return (address >> (12n + 9n * BigInt(level))) & ((1n << BigInt(bits)) - 1n);
}

/** Numbers of tables, by stage, level and what leads there: entries that agree share their tables. */
const tableNumbers = new Map<string, bigint>();
const MOST_TABLES = 256n;

function tableOffset(stage: string, address: bigint, level: number): bigint {
  const key = `${stage} ${level} ${address >> BigInt(12 + 9 * level)}`;
  const known = tableNumbers.get(key) ?? BigInt(tableNumbers.size + 1);
  assert(known < MOST_TABLES, 'tables of both stages fit their large pages');
  tableNumbers.set(key, known);
  return known * 4096n;
}

/** G-stage entries that lead `gpa` to `entry` at `level`. */
function gstage(paging: Paging, gpa: bigint, entry: bigint, level = 0): Entries {
  const out: Entries = [];
  let table = GROOT;
  for (let i = paging.levels - 1; i >= level; i--) {
    const at = table + index(gpa, i, i === paging.levels - 1 ? 11 : 9) * 8n;
    const next = GTABLES + (i === level ? 0n : tableOffset(`${paging.name}x4`, gpa, i));
    out.push([at, i === level ? entry : pte(next, V)]);
    table = next;
  }
  return out;
}

/** VS-stage entries that lead `va` to `entry`: at guest-physical VSROOT, which is TABLES_AT. */
function vsstage(paging: Paging, va: bigint, entry: bigint, level = 0): Entries {
  const out: Entries = [];
  let table = TABLES_AT;
  for (let i = paging.levels - 1; i >= level; i--) {
    const at = table + index(va, i) * 8n;
    const next = i === level ? 0n : tableOffset(paging.name, va, i);
    out.push([at, i === level ? entry : pte(VSROOT + next, V)]);
    table = TABLES_AT + next;
  }
  return out;
}

/** The G-stage for VS-stage tables: a large page, so that one entry serves all. */
function tableMap(paging: Paging, bits = GLEAF): Entries {
  return gstage(paging, TABLES, pte(TABLES_AT & ~0x1f_ffffn, bits), 1);
}
function withRootBits([root, ...rest]: Entries, bits: bigint): Entries {
  return root ? [[root[0], root[1] | bits], ...rest] : [];
}

function leafAt(entries: Entries): bigint {
  return entries.at(-1)?.[0] ?? 0n;
}

interface Short {
  readonly name: string;
  readonly expect: Outcome;
  readonly first?: Paging;
  readonly second?: Paging;
  readonly va?: bigint;
  /** VS-stage entries, G-stage entries of pages, and of VS-stage tables. */
  readonly vs?: Entries;
  readonly g?: Entries;
  readonly gTables?: Entries;
  readonly before?: Registers;
  readonly access?: Access;
  readonly as?: 'guest' | 'guestExecutable';
  readonly size?: number;
  readonly after?: Entries;
}

/** A load of 8 bytes by VS-mode at VA, through Sv39 to GPA and Sv39x4 to PAGE, except as said. */
function short(c: Short): AccessCase {
  const { first = SV39, second = SV39, va = VA } = c;
  return {
    name: c.name,
    before: {
      ...HYPERVISOR,
      ...inMode(VS),
      vsatp: (first.mode << 60n) | (VSROOT >> 12n),
      hgatp: (second.mode << 60n) | (5n << 44n) | (GROOT >> 12n),
      ...c.before,
    },
    memory: [
      ...(c.vs ?? vsstage(first, va, pte(GPA, LEAF))),
      ...(c.gTables ?? tableMap(second)),
      ...(c.g ?? gstage(second, GPA, pte(PAGE, GLEAF))),
    ],
    va,
    access: c.access ?? 'load',
    ...(c.as ? { as: c.as } : {}),
    sizeBytes: c.size ?? 8,
    expect: c.expect,
    ...(c.after ? { memoryAfter: c.after } : {}),
  };
}

const DONE: Outcome = { to: [PAGE] };

const modes: AccessCase[] = PAGINGS.flatMap((first) =>
  PAGINGS.flatMap((second) =>
    ACCESSES.map((access) =>
      short({ name: `${first.name} over ${second.name}x4: ${access}`, first, second, access, expect: DONE }),
    ),
  ),
);

/** Leaves of every level in both stages; the low bits come from the address before. */
const levels: AccessCase[] = PAGINGS.flatMap((first) =>
  Array.from({ length: first.levels }, (_, level) => {
    const size = 1n << (12n + 9n * BigInt(level));
    const base = GPA - (GPA % size);
    const va = (1n << (12n + 9n * BigInt(first.levels - 1))) + (GPA % size) + 0x128n;
    const vs = vsstage(first, va, pte(base, LEAF), level);
    return short({
      name: `${first.name}: a leaf at level ${level}`,
      first,
      second: SV57,
      va,
      vs,
      expect: { to: [PAGE + 0x128n] },
    });
  }),
);
const glevels: AccessCase[] = PAGINGS.flatMap((second) =>
  Array.from({ length: second.levels }, (_, level) => {
    const size = 1n << (12n + 9n * BigInt(level));
    const base = PAGE - (PAGE % size);
    const gpa = (3n << (12n + 9n * BigInt(second.levels))) | ((PAGE % size) + 0x300n);
    const g = gstage(second, gpa, pte(base, GLEAF), level);
    return short({
      name: `${second.name}x4: a leaf at level ${level}, two bits higher`,
      second,
      before: { vsatp: 0n },
      va: gpa,
      g,
      expect: { to: [PAGE + 0x300n] },
    });
  }),
);

const width = ({ levels: count }: Paging): bigint => 1n << BigInt(12 + 9 * count + 2);
const FAULT = fault('page', 'load', VA);
const bare: Registers = { vsatp: 0n };
const NO_G: Entries = [];

// biome-ignore format: table
const stages: AccessCase[] = [
  short({ name: 'vsatp bare: the G-stage alone', before: bare, va: GPA + 8n, expect: { to: [PAGE + 8n] } }),
  short({ name: 'hgatp bare: the VS-stage alone', before: { hgatp: 0n, vsatp: (8n << 60n) | (TABLES_AT >> 12n) }, vs: [[TABLES_AT + index(VA, 2) * 8n, pte(0x8000_0000n, LEAF)]], expect: { to: [0x8000_0000n | (VA & 0x3fff_ffffn)] } }),
  short({ name: 'both bare', before: { hgatp: 0n, vsatp: 0n }, va: PAGE, expect: DONE }),
  short({ name: 'V = 0 looks at satp alone', before: { ...inMode(HS), satp: 0n }, va: PAGE, expect: DONE }),
  short({ name: 'V = 1 does not look at satp', before: { satp: (8n << 60n) | 0x1n }, expect: DONE }),
  ...PAGINGS.flatMap((second) => [
    short({ name: `${second.name}x4: the last guest-physical page`, second, before: bare, va: width(second) - 4096n, g: gstage(second, width(second) - 4096n, pte(PAGE, GLEAF)), expect: DONE }),
    ...ACCESSES.map((access) => short({ name: `${second.name}x4: ${access} beyond the guest-physical addresses`, second, before: bare, access, va: width(second), expect: guestFault(access, width(second), width(second)) })),
    short({ name: `${second.name}x4: addresses are not sign-extended`, second, before: bare, va: (1n << 64n) - 4096n, expect: guestFault('load', (1n << 64n) - 4096n, (1n << 64n) - 4096n) }),
  ]),
  ...ACCESSES.map((access) => short({ name: `${access}: the VS-stage fails`, access, vs: vsstage(SV39, VA, 0n), expect: fault('page', access, VA) })),
  ...ACCESSES.map((access) => short({ name: `${access}: not canonical in the VS-stage`, access, va: 1n << 38n, expect: fault('page', access, 1n << 38n) })),
  ...ACCESSES.map((access) => short({ name: `${access}: the G-stage fails`, access, va: VA + 16n, g: NO_G, expect: guestFault(access, VA + 16n, GPA + 16n) })),
  short({ name: 'a cache block: the G-stage fails', access: 'cache', g: NO_G, expect: guestFault('cache', VA, GPA) }),
  ...ACCESSES.map((access) => short({ name: `${access}: the G-stage has no VS-stage table`, access, gTables: NO_G, expect: guestFault(access, VA, VSROOT + index(VA, 2) * 8n, 'read') })),
  ...[1, 0].map((level) => short({ name: `the G-stage has no VS-stage table of level ${level}`, vs: [[leafAt(vsstage(SV39, VA, 0n, level + 1)), pte(0x30_0000_0000n, V)], ...(level === 0 ? vsstage(SV39, VA, pte(0x30_0000_0000n, V), 1) : [])], expect: guestFault('load', VA, 0x30_0000_0000n + index(VA, level) * 8n, 'read') })),
  ...ACCESSES.map((access) => short({ name: `${access}: a VS-stage table that the G-stage does not let be read`, access, gTables: tableMap(SV39, V | X | USER | A | D), expect: guestFault(access, VA, VSROOT + index(VA, 2) * 8n, 'read') })),
  short({ name: 'MXR is not for the walk', before: { mstatus: MXR, sstatus: MXR }, gTables: tableMap(SV39, V | X | USER | A | D), expect: guestFault('load', VA, VSROOT + index(VA, 2) * 8n, 'read') }),
  short({ name: 'a VS-stage table needs U in the G-stage', gTables: tableMap(SV39, LEAF), expect: guestFault('load', VA, VSROOT + index(VA, 2) * 8n, 'read') }),
  ...ACCESSES.map((access) => short({ name: `${access}: G-stage tables where there is no RAM`, access, g: gstage(SV39, GPA, pte(0x1000n, V), 1), expect: fault('access', access, VA) })),
  ...ACCESSES.map((access) => short({ name: `${access}: VS-stage tables that end where there is no RAM`, access, gTables: gstage(SV39, TABLES, pte(0x20_0000n, GLEAF), 1), expect: fault('access', access, VA) })),
  short({ name: 'G in the G-stage is ignored', g: gstage(SV39, GPA, pte(PAGE, GLEAF | G)), expect: DONE }),
  short({ name: 'reserved bits in the G-stage', g: gstage(SV39, GPA, pte(PAGE, GLEAF) | (1n << 54n)), expect: guestFault('load', VA, GPA) }),
  short({ name: 'W without R in the G-stage', g: gstage(SV39, GPA, pte(PAGE, V | W | USER | A | D)), expect: guestFault('load', VA, GPA) }),
  short({ name: 'a misaligned superpage in the G-stage', g: gstage(SV39, GPA, pte(PAGE | 0x1000n, GLEAF), 1), expect: guestFault('load', VA, GPA) }),
  short({ name: 'U in a pointer of the G-stage', g: withRootBits(gstage(SV39, GPA, pte(PAGE, GLEAF)), USER), expect: guestFault('load', VA, GPA) }),
  short({ name: 'NAPOT in the G-stage', va: VA + 8n, vs: vsstage(SV39, VA, pte(GPA, LEAF)), g: gstage(SV39, GPA, pte(PAGE | 0x8000n, GLEAF) | N), expect: { to: [PAGE + (GPA & 0xffffn) + 8n] } }),
  short({ name: 'NAPOT in the VS-stage', va: VA, vs: vsstage(SV39, VA, pte((GPA & ~0xffffn) | 0x8000n, LEAF) | N), g: gstage(SV39, (GPA & ~0xffffn) | (VA & 0xffffn), pte(PAGE, GLEAF)), expect: DONE }),
];

const VS_PBMT = vsstage(SV39, VA, pte(GPA, LEAF) | PBMT_NC);
const G_PBMT = gstage(SV39, GPA, pte(PAGE, GLEAF) | PBMT_NC);
const FRESH_VS = vsstage(SV39, VA, pte(GPA, V | R | W | X));
const FRESH_G = gstage(SV39, GPA, pte(PAGE, V | R | W | X | USER));
const FRESH_TABLES = tableMap(SV39, V | R | W | X | USER);
const marks = (access: Access): bigint => A | (access === 'store' ? D : 0n);

// biome-ignore format: table
const environment: AccessCase[] = [
  short({ name: 'PBMT in the VS-stage without PBMTE', vs: VS_PBMT, expect: FAULT }),
  short({ name: 'PBMT in the VS-stage with menvcfg.PBMTE alone', before: { menvcfg: PBMTE }, vs: VS_PBMT, expect: FAULT }),
  short({ name: 'PBMT in the VS-stage with henvcfg.PBMTE that menvcfg lacks', before: { henvcfg: PBMTE }, vs: VS_PBMT, expect: FAULT }),
  short({ name: 'PBMT in the VS-stage with both', before: { menvcfg: PBMTE, henvcfg: PBMTE }, vs: VS_PBMT, expect: DONE }),
  short({ name: 'PBMT in the G-stage without PBMTE', g: G_PBMT, expect: guestFault('load', VA, GPA) }),
  short({ name: 'PBMT in the G-stage with menvcfg.PBMTE', before: { menvcfg: PBMTE }, g: G_PBMT, expect: DONE }),
  ...ACCESSES.flatMap((access) => [
    short({ name: `${access}: A in the VS-stage without ADUE`, access, vs: FRESH_VS, expect: fault('page', access, VA) }),
    short({ name: `${access}: A in the VS-stage with menvcfg.ADUE alone`, access, before: { menvcfg: ADUE }, vs: FRESH_VS, expect: fault('page', access, VA) }),
    short({ name: `${access}: A and D in the VS-stage with both`, access, before: { menvcfg: ADUE, henvcfg: ADUE }, vs: FRESH_VS, expect: DONE, after: [[leafAt(FRESH_VS), pte(GPA, V | R | W | X | marks(access))]] }),
    short({ name: `${access}: A in the G-stage without ADUE`, access, g: FRESH_G, expect: guestFault(access, VA, GPA) }),
    short({ name: `${access}: A and D in the G-stage with menvcfg.ADUE`, access, before: { menvcfg: ADUE }, g: FRESH_G, expect: DONE, after: [[leafAt(FRESH_G), pte(PAGE, V | R | W | X | USER | marks(access))]] }),
    short({ name: `${access}: a VS-stage table is read: A of its G-stage leaf`, access, before: { menvcfg: ADUE }, gTables: FRESH_TABLES, expect: DONE, after: [[leafAt(FRESH_TABLES), pte(TABLES_AT & ~0x1f_ffffn, V | R | W | X | USER | A)]] }),
    short({ name: `${access}: a VS-stage table is marked: D of its G-stage leaf`, access, before: { menvcfg: ADUE, henvcfg: ADUE }, vs: FRESH_VS, gTables: FRESH_TABLES, expect: DONE, after: [[leafAt(FRESH_TABLES), pte(TABLES_AT & ~0x1f_ffffn, V | R | W | X | USER | A | D)], [leafAt(FRESH_VS), pte(GPA, V | R | W | X | marks(access))]] }),
    short({ name: `${access}: a VS-stage table that the G-stage does not let be written`, access, before: { menvcfg: ADUE, henvcfg: ADUE }, vs: FRESH_VS, gTables: tableMap(SV39, V | R | USER | A | D), expect: guestFault(access, VA, VSROOT + (leafAt(FRESH_VS) - TABLES_AT), 'write') }),
  ]),
  short({ name: 'a VS-stage table is not marked: D in the G-stage without ADUE', gTables: tableMap(SV39, V | R | W | USER | A), expect: DONE }),
  short({ name: 'the VS-stage is marked though the G-stage fails', before: { menvcfg: ADUE, henvcfg: ADUE }, vs: FRESH_VS, g: NO_G, expect: guestFault('load', VA, GPA), after: [[leafAt(FRESH_VS), pte(GPA, V | R | W | X | A)]] }),
];

/** hlv, hlvx and hsv act as if V were 1, in the mode that SPVP names; so does MPRV with MPV. */
const hlv = (before: Registers): Registers => ({ ...inMode(HS), hstatus: SPVP, ...before });
const USER_VS = vsstage(SV39, VA, pte(GPA, LEAF | USER));
const EXECUTE_VS = vsstage(SV39, VA, pte(GPA, V | X | A));
const EXECUTE_G = gstage(SV39, GPA, pte(PAGE, V | X | USER | A));
const READ_VS = vsstage(SV39, VA, pte(GPA, V | R | W | A | D));
const READ_G = gstage(SV39, GPA, pte(PAGE, V | R | W | USER | A | D));
const MPP_S = 1n << 11n;
const mprv = (mstatus: bigint): Registers => ({ ...inMode(M), mstatus: MPRV | mstatus });

// biome-ignore format: table
const others: AccessCase[] = [
  ...([HS, M, U] as const).map((at) => short({ name: `hlv in ${at.name}`, as: 'guest', before: { ...hlv({}), ...inMode(at) }, expect: DONE })),
  short({ name: 'hsv', as: 'guest', access: 'store', before: hlv({}), expect: DONE }),
  short({ name: 'hlv with SPVP 0 is VU-mode', as: 'guest', before: hlv({ hstatus: 0n }), expect: FAULT }),
  short({ name: 'hlv with SPVP 0 reads pages of VU-mode', as: 'guest', before: hlv({ hstatus: 0n }), vs: USER_VS, expect: DONE }),
  short({ name: "hlv: HS-mode's SUM does not count", as: 'guest', before: hlv({ mstatus: SUM }), vs: USER_VS, expect: FAULT }),
  short({ name: "hlv: VS-mode's SUM does", as: 'guest', before: hlv({ vsstatus: SUM }), vs: USER_VS, expect: DONE }),
  short({ name: "hlv: VS-mode's MXR is for the VS-stage", as: 'guest', before: hlv({ vsstatus: MXR }), vs: EXECUTE_VS, expect: DONE }),
  short({ name: "hlv: VS-mode's MXR is not for the G-stage", as: 'guest', before: hlv({ vsstatus: MXR }), g: EXECUTE_G, expect: guestFault('load', VA, GPA) }),
  short({ name: "hlv: HS-mode's MXR is for both", as: 'guest', before: hlv({ mstatus: MXR }), vs: EXECUTE_VS, g: EXECUTE_G, expect: DONE }),
  short({ name: 'hlv of a page that can only be executed', as: 'guest', before: hlv({}), vs: EXECUTE_VS, expect: FAULT }),
  short({ name: 'hlvx of such a page', as: 'guestExecutable', before: hlv({}), vs: EXECUTE_VS, g: EXECUTE_G, size: 4, expect: DONE }),
  short({ name: 'hlvx of a page that can only be read: the VS-stage', as: 'guestExecutable', before: hlv({ mstatus: MXR, vsstatus: MXR }), vs: READ_VS, size: 4, expect: FAULT }),
  short({ name: 'hlvx of a page that can only be read: the G-stage', as: 'guestExecutable', before: hlv({}), g: READ_G, size: 4, expect: guestFault('load', VA, GPA) }),
  short({ name: 'hlvx needs PMP to let it be read', as: 'guestExecutable', before: hlv({ pmpaddr0: PAGE >> 2n, pmpcfg0: 0x14n | (0x1fn << 8n), pmpaddr1: (1n << 54n) - 1n }), size: 4, expect: fault('access', 'load', VA) }),
  short({ name: 'hlvx needs PMP to let it be executed', as: 'guestExecutable', before: hlv({ pmpaddr0: PAGE >> 2n, pmpcfg0: 0x13n | (0x1fn << 8n), pmpaddr1: (1n << 54n) - 1n }), size: 4, expect: fault('access', 'load', VA) }),
  short({ name: 'hlv does not heed MPRV', as: 'guest', before: { ...mprv(3n << 11n), hstatus: SPVP }, expect: DONE }),
  short({ name: 'MPRV with MPV: VS-mode', before: mprv(MPV | MPP_S), expect: DONE }),
  short({ name: 'MPRV with MPV: VU-mode', before: mprv(MPV), expect: FAULT }),
  short({ name: 'MPRV with MPV: VU-mode and its page', before: mprv(MPV), vs: USER_VS, expect: DONE }),
  short({ name: "MPRV with MPV: VS-mode's SUM counts", before: { ...mprv(MPV | MPP_S), vsstatus: SUM }, vs: USER_VS, expect: DONE }),
  short({ name: "MPRV with MPV: HS-mode's SUM does not", before: mprv(MPV | MPP_S | SUM), vs: USER_VS, expect: FAULT }),
  short({ name: 'MPRV with MPV: HS-mode\'s MXR is for both stages', before: mprv(MPV | MPP_S | MXR), vs: EXECUTE_VS, g: EXECUTE_G, expect: DONE }),
  short({ name: 'MPRV without MPV', before: mprv(MPP_S), va: PAGE, expect: DONE }),
  short({ name: 'MPV without MPRV', before: { ...inMode(M), mstatus: MPV | MPP_S }, va: PAGE, expect: DONE }),
  short({ name: 'MPRV with MPV and MPP = M', before: mprv(MPV | (3n << 11n)), va: PAGE, expect: DONE }),
  short({ name: 'MPRV with MPV leaves fetches alone', before: mprv(MPV | MPP_S), access: 'fetch', va: PAGE, expect: DONE }),
  short({ name: 'VU-mode: U in the VS-stage', before: inMode(VU), vs: USER_VS, expect: DONE }),
  short({ name: 'VU-mode: no U in the VS-stage', before: inMode(VU), expect: FAULT }),
  short({ name: 'PMP is checked with the physical address', before: { pmpaddr0: PAGE >> 2n, pmpcfg0: 0x10n | (0x1fn << 8n), pmpaddr1: (1n << 54n) - 1n }, expect: fault('access', 'load', VA) }),
];

const NEXT = VA + 4096n;
const BOTH_VS: Entries = [...vsstage(SV39, VA, pte(GPA, LEAF)), ...vsstage(SV39, NEXT, pte(GPA_OTHER, LEAF))];
const CROSSING_G: Entries = [...gstage(SV39, GPA, pte(PAGE, GLEAF)), ...gstage(SV39, GPA_OTHER, pte(OTHER, GLEAF))];

// biome-ignore format: table
const crossings: AccessCase[] = [
  ...[1n, 4n, 7n].map((n) => short({ name: `${n} bytes in the first page`, va: NEXT - n, vs: BOTH_VS, g: CROSSING_G, expect: { to: [PAGE + 4096n - n, OTHER] } })),
  ...ACCESSES.map((access) => short({ name: `${access}: the second page fails in the VS-stage`, access, va: NEXT - 4n, vs: vsstage(SV39, VA, pte(GPA, LEAF)), expect: fault('page', access, NEXT) })),
  ...ACCESSES.map((access) => short({ name: `${access}: the second page fails in the G-stage`, access, va: NEXT - 4n, vs: BOTH_VS, expect: guestFault(access, NEXT, GPA_OTHER) })),
  ...ACCESSES.map((access) => short({ name: `${access}: the first page fails in the G-stage`, access, va: NEXT - 4n, vs: BOTH_VS, g: gstage(SV39, GPA_OTHER, pte(OTHER, GLEAF)), expect: guestFault(access, NEXT - 4n, GPA + 4092n) })),
];

export const GUEST_WALK_CASES: readonly AccessCase[] = [
  ...modes,
  ...levels,
  ...glevels,
  ...stages,
  ...environment,
  ...others,
  ...crossings,
];

const RIGHTS = [0n, R, R | W, X, R | X, R | W | X, W, W | X];

/** Said as sets of rights, not as a walk. */
function rights(bits: bigint, mxr: boolean): string {
  if ((bits & (R | W)) === W) return '';
  return `${bits & R || (mxr && bits & X) ? 'r' : ''}${bits & W ? 'w' : ''}${bits & X ? 'x' : ''}`;
}

/** Every combination of both leaves' rights and U, of SUM and MXR at both levels, and of accesses, for VS-mode and hlvx. */
export const GUEST_PTE_CASES: readonly AccessCase[] = RIGHTS.flatMap((first) =>
  [0n, USER].flatMap((firstUser) =>
    RIGHTS.flatMap((second) =>
      [0n, USER].flatMap((secondUser) =>
        [VS, VU].flatMap((at) =>
          [0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n].flatMap((bits) =>
            (['fetch', 'load', 'store', 'hlvx'] as const).map((what): AccessCase => {
              const [sum, guestMxr, hostMxr] = [(bits & 1n) !== 0n, (bits & 2n) !== 0n, (bits & 4n) !== 0n];
              const access = what === 'hlvx' ? 'load' : what;
              const needed = { fetch: 'x', load: 'r', store: 'w', hlvx: 'x' }[what];
              const isUser = at === VU;
              let own = rights(first, guestMxr || hostMxr);
              if (isUser !== (firstUser !== 0n)) own = !isUser && sum && what !== 'fetch' ? own : '';
              const guests = secondUser === 0n ? '' : rights(second, hostMxr);
              const expect: Outcome = !own.includes(needed)
                ? fault('page', access, VA)
                : guests.includes(needed)
                  ? DONE
                  : guestFault(access, VA, GPA);
              const status = (sum ? SUM : 0n) | (guestMxr ? MXR : 0n);
              const host = hostMxr ? MXR : 0n;
              const before: Registers =
                what === 'hlvx'
                  ? { ...inMode(HS), hstatus: isUser ? 0n : SPVP, mstatus: host, vsstatus: status }
                  : { ...inMode(at), mstatus: status, sstatus: host };
              return short({
                name: `VS ${first | firstUser}, G ${second | secondUser}, ${at.name}, SUM ${sum}, MXR ${guestMxr} ${hostMxr}, ${what}`,
                before,
                access,
                ...(what === 'hlvx' ? { as: 'guestExecutable' } : {}),
                size: 4,
                vs: vsstage(SV39, VA, pte(GPA, V | A | D | first | firstUser)),
                g: gstage(SV39, GPA, pte(PAGE, V | A | D | second | secondUser)),
                expect,
              });
            }),
          ),
        ),
      ),
    ),
  ),
);
