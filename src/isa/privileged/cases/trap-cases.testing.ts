/**
 * Cases of traps and returns: privileged specification, "Machine Trap Delegation", "Machine Trap-Vector
 * Base-Address", "Privilege and Global Interrupt-Enable Stack", "Trap-Return Instructions", "Wait for Interrupt",
 * "Virtualization Support in mstatus" (TVM, TW, TSR), Svinval.
 */
import { FEATURE } from '../../state.ts';
import {
  ALL_FEATURES,
  csrrs,
  csrrw,
  EBREAK,
  ECALL,
  type HartCase,
  MRET,
  MTVEC,
  machineTrap,
  machineTrapStatus,
  NOP,
  PC,
  type Registers,
  SFENCE_INVAL_IR,
  SFENCE_W_INVAL,
  SRET,
  STVEC,
  sfenceVma,
  sinvalVma,
  supervisorTrapStatus,
  WFI,
  WRS_NTO,
  WRS_STO,
} from './hart-case.testing.ts';

const MODES = [0n, 1n, 3n] as const;
const NAMES = ['U', 'S', 'H', 'M'] as const;
const SIE = 1n << 1n;
const MIE = 1n << 3n;
const SPIE = 1n << 5n;
const MPIE = 1n << 7n;
const SPP = 1n << 8n;
const MPRV = 1n << 17n;
const TVM = 1n << 20n;
const TW = 1n << 21n;
const TSR = 1n << 22n;
const MTVEC_VECTORED = MTVEC | 1n;
const STVEC_VECTORED = STVEC | 1n;
const INTERRUPT = 1n << 63n;

function nameOf(mode: bigint): string {
  return NAMES[Number(mode)] ?? '';
}

/** An exception from every mode, delegated or not, either vector mode (which exceptions ignore), all enables. */
function exceptionCases(what: string, word: number, cause: (mode: bigint) => number, tval: bigint): HartCase[] {
  const cases: HartCase[] = [];
  for (const mode of MODES) {
    for (const delegated of [false, true]) {
      for (const vectored of [0n, 1n]) {
        for (const mstatus of [0n, SIE, MIE, SIE | MIE | SPIE | MPIE | SPP, 3n << 11n]) {
          const code = cause(mode);
          const before: Registers = {
            mode,
            mstatus,
            mtvec: MTVEC | vectored,
            stvec: STVEC | vectored,
            medeleg: delegated ? 1n << BigInt(code) : 0n,
          };
          const toSupervisor = delegated && mode !== 3n;
          cases.push({
            name: `${what} from ${nameOf(mode)}${delegated ? ', delegated' : ''}${vectored ? ', vectored' : ''}, mstatus ${mstatus.toString(16)}`,
            before,
            program: [word],
            after: toSupervisor
              ? {
                  mode: 1n,
                  pc: STVEC,
                  sepc: PC,
                  scause: BigInt(code),
                  stval: tval,
                  mstatus: supervisorTrapStatus(mstatus, mode),
                }
              : machineTrap(before, code, tval),
          });
        }
      }
    }
  }
  return cases;
}

function ecallCause(mode: bigint): number {
  return mode === 0n ? 8 : mode === 1n ? 9 : 11;
}

const UNKNOWN_CSR = csrrs(1, 0x8ff, 0);

const exceptions: HartCase[] = [
  ...exceptionCases('ecall', ECALL, ecallCause, 0n),
  ...exceptionCases('ebreak', EBREAK, () => 3, PC),
  ...exceptionCases('illegal instruction', UNKNOWN_CSR, () => 2, BigInt(UNKNOWN_CSR)),
];

const SBI_FEATURES = ALL_FEATURES | FEATURE.sbi;
const builtInSbi: HartCase[] = [
  {
    name: 'ecall from S with the built-in SBI leaves the engine',
    before: { mode: 1n, features: SBI_FEATURES },
    program: [ECALL],
    leaves: 'call',
  },
  {
    name: 'ecall from S with the built-in SBI leaves, delegated or not',
    before: { mode: 1n, features: SBI_FEATURES, medeleg: 1n << 9n },
    program: [ECALL],
    leaves: 'call',
  },
  {
    name: 'ecall from U with the built-in SBI traps to S',
    before: { mode: 0n, features: SBI_FEATURES, medeleg: 1n << 8n },
    program: [ECALL],
    after: { mode: 1n, pc: STVEC, sepc: PC, scause: 8n },
  },
  {
    name: 'ecall from M with the built-in SBI traps to M',
    before: { features: SBI_FEATURES },
    program: [ECALL],
    after: machineTrap({}, 11, 0n),
  },
];

