/**
 * Cases of PMP: what writes of its CSRs leave (locks, reserved encodings, Smepmp's restrictions), how entries match,
 * and who may do what. Privileged specification, "Physical Memory Protection"; Smepmp, "Truth table when mseccfg.MML
 * is set".
 */
import { type Access, type AccessCase, fault } from './access-case.testing.ts';
import { csrrw, type HartCase, type Registers } from './hart-case.testing.ts';

const [R, W, X, L] = [1n, 2n, 4n, 0x80n];
const [OFF, TOR, NA4, NAPOT] = [0n, 0x08n, 0x10n, 0x18n];
const [MML, MMWP, RLB] = [1n, 2n, 4n];
const NUMBER = {
  pmpcfg0: 0x3a0,
  pmpcfg2: 0x3a2,
  pmpaddr0: 0x3b0,
  pmpaddr7: 0x3b7,
  pmpaddr15: 0x3bf,
  mseccfg: 0x747,
} as const;
const ONES = (1n << 64n) - 1n;
const ADDRESS = (1n << 54n) - 1n;
/** Without the entry of DEFAULTS. */
const NONE: Registers = { pmpcfg0: 0n, pmpaddr0: 0n };
/** Under MML, M-mode executes by this entry only, the last one. */
const CODE: Registers = { pmpcfg2: (L | NAPOT | X) << 56n, pmpaddr15: ADDRESS };

interface Written {
  readonly name: string;
  readonly before: Registers;
  readonly field: keyof typeof NUMBER;
  readonly write: bigint;
  readonly reads: bigint;
}

