/**
 * Cases of AIA's CSRs, from its specification: the windows to interrupt files and what in them exists, claims, thresholds,
 * the lines that follow, the first of the interrupts that are due, and virtual interrupts for supervisor level.
 */
import { FILE, FILE_WORD, FILE_WORDS } from '../../interrupt-files.ts';
import { csrrc, csrrs, csrrw, type HartCase, MTVEC, machineTrap, type Registers, STVEC } from './hart-case.testing.ts';

const ALL = (1n << 64n) - 1n;
const SEI = 1n << 9n;
const MEI = 1n << 11n;
const SSI = 1n << 1n;
const [MVIEN, MVIP, MIP, SIE, SIP, MTOPI, STOPI] = [0x308, 0x309, 0x344, 0x104, 0x144, 0xfb0, 0xdb0];

const LEVELS = [
  { name: 'machine', mode: 3n, file: FILE.machine, line: MEI, select: 'miselect', ireg: 0x351, topei: 0x35c },
  { name: 'supervisor', mode: 1n, file: FILE.supervisor, line: SEI, select: 'siselect', ireg: 0x151, topei: 0x15c },
] as const;
type Level = (typeof LEVELS)[number];

/** Words of a level's file, by name: `eip1`, `eidelivery`. */
function words(level: Level, named: Readonly<Record<string, bigint>>): Record<number, bigint> {
  return Object.fromEntries(
    Object.entries(named).map(([name, value]) => {
      const [, word = '', index = '0'] = /^(eip|eie|eidelivery|eithreshold)(\d?)$/.exec(name) ?? [];
      return [level.file * FILE_WORDS + FILE_WORD[word as keyof typeof FILE_WORD] + Number(index), value];
    }),
  );
}

function bits(...identities: number[]): bigint {
  return identities.reduce((all, identity) => all | (1n << BigInt(identity % 64)), 0n);
}

/** Which registers the window shows, by number: a word, zero, or an illegal instruction. */
function windows(level: Level): HartCase[] {
  const files = words(level, {
    ...{ eip0: 0x10n, eip1: 0x11n, eip2: 0x12n, eip3: 0x13n, eie0: 0x20n, eie1: 0x21n, eie2: 0x22n, eie3: 0x23n },
    ...{ eidelivery: 1n, eithreshold: 99n },
  });
  const shown: Record<number, bigint> = {
    ...{ 112: 1n, 114: 99n, 128: 0x10n, 130: 0x11n, 132: 0x12n, 134: 0x13n },
    ...{ 192: 0x20n, 194: 0x21n, 196: 0x22n, 198: 0x23n },
  };
  return Array.from({ length: 0x120 }, (_, number): HartCase => {
    const isEven = number % 2 === 0;
    const exists = (number >= 0x30 && number < 0x40 && isEven) || (number >= 0x70 && number < 0x100);
    const isThere = exists && (isEven || number < 0x80);
    const before: Registers = { mode: level.mode, [level.select]: BigInt(number) };
    const program = [csrrs(5, level.ireg, 0)];
    const name = `${level.name}: register ${number.toString(16)}`;
    if (!isThere)
      return {
        name: `${name} is illegal`,
        before,
        files,
        program,
        after: machineTrap(before, 2, BigInt(program[0] ?? 0)),
      };
    return { name, before, files, program, afterX: { 5: shown[number] ?? 0n } };
  });
}

interface Written {
  readonly number: number;
  readonly how: 'write' | 'set' | 'clear';
  readonly value: bigint;
  readonly before?: Readonly<Record<string, bigint>>;
  readonly after: Readonly<Record<string, bigint>>;
  readonly line?: boolean;
  readonly why: string;
}

