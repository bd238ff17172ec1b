/**
 * Machine-mode CSRs, but for status, interrupts (status.ts), counters (counters.ts) and PMP (pmp.ts). Of the debug
 * specification only what lets software find that there is no trigger: tselect keeps zero, tdata1 says type 0, tinfo
 * says that trigger 0 does not exist.
 */
import type { Machine } from '../machine.ts';
import { DELEGABLE_EXCEPTIONS, HYPERVISOR_EXCEPTIONS, SUPERVISOR_INTERRUPT_BITS } from '../privileged/causes.ts';
import { ENVCFG } from '../privileged/envcfg.ts';
import { anyOf, ifFeature } from '../privileged/mstatus.ts';
import { delegatedInterrupts } from '../privileged/trap.ts';
import { FEATURE } from '../state.ts';
import { type Csr, constant, csr, register } from './csr.ts';
import { legalEnvironment, legalExceptionPc, legalVector } from './supervisor.ts';

const NO_TRIGGER = 1n;

function writeEnvironment<V, C>(m: Machine<V, C>, value: V): void {
  const old = m.let(m.state('menvcfg'));
  const timer = ifFeature(m, FEATURE.sstc, ENVCFG.STCE);
  const pages = m.or(ifFeature(m, FEATURE.svpbmt, ENVCFG.PBMTE), ifFeature(m, FEATURE.svadu, ENVCFG.ADUE));
  const next = legalEnvironment(m, old, value, m.or(timer, pages));
  m.setState('menvcfg', next);
  const changed = m.let(m.xor(old, next));
  m.when(anyOf(m, changed, ENVCFG.PBMTE | ENVCFG.ADUE), () => {
    m.protectionChanged();
    m.contextChanged();
  });
  m.when(anyOf(m, changed, ENVCFG.STCE), () => {
    m.timerChanged();
    m.contextChanged();
  });
}

export const MACHINE_CSRS: readonly Csr[] = [
  csr(0x301, 'misa', 'MXL[63:62]=* extensions[25:0]=*', 'The extensions, by letter.', (m) => m.state('misa')),
  register(0x302, 'medeleg', delegable(), 'Exceptions that go to S-mode.', {
    requires: 'supervisor',
    write: (m, value) => {
      const own = m.or(m.const(DELEGABLE_EXCEPTIONS), ifFeature(m, FEATURE.h, HYPERVISOR_EXCEPTIONS));
      m.setState('medeleg', m.and(value, own));
    },
  }),
  csr(
    0x303,
    'mideleg',
    'SGEI[12]=* VSEI[10]=* SEI[9] VSTI[6]=* STI[5] VSSI[2]=* SSI[1]',
    'Interrupts that go to S-mode; what belongs to guests always does.',
    delegatedInterrupts,
    {
      requires: 'supervisor',
      reset: 0x1444n,
      write: (m, value) => {
        m.setState('mideleg', m.and(value, m.const(SUPERVISOR_INTERRUPT_BITS)));
        m.contextChanged();
      },
    },
  ),
  register(0x305, 'mtvec', 'BASE[63:2] MODE[0]', 'Address of the trap handler; mode 1: vectored.', {
    write: (m, value) => m.setState('mtvec', legalVector(m, m.state('mtvec'), value)),
  }),
  register(
    0x30a,
    'menvcfg',
    'STCE[63] PBMTE[62] ADUE[61] CBZE[7] CBCFE[6] CBIE[5:4] FIOM[0]',
    "Lower modes' environment.",
    {
      write: writeEnvironment,
    },
  ),
  register(0x340, 'mscratch', 'value[63:0]', 'A word for the trap handler.'),
  register(0x341, 'mepc', 'address[63:1]', 'pc of the trapped instruction.', {
    write: (m, value) => m.setState('mepc', legalExceptionPc(m, value)),
  }),
  register(0x342, 'mcause', 'Interrupt[63] code[62:0]', 'Cause of the trap.'),
  register(0x343, 'mtval', 'value[63:0]', 'Address or instruction that goes with the trap.'),
  register(0x34a, 'mtinst', 'value[63:0]', 'The instruction that trapped, transformed.', { requires: 'h' }),
  register(
    0x34b,
    'mtval2',
    'value[63:0]',
    'Guest-physical address of a guest-page fault, without its two lowest bits.',
    {
      requires: 'h',
    },
  ),
  constant(0x7a0, 'tselect', 0n, 'Debug trigger; there is none.'),
  constant(0x7a1, 'tdata1', 0n, 'Type of the trigger: none.'),
  constant(0x7a2, 'tdata2', 0n, 'Trigger data.'),
  constant(0x7a3, 'tdata3', 0n, 'Trigger data.'),
  constant(0x7a4, 'tinfo', NO_TRIGGER, 'Types that the trigger can have: there is no trigger.'),
  constant(0xf11, 'mvendorid', 0n, 'JEDEC number of the maker: none.'),
  constant(0xf12, 'marchid', 0n, 'Architecture: not registered.'),
  constant(0xf13, 'mimpid', 0n, 'Implementation: not given.'),
  csr(0xf14, 'mhartid', 'hart[63:0]=*', 'Number of this hart.', (m) => m.state('mhartid')),
  constant(0xf15, 'mconfigptr', 0n, 'Address of a configuration structure: none.'),
];

function delegable(): string {
  return Array.from({ length: 64 }, (_, cause) => cause)
    .filter((cause) => ((DELEGABLE_EXCEPTIONS | HYPERVISOR_EXCEPTIONS) >> BigInt(cause)) & 1n)
    .map((cause) => `cause${cause}[${cause}]`)
    .join(' ');
}