// biome-ignore format: table
const WRITTEN: readonly Written[] = [
  { name: 'pmpaddr holds 54 bits', before: NONE, field: 'pmpaddr0', write: ONES, reads: ADDRESS },
  { name: 'pmpcfg has no bits 5 and 6', before: NONE, field: 'pmpcfg0', write: ONES, reads: 0x9f9f_9f9f_9f9f_9f9fn },
  { name: 'pmpcfg2 is entries 8 to 15', before: NONE, field: 'pmpcfg2', write: 0x0f00_0000_0000_001fn, reads: 0x0f00_0000_0000_001fn },
  { name: 'W without R is reserved: W is dropped', before: NONE, field: 'pmpcfg0', write: W | (W | X) << 8n, reads: X << 8n },
  { name: 'a locked entry is kept, its neighbours are not', before: { pmpcfg0: (L | NAPOT | R) << 8n }, field: 'pmpcfg0', write: 0x0f0f0fn, reads: 0x0f000fn | (L | NAPOT | R) << 8n },
  { name: 'a locked entry is kept, off or not', before: { pmpcfg0: L | OFF }, field: 'pmpcfg0', write: 0n, reads: L },
  { name: "a locked entry's address is kept", before: { pmpcfg0: L | NAPOT, pmpaddr0: 5n }, field: 'pmpaddr0', write: 9n, reads: 5n },
  { name: 'the address below a locked TOR is kept', before: { pmpcfg0: (L | TOR) << 8n, pmpaddr0: 5n }, field: 'pmpaddr0', write: 9n, reads: 5n },
  { name: 'the address below a locked NAPOT is not', before: { pmpcfg0: (L | NAPOT) << 8n, pmpaddr0: 5n }, field: 'pmpaddr0', write: 9n, reads: 9n },
  { name: 'the address below an unlocked TOR is not', before: { pmpcfg0: TOR << 8n, pmpaddr0: 5n }, field: 'pmpaddr0', write: 9n, reads: 9n },
  { name: 'pmpaddr7 below a locked TOR of pmpcfg2', before: { pmpcfg2: L | TOR, pmpaddr7: 5n }, field: 'pmpaddr7', write: 9n, reads: 5n },
  { name: 'pmpaddr15, the last, locked', before: { pmpcfg2: (L | TOR) << 56n, pmpaddr15: 5n }, field: 'pmpaddr15', write: 9n, reads: 5n },
  { name: 'pmpaddr15, the last', before: { pmpaddr15: 5n }, field: 'pmpaddr15', write: 9n, reads: 9n },
  { name: 'pmpaddr15 has no entry above it; entry 8 is none', before: { pmpcfg2: L | TOR }, field: 'pmpaddr15', write: 9n, reads: 9n },
  { name: 'RLB opens a locked entry', before: { pmpcfg0: L | NAPOT, mseccfg: RLB }, field: 'pmpcfg0', write: R, reads: R },
  { name: "RLB opens a locked entry's address", before: { pmpcfg0: L | NAPOT, pmpaddr0: 5n, mseccfg: RLB }, field: 'pmpaddr0', write: 9n, reads: 9n },
  { name: 'RLB opens the address below a locked TOR', before: { pmpcfg0: (L | TOR) << 8n, mseccfg: RLB }, field: 'pmpaddr0', write: 9n, reads: 9n },
  { name: 'mseccfg has three bits', before: NONE, field: 'mseccfg', write: ONES, reads: MML | MMWP | RLB },
  { name: 'MML and MMWP stay', before: { mseccfg: MML | MMWP | RLB }, field: 'mseccfg', write: 0n, reads: MML | MMWP },
  { name: 'RLB cannot be set while an entry is locked', before: { pmpcfg0: L }, field: 'mseccfg', write: RLB, reads: 0n },
  { name: 'nor while one of pmpcfg2 is', before: { pmpcfg2: L << 56n }, field: 'mseccfg', write: RLB | MML, reads: MML },
  { name: 'RLB that is set stays writable under locks', before: { pmpcfg0: L, mseccfg: RLB }, field: 'mseccfg', write: RLB, reads: RLB },
  { name: 'and can be cleared', before: { pmpcfg0: L, mseccfg: RLB }, field: 'mseccfg', write: 0n, reads: 0n },
  // Under MML, W without R means something, and rules that M-mode could execute cannot be added.
  { name: 'MML: W without R', before: { ...NONE, mseccfg: MML }, field: 'pmpcfg0', write: W | (W | X) << 8n, reads: W | (W | X) << 8n },
  ...[X, W, W | X, R | X].map((rights): Written => (
    { name: `MML: locked ${rights.toString(2)} is refused`, before: { pmpcfg0: R, mseccfg: MML }, field: 'pmpcfg0', write: L | NAPOT | rights, reads: R })),
  ...[0n, R, R | W, R | W | X].map((rights): Written => (
    { name: `MML: locked ${rights.toString(2)} is accepted`, before: { pmpcfg0: R, mseccfg: MML }, field: 'pmpcfg0', write: L | NAPOT | rights, reads: L | NAPOT | rights })),
  ...[X, W, W | X, R | X].map((rights): Written => (
    { name: `MML with RLB: locked ${rights.toString(2)} is accepted`, before: { ...NONE, mseccfg: MML | RLB }, field: 'pmpcfg0', write: L | rights, reads: L | rights })),
  ...[X, R | X, R | W | X].map((rights): Written => (
    { name: `MML: unlocked ${rights.toString(2)} is accepted`, before: { ...NONE, mseccfg: MML }, field: 'pmpcfg0', write: NAPOT | rights, reads: NAPOT | rights })),
];

/** One instruction each, since what it writes may forbid to fetch another. */
export const PMP_CSR_CASES: readonly HartCase[] = WRITTEN.map(({ name, before, field, write, reads }) => ({
  name,
  before: { ...NONE, ...((before.mseccfg ?? 0n) & MML ? CODE : {}), ...before },
  x: { 1: write },
  program: [csrrw(0, NUMBER[field], 1)],
  free: 'all',
  after: { [field]: reads },
}));

const BASE = 0x8040_0000n;

function napot(start: bigint, bytes: bigint): bigint {
  return (start >> 2n) | ((bytes >> 3n) - 1n);
}