// biome-ignore format: table
const WRITTEN: readonly Written[] = [
  { number: 0x70, how: 'write', value: ALL, after: { eidelivery: 1n }, why: 'delivery is one bit' },
  { number: 0x70, how: 'write', value: 0x4000_0000n, after: { eidelivery: 0n }, why: 'no delivery by the APLIC' },
  { number: 0x72, how: 'write', value: ALL, after: { eithreshold: 0x7ffn }, why: 'the threshold holds identities' },
  { number: 0x80, how: 'write', value: ALL, after: { eip0: ALL - 1n }, why: 'there is no identity 0' },
  { number: 0x86, how: 'write', value: ALL, after: { eip3: ALL }, why: 'the last word of eip' },
  { number: 0x88, how: 'write', value: ALL, after: {}, why: 'no word behind it' },
  { number: 0xc0, how: 'write', value: ALL, after: { eie0: ALL - 1n }, why: 'there is no identity 0' },
  { number: 0xc6, how: 'write', value: ALL, after: { eie3: ALL }, why: 'the last word of eie' },
  { number: 0xc8, how: 'write', value: ALL, after: {}, why: 'no word behind it' },
  { number: 0x71, how: 'write', value: ALL, after: {}, why: 'reserved: ignored' },
  { number: 0x30, how: 'write', value: ALL, after: {}, why: 'priorities are read-only zero' },
  { number: 0x84, how: 'set', value: 6n, before: { eip2: 3n }, after: { eip2: 7n }, why: 'bits are set' },
  { number: 0x84, how: 'clear', value: 6n, before: { eip2: 3n }, after: { eip2: 1n }, why: 'bits are cleared' },
  { number: 0xc0, how: 'set', value: bits(5), before: { eip0: bits(5), eidelivery: 1n }, after: { eie0: bits(5) }, line: true, why: 'what waits is enabled' },
  { number: 0xc0, how: 'set', value: bits(5), before: { eip0: bits(5) }, after: { eie0: bits(5) }, why: 'enabled, not delivered' },
  { number: 0xc0, how: 'clear', value: bits(5), before: { eip0: bits(5), eie0: bits(5), eidelivery: 1n }, after: { eie0: 0n }, why: 'what waits is disabled' },
  { number: 0x80, how: 'set', value: bits(5), before: { eie0: bits(5), eidelivery: 1n }, after: { eip0: bits(5) }, line: true, why: 'software makes it pending' },
  { number: 0x80, how: 'clear', value: bits(5), before: { eip0: bits(5), eie0: bits(5), eidelivery: 1n }, after: { eip0: 0n }, why: 'software takes it back' },
  { number: 0x70, how: 'write', value: 1n, before: { eip3: bits(255), eie3: bits(255) }, after: { eidelivery: 1n }, line: true, why: 'delivery begins' },
  { number: 0x70, how: 'write', value: 0n, before: { eip3: bits(255), eie3: bits(255), eidelivery: 1n }, after: { eidelivery: 0n }, why: 'delivery ends' },
  { number: 0x72, how: 'write', value: 70n, before: { eip1: bits(70), eie1: bits(70), eidelivery: 1n }, after: { eithreshold: 70n }, why: 'the threshold itself does not interrupt' },
  { number: 0x72, how: 'write', value: 71n, before: { eip1: bits(70), eie1: bits(70), eidelivery: 1n }, after: { eithreshold: 71n }, line: true, why: 'what is below the threshold does' },
  { number: 0x72, how: 'write', value: 0n, before: { eip3: bits(255), eie3: bits(255), eidelivery: 1n, eithreshold: 9n }, after: { eithreshold: 0n }, line: true, why: 'zero is no threshold' },
];

function writes(level: Level): HartCase[] {
  const instruction = { write: csrrw, set: csrrs, clear: csrrc } as const;
  // The line is high before, so that whoever lowers it shows.
  return WRITTEN.map(({ number, how, value, before = {}, after, line = false, why }): HartCase => {
    const drives = Object.keys(after).length > 0;
    const isHigh = drives ? line : true;
    return {
      name: `${level.name}: ${how} of register ${number.toString(16)}: ${why}`,
      before: { mode: level.mode, [level.select]: BigInt(number), lines: level.line },
      files: words(level, before),
      x: { 6: value },
      program: [instruction[how](0, level.ireg, 6)],
      after: { lines: isHigh ? level.line : 0n },
      afterFiles: words(level, after),
    };
  });
}

interface Top {
  readonly why: string;
  readonly file: Readonly<Record<string, bigint>>;
  readonly reads: number;
  /** A claim clears this and leaves the line so. */
  readonly claims: Readonly<Record<string, bigint>>;
  readonly line: boolean;
}

