/**
 * Entering and leaving traps, and choosing the interrupt to take: privileged specification, sections "Privilege and
 * Global Interrupt-Enable Stack in mstatus", "Machine Trap Delegation", "Machine Interrupt Registers", "Trap-Return
 * Instructions". Written against the abstract machine like the instructions, so that every engine has one trap entry.
 *
 *   trap to x:   xPP <- mode   xPIE <- xIE   xIE <- 0    mode <- x
 *   xret:        mode <- xPP   xIE <- xPIE   xPIE <- 1   xPP <- U   (and MPRV <- 0 unless back to M)
 *
 * With the hypervisor extension ("Trap Entry", "Trap Return"):
 *
 *   trap to M:   MPV <- V      GVA           mtval2, mtinst          V <- 0
 *   trap to HS:  SPV <- V      GVA           htval, htinst           V <- 0   SPVP <- mode, if V was 1
 *   trap to VS:  as to S, in VS's registers; codes of interrupts are one lower
 *   mret:        V <- MPV, MPV <- 0          sret in HS, M:          V <- SPV, SPV <- 0
 */
import type { Machine } from '../machine.ts';
import { FEATURE } from '../state.ts';
import { AREA_BY_CAUSE } from './area-by-cause.ts';
import { countTrap, selectGuest, selectHost } from './areas.ts';
import {
  ADDRESS_EXCEPTIONS,
  HYPERVISOR_INTERRUPT_BITS,
  INTERRUPT_PRIORITY,
  LINES,
  SEIP,
  SSIP,
  STIP,
  VIRTUAL_INTERRUPT_BITS,
} from './causes.ts';
import { ENVCFG } from './envcfg.ts';
import { HSTATUS, SPVP_SHIFT, VGEIN_SHIFT } from './hstatus.ts';
import {
  anyOf,
  hasFeature,
  ifFeature,
  instructionAddressMask,
  isGuest,
  MODE,
  MPP_SHIFT,
  MSTATUS,
  SPP_SHIFT,
} from './mstatus.ts';

const INTERRUPT_FLAG = 1n << 63n;
const SGEIP_BIT = 12;
const VSEIP_BIT = 10;

/** What a trap says of itself. All but the first two are zero for interrupts, and where there is no hypervisor extension. */
export interface Trap<V> {
  /** The code, without the interrupt flag. */
  readonly cause: V;
  readonly tval: V;
  /** 1: the access that failed was a guest's, though V is 0 (hlv, hlvx, hsv; MPRV with MPV). */
  readonly isGuestAccess: V;
  /** For guest-page faults: the guest-physical address that failed, shifted right by two bits. */
  readonly gpa: V;
  /** The instruction transformed, or the pseudoinstruction of an implicit access (transformed.ts). */
  readonly instruction: V;
}

/**
 * Takes a trap of the instruction at m.pc() (for an interrupt: before it). Sets the cause registers, mstatus, mode, V
 * and, through jumpTo, the pc.
 */
export function enterTrap<V, C>(m: Machine<V, C>, trap: Trap<V>, isInterrupt: boolean): void {
  const cause = m.let(trap.cause);
  const mode = m.let(m.mode());
  const guest = m.let(m.state('virtual'));
  const pc = m.let(m.pc());
  const delegation = isInterrupt ? delegatedInterrupts(m) : m.state('medeleg');
  // Traps from M-mode never go to a lower mode, whatever is delegated.
  const toSupervisor = m.let(
    m.bool(m.both(m.ltu(mode, m.const(MODE.machine)), anyOf(m, m.srl(delegation, cause), 1n))),
  );
  const further = m.srl(m.state(isInterrupt ? 'hideleg' : 'hedeleg'), cause);
  const toGuest = m.let(m.and(m.and(guest, toSupervisor), further));
  const isAddress = isInterrupt ? m.const(0) : m.and(m.srl(m.const(ADDRESS_EXCEPTIONS), cause), m.const(1));
  const from: Origin<V> = {
    ...trap,
    cause,
    mode,
    guest,
    pc,
    gva: m.let(m.or(m.and(guest, isAddress), trap.isGuestAccess)),
  };
  m.when(
    m.ne(toGuest, m.const(0)),
    () => trapToGuest(m, from, isInterrupt),
    () => {
      const isSupervisor = m.ne(toSupervisor, m.const(0));
      m.when(m.ne(guest, m.const(0)), () => {
        selectHost(m);
        m.when(
          isSupervisor,
          () => countTrap(m, 'trapToHypervisor', cause, isInterrupt),
          () => countTrap(m, 'trapToMachine', cause, isInterrupt),
        );
      });
      m.when(
        isSupervisor,
        () => trapToSupervisor(m, from, isInterrupt),
        () => trapToMachine(m, from, isInterrupt),
      );
    },
  );
  m.contextChanged();
}

