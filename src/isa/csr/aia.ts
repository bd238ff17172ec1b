/**
 * CSRs of the Advanced Interrupt Architecture that have no IMSIC behind them (AIA specification, chapters "Control and
 * Status Registers" and "Interrupts for Machine and Supervisor Levels"): virtual interrupts for supervisor level, and the
 * first of the interrupts that are due. Priorities of major interrupts cannot be configured: iprio is read-only zero
 * (imsic.ts), so that the priority in mtopi and stopi is always 1.
 */
import type { Machine } from '../machine.ts';
import { SEIP, SSIP, STIP } from '../privileged/causes.ts';
import { ENVCFG } from '../privileged/envcfg.ts';
import { HVICTL, topForGuest } from '../privileged/guest-top.ts';
import { anyOf, hasFeature, isGuest, merge } from '../privileged/mstatus.ts';
import { firstForMachine, firstForSupervisor } from '../privileged/trap.ts';
import { VIRTUAL_INTERRUPTS } from '../privileged/virtual-interrupts.ts';
import { FEATURE } from '../state.ts';
import { type Csr, constant, csr, type Guard, type Read, register } from './csr.ts';
import { readGuestEnables, readGuestPending } from './guest-interrupts.ts';
import { requireSsaia } from './imsic.ts';
import { STATEEN, stateEnabled } from './state-enable.ts';

const IID_SHIFT = 16;
const SIMPLE_PRIORITY = 1;

/** mvien and mvip exist where there is supervisor mode. */
const withSupervisor: Guard = (m) => m.require(hasFeature(m, FEATURE.supervisor));

/** mip's STIP is software's to write unless Sstc drives it: mvip's then, too. */
function timerBySoftware<V, C>(m: Machine<V, C>): V {
  const byComparison = m.both(hasFeature(m, FEATURE.sstc), anyOf(m, m.state('menvcfg'), ENVCFG.STCE));
  return m.select(byComparison, m.const(0), m.const(STIP));
}

/** Bits of mvip that are mip's: SSIP unless it is a virtual interrupt's own, STIP if it is writable, SEIP as software wrote it. */
function sharedWithMip<V, C>(m: Machine<V, C>): V {
  const software = m.and(m.const(SSIP), m.not(m.state('mvien')));
  return m.let(m.or(m.or(software, m.const(SEIP)), timerBySoftware(m)));
}

function readMvip<V, C>(m: Machine<V, C>): V {
  const own = m.and(m.state('mvip'), m.and(m.state('mvien'), m.const(SSIP)));
  return m.or(own, m.and(m.state('mip'), sharedWithMip(m)));
}

function writeMvip<V, C>(m: Machine<V, C>, value: V): void {
  const shared = sharedWithMip(m);
  m.setState('mvip', merge(m, m.state('mvip'), value, m.let(m.and(m.state('mvien'), m.const(SSIP)))));
  m.setState('mip', merge(m, m.state('mip'), value, shared));
  m.contextChanged();
}

function topInterrupt<V, C>(m: Machine<V, C>, first: V): V {
  const told = m.or(m.sll(first, m.const(IID_SHIFT)), m.const(SIMPLE_PRIORITY));
  return m.select(m.eq(first, m.const(-1)), m.const(0), told);
}

/** Bits of vsip that vsie enables are vstopi's candidates, besides what hvictl makes. */
const readGuestTop: Read = (m) => {
  const waiting = m.and(readGuestPending(m), readGuestEnables(m));
  const { identity, priority } = topForGuest(m, waiting);
  const told = m.or(m.sll(identity, m.const(IID_SHIFT)), priority);
  return m.let(m.select(m.eq(identity, m.const(0)), m.const(0), told));
};

const HVICTL_BITS = HVICTL.VTI | HVICTL.IID | HVICTL.DPR | HVICTL.IPRIOM | HVICTL.IPRIO;

/** Of guests and AIA's: for HS-mode and M-mode. */
const forGuests: Guard = (m) => {
  requireSsaia(m);
  stateEnabled(STATEEN.AIA)(m);
};
const forHypervisor = { requires: 'h', guard: forGuests } as const;

export const AIA_CSRS: readonly Csr[] = [
  register(0x308, 'mvien', 'SEI[9] SSI[1]', 'Interrupts that are virtual ones at supervisor level.', {
    requires: 'smaia',
    guard: withSupervisor,
    write: (m, value) => {
      m.setState('mvien', m.and(value, m.const(VIRTUAL_INTERRUPTS)));
      m.contextChanged();
    },
  }),
  csr(0x309, 'mvip', 'SEIP[9] STIP[5] SSIP[1]', 'Virtual interrupts that are pending.', readMvip, {
    requires: 'smaia',
    guard: withSupervisor,
    write: writeMvip,
  }),
  csr(
    0xfb0,
    'mtopi',
    'IID[27:16]=* IPRIO[7:0]=*',
    'The first of the interrupts that are due at machine level.',
    (m) => topInterrupt(m, firstForMachine(m)),
    { requires: 'smaia' },
  ),
  csr(
    0xdb0,
    'stopi',
    'IID[27:16]=* IPRIO[7:0]=*',
    'The first of the interrupts that are due at supervisor level.',
    (m) => m.select(isGuest(m), readGuestTop(m), topInterrupt(m, firstForSupervisor(m))),
    { requires: 'ssaia', guard: stateEnabled(STATEEN.AIA) },
  ),
  csr(
    0xeb0,
    'vstopi',
    'IID[27:16]=* IPRIO[7:0]=*',
    'The first of the interrupts that are due for VS-mode.',
    readGuestTop,
    {
      requires: 'h',
      guard: forGuests,
    },
  ),
  register(
    0x609,
    'hvictl',
    'VTI[30] IID[27:16] DPR[9] IPRIOM[8] IPRIO[7:0]',
    'An interrupt that the hypervisor makes for VS-mode, and whether others count.',
    {
      requires: 'h',
      guard: forGuests,
      write: (m, value) => {
        m.setState('hvictl', m.and(value, m.const(HVICTL_BITS)));
        m.contextChanged();
      },
    },
  ),
  constant(0x608, 'hvien', 0n, 'Interrupts 13 to 63 that are virtual ones for VS-mode: none.', forHypervisor),
  constant(0x646, 'hviprio1', 0n, "Priorities of VS-mode's interrupts: the default ones.", forHypervisor),
  constant(0x647, 'hviprio2', 0n, "Priorities of VS-mode's interrupts: the default ones.", forHypervisor),
];