// biome-ignore format: table
const TOPS: readonly Top[] = [
  { why: 'nothing waits', file: { eidelivery: 1n, eie0: ALL }, reads: 0, claims: {}, line: false },
  { why: 'what is not enabled does not wait', file: { eidelivery: 1n, eip0: 4n, eie0: ALL - 4n }, reads: 0, claims: {}, line: false },
  { why: 'the lowest identity is first', file: { eidelivery: 1n, eip0: bits(9, 3), eie0: ALL, eip1: bits(64), eie1: ALL }, reads: 3, claims: { eip0: bits(9) }, line: true },
  { why: 'one of them is left', file: { eidelivery: 1n, eip1: bits(127), eie1: ALL }, reads: 127, claims: { eip1: 0n }, line: false },
  { why: 'identity 255', file: { eidelivery: 1n, eip3: bits(255), eie3: ALL }, reads: 255, claims: { eip3: 0n }, line: false },
  { why: 'identity 64', file: { eidelivery: 1n, eip1: bits(64), eie1: ALL, eip2: bits(128), eie2: ALL }, reads: 64, claims: { eip1: 0n }, line: true },
  { why: 'the threshold hides it', file: { eidelivery: 1n, eip0: bits(9), eie0: ALL, eithreshold: 9n }, reads: 0, claims: {}, line: false },
  { why: 'the threshold lets it through', file: { eidelivery: 1n, eip0: bits(9), eie0: ALL, eithreshold: 10n }, reads: 9, claims: { eip0: 0n }, line: false },
  { why: 'delivery does not matter', file: { eip0: bits(9), eie0: ALL }, reads: 9, claims: { eip0: 0n }, line: false },
];

function tops(level: Level): HartCase[] {
  return TOPS.flatMap(({ why, file, reads, claims, line }): HartCase[] => {
    const value = BigInt(reads * 0x10001);
    const common = {
      before: { mode: level.mode, lines: level.line },
      files: words(level, file),
      x: { 6: ALL },
      afterX: { 5: value },
    };
    return [
      { ...common, name: `${level.name}: topei: ${why}`, program: [csrrs(5, level.topei, 0)] },
      {
        ...common,
        name: `${level.name}: topei claimed: ${why}`,
        program: [csrrw(5, level.topei, 6)],
        after: { lines: line ? level.line : 0n },
        afterFiles: words(level, claims),
      },
      {
        ...common,
        name: `${level.name}: topei claimed by csrrc: ${why}`,
        program: [csrrc(5, level.topei, 6)],
        after: { lines: line ? level.line : 0n },
        afterFiles: words(level, claims),
      },
    ];
  });
}

/** While SEI is a virtual interrupt, S-mode does not reach its file; M-mode does. */
const filtered: HartCase[] = [1n, 3n].flatMap((mode) =>
  [
    { csr: 0x15c, select: 0n, isFile: true },
    { csr: 0x151, select: 0x80n, isFile: true },
    { csr: 0x151, select: 0x71n, isFile: true },
    { csr: 0x151, select: 0x30n, isFile: false },
  ].map(({ csr, select, isFile }): HartCase => {
    const before = { mode, mvien: SEI, siselect: select };
    const program = [csrrs(5, csr, 0)];
    const name = `SEI is virtual: ${csr.toString(16)} (${select.toString(16)}) in mode ${mode}`;
    if (isFile && mode === 1n)
      return { name: `${name} is illegal`, before, program, after: machineTrap(before, 2, BigInt(program[0] ?? 0)) };
    return { name, before, program };
  }),
);

const selects: HartCase[] = [
  { csr: 0x350, field: 'miselect' as const },
  { csr: 0x150, field: 'siselect' as const },
].map(({ csr, field }) => ({
  name: `${field} holds nine bits`,
  x: { 6: ALL },
  program: [csrrw(0, csr, 6)],
  after: { [field]: 0x1ffn },
}));

interface First {
  readonly csr: number;
  readonly why: string;
  readonly before: Registers;
  readonly reads: number;
}