interface Origin<V> extends Trap<V> {
  readonly mode: V;
  /** V. */
  readonly guest: V;
  readonly pc: V;
  /** 1: tval is a guest virtual address. */
  readonly gva: V;
}

/** Direct, or for interrupts as the vector says. */
function jumpToVector<V, C>(m: Machine<V, C>, vector: V, code: V, isInterrupt: boolean): void {
  const fixed = m.let(vector);
  const base = m.and(fixed, m.const(-4));
  const offset = isInterrupt ? m.select(anyOf(m, fixed, 1n), m.sll(code, m.const(2)), m.const(0)) : m.const(0);
  m.jumpTo(m.add(base, offset));
}

function fullCause<V, C>(m: Machine<V, C>, code: V, isInterrupt: boolean): V {
  return isInterrupt ? m.or(code, m.const(INTERRUPT_FLAG)) : code;
}

/** mstatus of a trap to S-mode: of HS-mode or VS-mode, whosever bits are in mstatus. */
function supervisorStatus<V, C>(m: Machine<V, C>, mode: V): V {
  const status = m.let(m.state('mstatus'));
  const enabled = m.select(anyOf(m, status, MSTATUS.SIE), m.const(MSTATUS.SPIE), m.const(0));
  const kept = m.and(status, m.const(~(MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP)));
  return m.or(m.or(kept, enabled), m.sll(mode, m.const(SPP_SHIFT)));
}

/** VS-mode knows its interrupts by the supervisor's codes. */
function trapToGuest<V, C>(m: Machine<V, C>, from: Origin<V>, isInterrupt: boolean): void {
  countTrap(m, 'trapToGuest', from.cause, isInterrupt);
  const code = m.let(isInterrupt ? m.sub(from.cause, m.const(1)) : from.cause);
  m.setState('mstatus', supervisorStatus(m, from.mode));
  m.setState('vsepc', from.pc);
  m.setState('vscause', fullCause(m, code, isInterrupt));
  m.setState('vstval', from.tval);
  m.setState('mode', m.const(MODE.supervisor));
  jumpToVector(m, m.state('vstvec'), code, isInterrupt);
}

function trapToSupervisor<V, C>(m: Machine<V, C>, from: Origin<V>, isInterrupt: boolean): void {
  m.setState('mstatus', supervisorStatus(m, from.mode));
  m.setState('sepc', from.pc);
  m.setState('scause', fullCause(m, from.cause, isInterrupt));
  m.setState('stval', from.tval);
  m.when(hasFeature(m, FEATURE.h), () => {
    const hstatus = m.let(m.state('hstatus'));
    const previous = m.or(m.const(HSTATUS.SPV), m.sll(from.mode, m.const(SPVP_SHIFT)));
    const kept = m.and(hstatus, m.const(~(HSTATUS.SPV | HSTATUS.GVA)));
    const guests = m.or(m.and(kept, m.const(~HSTATUS.SPVP)), previous);
    const written = m.select(m.ne(from.guest, m.const(0)), guests, kept);
    m.setState('hstatus', m.or(written, m.select(m.ne(from.gva, m.const(0)), m.const(HSTATUS.GVA), m.const(0))));
    m.setState('htval', from.gpa);
    m.setState('htinst', from.instruction);
  });
  m.setState('mode', m.const(MODE.supervisor));
  jumpToVector(m, m.state('stvec'), from.cause, isInterrupt);
}