const returns: HartCase[] = [
  ...MODES.flatMap((mpp) =>
    [0n, MPIE].map(
      (mpie): HartCase => ({
        name: `mret to ${nameOf(mpp)}, MPIE ${mpie === 0n ? 0 : 1}`,
        before: { mepc: 0x8000_4000n, mstatus: (mpp << 11n) | mpie | MPRV | SIE | SPP },
        program: [MRET],
        after: {
          mode: mpp,
          pc: 0x8000_4000n,
          // MPIE becomes 1, MPP becomes U, MPRV stays only on a return to M.
          mstatus: MPIE | (mpie === 0n ? 0n : MIE) | (mpp === 3n ? MPRV : 0n) | SIE | SPP,
        },
      }),
    ),
  ),
  ...[0n, 1n].flatMap((spp) =>
    [1n, 3n].map(
      (from): HartCase => ({
        name: `sret in ${nameOf(from)} to ${nameOf(spp)}`,
        before: { mode: from, sepc: 0x8000_5002n, mstatus: (spp << 8n) | SPIE | MPRV | MIE },
        program: [SRET],
        after: { mode: spp, pc: 0x8000_5002n, mstatus: SIE | SPIE | MIE },
      }),
    ),
  ),
  {
    name: 'sret with SPIE 0 disables',
    before: { mode: 1n, sepc: PC, mstatus: SIE | SPP },
    program: [SRET],
    after: { pc: PC, mstatus: SPIE },
  },
  {
    name: 'without C, xepc is a multiple of four',
    before: { features: ALL_FEATURES & ~FEATURE.c, mepc: 0x8000_4002n, mstatus: 3n << 11n },
    program: [MRET],
    after: { pc: 0x8000_4000n, mstatus: MPIE },
  },
];

/** Who may execute what: everything else is illegal, with the instruction's bits in tval. */
function permission(
  what: string,
  word: number,
  allowed: (mode: bigint, mstatus: bigint) => boolean,
  after: Registers,
): HartCase[] {
  return MODES.flatMap((mode) =>
    [0n, TVM, TW, TSR, TVM | TW | TSR].map((mstatus): HartCase => {
      const before: Registers = { mode, mstatus };
      const isAllowed = allowed(mode, mstatus);
      const name = `${what} in ${nameOf(mode)}, mstatus ${mstatus.toString(16)}: ${isAllowed ? 'allowed' : 'illegal'}`;
      if (!isAllowed) return { name, before, program: [word], after: machineTrap(before, 2, BigInt(word >>> 0)) };
      return {
        name,
        before,
        program: [word],
        after,
        ...(what === 'wfi' ? { leaves: 'wait' } : {}),
        free: ['mstatus', 'mode'],
      };
    }),
  );
}

const permissions: HartCase[] = [
  ...permission('mret', MRET, (mode) => mode === 3n, { pc: 0n }),
  ...permission('sret', SRET, (mode, status) => mode === 3n || (mode === 1n && (status & TSR) === 0n), { pc: 0n }),
  ...permission('wfi', WFI, (mode, status) => mode === 3n || (mode === 1n && (status & TW) === 0n), {}),
  // Unlike wfi in U-mode, too: it is for spin locks.
  ...permission('wrs.nto', WRS_NTO, (mode, status) => mode === 3n || (status & TW) === 0n, {}),
  ...permission('wrs.sto', WRS_STO, () => true, {}),
  ...[sfenceVma(0, 0), sfenceVma(1, 0), sfenceVma(0, 2), sinvalVma(1, 2)].flatMap((word) =>
    permission(
      `fence ${word.toString(16)}`,
      word,
      (mode, status) => mode === 3n || (mode === 1n && (status & TVM) === 0n),
      {},
    ),
  ),
  ...[SFENCE_W_INVAL, SFENCE_INVAL_IR].flatMap((word) =>
    permission(`fence ${word.toString(16)}`, word, (mode) => mode !== 0n, {}),
  ),
  ...permission(
    'read satp',
    csrrs(1, 0x180, 0),
    (mode, status) => mode === 3n || (mode === 1n && (status & TVM) === 0n),
    {},
  ),
];