interface Match {
  readonly name: string;
  readonly entries: Registers;
  readonly address: bigint;
  readonly size: number;
  /** In S-mode. */
  readonly allowed: boolean;
}

const OPEN = R | W | X;
const ALL = { pmpcfg0: (NAPOT | OPEN) << 8n, pmpaddr1: ADDRESS };

// biome-ignore format: table
const MATCHES: readonly Match[] = [
  { name: 'no entry', entries: NONE, address: BASE, size: 4, allowed: false },
  { name: 'an entry that is off', entries: { pmpcfg0: OFF | OPEN, pmpaddr0: BASE >> 2n }, address: BASE, size: 4, allowed: false },
  { name: 'NA4', entries: { pmpcfg0: NA4 | OPEN, pmpaddr0: BASE >> 2n }, address: BASE, size: 4, allowed: true },
  { name: 'NA4, its last byte', entries: { pmpcfg0: NA4 | OPEN, pmpaddr0: BASE >> 2n }, address: BASE + 3n, size: 1, allowed: true },
  { name: 'NA4, behind it', entries: { pmpcfg0: NA4 | OPEN, pmpaddr0: BASE >> 2n }, address: BASE + 4n, size: 1, allowed: false },
  { name: 'NA4, before it', entries: { pmpcfg0: NA4 | OPEN, pmpaddr0: BASE >> 2n }, address: BASE - 1n, size: 1, allowed: false },
  { name: 'NA4 matches half an access', entries: { pmpcfg0: NA4 | OPEN, pmpaddr0: BASE >> 2n }, address: BASE, size: 8, allowed: false },
  { name: 'half a match fails though a later entry matches all', entries: { pmpcfg0: ALL.pmpcfg0 | NA4 | OPEN, pmpaddr0: BASE >> 2n, pmpaddr1: ADDRESS }, address: BASE, size: 8, allowed: false },
  { name: 'two entries do not add up', entries: { pmpcfg0: (NA4 | OPEN) << 8n | NA4 | OPEN, pmpaddr0: BASE >> 2n, pmpaddr1: (BASE >> 2n) + 1n }, address: BASE + 2n, size: 4, allowed: false },
  { name: 'NAPOT of 8 bytes', entries: { pmpcfg0: NAPOT | OPEN, pmpaddr0: napot(BASE, 8n) }, address: BASE, size: 8, allowed: true },
  { name: 'NAPOT of 8 bytes, behind it', entries: { pmpcfg0: NAPOT | OPEN, pmpaddr0: napot(BASE, 8n) }, address: BASE + 8n, size: 1, allowed: false },
  { name: 'NAPOT of 4 KiB, last bytes', entries: { pmpcfg0: NAPOT | OPEN, pmpaddr0: napot(BASE, 4096n) }, address: BASE + 4088n, size: 8, allowed: true },
  { name: 'NAPOT of 4 KiB, across its end', entries: { pmpcfg0: NAPOT | OPEN, pmpaddr0: napot(BASE, 2048n) }, address: BASE + 2044n, size: 8, allowed: false },
  { name: 'NAPOT of everything', entries: { pmpcfg0: NAPOT | OPEN, pmpaddr0: ADDRESS }, address: BASE, size: 8, allowed: true },
  { name: 'TOR of entry 0 begins at 0', entries: { pmpcfg0: TOR | OPEN, pmpaddr0: (BASE >> 2n) + 2n }, address: BASE, size: 8, allowed: true },
  { name: 'TOR ends before its address', entries: { pmpcfg0: TOR | OPEN, pmpaddr0: BASE >> 2n }, address: BASE, size: 1, allowed: false },
  { name: 'TOR begins at the address before, whatever that entry is', entries: { pmpcfg0: (TOR | OPEN) << 8n, pmpaddr0: BASE >> 2n, pmpaddr1: (BASE >> 2n) + 4n }, address: BASE, size: 8, allowed: true },
  { name: 'TOR, below its begin', entries: { pmpcfg0: (TOR | OPEN) << 8n, pmpaddr0: BASE >> 2n, pmpaddr1: (BASE >> 2n) + 4n }, address: BASE - 4n, size: 4, allowed: false },
  { name: 'TOR that is empty', entries: { pmpcfg0: (TOR | OPEN) << 8n, pmpaddr0: BASE >> 2n, pmpaddr1: BASE >> 2n }, address: BASE, size: 4, allowed: false },
  { name: 'TOR that is upside down', entries: { pmpcfg0: (TOR | OPEN) << 8n, pmpaddr0: (BASE >> 2n) + 8n, pmpaddr1: BASE >> 2n }, address: BASE, size: 4, allowed: false },
  { name: 'behind a NA4, a later entry serves', entries: { pmpcfg0: ALL.pmpcfg0 | NA4, pmpaddr0: BASE >> 2n, pmpaddr1: ADDRESS }, address: BASE + 4n, size: 8, allowed: true },
  { name: 'before a NA4, a later entry serves', entries: { pmpcfg0: ALL.pmpcfg0 | NA4, pmpaddr0: BASE >> 2n, pmpaddr1: ADDRESS }, address: BASE - 8n, size: 8, allowed: true },
  { name: 'an empty TOR within the access matches nothing', entries: { pmpcfg0: (NAPOT | OPEN) << 16n | TOR << 8n, pmpaddr0: (BASE >> 2n) + 1n, pmpaddr1: (BASE >> 2n) + 1n, pmpaddr2: ADDRESS }, address: BASE, size: 8, allowed: true },
  { name: 'an empty TOR above the access matches nothing', entries: { pmpcfg0: (NAPOT | OPEN) << 16n | TOR << 8n, pmpaddr0: (BASE >> 2n) + 4n, pmpaddr1: (BASE >> 2n) + 4n, pmpaddr2: ADDRESS }, address: BASE, size: 8, allowed: true },
  { name: 'a TOR upside down round the access matches nothing', entries: { pmpcfg0: (NAPOT | OPEN) << 16n | TOR << 8n, pmpaddr0: (BASE >> 2n) + 2n, pmpaddr1: (BASE >> 2n) + 1n, pmpaddr2: ADDRESS }, address: BASE + 3n, size: 8, allowed: true },
  { name: 'the lowest entry that matches denies', entries: { pmpcfg0: ALL.pmpcfg0 | NAPOT, pmpaddr0: napot(BASE, 4096n), pmpaddr1: ADDRESS }, address: BASE, size: 8, allowed: false },
  { name: 'the lowest entry that matches allows', entries: { pmpcfg0: NAPOT << 8n | NAPOT | OPEN, pmpaddr0: napot(BASE, 4096n), pmpaddr1: ADDRESS }, address: BASE, size: 8, allowed: true },
  { name: 'entry 8', entries: { pmpcfg0: 0n, pmpcfg2: NAPOT | OPEN, pmpaddr8: ADDRESS }, address: BASE, size: 8, allowed: true },
  { name: 'entry 15', entries: { pmpcfg0: 0n, pmpcfg2: (NAPOT | OPEN) << 56n, pmpaddr15: ADDRESS }, address: BASE, size: 8, allowed: true },
  { name: 'entry 8, TOR above entry 7', entries: { pmpcfg0: 0n, pmpcfg2: TOR | OPEN, pmpaddr7: BASE >> 2n, pmpaddr8: ADDRESS }, address: BASE, size: 8, allowed: true },
];

