/**
 * The hypervisor's CSRs and VS-mode's as HS-mode names them, but for status (status.ts), interrupts
 * (guest-interrupts.ts), counters and time (counters.ts) and state enables (state-enable.ts). Privileged specification,
 * "Hypervisor and Virtual Supervisor CSRs".
 */
import type { Machine } from '../machine.ts';
import { GUEST_EXCEPTIONS } from '../privileged/causes.ts';
import { ENVCFG } from '../privileged/envcfg.ts';
import { GSTAGE_PPN, HGATP_MODE, HGATP_VMID } from '../privileged/hgatp.ts';
import { HSTATUS, VGEIN_SHIFT } from '../privileged/hstatus.ts';
import { anyOf, MSTATUS, merge, requireSupervisorUnless } from '../privileged/mstatus.ts';
import { type Csr, csr, register } from './csr.ts';
import { STATEEN, stateEnabled } from './state-enable.ts';
import { isPagingMode, legalEnvironment, legalExceptionPc, legalVector, SATP_FIELDS } from './supervisor.ts';

const VSXL_64 = 2n << 32n;
const { GVA, SPV, SPVP, HU, VGEIN, VTVM, VTW, VTSR } = HSTATUS;
const HSTATUS_WRITABLE = GVA | SPV | SPVP | HU | VGEIN | VTVM | VTW | VTSR;
/** What henvcfg has only where menvcfg has it. */
const FROM_MACHINE = ENVCFG.STCE | ENVCFG.PBMTE | ENVCFG.ADUE;

/** VGEIN names one of the guest interrupt files that are there, or none: any other value leaves it as it was. */
function writeHstatus<V, C>(m: Machine<V, C>, value: V): void {
  const old = m.let(m.state('hstatus'));
  const file = m.and(m.srl(value, m.const(VGEIN_SHIFT)), m.const(VGEIN >> BigInt(VGEIN_SHIFT)));
  const isThere = m.negate(m.ltu(m.state('guestFiles'), file));
  const written = m.let(m.and(value, m.const(HSTATUS_WRITABLE)));
  const next = m.let(m.select(isThere, written, merge(m, written, old, m.const(VGEIN))));
  m.setState('hstatus', next);
  m.when(anyOf(m, m.xor(old, next), VGEIN), () => m.contextChanged());
}

function readEnvironment<V, C>(m: Machine<V, C>): V {
  return m.and(m.state('henvcfg'), m.or(m.state('menvcfg'), m.const(~FROM_MACHINE)));
}

/** Fences are software's, as the manual has it for PBMTE and ADUE of henvcfg. */
function writeEnvironment<V, C>(m: Machine<V, C>, value: V): void {
  const old = m.let(m.state('henvcfg'));
  const next = legalEnvironment(m, old, value, m.and(m.state('menvcfg'), m.const(FROM_MACHINE)));
  m.setState('henvcfg', next);
  m.when(anyOf(m, m.xor(old, next), ENVCFG.STCE), () => {
    m.timerChanged();
    m.contextChanged();
  });
}

/** Fields are WARL each: an unsupported mode leaves MODE as it was. The root is aligned to 16 KiB. */
function writeHgatp<V, C>(m: Machine<V, C>, value: V): void {
  const old = m.let(m.state('hgatp'));
  const written = m.let(m.and(value, m.const(HGATP_MODE | HGATP_VMID | GSTAGE_PPN)));
  const kept = merge(m, written, old, m.const(HGATP_MODE));
  m.setState('hgatp', m.select(isPagingMode(m, value), written, kept));
  m.contextChanged();
}

const inHypervisor = { requires: 'h' } as const;

export const HYPERVISOR_CSRS: readonly Csr[] = [
  register(0x205, 'vstvec', 'BASE[63:2] MODE[0]', "VS-mode's stvec.", {
    ...inHypervisor,
    write: (m, value) => m.setState('vstvec', legalVector(m, m.state('vstvec'), value)),
  }),
  register(0x240, 'vsscratch', 'value[63:0]', "VS-mode's sscratch.", inHypervisor),
  register(0x241, 'vsepc', 'address[63:1]', "VS-mode's sepc.", {
    ...inHypervisor,
    write: (m, value) => m.setState('vsepc', legalExceptionPc(m, value)),
  }),
  register(0x242, 'vscause', 'Interrupt[63] code[62:0]', "VS-mode's scause.", inHypervisor),
  register(0x243, 'vstval', 'value[63:0]', "VS-mode's stval.", inHypervisor),
  register(0x280, 'vsatp', SATP_FIELDS, "VS-mode's satp.", {
    ...inHypervisor,
    write: (m, value) => {
      m.when(isPagingMode(m, value), () => {
        m.setState('vsatp', m.and(value, m.not(m.state('asidAbsent'))));
        m.contextChanged();
      });
    },
  }),
  csr(
    0x600,
    'hstatus',
    'VSBE[5]=0 GVA[6] SPV[7] SPVP[8] HU[9] VGEIN[17:12] VTVM[20] VTW[21] VTSR[22] VSXL[33:32]=2',
    'The guest before a trap into HS-mode, and what guests may not do.',
    (m) => m.or(m.state('hstatus'), m.const(VSXL_64)),
    { ...inHypervisor, reset: VSXL_64, write: writeHstatus },
  ),
  register(0x602, 'hedeleg', guestExceptions(), 'Exceptions that go to VS-mode.', inHypervisor),
  csr(
    0x60a,
    'henvcfg',
    'STCE[63] PBMTE[62] ADUE[61] CBZE[7] CBCFE[6] CBIE[5:4] FIOM[0]',
    "Guests' environment; the highest three where menvcfg has them.",
    readEnvironment,
    { ...inHypervisor, guard: stateEnabled(STATEEN.ENVCFG), write: writeEnvironment },
  ),
  register(
    0x643,
    'htval',
    'value[63:0]',
    'Guest-physical address of a guest-page fault, without its two lowest bits.',
    inHypervisor,
  ),
  register(0x64a, 'htinst', 'value[63:0]', 'The instruction that trapped, transformed.', inHypervisor),
  register(
    0x680,
    'hgatp',
    'MODE[63:60] VMID[57:44] PPN[43:2]',
    'Root of the G-stage page table, and virtual machine.',
    {
      ...inHypervisor,
      guard: (m) => requireSupervisorUnless(m, MSTATUS.TVM, 0n),
      write: writeHgatp,
    },
  ),
];

function guestExceptions(): string {
  return Array.from({ length: 64 }, (_, cause) => cause)
    .filter((cause) => (GUEST_EXCEPTIONS >> BigInt(cause)) & 1n)
    .map((cause) => `cause${cause}[${cause}]`)
    .join(' ');
}
