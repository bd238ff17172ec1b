/**
 * Entering and leaving traps, and choosing the interrupt to take: privileged specification, sections "Privilege and
 * Global Interrupt-Enable Stack in mstatus", "Machine Trap Delegation", "Machine Interrupt Registers", "Trap-Return
 * Instructions". Written against the abstract machine like the instructions, so that every engine has one trap entry.
 *
 *   trap to x:   xPP <- mode   xPIE <- xIE   xIE <- 0    mode <- x
 *   xret:        mode <- xPP   xIE <- xPIE   xPIE <- 1   xPP <- U   (and MPRV <- 0 unless back to M)
 */
import type { Machine } from '../machine.ts';
import { FEATURE } from '../state.ts';
import { INTERRUPT_PRIORITY, LINES, SEIP, SSIP, STIP } from './causes.ts';
import { ENVCFG } from './envcfg.ts';
import { anyOf, hasFeature, instructionAddressMask, MODE, MPP_SHIFT, MSTATUS, SPP_SHIFT } from './mstatus.ts';
import { virtualInterrupts, virtualWaiting } from './virtual-interrupts.ts';

const INTERRUPT_FLAG = 1n << 63n;

/**
 * Takes a trap of the instruction at m.pc() (for an interrupt: before it). `cause` is without the interrupt flag.
 * Sets the cause registers, mstatus, mode and, through jumpTo, the pc.
 */
export function enterTrap<V, C>(m: Machine<V, C>, cause: V, tval: V, isInterrupt: boolean): void {
  const mode = m.let(m.mode());
  const status = m.let(m.state('mstatus'));
  const delegation = isInterrupt ? interruptDelegation(m) : m.state('medeleg');
  // Traps from M-mode never go to a lower mode, whatever is delegated.
  const toSupervisor = m.both(m.ltu(mode, m.const(MODE.machine)), anyOf(m, m.srl(delegation, cause), 1n));
  const pc = m.pc();
  const fullCause = isInterrupt ? m.or(cause, m.const(INTERRUPT_FLAG)) : cause;
  const vector = m.let(m.select(toSupervisor, m.state('stvec'), m.state('mtvec')));
  m.when(
    toSupervisor,
    () => {
      const enabled = m.select(anyOf(m, status, MSTATUS.SIE), m.const(MSTATUS.SPIE), m.const(0));
      const kept = m.and(status, m.const(~(MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP)));
      m.setState('mstatus', m.or(m.or(kept, enabled), m.sll(mode, m.const(SPP_SHIFT))));
      m.setState('sepc', pc);
      m.setState('scause', fullCause);
      m.setState('stval', tval);
      m.setState('mode', m.const(MODE.supervisor));
    },
    () => {
      const enabled = m.select(anyOf(m, status, MSTATUS.MIE), m.const(MSTATUS.MPIE), m.const(0));
      const kept = m.and(status, m.const(~(MSTATUS.MIE | MSTATUS.MPIE | MSTATUS.MPP)));
      m.setState('mstatus', m.or(m.or(kept, enabled), m.sll(mode, m.const(MPP_SHIFT))));
      m.setState('mepc', pc);
      m.setState('mcause', fullCause);
      m.setState('mtval', tval);
      m.setState('mode', m.const(MODE.machine));
    },
  );
  const base = m.and(vector, m.const(-4));
  const offset = isInterrupt ? m.select(anyOf(m, vector, 1n), m.sll(cause, m.const(2)), m.const(0)) : m.const(0);
  m.jumpTo(m.add(base, offset));
  m.contextChanged();
}

/**
 * By number, interrupts that go to supervisor level: what mideleg says; and virtual ones, unless the real one of the same
 * number is due at machine level, which comes first.
 */
function interruptDelegation<V, C>(m: Machine<V, C>): V {
  const atMachineLevel = m.and(pendingBits(m), m.state('mie'));
  return m.or(m.state('mideleg'), m.and(virtualInterrupts(m), m.not(atMachineLevel)));
}

