/**
 * The CSR table: every control and status register of the hart, described once. An engine reads and writes a CSR
 * with readCsr and writeCsr over its machine; a number that the table does not hold is an illegal instruction.
 */
import { COUNTER_CSRS } from './counters.ts';
import type { Csr } from './csr.ts';
import { FLOAT_CSRS } from './float.ts';
import { GUEST_INTERRUPT_CSRS } from './guest-interrupts.ts';
import { HYPERVISOR_CSRS } from './hypervisor.ts';
import { MACHINE_CSRS } from './machine-mode.ts';
import { PMP_CSRS } from './pmp.ts';
import { STATE_ENABLE_CSRS } from './state-enable.ts';
import { STATUS_CSRS } from './status.ts';
import { SUPERVISOR_CSRS } from './supervisor.ts';

export {
  type Csr,
  type CsrField,
  csrAccess,
  fieldMask,
  isReadOnly,
  privilegeOf,
  readCsr,
  writableBits,
  writeCsr,
} from './csr.ts';

/** All CSRs, by number. */
export const CSRS: readonly Csr[] = [
  ...FLOAT_CSRS,
  ...COUNTER_CSRS,
  ...STATUS_CSRS,
  ...SUPERVISOR_CSRS,
  ...MACHINE_CSRS,
  ...PMP_CSRS,
  ...HYPERVISOR_CSRS,
  ...GUEST_INTERRUPT_CSRS,
  ...STATE_ENABLE_CSRS,
].toSorted((a, b) => a.number - b.number);

export const CSR_BY_NUMBER: ReadonlyMap<number, Csr> = new Map(CSRS.map((row) => [row.number, row]));
export const CSR_BY_NAME: ReadonlyMap<string, Csr> = new Map(CSRS.map((row) => [row.name, row]));
