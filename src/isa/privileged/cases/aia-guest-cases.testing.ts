/**
 * Cases of guest interrupt files and of hvictl, from AIA's chapters "Control and Status Registers" and "Interrupts for
 * Virtual Machines (VS Level)": the window by either name, claims and their line in hgeip, what vstopi tells, what a guest
 * may not do while the hypervisor makes its interrupts.
 */
import { FILE, FILE_WORD, FILE_WORDS } from '../../interrupt-files.ts';
import { HS, HYPERVISOR, inMode, M, toGuest, toMachine, type VirtualMode, VS, VU } from './guest-state.testing.ts';
import { csrrs, csrrw, type HartCase, type Registers } from './hart-case.testing.ts';

const ALL = (1n << 64n) - 1n;
const [SIREG, VSIREG, STOPEI, VSTOPEI, STOPI, VSTOPI] = [0x151, 0x251, 0x15c, 0x25c, 0xdb0, 0xeb0];
const [SISELECT, HVICTL, SIE, SIP, STIMECMP] = [0x150, 0x609, 0x104, 0x144, 0x14d];
const VTI = 1n << 30n;
const IPRIOM = 1n << 8n;
const DPR = 1n << 9n;
const CSRIND = 1n << 60n;
const AIA = 1n << 59n;
const IMSIC = 1n << 58n;
/** Of three files the guest has the second. */
const GUEST = 2;
const OPEN: Registers = {
  ...HYPERVISOR,
  ...{ guestFiles: 3n, hstatus: BigInt(GUEST) << 12n, mideleg: 0x222n, hideleg: 0x444n, siselect: 0x33n },
  ...{ mstateen0: ALL, hstateen0: ALL, menvcfg: 1n << 63n, henvcfg: 1n << 63n, mcounteren: 2n, hcounteren: 2n },
};
const at = (file: number, word: number): number => (FILE.guest + file - 1) * FILE_WORDS + word;
const { eip: EIP, eie: EIE, eidelivery: EIDELIVERY, eithreshold: EITHRESHOLD } = FILE_WORD;

function traps(before: Registers, cause: 2 | 22, word: number): Registers {
  return toMachine(before, { cause, tval: BigInt(word >>> 0) });
}

/** Either name of the window, by who uses it; a guest's own siselect is vsiselect. */
const WINDOWS: readonly { readonly by: VirtualMode; readonly csr: number }[] = [
  { by: VS, csr: SIREG },
  { by: HS, csr: VSIREG },
  { by: M, csr: VSIREG },
];

const windows: HartCase[] = WINDOWS.flatMap(({ by, csr }) =>
  [true, false].flatMap((hasFile) =>
    Array.from({ length: 0x110 }, (_, number): HartCase => {
      const before = { ...OPEN, ...inMode(by), ...(hasFile ? {} : { hstatus: 0n }), vsiselect: BigInt(number) };
      const files = {
        [at(GUEST, EIP)]: 0x10n,
        [at(GUEST, EIE + 3)]: 0x23n,
        [at(GUEST, EIDELIVERY)]: 1n,
        [at(1, EIP)]: 7n,
      };
      const shown: Record<number, bigint> = { 112: 1n, 128: 0x10n, 198: 0x23n };
      const program = [csrrs(5, csr, 0)];
      const name = `${by.name}, ${hasFile ? 'a file' : 'no file'}: register ${number.toString(16)} of the guest`;
      const isFile = number >= 0x70 && number < 0x100;
      const isKnown = isFile || (number >= 0x30 && number < 0x40);
      if (hasFile && isFile && (number % 2 === 0 || number < 0x80))
        return { name, before, files, program, afterX: { 5: shown[number] ?? 0n } };
      const cause = by === VS && isKnown ? 22 : 2;
      return { name: `${name}: cause ${cause}`, before, files, program, after: traps(before, cause, program[0] ?? 0) };
    }),
  ),
);