const matches: AccessCase[] = MATCHES.map(({ name, entries, address, size, allowed }) => ({
  name,
  before: { mode: 1n, ...entries },
  va: address,
  access: 'load',
  sizeBytes: size,
  expect: allowed ? { to: [address] } : fault('access', 'load', address),
}));

/** Rights of an entry by its bits, in M-mode and below, where the manual's tables write r, w, x or nothing. */
type Truth = readonly [bits: string, machine: string, lower: string];

/** Without MML. W without R cannot be there. */
// biome-ignore format: table
const PLAIN: readonly Truth[] = [
  ['----', 'rwx', ''], ['---X', 'rwx', 'x'], ['-R--', 'rwx', 'r'], ['-R-X', 'rwx', 'rx'], ['-RW-', 'rwx', 'rw'], ['-RWX', 'rwx', 'rwx'],
  ['L---', '', ''], ['L--X', 'x', 'x'], ['LR--', 'r', 'r'], ['LR-X', 'rx', 'rx'], ['LRW-', 'rw', 'rw'], ['LRWX', 'rwx', 'rwx'],
];

/** With MML: Smepmp's truth table, line by line. */
// biome-ignore format: table
const LOCKDOWN: readonly Truth[] = [
  ['----', '', ''], ['---X', '', 'x'], ['--W-', 'rw', 'r'], ['--WX', 'rw', 'rw'],
  ['-R--', '', 'r'], ['-R-X', '', 'rx'], ['-RW-', '', 'rw'], ['-RWX', '', 'rwx'],
  ['L---', '', ''], ['L--X', 'x', ''], ['L-W-', 'x', 'x'], ['L-WX', 'rx', 'x'],
  ['LR--', 'r', ''], ['LR-X', 'rx', ''], ['LRW-', 'rw', ''], ['LRWX', 'r', 'r'],
];

