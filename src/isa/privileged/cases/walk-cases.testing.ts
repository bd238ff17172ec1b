/**
 * Cases of address translation: privileged specification, "Virtual Address Translation Process", Sv39, Sv48, Sv57,
 * Svnapot, Svpbmt, Svade, Svadu; mstatus.MPRV, SUM and MXR.
 */
import { FEATURE } from '../../state.ts';
import { type Access, type AccessCase, fault, type Outcome } from './access-case.testing.ts';
import { ALL_FEATURES, type Registers } from './hart-case.testing.ts';

const [V, R, W, X, U, G, A, D] = [1n, 2n, 4n, 8n, 16n, 32n, 64n, 128n];
const N = 1n << 63n;
const [ADUE, PBMTE] = [1n << 61n, 1n << 62n];
const [SUM, MXR, MPRV] = [1n << 18n, 1n << 19n, 1n << 17n];
const MPP = (mode: bigint) => mode << 11n;

/** A leaf that allows everything in S-mode. */
const LEAF = V | R | W | X | A | D;
const ROOT = 0x8010_0000n;
const TABLES = 0x8020_0000n;
/** The table of level 0. */
const LEAF_TABLE = TABLES + 4096n;
/** The page that leaves point to. It is aligned for superpages up to 1 GiB; larger ones begin at 0 and contain RAM. */
const PAGE = 0x8000_0000n;
const MODES = [
  { name: 'Sv39', mode: 8n, levels: 3 },
  { name: 'Sv48', mode: 9n, levels: 4 },
  { name: 'Sv57', mode: 10n, levels: 5 },
] as const;
type Paging = (typeof MODES)[number];
const [SV39, SV48, SV57] = MODES;
const ACCESSES: readonly Access[] = ['fetch', 'load', 'store'];

function satp(paging: Paging): bigint {
  return (paging.mode << 60n) | (ROOT >> 12n);
}

function pte(address: bigint, bits: bigint): bigint {
  return ((address >> 12n) << 10n) | bits;
}

/** Entries that lead `va` to `entry` at `level`; `pointer` are the bits of the pointers above. */
function tables(paging: Paging, va: bigint, entry: bigint, level = 0, pointer = V, tag = 0n): [bigint, bigint][] {
  const out: [bigint, bigint][] = [];
  let table = ROOT;
  for (let i = paging.levels - 1; i >= level; i--) {
    const at = table + ((va >> (12n + 9n * BigInt(i))) & 511n) * 8n;
    const next = TABLES + (tag * 8n + BigInt(i)) * 4096n;
    out.push([at, i === level ? entry : pte(next, pointer)]);
    table = next;
  }
  return out;
}

function leafAddress(memory: readonly (readonly [bigint, bigint])[]): bigint {
  return memory.at(-1)?.[0] ?? 0n;
}

interface Short {
  readonly name: string;
  readonly expect: Outcome;
  readonly paging?: Paging;
  readonly va?: bigint;
  readonly memory?: readonly (readonly [bigint, bigint])[];
  readonly before?: Registers;
  readonly access?: Access;
  readonly size?: number;
  readonly memoryAfter?: readonly (readonly [bigint, bigint])[];
}

const VA = 0x12_3456_7890n & 0x3f_ffff_f000n;

/** A load of 8 bytes by S-mode at VA in Sv39 through a leaf to PAGE, except as said. */
function short(c: Short): AccessCase {
  const paging = c.paging ?? SV39;
  return {
    name: c.name,
    before: { mode: 1n, satp: satp(paging), ...c.before },
    memory: c.memory ?? tables(paging, c.va ?? VA, pte(PAGE, LEAF)),
    va: c.va ?? VA,
    access: c.access ?? 'load',
    sizeBytes: c.size ?? 8,
    expect: c.expect,
    ...(c.memoryAfter ? { memoryAfter: c.memoryAfter } : {}),
  };
}

const LOAD_FAULT = fault('page', 'load', VA);