const writes: HartCase[] = WINDOWS.flatMap(({ by, csr }): HartCase[] => [
  {
    name: `${by.name}: an identity is enabled that waits`,
    before: { ...OPEN, ...inMode(by), vsiselect: 0xc2n },
    files: { [at(GUEST, EIP + 1)]: 4n, [at(GUEST, EIDELIVERY)]: 1n },
    x: { 6: 4n },
    program: [csrrw(5, csr, 6)],
    after: { hgeip: 1n << BigInt(GUEST) },
    afterFiles: { [at(GUEST, EIE + 1)]: 4n },
  },
  {
    name: `${by.name}: delivery ends; other lines stay`,
    before: { ...OPEN, ...inMode(by), vsiselect: 0x70n, hgeip: 0xen, lines: 0x200n },
    files: { [at(GUEST, EIP + 1)]: 4n, [at(GUEST, EIE + 1)]: 4n, [at(GUEST, EIDELIVERY)]: 1n },
    program: [csrrw(5, csr, 0)],
    after: { hgeip: 0xan },
    afterFiles: { [at(GUEST, EIDELIVERY)]: 0n },
  },
]);

const claims: HartCase[] = [
  { by: VS, csr: STOPEI },
  { by: HS, csr: VSTOPEI },
  { by: M, csr: VSTOPEI },
].flatMap(({ by, csr }): HartCase[] => {
  const before = { ...OPEN, ...inMode(by), hgeip: 4n };
  const word = csrrw(5, csr, 6);
  return [
    {
      name: `${by.name}: claims of the guest's file`,
      before,
      files: {
        [at(GUEST, EIP)]: 0x30n,
        [at(GUEST, EIE)]: 0x20n,
        [at(GUEST, EIDELIVERY)]: 1n,
        [at(1, EIP)]: 2n,
        [at(1, EIE)]: 2n,
      },
      program: [word],
      after: { hgeip: 0n },
      afterFiles: { [at(GUEST, EIP)]: 0x10n },
      afterX: { 5: 0x5_0005n },
    },
    {
      name: `${by.name}: of the last file`,
      before: { ...before, hstatus: 3n << 12n, hgeip: 8n },
      files: {
        [at(3, EIP + 3)]: 1n << 63n,
        [at(3, EIE + 3)]: ALL,
        [at(3, EIDELIVERY)]: 1n,
        [at(3, EITHRESHOLD)]: 256n,
      },
      program: [word],
      after: { hgeip: 0n },
      afterFiles: { [at(3, EIP + 3)]: 0n },
      afterX: { 5: 0xff_00ffn },
    },
    {
      name: `${by.name}: without a file there is nothing to claim`,
      before: { ...before, hstatus: 0n },
      program: [word],
      after: traps({ ...before, hstatus: 0n }, by === VS ? 22 : 2, word),
    },
  ];
});

/** A guest's siselect is its own; the host's stays. */
const selects: HartCase[] = [
  {
    name: "VS: siselect is the guest's",
    before: { ...OPEN, ...inMode(VS) },
    x: { 6: ALL },
    program: [csrrw(5, SISELECT, 6), csrrs(7, SISELECT, 0)],
    after: { vsiselect: 0x1ffn },
    afterX: { 5: 0n, 7: 0x1ffn },
  },
  {
    name: "HS: siselect is the host's",
    before: { ...OPEN, ...inMode(HS), vsiselect: 5n },
    program: [csrrs(5, SISELECT, 0)],
    afterX: { 5: 0x33n },
  },
];

