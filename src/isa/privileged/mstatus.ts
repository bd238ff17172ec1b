/**
 * Bits of mstatus (privileged specification, "Machine Status Registers") that this hart implements, and small
 * questions about state that the privileged semantics share. The state field `mstatus` holds writable bits only:
 * SD, UXL and SXL are made by the CSR table on reading. Not implemented: big-endian modes (UBE, SBE, MBE), vector
 * and other state (VS, XS), landing pads, double trap. While V is 1 the supervisor's bits are those of vsstatus
 * (areas.ts).
 */
import type { Machine } from '../machine.ts';
import { FEATURE } from '../state.ts';

export const MSTATUS = {
  SIE: 1n << 1n,
  MIE: 1n << 3n,
  SPIE: 1n << 5n,
  MPIE: 1n << 7n,
  SPP: 1n << 8n,
  MPP: 3n << 11n,
  FS: 3n << 13n,
  MPRV: 1n << 17n,
  SUM: 1n << 18n,
  MXR: 1n << 19n,
  TVM: 1n << 20n,
  TW: 1n << 21n,
  TSR: 1n << 22n,
  UXL: 3n << 32n,
  SXL: 3n << 34n,
  GVA: 1n << 38n,
  MPV: 1n << 39n,
  SD: 1n << 63n,
} as const;

export const MPP_SHIFT = 11;
export const SPP_SHIFT = 8;

/** Privilege modes as `mode`, MPP and CSR numbers encode them. */
export const MODE = { user: 0, supervisor: 1, machine: 3 } as const;

/** True if any bit of `mask` is set in `value`. */
export function anyOf<V, C>(m: Machine<V, C>, value: V, mask: bigint): C {
  return m.ne(m.and(value, m.const(mask)), m.const(0));
}

/** True if the hart has the feature (a bit of FEATURE). */
export function hasFeature<V, C>(m: Machine<V, C>, feature: bigint): C {
  return anyOf(m, m.state('features'), feature);
}

export function inMode<V, C>(m: Machine<V, C>, mode: number): C {
  return m.eq(m.mode(), m.const(mode));
}

/** Illegal instruction below `mode`. */
export function requirePrivilege<V, C>(m: Machine<V, C>, mode: number): void {
  if (mode !== MODE.user) m.require(m.negate(m.ltu(m.mode(), m.const(mode))));
}

/** True in VS- and VU-mode: V is 1. */
export function isGuest<V, C>(m: Machine<V, C>): C {
  return m.ne(m.state('virtual'), m.const(0));
}

/** Not in U-mode: an illegal instruction there, a virtual one in VU-mode. */
export function requireSupervisor<V, C>(m: Machine<V, C>): void {
  m.requireVirtual(m.ne(m.mode(), m.const(MODE.user)));
}

/** HS- and M-mode only: an illegal instruction in U-mode, a virtual one for guests. That the hart has H is the caller's to ask. */
export function requireHypervisor<V, C>(m: Machine<V, C>): void {
  m.requireVirtual(m.both(m.ne(m.mode(), m.const(MODE.user)), m.negate(isGuest(m))));
}

/**
 * What mstatus.TVM and TSR forbid HS-mode, and their twins in hstatus (`guestTrap`: VTVM, VTSR) VS-mode; U-mode may not
 * at all. "The TSR and TVM fields of mstatus affect execution only in HS-mode, and not in VS-mode."
 */
export function requireSupervisorUnless<V, C>(m: Machine<V, C>, trap: bigint, guestTrap: bigint): void {
  requireSupervisor(m);
  m.when(
    isGuest(m),
    () => m.requireVirtual(m.negate(anyOf(m, m.state('hstatus'), guestTrap))),
    () => m.require(m.negate(m.both(inMode(m, MODE.supervisor), anyOf(m, m.state('mstatus'), trap)))),
  );
}

/** `value` where the hart has the feature, else zero. */
export function ifFeature<V, C>(m: Machine<V, C>, feature: bigint, value: bigint): V {
  return m.select(hasFeature(m, feature), m.const(value), m.const(0));
}

/** `old` with the bits of `mask` taken from `value`. */
export function merge<V, C>(m: Machine<V, C>, old: V, value: V, mask: V): V {
  return m.or(m.and(old, m.not(mask)), m.and(value, mask));
}

/** IALIGN: the bits of an instruction's address that are always zero, as a mask to keep the others. */
export function instructionAddressMask<V, C>(m: Machine<V, C>): V {
  return m.select(hasFeature(m, FEATURE.c), m.const(-2), m.const(-4));
}