/** Leaves at every level: the low bits of the address come from va; a superpage's number must be aligned. */
const levels: AccessCase[] = MODES.flatMap((paging) =>
  Array.from({ length: paging.levels }, (_, level) => {
    const size = 1n << (12n + 9n * BigInt(level));
    const base = PAGE - (PAGE % size);
    const offset = (0x8765_4878n - base) % size;
    const va = (1n << (12n + 9n * BigInt(paging.levels - 1))) + offset;
    const expect = { to: [base + offset] };
    const cases = [
      short({
        name: `${paging.name}: a leaf at level ${level}`,
        paging,
        va,
        memory: tables(paging, va, pte(base, LEAF), level),
        expect,
      }),
    ];
    for (let bit = 0; bit < 9 * level; bit += 4) {
      const misaligned = pte(base | (1n << BigInt(12 + bit)), LEAF);
      cases.push(
        short({
          name: `${paging.name}: a leaf at level ${level}, misaligned in bit ${bit}`,
          paging,
          va,
          memory: tables(paging, va, misaligned, level),
          expect: fault('page', 'load', va),
        }),
      );
    }
    return cases;
  }).flat(),
);

/** The bits above the translated ones copy the highest of them. */
const canonical: AccessCase[] = MODES.flatMap((paging) => {
  const top = 1n << BigInt(12 + 9 * paging.levels - 1);
  const all = 1n << 64n;
  const cases: readonly (readonly [string, bigint, boolean])[] = [
    ['the last of the low half', top - 4096n, true],
    ['the first behind the low half', top, false],
    ['the last before the high half', all - top - 4096n, false],
    ['the first of the high half', all - top, true],
    ['the last', all - 4096n, true],
    ['one bit too many', 1n << 63n, false],
  ];
  return cases.map(([name, va, legal]) =>
    short({ name: `${paging.name}: ${name}`, paging, va, expect: legal ? { to: [PAGE] } : fault('page', 'load', va) }),
  );
});

/** What the low eight bits of a leaf allow, for every combination: said as a table of rights, not as a walk. */
const RIGHTS: { readonly [rwx: string]: string } = { '100': 'r', '110': 'rw', '001': 'x', '101': 'rx', '111': 'rwx' };

function pteExpectation(
  bits: bigint,
  user: boolean,
  mstatus: bigint,
  updates: boolean,
  access: Access,
): 'page' | bigint {
  const flag = (bit: bigint) => ((bits & bit) === 0n ? '0' : '1');
  let rights = flag(V) === '1' ? (RIGHTS[flag(R) + flag(W) + flag(X)] ?? '') : '';
  if ((mstatus & MXR) !== 0n && rights.includes('x')) rights += 'r';
  if (user !== (flag(U) === '1')) {
    const supervisorMayTouch = !user && (mstatus & SUM) !== 0n;
    rights = supervisorMayTouch ? rights.replace('x', '') : '';
  }
  const needed = { fetch: 'x', load: 'r', store: 'w', cache: 'r' }[access];
  if (!rights.includes(needed)) return 'page';
  const marked = bits | A | (access === 'store' ? D : 0n);
  return marked === bits || updates ? marked : 'page';
}

const combinations: AccessCase[] = Array.from({ length: 256 }, (_, bits) => BigInt(bits)).flatMap((bits) =>
  [0n, 1n].flatMap((mode) =>
    [0n, SUM, MXR, SUM | MXR].flatMap((mstatus) =>
      [0n, ADUE].flatMap((menvcfg) =>
        ACCESSES.map((access) => {
          const result = pteExpectation(bits, mode === 0n, mstatus, menvcfg !== 0n, access);
          const memory = tables(SV39, VA, pte(PAGE, bits));
          return short({
            name: `PTE ${bits.toString(2).padStart(8, '0')}, mode ${mode}, mstatus ${mstatus.toString(16)}, ADUE ${menvcfg !== 0n}, ${access}`,
            before: { mode, mstatus, menvcfg },
            memory,
            access,
            size: 4,
            expect: result === 'page' ? fault('page', access, VA) : { to: [PAGE] },
            ...(result === 'page' ? {} : { memoryAfter: [[leafAddress(memory), pte(PAGE, result)]] }),
          });
        }),
      ),
    ),
  ),
);