/** Who may not, and why: the state enables, VU-mode, hvictl.VTI. */
// biome-ignore format: table
const FORBIDDEN: readonly (readonly [string, VirtualMode, number, Registers, 2 | 22])[] = [
  ['siselect without CSRIND of M', HS, SISELECT, { mstateen0: ALL & ~CSRIND }, 2],
  ['siselect without CSRIND of M', VS, SISELECT, { mstateen0: ALL & ~CSRIND }, 2],
  ['siselect without CSRIND of HS', VS, SISELECT, { hstateen0: ALL & ~CSRIND }, 22],
  ['sireg without CSRIND of HS', VS, SIREG, { hstateen0: ALL & ~CSRIND, vsiselect: 0x70n }, 22],
  ['sireg of the file without IMSIC of M', HS, SIREG, { mstateen0: ALL & ~IMSIC, siselect: 0x70n }, 2],
  ['sireg of the file without IMSIC of HS', VS, SIREG, { hstateen0: ALL & ~IMSIC, vsiselect: 0x70n }, 22],
  ['sireg of priorities without AIA of M', HS, SIREG, { mstateen0: ALL & ~AIA, siselect: 0x30n }, 2],
  ['stopei without IMSIC of M', HS, STOPEI, { mstateen0: ALL & ~IMSIC }, 2],
  ['stopei without IMSIC of HS', VS, STOPEI, { hstateen0: ALL & ~IMSIC }, 22],
  ['vstopei without IMSIC of M', HS, VSTOPEI, { mstateen0: ALL & ~IMSIC }, 2],
  ['stopi without AIA of M', HS, STOPI, { mstateen0: ALL & ~AIA }, 2],
  ['stopi without AIA of HS', VS, STOPI, { hstateen0: ALL & ~AIA }, 22],
  ['hvictl without AIA of M', HS, HVICTL, { mstateen0: ALL & ~AIA }, 2],
  ['sireg', VU, SIREG, { vsiselect: 0x70n }, 22],
  ['vsireg', VS, VSIREG, { vsiselect: 0x70n }, 22],
  ['vsireg', VU, VSIREG, { vsiselect: 0x70n }, 22],
  ['stopei', VU, STOPEI, {}, 22],
  ['sie under VTI', VS, SIE, { hvictl: VTI }, 22],
  ['sip under VTI', VS, SIP, { hvictl: VTI }, 22],
];

const forbidden: HartCase[] = FORBIDDEN.map(([name, by, csr, more, cause]) => {
  const before = { ...OPEN, ...inMode(by), ...more };
  const word = csrrs(5, csr, 0);
  return { name: `${by.name}: ${name}: cause ${cause}`, before, program: [word], after: traps(before, cause, word) };
});

const timers: HartCase[] = [0n, VTI].map((hvictl): HartCase => {
  const before = { ...OPEN, ...inMode(VS), hvictl: hvictl | (9n << 16n) };
  const word = csrrw(0, STIMECMP, 6);
  const common = {
    name: `VS: stimecmp is written, hvictl ${hvictl.toString(16)}`,
    before,
    x: { 6: ALL - 5n },
    program: [word],
  };
  return hvictl === 0n ? { ...common, after: { vstimecmp: ALL - 5n } } : { ...common, after: traps(before, 22, word) };
});

interface Top {
  readonly why: string;
  readonly before?: Registers;
  /** The guest's file: an identity that waits. */
  readonly waits?: number;
  readonly reads: bigint;
  /** A guest would not get so far. */
  readonly isForHost?: boolean;
}
const told = (identity: number, priority = 1): bigint => BigInt((identity << 16) | priority);
const SSI_STI_SEI: Registers = { mip: 0x444n, mie: 0x444n };
const injected = (identity: number, priority: number, more = 0n): Registers => ({
  hvictl: VTI | IPRIOM | (BigInt(identity) << 16n) | BigInt(priority) | more,
});