const waiting: HartCase[] = [
  { name: 'wfi with nothing pending waits', program: [WFI], leaves: 'wait' },
  {
    name: 'wfi with a pending interrupt that mie enables goes on',
    before: { mie: 0x80n, lines: 0x80n },
    program: [WFI],
  },
  {
    name: 'wfi with a pending interrupt that mie does not enable waits',
    before: { lines: 0x80n },
    program: [WFI],
    leaves: 'wait',
  },
  {
    name: 'wfi goes on for an interrupt that the mode has disabled',
    before: { mode: 1n, mie: 0x2n, mip: 0x2n, mideleg: 0x2n },
    program: [WFI],
  },
  {
    name: 'wfi in U-mode of a hart without S-mode waits',
    before: { mode: 0n, features: ALL_FEATURES & ~FEATURE.supervisor },
    program: [WFI],
    leaves: 'wait',
  },
];

const INTERRUPTS = [
  { cause: 11n, name: 'MEI' },
  { cause: 3n, name: 'MSI' },
  { cause: 7n, name: 'MTI' },
  { cause: 9n, name: 'SEI' },
  { cause: 1n, name: 'SSI' },
  { cause: 5n, name: 'STI' },
] as const;
const STCE = 1n << 63n;
const SSIP = 2n;

const STIP = 0x20n;
/** stimecmp has come. */
const DUE: Registers = { menvcfg: STCE, stimecmp: 0n };

/** Interrupts that are pending by their lines. SSIP has none; STIP's is what comparing with stimecmp says. */
function raised(bits: bigint): Registers {
  return { lines: bits & ~SSIP, mip: bits & SSIP, ...(bits & STIP ? DUE : {}) };
}

/** Each interrupt in each mode, with each enable, delegated or not: taken or not, and where. */
const gating: HartCase[] = INTERRUPTS.flatMap(({ cause, name }) =>
  MODES.flatMap((mode) =>
    [0n, SIE, MIE, SIE | MIE].flatMap((enables) =>
      [false, true].flatMap((delegate) =>
        [false, true].map((vectored): HartCase => {
          const delegated = delegate && [1n, 5n, 9n].includes(cause);
          const before: Registers = {
            mode,
            mstatus: enables,
            mie: 1n << cause,
            ...raised(1n << cause),
            mideleg: delegated ? 1n << cause : 0n,
            mtvec: vectored ? MTVEC_VECTORED : MTVEC,
            stvec: vectored ? STVEC_VECTORED : STVEC,
          };
          const offset = vectored ? 4n * cause : 0n;
          const program = [NOP];
          const title = `${name} in ${nameOf(mode)}, enables ${enables.toString(16)}${delegated ? ', delegated' : ''}${vectored ? ', vectored' : ''}`;
          if (delegated) {
            const taken = mode === 0n || (mode === 1n && (enables & SIE) !== 0n);
            if (!taken) return { name: `${title}: not taken`, before, program };
            const after = {
              mode: 1n,
              pc: STVEC + offset,
              sepc: PC,
              scause: INTERRUPT | cause,
              mstatus: supervisorTrapStatus(enables, mode),
            };
            return { name: `${title}: taken in S`, before, program, after };
          }
          const taken = mode !== 3n || (enables & MIE) !== 0n;
          if (!taken) return { name: `${title}: not taken`, before, program };
          const after = {
            mode: 3n,
            pc: MTVEC + offset,
            mepc: PC,
            mcause: INTERRUPT | cause,
            mstatus: machineTrapStatus(enables, mode),
          };
          return { name: `${title}: taken in M`, before, program, after };
        }),
      ),
    ),
  ),
);