const PBMT = (type: bigint) => type << 61n;
const NAPOT_PAGE = PAGE | 0x8000n;
const AT_LEVEL_1 = VA & ~0x1f_ffffn;

// biome-ignore format: table
const upperBits: AccessCase[] = [
  ...Array.from({ length: 7 }, (_, i) => short({ name: `reserved bit ${54 + i}`, memory: tables(SV39, VA, pte(PAGE, LEAF) | (1n << BigInt(54 + i))), expect: LOAD_FAULT })),
  short({ name: 'a hart with Sv39 alone', before: { features: FEATURE.sv39 | FEATURE.supervisor }, expect: { to: [PAGE] } }),
  short({ name: 'bits 8 and 9 are software\'s', memory: tables(SV39, VA, pte(PAGE, LEAF | 0x300n), 0, V | 0x300n), expect: { to: [PAGE] } }),
  ...[1n, 2n].map((t) => short({ name: `PBMT ${t}`, before: { menvcfg: PBMTE }, memory: tables(SV39, VA, pte(PAGE, LEAF) | PBMT(t)), expect: { to: [PAGE] } })),
  ...[1n, 2n].map((t) => short({ name: `PBMT ${t} on a superpage`, before: { menvcfg: PBMTE }, memory: tables(SV39, VA, pte(PAGE, LEAF) | PBMT(t), 1), expect: { to: [PAGE | (VA & 0x1f_ffffn)] } })),
  short({ name: 'PBMT 3 is reserved', before: { menvcfg: PBMTE }, memory: tables(SV39, VA, pte(PAGE, LEAF) | PBMT(3n)), expect: LOAD_FAULT }),
  ...[1n, 2n, 3n].map((t) => short({ name: `PBMT ${t} without PBMTE`, memory: tables(SV39, VA, pte(PAGE, LEAF) | PBMT(t)), expect: LOAD_FAULT })),
  ...[0n, 1n, 7n, 15n].map((low) => short({ name: `NAPOT of 64 KiB, page ${low}`, va: (VA & ~0xffffn) | (low << 12n) | 0x128n, memory: tables(SV39, (VA & ~0xffffn) | (low << 12n), pte(NAPOT_PAGE, LEAF) | N), expect: { to: [PAGE | (low << 12n) | 0x128n] } })),
  ...[0n, 1n, 4n, 9n, 12n, 15n].map((low) => short({ name: `N with ppn[3:0] ${low} is reserved`, memory: tables(SV39, VA, pte(PAGE | (low << 12n), LEAF) | N), expect: LOAD_FAULT })),
  short({ name: 'N on a superpage is reserved', memory: tables(SV39, AT_LEVEL_1, pte(PAGE, LEAF) | N, 1), va: AT_LEVEL_1, expect: fault('page', 'load', AT_LEVEL_1) }),
  short({ name: 'N without Svnapot', before: { features: ALL_FEATURES & ~FEATURE.svnapot }, memory: tables(SV39, VA, pte(NAPOT_PAGE, LEAF) | N), expect: LOAD_FAULT }),
];

// biome-ignore format: table
const pointers: AccessCase[] = [
  ...MODES.map((paging) => short({ name: `${paging.name}: a pointer at level 0`, paging, memory: tables(paging, VA, pte(PAGE, V)), expect: LOAD_FAULT })),
  ...MODES.map((paging) => short({ name: `${paging.name}: an empty root`, paging, memory: [], expect: LOAD_FAULT })),
  ...[['A', A], ['D', D], ['U', U], ['W', W], ['N', N], ['PBMT', PBMT(1n)], ['bit 54', 1n << 54n]].map(([name, bits]) => short({ name: `a pointer with ${name}`, before: { menvcfg: PBMTE }, memory: tables(SV39, VA, pte(PAGE, LEAF), 0, V).map(([at, value], i): [bigint, bigint] => [at, i === 0 ? value | BigInt(bits ?? 0n) : value]), expect: LOAD_FAULT })),
  short({ name: 'a pointer with G', memory: tables(SV39, VA, pte(PAGE, LEAF), 0, V | G), expect: { to: [PAGE] } }),
];

