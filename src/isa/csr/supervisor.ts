/** The supervisor's CSRs, but for its views of machine CSRs (status.ts) and counters (counters.ts). */
import type { Machine } from '../machine.ts';
import { ENVCFG } from '../privileged/envcfg.ts';
import { HSTATUS } from '../privileged/hstatus.ts';
import {
  anyOf,
  hasFeature,
  ifFeature,
  instructionAddressMask,
  MSTATUS,
  merge,
  requireSupervisorUnless,
} from '../privileged/mstatus.ts';
import { PAGING_MODES, SATP_MODE_SHIFT } from '../privileged/satp.ts';
import { FEATURE } from '../state.ts';
import { areaRegister, type Csr, register } from './csr.ts';
import { STATEEN, stateEnabled } from './state-enable.ts';

const TVEC_RESERVED = 2n;
const CBIE_RESERVED = 2n << 4n;
const CACHE_BLOCKS = ENVCFG.CBIE | ENVCFG.CBCFE | ENVCFG.CBZE;

/** What a write leaves of mtvec, stvec, vstvec: one of a reserved mode is ignored as a whole, as in QEMU. */
export function legalVector<V, C>(m: Machine<V, C>, old: V, value: V): V {
  return m.select(anyOf(m, value, TVEC_RESERVED), old, value);
}

/** mepc, sepc and vsepc hold addresses of instructions. */
export function legalExceptionPc<V, C>(m: Machine<V, C>, value: V): V {
  return m.and(value, instructionAddressMask(m));
}

/** The value that a write of menvcfg or senvcfg leaves; `others` are bits beyond those that both have. */
export function legalEnvironment<V, C>(m: Machine<V, C>, old: V, value: V, others: V): V {
  const mask = m.or(m.or(m.const(ENVCFG.FIOM), ifFeature(m, FEATURE.cbo, CACHE_BLOCKS)), others);
  const next = m.let(m.and(value, mask));
  const reserved = m.eq(m.and(next, m.const(ENVCFG.CBIE)), m.const(CBIE_RESERVED));
  return m.let(m.select(reserved, merge(m, next, old, m.const(ENVCFG.CBIE)), next));
}

/** Whether satp or vsatp can hold the mode of `value`. */
export function isPagingMode<V, C>(m: Machine<V, C>, value: V): C {
  const mode = m.let(m.srl(value, m.const(SATP_MODE_SHIFT)));
  let supported = m.eq(mode, m.const(0));
  for (const paging of PAGING_MODES) {
    supported = m.either(supported, m.both(m.eq(mode, m.const(paging.mode)), hasFeature(m, paging.feature)));
  }
  return supported;
}

/** "If satp is written with an unsupported MODE, the entire write has no effect." So is vsatp. */
function writeSatp<V, C>(m: Machine<V, C>, value: V): void {
  m.when(isPagingMode(m, value), () => {
    m.setAreaState('satp', m.and(value, m.not(m.state('asidAbsent'))));
    m.contextChanged();
  });
}

export const SATP_FIELDS = 'MODE[63:60] ASID[59:44] PPN[43:0]';

export const SUPERVISOR_CSRS: readonly Csr[] = [
  areaRegister(0x105, 'stvec', 'BASE[63:2] MODE[0]', "Address of the supervisor's trap handler; mode 1: vectored.", {
    write: (m, value) => m.setAreaState('stvec', legalVector(m, m.areaState('stvec'), value)),
  }),
  register(
    0x10a,
    'senvcfg',
    'CBZE[7] CBCFE[6] CBIE[5:4] FIOM[0]',
    "User mode's environment: cache-block instructions.",
    {
      requires: 'supervisor',
      guard: stateEnabled(STATEEN.ENVCFG),
      write: (m, value) => m.setState('senvcfg', legalEnvironment(m, m.state('senvcfg'), value, m.const(0))),
    },
  ),
  areaRegister(0x140, 'sscratch', 'value[63:0]', "A word for the supervisor's trap handler."),
  areaRegister(0x141, 'sepc', 'address[63:1]', 'pc of the trapped instruction.', {
    write: (m, value) => m.setAreaState('sepc', legalExceptionPc(m, value)),
  }),
  areaRegister(0x142, 'scause', 'Interrupt[63] code[62:0]', 'Cause of the trap.'),
  areaRegister(0x143, 'stval', 'value[63:0]', 'Address or instruction that goes with the trap.'),
  areaRegister(0x180, 'satp', SATP_FIELDS, 'Root page table and address space.', {
    guard: (m) => requireSupervisorUnless(m, MSTATUS.TVM, HSTATUS.VTVM),
    write: writeSatp,
  }),
];
