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
import { type Csr, type CsrOptions, csr, register } from './csr.ts';

const TVEC_RESERVED = 2n;
const CBIE_RESERVED = 2n << 4n;
const CACHE_BLOCKS = ENVCFG.CBIE | ENVCFG.CBCFE | ENVCFG.CBZE;

/** mtvec and stvec: a write of a reserved mode is ignored as a whole, as in QEMU. */
export function writeVector<V, C>(m: Machine<V, C>, field: 'mtvec' | 'stvec', value: V): void {
  m.setState(field, m.select(anyOf(m, value, TVEC_RESERVED), m.state(field), value));
}

/** mepc and sepc hold addresses of instructions. */
export function writeExceptionPc<V, C>(m: Machine<V, C>, field: 'mepc' | 'sepc', value: V): void {
  m.setState(field, m.and(value, instructionAddressMask(m)));
}

/** The value that a write of menvcfg or senvcfg leaves; `others` are bits beyond those that both have. */
export function legalEnvironment<V, C>(m: Machine<V, C>, old: V, value: V, others: V): V {
  const mask = m.or(m.or(m.const(ENVCFG.FIOM), ifFeature(m, FEATURE.cbo, CACHE_BLOCKS)), others);
  const next = m.let(m.and(value, mask));
  const reserved = m.eq(m.and(next, m.const(ENVCFG.CBIE)), m.const(CBIE_RESERVED));
  return m.let(m.select(reserved, merge(m, next, old, m.const(ENVCFG.CBIE)), next));
}

/** "If satp is written with an unsupported MODE, the entire write has no effect." */
function writeSatp<V, C>(m: Machine<V, C>, value: V): void {
  const mode = m.let(m.srl(value, m.const(SATP_MODE_SHIFT)));
  let supported = m.eq(mode, m.const(0));
  for (const paging of PAGING_MODES) {
    supported = m.either(supported, m.both(m.eq(mode, m.const(paging.mode)), hasFeature(m, paging.feature)));
  }
  m.when(supported, () => {
    m.setState('satp', m.and(value, m.not(m.state('asidAbsent'))));
    m.contextChanged();
  });
}

const inSupervisor = { requires: 'supervisor' } as const satisfies CsrOptions;

export const SUPERVISOR_CSRS: readonly Csr[] = [
  register(0x105, 'stvec', 'BASE[63:2] MODE[0]', "Address of the supervisor's trap handler; mode 1: vectored.", {
    ...inSupervisor,
    write: (m, value) => writeVector(m, 'stvec', value),
  }),
  register(
    0x10a,
    'senvcfg',
    'CBZE[7] CBCFE[6] CBIE[5:4] FIOM[0]',
    "User mode's environment: cache-block instructions.",
    {
      ...inSupervisor,
      write: (m, value) => m.setState('senvcfg', legalEnvironment(m, m.state('senvcfg'), value, m.const(0))),
    },
  ),
  register(0x140, 'sscratch', 'value[63:0]', "A word for the supervisor's trap handler.", inSupervisor),
  register(0x141, 'sepc', 'address[63:1]', 'pc of the trapped instruction.', {
    ...inSupervisor,
    write: (m, value) => writeExceptionPc(m, 'sepc', value),
  }),
  register(0x142, 'scause', 'Interrupt[63] code[62:0]', 'Cause of the trap.', inSupervisor),
  register(0x143, 'stval', 'value[63:0]', 'Address or instruction that goes with the trap.', inSupervisor),
  csr(
    0x180,
    'satp',
    'MODE[63:60] ASID[59:44] PPN[43:0]',
    'Root page table and address space.',
    (m) => m.state('satp'),
    {
      ...inSupervisor,
      guard: (m) => requireSupervisorUnless(m, MSTATUS.TVM, HSTATUS.VTVM),
      write: writeSatp,
    },
  ),
];