// biome-ignore format: table
const FIRST: readonly First[] = [
  { csr: MTOPI, why: 'nothing is due', before: { lines: MEI }, reads: 0 },
  { csr: MTOPI, why: 'external before timer', before: { lines: MEI | 0x80n, mie: ALL & 0xaaan }, reads: 11 },
  { csr: MTOPI, why: 'software before timer', before: { lines: 0x88n, mie: 0xaaan }, reads: 3 },
  { csr: MTOPI, why: 'what is delegated is not here', before: { lines: SEI | 0x80n, mie: 0xaaan, mideleg: 0x222n }, reads: 7 },
  { csr: MTOPI, why: 'whatever MIE says, in every mode', before: { lines: SEI, mie: SEI, mstatus: 0n }, reads: 9 },
  { csr: STOPI, why: 'nothing is due', before: { lines: SEI, mideleg: 0x222n }, reads: 0 },
  { csr: STOPI, why: 'what is not delegated is not here', before: { lines: SEI, mie: 0xaaan }, reads: 0 },
  { csr: STOPI, why: 'external before software before timer', before: { lines: SEI, mip: 0x22n, mie: 0xaaan, mideleg: 0x222n }, reads: 9 },
  { csr: STOPI, why: 'software before timer', before: { mip: 0x22n, mie: 0xaaan, mideleg: 0x222n }, reads: 1 },
  { csr: STOPI, why: 'the timer', before: { mip: 0x20n, mie: 0xaaan, mideleg: 0x222n }, reads: 5 },
  { csr: STOPI, why: 'a virtual interrupt', before: { mvien: SSI, mvip: SSI, sieVirtual: SSI }, reads: 1 },
  { csr: STOPI, why: 'a virtual one that is not enabled', before: { mvien: SSI, mvip: SSI, mie: SSI }, reads: 0 },
  { csr: STOPI, why: 'virtual SEI is what software wrote', before: { mvien: SEI, mip: SEI, sieVirtual: SEI }, reads: 9 },
  { csr: STOPI, why: 'and not the line', before: { mvien: SEI, lines: SEI, sieVirtual: SEI }, reads: 0 },
];

const first: HartCase[] = FIRST.map(({ csr, why, before, reads }) => ({
  name: `${csr === MTOPI ? 'mtopi' : 'stopi'}: ${why}`,
  // Interrupts are looked at before an instruction: here none may be taken.
  before: { mode: 3n, ...before },
  program: [csrrs(5, csr, 0)],
  afterX: { 5: reads === 0 ? 0n : BigInt((reads << 16) | 1) },
}));

interface Seen {
  readonly csr: number;
  readonly why: string;
  readonly before: Registers;
  readonly write?: bigint;
  readonly after?: Registers;
  readonly reads: bigint;
}

/** What of mip, mvip, sip and sie is whose: a write, if there is one, and a read behind it. */
// biome-ignore format: table
const SEEN: readonly Seen[] = [
  { csr: MVIEN, why: 'software and external', before: {}, write: ALL, after: { mvien: SSI | SEI }, reads: SSI | SEI },
  { csr: MVIP, why: "mip's bits", before: { mip: 0x222n, lines: SEI }, reads: 0x222n },
  { csr: MVIP, why: 'the line of SEI is not in it', before: { lines: SEI }, reads: 0n },
  { csr: MVIP, why: 'STIP is not, with Sstc', before: { mip: 0x222n, menvcfg: 1n << 63n }, reads: 0x202n },
  { csr: MVIP, why: "writes reach mip's bits", before: {}, write: ALL, after: { mip: 0x222n }, reads: 0x222n },
  { csr: MVIP, why: 'SSIP is its own where it is virtual', before: { mvien: SSI, mip: SSI }, reads: 0n },
  { csr: MVIP, why: "a virtual SSIP is written, mip's stays", before: { mvien: SSI }, write: SSI, after: { mvip: SSI }, reads: SSI },
  { csr: MVIP, why: 'SEIP is the same bit, virtual or not', before: { mvien: SEI }, write: SEI, after: { mip: SEI }, reads: SEI },
  { csr: MIP, why: 'without virtual interrupts SEIP of software shows', before: { mip: SEI }, reads: SEI },
  { csr: MIP, why: 'with them the line alone', before: { mip: SEI, mvien: SEI }, reads: 0n },
  { csr: MIP, why: 'the line', before: { lines: SEI, mvien: SEI }, reads: SEI },
  { csr: MIP, why: 'SEIP is read-only then', before: { mvien: SEI }, write: ALL, after: { mip: 0x22n }, reads: 0x22n },
  { csr: SIP, why: 'neither delegated nor virtual', before: { mip: 0x222n, mvip: SSI }, reads: 0n },
  { csr: SIP, why: "virtual: mvip's bits", before: { mvien: SSI | SEI, mvip: SSI, mip: SEI }, reads: SSI | SEI },
  { csr: SIP, why: "virtual: not mip's", before: { mvien: SSI | SEI, mip: SSI, lines: SEI }, reads: 0n },
  { csr: SIP, why: 'delegation comes first', before: { mvien: SSI, mideleg: SSI, mvip: 0n, mip: SSI }, reads: SSI },
  { csr: SIP, why: 'a virtual SSIP is writable', before: { mvien: SSI }, write: ALL, after: { mvip: SSI }, reads: SSI },
  { csr: SIP, why: 'a virtual SEIP is not', before: { mvien: SEI }, write: ALL, reads: 0n },
  { csr: SIE, why: 'neither delegated nor virtual', before: { mie: 0x222n, sieVirtual: 0x222n }, reads: 0n },
  { csr: SIE, why: 'virtual: bits of its own', before: { mvien: SSI | SEI, mie: SEI, sieVirtual: SSI }, reads: SSI },
  { csr: SIE, why: 'virtual: mie stays', before: { mvien: SSI | SEI, mie: 0x88n }, write: ALL, after: { sieVirtual: SSI | SEI }, reads: SSI | SEI },
  { csr: SIE, why: 'each bit where it belongs', before: { mvien: SEI, mideleg: SSI }, write: ALL, after: { sieVirtual: SEI, mie: SSI }, reads: SSI | SEI },
];

