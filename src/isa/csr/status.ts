/**
 * mstatus, sstatus, vsstatus, and the interrupt registers that have a supervisor's view: mie and sie, mip and sip
 * (privileged specification, "Machine Status", "Machine Interrupt", "Supervisor Status", "Supervisor Interrupt").
 */
import type { Machine } from '../machine.ts';
import { AREA_STATUS, guestStatus, writeGuestStatus } from '../privileged/areas.ts';
import {
  HYPERVISOR_INTERRUPT_BITS,
  MACHINE_INTERRUPT_BITS,
  SEIP,
  SSIP,
  STIP,
  SUPERVISOR_INTERRUPT_BITS,
  VSSIP,
} from '../privileged/causes.ts';
import { ENVCFG } from '../privileged/envcfg.ts';
import { anyOf, hasFeature, ifFeature, isGuest, MPP_SHIFT, MSTATUS, merge } from '../privileged/mstatus.ts';
import { pendingBits } from '../privileged/trap.ts';
import { FEATURE } from '../state.ts';
import { type Csr, csr } from './csr.ts';
import { readGuestEnables, readGuestPending, writeGuestEnables, writeGuestPending } from './guest-interrupts.ts';

const SSTATUS = MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.SUM | MSTATUS.MXR;
/** What M-mode finds in mstatus with supervisor mode, with the hypervisor extension, and always. */
const WITH_SUPERVISOR = SSTATUS | MSTATUS.TVM | MSTATUS.TSR;
const WITH_HYPERVISOR = MSTATUS.GVA | MSTATUS.MPV;
const ALWAYS = MSTATUS.MIE | MSTATUS.MPIE | MSTATUS.MPP | MSTATUS.MPRV | MSTATUS.TW;
/** UXL and SXL: 64 bits, as misa.MXL would say 2. */
const UXL_64 = 2n << 32n;
const SXL_64 = 2n << 34n;
const TRANSLATES = MSTATUS.MPRV | MSTATUS.MPP | MSTATUS.MPV | MSTATUS.SUM | MSTATUS.MXR;

/** SD summarises: FS is Dirty (VS and XS are read-only Off). */
function withSummary<V, C>(m: Machine<V, C>, status: V): V {
  const dirty = m.eq(m.and(status, m.const(MSTATUS.FS)), m.const(MSTATUS.FS));
  return m.or(status, m.select(dirty, m.const(MSTATUS.SD), m.const(0)));
}

function readMstatus<V, C>(m: Machine<V, C>): V {
  return m.or(
    withSummary(m, m.let(m.state('mstatus'))),
    m.or(m.const(UXL_64), ifFeature(m, FEATURE.supervisor, SXL_64)),
  );
}

/** sstatus or vsstatus as it reads, of the bits that the state holds. */
function supervisorStatus<V, C>(m: Machine<V, C>, status: V): V {
  return m.or(withSummary(m, m.let(m.and(status, m.const(AREA_STATUS)))), m.const(UXL_64));
}

function readSstatus<V, C>(m: Machine<V, C>): V {
  const status = m.let(m.state('mstatus'));
  return supervisorStatus(m, m.select(isGuest(m), guestStatus(m, status), status));
}

/** MPP holds modes that the hart has; any other value written leaves it as it was. */
function writeStatus<V, C>(m: Machine<V, C>, value: V, mask: V): void {
  const old = m.let(m.state('mstatus'));
  const written = m.let(merge(m, old, value, mask));
  const mpp = m.let(m.and(written, m.const(MSTATUS.MPP)));
  const noSupervisor = m.negate(hasFeature(m, FEATURE.supervisor));
  const illegal = m.either(
    m.eq(mpp, m.const(2 << MPP_SHIFT)),
    m.both(m.eq(mpp, m.const(1 << MPP_SHIFT)), noSupervisor),
  );
  const next = m.let(m.select(illegal, merge(m, written, old, m.const(MSTATUS.MPP)), written));
  m.setState('mstatus', next);
  concernsEngine(m, old, next);
}

/** Only what translation depends on, or an interrupt that has become possible, concerns the engine. */
function concernsEngine<V, C>(m: Machine<V, C>, old: V, next: V): void {
  const translates = anyOf(m, m.xor(old, next), TRANSLATES);
  const enables = anyOf(m, m.and(next, m.not(old)), MSTATUS.SIE | MSTATUS.MIE);
  m.when(m.either(translates, enables), () => m.contextChanged());
}

function writeMstatus<V, C>(m: Machine<V, C>, value: V): void {
  const optional = m.or(ifFeature(m, FEATURE.supervisor, WITH_SUPERVISOR), ifFeature(m, FEATURE.float, MSTATUS.FS));
  writeStatus(m, value, m.or(m.or(optional, ifFeature(m, FEATURE.h, WITH_HYPERVISOR)), m.const(ALWAYS)));
}

function writable<V, C>(m: Machine<V, C>): V {
  return m.let(m.or(m.const(SSTATUS), ifFeature(m, FEATURE.float, MSTATUS.FS)));
}

function writeSstatus<V, C>(m: Machine<V, C>, value: V): void {
  m.when(
    isGuest(m),
    () => {
      const old = m.let(m.state('mstatus'));
      writeGuestStatus(m, old, m.let(m.and(value, writable(m))));
      concernsEngine(m, old, m.let(m.state('mstatus')));
    },
    () => writeStatus(m, value, writable(m)),
  );
}