/** mret and sret, behind their guards. */
export function returnFromTrap<V, C>(m: Machine<V, C>, from: 'machine' | 'supervisor'): void {
  const isMachine = from === 'machine';
  const [ie, pie, pp, shift] = isMachine
    ? [MSTATUS.MIE, MSTATUS.MPIE, MSTATUS.MPP, MPP_SHIFT]
    : [MSTATUS.SIE, MSTATUS.SPIE, MSTATUS.SPP, SPP_SHIFT];
  const status = m.let(m.state('mstatus'));
  const mode = m.let(m.srl(m.and(status, m.const(pp)), m.const(shift)));
  const enabled = m.select(anyOf(m, status, pie), m.const(ie | pie), m.const(pie));
  const returned = m.let(m.or(m.and(status, m.const(~(ie | pie | pp))), enabled));
  const toMachine = m.eq(mode, m.const(MODE.machine));
  const target = m.and(m.state(isMachine ? 'mepc' : 'sepc'), instructionAddressMask(m));
  m.setState('mstatus', m.select(toMachine, returned, m.and(returned, m.const(~MSTATUS.MPRV))));
  m.setState('mode', mode);
  m.jumpTo(target);
  m.contextChanged();
}

/**
 * mip as it reads: bits that software set, or that devices drive. With Sstc enabled (menvcfg.STCE), STIP is the
 * comparison of time with stimecmp (a line), and not software's. SSIP has no line: other harts' software interrupts reach
 * `mip` through the thread that runs this hart, so that the guest's clearing of SSIP races with nobody. SEIP of software
 * is not shown while it is a virtual interrupt's (mvien).
 */
export function pendingBits<V, C>(m: Machine<V, C>): V {
  const byComparison = m.both(hasFeature(m, FEATURE.sstc), anyOf(m, m.state('menvcfg'), ENVCFG.STCE));
  const software = m.let(m.and(m.state('mip'), m.not(m.and(m.state('mvien'), m.const(SEIP)))));
  const lines = m.state('lines');
  const timer = m.select(byComparison, lines, software);
  const others = m.or(m.and(software, m.const(SSIP | SEIP)), m.and(lines, m.const(LINES)));
  return m.let(m.or(others, m.and(timer, m.const(STIP))));
}

/**
 * True if an interrupt is pending that mie (or, a virtual one, sie) enables, whatever mode and mstatus say: what ends wfi.
 */
export function interruptWaiting<V, C>(m: Machine<V, C>): C {
  return m.ne(m.or(m.and(pendingBits(m), m.state('mie')), virtualWaiting(m)), m.const(0));
}

/** What mtopi tells of: the interrupt that is first among those pending and enabled at machine level, or -1. */
export function firstForMachine<V, C>(m: Machine<V, C>): V {
  return firstOf(m, m.and(m.and(pendingBits(m), m.state('mie')), m.not(m.state('mideleg'))));
}

/** What stopi tells of: the same at supervisor level. */
export function firstForSupervisor<V, C>(m: Machine<V, C>): V {
  return firstOf(m, m.or(m.and(m.and(pendingBits(m), m.state('mie')), m.state('mideleg')), virtualWaiting(m)));
}

/** Of these interrupts the first by the default order; -1: there is none. No priorities can be configured (iprio is zero). */
function firstOf<V, C>(m: Machine<V, C>, interrupts: V): V {
  const among = m.let(interrupts);
  let first = m.const(-1);
  for (const candidate of INTERRUPT_PRIORITY.toReversed()) {
    first = m.select(anyOf(m, among, 1n << BigInt(candidate)), m.const(candidate), first);
  }
  return m.let(first);
}

/**
 * The cause of the interrupt to take before the next instruction, or -1. Interrupts for M-mode come before delegated
 * ones; an interrupt for mode x is taken in lower modes always, in x if xIE is set, in higher modes never.
 */
export function pendingInterrupt<V, C>(m: Machine<V, C>): V {
  const mode = m.let(m.mode());
  const status = m.let(m.state('mstatus'));
  const pending = m.let(m.and(pendingBits(m), m.state('mie')));
  const delegated = m.let(m.state('mideleg'));
  const machineTakes = m.either(m.ltu(mode, m.const(MODE.machine)), anyOf(m, status, MSTATUS.MIE));
  const supervisorTakes = m.either(
    m.eq(mode, m.const(MODE.user)),
    m.both(m.eq(mode, m.const(MODE.supervisor)), anyOf(m, status, MSTATUS.SIE)),
  );
  const forMachine = m.let(m.select(machineTakes, m.and(pending, m.not(delegated)), m.const(0)));
  const delegatedOnes = m.or(m.and(pending, delegated), virtualWaiting(m));
  const forSupervisor = m.select(supervisorTakes, delegatedOnes, m.const(0));
  return firstOf(m, m.select(m.ne(forMachine, m.const(0)), forMachine, forSupervisor));
}