/** Of each pair, both pending and enabled, the earlier in the manual's list comes first. */
const priorities: HartCase[] = INTERRUPTS.flatMap((first, i) =>
  INTERRUPTS.slice(i + 1).map((second): HartCase => {
    const both = (1n << first.cause) | (1n << second.cause);
    return {
      name: `${first.name} before ${second.name}`,
      before: { mstatus: MIE, mie: both, ...raised(both) },
      program: [NOP],
      after: { pc: MTVEC, mepc: PC, mcause: INTERRUPT | first.cause, mstatus: machineTrapStatus(MIE, 3n) },
    };
  }),
);

const selection: HartCase[] = [
  {
    name: 'an interrupt for M comes before a delegated one of higher priority',
    before: { mode: 1n, mstatus: SIE, mie: 0x220n, lines: 0x220n, ...DUE, mideleg: 0x200n },
    program: [NOP],
    after: { mode: 3n, pc: MTVEC, mepc: PC, mcause: INTERRUPT | 5n, mstatus: machineTrapStatus(SIE, 1n) },
  },
  {
    name: 'a pending interrupt that mie does not enable is not taken',
    before: { mode: 0n, mstatus: MIE | SIE, lines: 0xaaan, ...DUE },
    program: [NOP],
  },
  {
    name: 'one that is pending and enabled is taken before one that is only pending',
    before: { mstatus: MIE, mie: 0x80n, lines: 0x880n },
    program: [NOP],
    after: { pc: MTVEC, mepc: PC, mcause: INTERRUPT | 7n, mstatus: machineTrapStatus(MIE, 3n) },
  },
  {
    name: 'and before one that is only enabled',
    before: { mstatus: MIE, mie: 0x880n, lines: 0x80n },
    program: [NOP],
    after: { pc: MTVEC, mepc: PC, mcause: INTERRUPT | 7n, mstatus: machineTrapStatus(MIE, 3n) },
  },
  {
    name: 'of those that are delegated and enabled, the one that is pending is taken',
    before: { mode: 0n, mideleg: 0x222n, mie: 0x222n, mip: 0x2n },
    program: [NOP],
    after: { mode: 1n, pc: STVEC, sepc: PC, scause: INTERRUPT | 1n, mstatus: 0n },
  },
  {
    name: "STIP is software's bit, and the line nothing, while STCE is 0",
    before: { mode: 0n, mie: 0x20n, lines: 0x20n },
    program: [NOP],
  },
  {
    name: "STIP is the line, and software's bit nothing, while STCE is 1",
    before: { mode: 0n, mie: 0x20n, mip: 0x20n, menvcfg: STCE },
    program: [NOP],
  },
  {
    name: 'an interrupt that a CSR write enables is taken before the next instruction',
    before: { mode: 1n, mie: 0x2n, mip: 0x2n, mideleg: 0x2n },
    x: { 1: SIE },
    program: [csrrs(0, 0x100, 1), NOP],
    after: { pc: STVEC, sepc: PC + 4n, scause: INTERRUPT | 1n, mstatus: SPIE | SPP },
  },
  {
    name: 'an interrupt that mret enables is taken at its target',
    before: { mepc: 0x8000_4000n, mstatus: MPIE, mie: 0x80n, lines: 0x80n },
    program: [MRET, NOP],
    after: { mode: 3n, pc: MTVEC, mepc: 0x8000_4000n, mcause: INTERRUPT | 7n, mstatus: MPIE },
  },
  {
    name: 'an interrupt that software raises is taken before the next instruction',
    before: { mode: 1n, mstatus: SIE, mie: 0x2n, mideleg: 0x2n },
    x: { 1: 2n },
    program: [csrrw(0, 0x144, 1), NOP],
    after: { pc: STVEC, sepc: PC + 4n, scause: INTERRUPT | 1n, mip: 2n, mstatus: supervisorTrapStatus(SIE, 1n) },
  },
];

export const TRAP_CASES: readonly HartCase[] = [...exceptions, ...builtInSbi, ...returns, ...permissions, ...waiting];
export const INTERRUPT_CASES: readonly HartCase[] = [...gating, ...priorities, ...selection];