function writeMie<V, C>(m: Machine<V, C>, value: V): void {
  const supervisors = ifFeature(m, FEATURE.supervisor, SUPERVISOR_INTERRUPT_BITS);
  const guests = ifFeature(m, FEATURE.h, HYPERVISOR_INTERRUPT_BITS);
  m.setState('mie', m.and(value, m.or(m.const(MACHINE_INTERRUPT_BITS), m.or(supervisors, guests))));
  m.contextChanged();
}

/** sie and sip show, and change, only interrupts that mideleg delegates; for a guest they are vsie and vsip. */
function writeSie<V, C>(m: Machine<V, C>, value: V): void {
  m.when(
    isGuest(m),
    () => writeGuestEnables(m, value),
    () => m.setState('mie', merge(m, m.state('mie'), value, m.let(m.state('mideleg')))),
  );
  m.contextChanged();
}

function readSie<V, C>(m: Machine<V, C>): V {
  return m.select(isGuest(m), readGuestEnables(m), m.and(m.state('mie'), m.state('mideleg')));
}

function readSip<V, C>(m: Machine<V, C>): V {
  return m.select(isGuest(m), readGuestPending(m), m.and(pendingBits(m), m.state('mideleg')));
}

/**
 * SSIP, STIP, SEIP and VSSIP are software's to write; STIP not while Sstc drives it. SEIP reads software's bit or the
 * external line, but "only the software-writable SEIP bit participates" in csrrs and csrrc: bits that the
 * instruction does not name keep what software wrote.
 */
function writeMip<V, C>(m: Machine<V, C>, value: V, changes: V): void {
  const timerBySoftware = m.negate(m.both(hasFeature(m, FEATURE.sstc), anyOf(m, m.state('menvcfg'), ENVCFG.STCE)));
  const timer = m.select(timerBySoftware, m.const(STIP), m.const(0));
  const writable = m.select(hasFeature(m, FEATURE.supervisor), m.or(timer, m.const(SSIP | SEIP)), m.const(0));
  const guests = ifFeature(m, FEATURE.h, VSSIP);
  m.setState('mip', merge(m, m.state('mip'), value, m.let(m.and(m.or(writable, guests), changes))));
  m.contextChanged();
}

/** Of sip only SSIP is writable. */
function writeSip<V, C>(m: Machine<V, C>, value: V): void {
  m.when(
    isGuest(m),
    () => writeGuestPending(m, value),
    () => m.setState('mip', merge(m, m.state('mip'), value, m.let(m.and(m.state('mideleg'), m.const(SSIP))))),
  );
  m.contextChanged();
}

const SSTATUS_FIELDS = 'SIE[1] SPIE[5] SPP[8] VS[10:9]=0 FS[14:13] XS[16:15]=0 SUM[18] MXR[19] UXL[33:32]=2 SD[63]=*';
const MSTATUS_FIELDS =
  'SIE[1] MIE[3] SPIE[5] UBE[6]=0 MPIE[7] SPP[8] VS[10:9]=0 MPP[12:11] FS[14:13] XS[16:15]=0 MPRV[17] SUM[18] MXR[19] ' +
  'TVM[20] TW[21] TSR[22] UXL[33:32]=2 SXL[35:34]=2 SBE[36]=0 MBE[37]=0 GVA[38] MPV[39] SD[63]=*';

export const STATUS_CSRS: readonly Csr[] = [
  csr(0x100, 'sstatus', SSTATUS_FIELDS, "Supervisor's view of mstatus.", readSstatus, {
    requires: 'supervisor',
    reset: UXL_64,
    write: writeSstatus,
  }),
  csr(0x104, 'sie', 'SEIE[9] STIE[5] SSIE[1]', 'Delegated interrupts that are enabled.', readSie, {
    requires: 'supervisor',
    write: writeSie,
  }),
  csr(0x144, 'sip', 'SEIP[9]=* STIP[5]=* SSIP[1]', 'Delegated interrupts that are pending.', readSip, {
    requires: 'supervisor',
    write: writeSip,
  }),
  csr(0x200, 'vsstatus', SSTATUS_FIELDS, "VS-mode's sstatus.", (m) => supervisorStatus(m, m.state('vsstatus')), {
    requires: 'h',
    reset: UXL_64,
    write: (m, value) => m.setState('vsstatus', m.and(value, writable(m))),
  }),
  csr(0x300, 'mstatus', MSTATUS_FIELDS, 'Modes and interrupt enables, now and before the trap.', readMstatus, {
    reset: UXL_64 | SXL_64,
    write: writeMstatus,
  }),
  csr(
    0x304,
    'mie',
    'SGEIE[12] MEIE[11] VSEIE[10] SEIE[9] MTIE[7] VSTIE[6] STIE[5] MSIE[3] VSSIE[2] SSIE[1]',
    'Interrupts that are enabled.',
    (m) => m.state('mie'),
    {
      write: writeMie,
    },
  ),
  csr(
    0x344,
    'mip',
    'SGEIP[12]=* MEIP[11]=* VSEIP[10]=* SEIP[9] MTIP[7]=* VSTIP[6]=* STIP[5] MSIP[3]=* VSSIP[2] SSIP[1]',
    'Interrupts that are pending.',
    (m) => pendingBits(m),
    { write: writeMip },
  ),
];