function trapToMachine<V, C>(m: Machine<V, C>, from: Origin<V>, isInterrupt: boolean): void {
  const status = m.let(m.state('mstatus'));
  const enabled = m.select(anyOf(m, status, MSTATUS.MIE), m.const(MSTATUS.MPIE), m.const(0));
  const written = MSTATUS.MIE | MSTATUS.MPIE | MSTATUS.MPP | MSTATUS.MPV | MSTATUS.GVA;
  const previous = m.or(
    m.select(m.ne(from.guest, m.const(0)), m.const(MSTATUS.MPV), m.const(0)),
    m.select(m.ne(from.gva, m.const(0)), m.const(MSTATUS.GVA), m.const(0)),
  );
  const kept = m.and(status, m.const(~written));
  m.setState('mstatus', m.or(m.or(kept, enabled), m.or(previous, m.sll(from.mode, m.const(MPP_SHIFT)))));
  m.setState('mepc', from.pc);
  m.setState('mcause', fullCause(m, from.cause, isInterrupt));
  m.setState('mtval', from.tval);
  m.when(hasFeature(m, FEATURE.h), () => {
    m.setState('mtval2', from.gpa);
    m.setState('mtinst', from.instruction);
  });
  m.setState('mode', m.const(MODE.machine));
  jumpToVector(m, m.state('mtvec'), from.cause, isInterrupt);
}

/** mret, behind its guard. */
export function returnFromMachine<V, C>(m: Machine<V, C>): void {
  const status = m.let(m.state('mstatus'));
  const mode = m.let(m.srl(m.and(status, m.const(MSTATUS.MPP)), m.const(MPP_SHIFT)));
  const { MIE, MPIE, MPP, MPV, MPRV } = MSTATUS;
  const enabled = m.select(anyOf(m, status, MPIE), m.const(MIE | MPIE), m.const(MPIE));
  const returned = m.let(m.or(m.and(status, m.const(~(MIE | MPIE | MPP | MPV))), enabled));
  const toMachine = m.eq(mode, m.const(MODE.machine));
  m.setState('mstatus', m.select(toMachine, returned, m.and(returned, m.const(~MPRV))));
  const target = m.and(m.state('mepc'), instructionAddressMask(m));
  m.setState('mode', mode);
  m.when(m.both(anyOf(m, status, MPV), m.negate(toMachine)), () => selectGuest(m, 'mretToGuest'));
  m.jumpTo(target);
  m.contextChanged();
}

/** sret, behind its guards: in VS-mode within the guest, else back to what hstatus.SPV says. */
export function returnFromSupervisor<V, C>(m: Machine<V, C>): void {
  const status = m.let(m.state('mstatus'));
  const { SIE, SPIE, SPP, MPRV } = MSTATUS;
  const enabled = m.select(anyOf(m, status, SPIE), m.const(SIE | SPIE), m.const(SPIE));
  m.setState('mstatus', m.or(m.and(status, m.const(~(SIE | SPIE | SPP | MPRV))), enabled));
  const target = m.let(m.and(m.areaState('sepc'), instructionAddressMask(m)));
  m.setState('mode', m.srl(m.and(status, m.const(SPP)), m.const(SPP_SHIFT)));
  m.when(
    isGuest(m),
    () => m.countArea(m.const(AREA_BY_CAUSE.sretInGuest.counter)),
    () => {
      const hstatus = m.let(m.state('hstatus'));
      m.when(anyOf(m, hstatus, HSTATUS.SPV), () => {
        m.setState('hstatus', m.and(hstatus, m.const(~HSTATUS.SPV)));
        selectGuest(m, 'sretToGuest');
      });
    },
  );
  m.jumpTo(target);
  m.contextChanged();
}