const NAMES: Readonly<Record<number, string>> = { 776: 'mvien', 777: 'mvip', 836: 'mip', 260: 'sie', 324: 'sip' };

const seen: HartCase[] = SEEN.map(({ csr, why, before, write, after, reads }) => ({
  name: `${NAMES[csr]}: ${why}`,
  before,
  ...(write === undefined ? {} : { x: { 6: write } }),
  program: [...(write === undefined ? [] : [csrrw(0, csr, 6)]), csrrs(5, csr, 0)],
  after: after ?? {},
  afterX: { 5: reads },
}));

const INTERRUPT = 1n << 63n;

/** Virtual interrupts are taken in S-mode; the real one of the same number, not delegated, in M-mode and first. */
const taken: HartCase[] = [
  {
    name: 'a virtual SEI is taken in S-mode',
    before: { mode: 1n, mstatus: 2n, mvien: SEI, mip: SEI, sieVirtual: SEI },
    after: { mode: 1n, pc: STVEC, sepc: 0x8000_1000n, scause: INTERRUPT | 9n, stval: 0n, mstatus: 0x120n },
  },
  {
    name: 'a virtual SSI is taken from U-mode whatever SIE says',
    before: { mode: 0n, mvien: SSI, mvip: SSI, sieVirtual: SSI },
    after: { mode: 1n, pc: STVEC, sepc: 0x8000_1000n, scause: INTERRUPT | 1n, stval: 0n, mstatus: 0n },
  },
  {
    name: 'the real SEI goes to M-mode, and first',
    before: { mode: 1n, mstatus: 2n, mvien: SEI, mip: SEI, sieVirtual: SEI, lines: SEI, mie: SEI },
    after: { mode: 3n, pc: MTVEC, mepc: 0x8000_1000n, mcause: INTERRUPT | 9n, mtval: 0n, mstatus: 0x802n },
  },
].map((c) => ({ ...c, program: [csrrs(0, 0x140, 0)] }));

/** Not taken: the instruction behind is executed. */
const notTaken: HartCase[] = [
  { name: 'virtual interrupts wait while SIE is off', before: { mode: 1n, mvien: SEI, mip: SEI, sieVirtual: SEI } },
  { name: 'and in M-mode', before: { mode: 3n, mstatus: 10n, mvien: SEI, mip: SEI, sieVirtual: SEI } },
  { name: 'and while they are not enabled', before: { mode: 1n, mstatus: 2n, mvien: SEI, mip: SEI, mie: SEI } },
].map((c) => ({ ...c, program: [csrrs(0, 0x140, 0)] }));

const WFI = 0x1050_0073;
const waits: HartCase[] = [
  {
    name: 'wfi ends with a virtual interrupt',
    before: { mode: 1n, mvien: SSI, mvip: SSI, sieVirtual: SSI },
    program: [WFI],
  },
  {
    name: 'wfi waits for one that is not enabled',
    before: { mode: 1n, mvien: SSI, mvip: SSI },
    program: [WFI],
    leaves: 'wait',
  },
];

export const AIA_CASES: readonly HartCase[] = [
  ...LEVELS.flatMap((level) => [...windows(level), ...writes(level), ...tops(level)]),
  ...selects,
  ...filtered,
  ...first,
  ...seen,
  ...taken,
  ...notTaken,
  ...waits,
];