// biome-ignore format: table
const TOPS: readonly Top[] = [
  { why: 'nothing is due', reads: 0n },
  { why: 'what is not enabled is not due', before: { mip: 0x444n, mie: 0n }, reads: 0n },
  { why: 'external first', before: SSI_STI_SEI, reads: told(9) },
  { why: 'then software', before: { mip: 0x44n, mie: 0x444n }, reads: told(1) },
  { why: 'then the timer', before: { mip: 0x40n, mie: 0x444n }, reads: told(5) },
  { why: 'what is not delegated to it is not there', before: { ...SSI_STI_SEI, hideleg: 0n }, reads: 0n, isForHost: true },
  { why: "its number is the file's identity", before: { hgeip: 4n, mie: 0x400n, hvictl: IPRIOM }, waits: 5, reads: told(9, 5) },
  { why: 'an external interrupt of software alone comes last', before: { mip: 0x400n, mie: 0x400n, hvictl: IPRIOM }, reads: told(9, 255) },
  { why: 'software and timer have no number', before: { mip: 0x4n, mie: 0x4n, hvictl: IPRIOM }, reads: told(1, 255) },
  { why: "without a file hvictl's number", before: { mip: 0x400n, mie: 0x400n, hstatus: 0n, hvictl: IPRIOM | (9n << 16n) | 77n }, reads: told(9, 77) },
  { why: 'VTI: what is pending does not count', before: { mip: 0x44n, mie: 0x444n, hvictl: VTI | (9n << 16n) }, reads: 0n },
  { why: 'VTI: external does', before: { ...SSI_STI_SEI, hvictl: VTI | (9n << 16n) }, reads: told(9) },
  { why: 'VTI: one is made', before: injected(13, 6), reads: told(13, 6) },
  { why: 'VTI: ahead of external by its number', before: { hgeip: 4n, mie: 0x400n, ...injected(5, 4) }, waits: 5, reads: told(5, 4) },
  { why: 'VTI: behind it by its number', before: { hgeip: 4n, mie: 0x400n, ...injected(5, 6) }, waits: 5, reads: told(9, 5) },
  { why: 'VTI: ahead by rank', before: { hgeip: 4n, mie: 0x400n, ...injected(5, 5) }, waits: 5, reads: told(5, 5) },
  { why: 'VTI: behind by rank', before: { hgeip: 4n, mie: 0x400n, ...injected(5, 5, DPR) }, waits: 5, reads: told(9, 5) },
  { why: 'VTI: number zero, ahead of all', before: { hgeip: 4n, mie: 0x400n, ...injected(5, 0) }, waits: 1, reads: told(5, 0) },
  { why: 'VTI: number zero, behind all', before: { mip: 0x400n, mie: 0x400n, ...injected(5, 0, DPR) }, reads: told(9, 255) },
  { why: 'VTI: number zero, behind, alone', before: injected(5, 0, DPR), reads: told(5, 255) },
];

const tops: HartCase[] = TOPS.flatMap(({ why, before: more, waits, reads, isForHost = false }) => {
  const files =
    waits === undefined
      ? {}
      : { [at(GUEST, EIP)]: 1n << BigInt(waits), [at(GUEST, EIE)]: ALL, [at(GUEST, EIDELIVERY)]: 1n };
  return [...(isForHost ? [] : [{ by: VS, csr: STOPI }]), { by: HS, csr: VSTOPI }, { by: M, csr: VSTOPI }].map(
    ({ by, csr }): HartCase => {
      // VS-mode has its interrupts off, so that none is taken.
      const before = { ...OPEN, ...inMode(by), ...more };
      return { name: `${by.name}: vstopi: ${why}`, before, files, program: [csrrs(5, csr, 0)], afterX: { 5: reads } };
    },
  );
});

/** What hvictl makes is taken as if it were pending, by its number. */
const taken: HartCase[] = [VS, VU].flatMap((by) =>
  [5, 13, 40].map((identity): HartCase => {
    const before = { ...OPEN, ...inMode(by), mstatus: by === VS ? 2n : 0n, hvictl: VTI | (BigInt(identity) << 16n) };
    return {
      name: `${by.name}: interrupt ${identity} that hvictl makes is taken`,
      before,
      program: [csrrs(0, 0x140, 0)],
      after: toGuest(before, { cause: identity + 1, isInterrupt: true }),
    };
  }),
);

export const AIA_GUEST_CASES: readonly HartCase[] = [
  ...windows,
  ...writes,
  ...claims,
  ...selects,
  ...forbidden,
  ...timers,
  ...tops,
  ...taken,
];