/** mideleg: what belongs to guests is always delegated. */
export function delegatedInterrupts<V, C>(m: Machine<V, C>): V {
  return m.let(m.or(m.state('mideleg'), ifFeature(m, FEATURE.h, HYPERVISOR_INTERRUPT_BITS)));
}

/**
 * mip as it reads: bits that software set, or that devices drive. With Sstc enabled (menvcfg.STCE), STIP is the
 * comparison of time with stimecmp (a line), and not software's. SSIP has no line: other harts' software interrupts reach
 * `mip` through the thread that runs this hart, so that the guest's clearing of SSIP races with nobody.
 */
export function pendingBits<V, C>(m: Machine<V, C>): V {
  const byComparison = m.both(hasFeature(m, FEATURE.sstc), anyOf(m, m.state('menvcfg'), ENVCFG.STCE));
  const software = m.state('mip');
  const lines = m.state('lines');
  const timer = m.select(byComparison, lines, software);
  const bySoftware = m.const(SSIP | SEIP | VIRTUAL_INTERRUPT_BITS);
  const others = m.or(m.and(software, bySoftware), m.and(lines, m.const(LINES)));
  return m.let(m.or(m.or(others, m.and(timer, m.const(STIP))), guestExternal(m)));
}

/** SGEIP and VSEIP as guest interrupt files drive them: hgeip has bits of hgeie; hgeip has the bit that VGEIN names. */
function guestExternal<V, C>(m: Machine<V, C>): V {
  const pending = m.let(m.state('hgeip'));
  const file = m.and(m.srl(m.state('hstatus'), m.const(VGEIN_SHIFT)), m.const(0x3f));
  const own = m.and(m.srl(pending, file), m.const(1));
  const any = m.bool(m.ne(m.and(pending, m.state('hgeie')), m.const(0)));
  return m.or(m.sll(any, m.const(SGEIP_BIT)), m.sll(own, m.const(VSEIP_BIT)));
}

/** True if an interrupt is pending that mie enables, whatever mode and mstatus say: what ends wfi. */
export function interruptWaiting<V, C>(m: Machine<V, C>): C {
  return m.ne(m.and(pendingBits(m), m.state('mie')), m.const(0));
}

/**
 * The code of the interrupt to take before the next instruction, or -1. Interrupts for M-mode come before those for
 * HS-mode, these before those for VS-mode; an interrupt for mode x is taken in lower modes always, in x if xIE is set, in
 * higher modes never.
 */
export function pendingInterrupt<V, C>(m: Machine<V, C>): V {
  const mode = m.let(m.mode());
  const status = m.let(m.state('mstatus'));
  const guest = m.ne(m.let(m.state('virtual')), m.const(0));
  const pending = m.let(m.and(pendingBits(m), m.state('mie')));
  const delegated = delegatedInterrupts(m);
  const further = m.let(m.and(delegated, m.state('hideleg')));
  const machineTakes = m.either(m.ltu(mode, m.const(MODE.machine)), anyOf(m, status, MSTATUS.MIE));
  const supervisorTakes = m.either(
    m.eq(mode, m.const(MODE.user)),
    m.both(m.eq(mode, m.const(MODE.supervisor)), anyOf(m, status, MSTATUS.SIE)),
  );
  const forMachine = m.let(m.select(machineTakes, m.and(pending, m.not(delegated)), m.const(0)));
  const toHost = m.and(pending, m.and(delegated, m.not(further)));
  const forHost = m.let(m.select(m.either(guest, supervisorTakes), toHost, m.const(0)));
  const forGuest = m.select(m.both(guest, supervisorTakes), m.and(pending, further), m.const(0));
  const below = m.select(m.ne(forHost, m.const(0)), forHost, forGuest);
  const takeable = m.let(m.select(m.ne(forMachine, m.const(0)), forMachine, below));
  let cause = m.const(-1);
  for (const candidate of INTERRUPT_PRIORITY.toReversed()) {
    cause = m.select(anyOf(m, takeable, 1n << BigInt(candidate)), m.const(candidate), cause);
  }
  return cause;
}
