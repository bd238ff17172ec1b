/** fflags, frm, fcsr: unprivileged specification, "Floating-Point Control and Status Register". */
import type { Machine } from '../machine.ts';
import { MSTATUS } from '../privileged/mstatus.ts';
import { type Csr, csr, type Guard } from './csr.ts';

const guard: Guard = (m) => m.requireFloat();
const options = { requires: 'float', guard } as const;

/** "FS is Dirty" after every write, also of the value that was there. */
function setDirty<V, C>(m: Machine<V, C>): void {
  m.setState('mstatus', m.or(m.state('mstatus'), m.const(MSTATUS.FS)));
}

function setFlags<V, C>(m: Machine<V, C>, value: V): void {
  m.setState('fflags', m.and(value, m.const(0x1f)));
}

/** Reserved rounding modes (5 to 7) can be stored; instructions that use them trap. */
function setRounding<V, C>(m: Machine<V, C>, value: V): void {
  m.setState('frm', m.and(value, m.const(7)));
}

export const FLOAT_CSRS: readonly Csr[] = [
  csr(
    0x001,
    'fflags',
    'NV[4] DZ[3] OF[2] UF[1] NX[0]',
    'Accrued floating-point exceptions.',
    (m) => m.state('fflags'),
    {
      ...options,
      write: (m, value) => {
        setFlags(m, value);
        setDirty(m);
      },
    },
  ),
  csr(0x002, 'frm', 'frm[2:0]', 'Dynamic rounding mode.', (m) => m.state('frm'), {
    ...options,
    write: (m, value) => {
      setRounding(m, value);
      setDirty(m);
    },
  }),
  csr(
    0x003,
    'fcsr',
    'frm[7:5] NV[4] DZ[3] OF[2] UF[1] NX[0]',
    'Floating-point control and status: frm and fflags.',
    (m) => m.or(m.sll(m.state('frm'), m.const(5)), m.state('fflags')),
    {
      ...options,
      write: (m, value) => {
        setFlags(m, value);
        setRounding(m, m.srl(value, m.const(5)));
        setDirty(m);
      },
    },
  ),
];