const OUTSIDE = 0x10_0000_0000n;
const CLOSED = { pmpcfg0: (0x1fn << 8n) | 0x18n, pmpaddr1: (1n << 54n) - 1n };
const READ_ONLY = { pmpcfg0: (0x1fn << 8n) | 0x19n, pmpaddr1: (1n << 54n) - 1n };
/** NAPOT of the page. */
const AROUND = (address: bigint) => ({ pmpaddr0: (address >> 2n) | 0x1ffn });
const FRESH = tables(SV39, VA, pte(PAGE, V | R | W | X));

// biome-ignore format: table
const accessFaults: AccessCase[] = ACCESSES.flatMap((access) => [
  short({ name: `${access}: a root outside RAM`, before: { satp: (8n << 60n) | (OUTSIDE >> 12n) }, access, expect: fault('access', access, VA) }),
  short({ name: `${access}: a table outside RAM`, memory: tables(SV39, VA, pte(OUTSIDE, V), 1), access, expect: fault('access', access, VA) }),
  short({ name: `${access}: PMP denies the table`, before: { ...CLOSED, ...AROUND(LEAF_TABLE) }, access, expect: fault('access', access, VA) }),
  short({ name: `${access}: PMP denies the root`, before: { ...CLOSED, ...AROUND(ROOT) }, access, expect: fault('access', access, VA) }),
  short({ name: `${access}: PMP denies the page`, before: { ...CLOSED, ...AROUND(PAGE) }, access, expect: fault('access', access, VA) }),
  short({ name: `${access}: PMP denies the update of A and D`, before: { ...READ_ONLY, ...AROUND(LEAF_TABLE), menvcfg: ADUE }, memory: FRESH, access, expect: fault('access', access, VA) }),
  short({ name: `${access}: without the update it comes to a page fault`, before: { ...READ_ONLY, ...AROUND(LEAF_TABLE) }, memory: FRESH, access, expect: fault('page', access, VA) }),
]);

const USER_LEAF = LEAF | U;
const bare = (mode: bigint, mstatus: bigint): Registers => ({ mode, mstatus });

// biome-ignore format: table
const modes: AccessCase[] = [
  short({ name: 'M-mode does not translate', before: bare(3n, 0n), va: PAGE, memory: [], expect: { to: [PAGE] } }),
  short({ name: 'satp bare does not translate', before: { satp: 0n }, va: PAGE, memory: [], expect: { to: [PAGE] } }),
  short({ name: 'MPRV with MPP = S translates loads', before: bare(3n, MPRV | MPP(1n)), expect: { to: [PAGE] } }),
  short({ name: 'MPRV with MPP = S translates stores', before: bare(3n, MPRV | MPP(1n)), access: 'store', expect: { to: [PAGE] } }),
  short({ name: 'MPRV leaves fetches alone', before: bare(3n, MPRV | MPP(1n)), va: PAGE, access: 'fetch', expect: { to: [PAGE] } }),
  short({ name: 'MPRV with MPP = M does not translate', before: bare(3n, MPRV | MPP(3n)), va: PAGE, expect: { to: [PAGE] } }),
  short({ name: 'MPRV with MPP = S obeys U', before: bare(3n, MPRV | MPP(1n)), memory: tables(SV39, VA, pte(PAGE, USER_LEAF)), expect: LOAD_FAULT }),
  short({ name: 'MPRV with MPP = S and SUM', before: bare(3n, MPRV | SUM | MPP(1n)), memory: tables(SV39, VA, pte(PAGE, USER_LEAF)), expect: { to: [PAGE] } }),
  short({ name: 'MPRV with MPP = U', before: bare(3n, MPRV | MPP(0n)), memory: tables(SV39, VA, pte(PAGE, USER_LEAF)), expect: { to: [PAGE] } }),
  short({ name: 'MPRV with MPP = U and a supervisor\'s page', before: bare(3n, MPRV | MPP(0n)), expect: LOAD_FAULT }),
  short({ name: 'MPRV with MPP = U is checked by PMP as U', before: { ...bare(3n, MPRV), satp: 0n, pmpcfg0: 0n }, va: PAGE, expect: fault('access', 'load', PAGE) }),
  short({ name: 'MPRV counts in M-mode only', before: bare(1n, MPRV | MPP(3n)), expect: { to: [PAGE] } }),
  short({ name: 'a cache block needs read or write', access: 'cache', memory: tables(SV39, VA, pte(PAGE, V | R | A)), expect: { to: [PAGE] } }),
  short({ name: 'a cache block that can only be executed', access: 'cache', memory: tables(SV39, VA, pte(PAGE, V | X | A)), expect: fault('page', 'cache', VA) }),
  short({ name: 'a cache block marks A and not D', access: 'cache', before: { menvcfg: ADUE }, memory: FRESH, expect: { to: [PAGE] }, memoryAfter: [[leafAddress(FRESH), pte(PAGE, V | R | W | X | A)]] }),
];

