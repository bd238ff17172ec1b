/**
 * Bits of mstatus (privileged specification, "Machine Status Registers") that this hart implements, and small
 * questions about state that the privileged semantics share. The state field `mstatus` holds writable bits only:
 * SD, UXL and SXL are made by the CSR table on reading. Not implemented: big-endian modes (UBE, SBE, MBE), vector
 * and other state (VS, XS), landing pads, double trap.
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

/** Illegal instruction in S-mode while `trap` (TVM or TSR) is set, and in U-mode always. */
export function requireSupervisorUnless<V, C>(m: Machine<V, C>, trap: bigint): void {
  requirePrivilege(m, MODE.supervisor);
  m.require(m.negate(m.both(inMode(m, MODE.supervisor), anyOf(m, m.state('mstatus'), trap))));
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
