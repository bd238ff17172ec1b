/** What QEMU 10 does otherwise, and may: outcomes of both machines without it. */
import { HOST_HANDLER } from './guest-program.testing.ts';
import type { GuestOutcome } from './reference-guests.testing.ts';

const GVA = 1n << 38n;
const EXCEPTIONS = 0xf0_b7ffn;
const GUEST_EXCEPTIONS = 0xb1ffn;
const HSTATUS = 0x70_03c0n;
const VSSTATUS = 0xc_6122n;
const MTIP = 1n << 7n;
const VIRTUAL = 0x444n;
const GUEST_PAGE_FAULTS: ReadonlySet<bigint> = new Set([20n, 21n, 23n]);

function without(outcome: GuestOutcome, expected: GuestOutcome): GuestOutcome {
  const csrs = { ...outcome.csrs };
  const mask = (name: string, bits: bigint): void => {
    csrs[name] = (csrs[name] ?? 0n) & ~bits;
  };
  // GVA of mstatus: set for illegal instructions, too, and never cleared.
  mask('mstatus', GVA);
  // hstatus's: cleared by traps to VS-mode, too. Programs that end in HS-mode's handler show it.
  if ((expected.csrs['mepc'] ?? 0n) >> 12n !== HOST_HANDLER >> 12n) mask('hstatus', 1n << 6n);
  // hstatus keeps bits that mean nothing here.
  mask('hstatus', ~HSTATUS);
  // vsstatus keeps whatever is written, and does not summarise; so do vsepc and hideleg.
  mask('vsstatus', ~VSSTATUS);
  mask('vsepc', 1n);
  mask('hideleg', ~VIRTUAL);
  // It has exceptions that this hart has not.
  mask('medeleg', ~EXCEPTIONS);
  mask('hedeleg', ~GUEST_EXCEPTIONS);
  // It has fewer counters.
  for (const name of ['mcounteren', 'hcounteren', 'scounteren']) mask(name, ~7n);
  // The machine's timer is due there; hvip shows more of mip than its own.
  mask('mip', MTIP);
  mask('hvip', ~VIRTUAL);
  // mtval2 and htval keep what an earlier fault left; what is told of accesses that are not a guest's is zero here.
  const { mcause = 0n, scause = 0n, mtinst = 0n, htinst = 0n } = expected.csrs;
  if (!GUEST_PAGE_FAULTS.has(mcause)) mask('mtval2', ~0n);
  if (!GUEST_PAGE_FAULTS.has(scause)) mask('htval', ~0n);
  if (mtinst === 0n) mask('mtinst', ~0n);
  if (htinst === 0n) mask('htinst', ~0n);
  return { ...outcome, csrs };
}

/** QEMU's outcome and the reference machine's, as they must be equal. */
export function comparable(actual: GuestOutcome, expected: GuestOutcome): readonly [GuestOutcome, GuestOutcome] {
  return [without(actual, expected), without(expected, expected)];
}