const NEXT = VA + 4096n;
const OTHER = PAGE + 0x9000n;
const TWO = [...tables(SV39, VA, pte(PAGE, LEAF)), ...tables(SV39, NEXT, pte(OTHER, LEAF))];
const FIRST_ONLY = tables(SV39, VA, pte(PAGE, LEAF));
const SECOND_ONLY = tables(SV39, NEXT, pte(OTHER, LEAF));
const LAST = (1n << 64n) - 4096n;
const ROUND = [...tables(SV39, LAST, pte(PAGE, LEAF)), ...tables(SV39, 0n, pte(OTHER, LEAF), 0, V, 1n)];

// biome-ignore format: table
const crossings: AccessCase[] = [
  short({ name: 'a misaligned load within a page', va: VA + 0xff7n, expect: { to: [PAGE + 0xff7n] } }),
  short({ name: 'up to the last byte of a page', va: VA + 0xff8n, expect: { to: [PAGE + 0xff8n] } }),
  ...[1n, 4n, 7n].map((n) => short({ name: `${n} bytes in the first page`, va: NEXT - n, memory: TWO, expect: { to: [PAGE + 4096n - n, OTHER] } })),
  ...ACCESSES.map((access) => short({ name: `${access}: the second page faults at its start`, va: NEXT - 4n, memory: FIRST_ONLY, access, expect: fault('page', access, NEXT) })),
  ...ACCESSES.map((access) => short({ name: `${access}: the first page faults where the access starts`, va: NEXT - 4n, memory: SECOND_ONLY, access, expect: fault('page', access, NEXT - 4n) })),
  ...ACCESSES.map((access) => short({ name: `${access}: PMP denies the second page`, va: NEXT - 4n, memory: TWO, before: { ...CLOSED, ...AROUND(OTHER) }, access, expect: fault('access', access, NEXT) })),
  short({ name: 'round the end of the address space', va: (1n << 64n) - 4n, memory: ROUND, expect: { to: [PAGE + 0xffcn, OTHER] } }),
  short({ name: 'from one half to what is no address', va: (1n << 38n) - 4n, memory: tables(SV39, (1n << 38n) - 4096n, pte(PAGE, LEAF)), expect: fault('page', 'load', 1n << 38n) }),
];

const deeper: AccessCase[] = [SV48, SV57].flatMap((paging) =>
  ACCESSES.map((access) =>
    short({
      name: `${paging.name}: ${access} with ADUE marks the leaf`,
      paging,
      access,
      before: { menvcfg: ADUE },
      ...marked(paging, access),
    }),
  ),
);

function marked(paging: Paging, access: Access): Pick<Short, 'memory' | 'memoryAfter' | 'expect'> {
  const memory = tables(paging, VA, pte(PAGE, V | R | W | X));
  const bits = V | R | W | X | A | (access === 'store' ? D : 0n);
  return { memory, memoryAfter: [[leafAddress(memory), pte(PAGE, bits)]], expect: { to: [PAGE] } };
}

/** Thousands: every combination of the low bits of a PTE. */
export const PTE_CASES: readonly AccessCase[] = combinations;
export const WALK_CASES: readonly AccessCase[] = [
  ...levels,
  ...canonical,
  ...upperBits,
  ...pointers,
  ...accessFaults,
  ...modes,
  ...crossings,
  ...deeper,
];