const LETTERS: readonly (readonly [Access, string])[] = [
  ['load', 'r'],
  ['store', 'w'],
  ['fetch', 'x'],
];

function truths(mseccfg: bigint, table: readonly Truth[]): AccessCase[] {
  return table.flatMap(([bits, machine, lower]) => {
    const config = [
      ['L', L],
      ['R', R],
      ['W', W],
      ['X', X],
    ] as const;
    const cfg = config.reduce((sum, [letter, bit]) => (bits.includes(letter) ? sum | bit : sum), NAPOT);
    return [0n, 1n, 3n].flatMap((mode) =>
      [...LETTERS, ['cache', 'rw'] as const].map(([access, letters]): AccessCase => {
        const rights = mode === 3n ? machine : lower;
        const allowed = [...letters].some((letter) => rights.includes(letter));
        return {
          name: `${bits} in mode ${mode}, mseccfg ${mseccfg}: ${access} ${allowed ? 'allowed' : 'denied'}`,
          before: { mode, mseccfg, pmpcfg0: cfg, pmpaddr0: ADDRESS },
          va: BASE,
          access,
          sizeBytes: 4,
          expect: allowed ? { to: [BASE] } : fault('access', access, BASE),
        };
      }),
    );
  });
}

/** Where no entry matches: M-mode's rights by mseccfg; lower modes have none. */
const UNMATCHED: readonly (readonly [bigint, string])[] = [
  [0n, 'rwx'],
  [MML, 'rw'],
  [MMWP, ''],
  [MML | MMWP, ''],
];

const unmatched: AccessCase[] = UNMATCHED.flatMap(([mseccfg, machine]) =>
  [0n, 1n, 3n].flatMap((mode) =>
    LETTERS.map(([access, letter]): AccessCase => {
      const allowed = mode === 3n && machine.includes(letter);
      return {
        name: `no entry in mode ${mode}, mseccfg ${mseccfg}: ${access} ${allowed ? 'allowed' : 'denied'}`,
        before: { mode, mseccfg, ...NONE },
        va: BASE,
        access,
        sizeBytes: 4,
        expect: allowed ? { to: [BASE] } : fault('access', access, BASE),
      };
    }),
  ),
);

export const PMP_ACCESS_CASES: readonly AccessCase[] = [
  ...matches,
  ...truths(0n, PLAIN),
  ...truths(MMWP, PLAIN),
  ...truths(MML, LOCKDOWN),
  ...truths(MML | MMWP, LOCKDOWN),
  ...unmatched,
];
