/**
 * Status areas change hands: V becomes 1 or 0 (privileged specification, "Hypervisor and Virtual Supervisor CSRs",
 * "Virtual Supervisor Status (vsstatus) Register"). Areas are selected, not copied; only the supervisor's bits of mstatus,
 * which instructions look at everywhere, move:
 *
 *                V = 0                        V = 1
 *   mstatus      HS's SIE SPIE SPP SUM MXR    VS's; FS: the lesser of both
 *   sstatus      -                            HS's, FS included
 *   vsstatus     VS's, FS included            FS: VS's own; the rest: -
 *
 * Floating point is off for a guest if either FS is, and "modifying the floating-point state when V=1 causes both
 * fields to be set to 3 (Dirty)": the lesser is Off if one is, and Dirty only if both are, or have become so since.
 */
import type { Machine } from '../machine.ts';
import { AREA_BY_CAUSE, CODES } from './area-by-cause.ts';
import { MSTATUS } from './mstatus.ts';

/** Bits of mstatus that each area has its own of. */
export const AREA_STATUS: bigint = MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM | MSTATUS.MXR;
const FS = MSTATUS.FS;
const WITHOUT_FS = AREA_STATUS & ~FS;

/** FS of two statuses, as it holds for a guest. */
function lesserFs<V, C>(m: Machine<V, C>, a: V, b: V): V {
  const [left, right] = [m.let(m.and(a, m.const(FS))), m.let(m.and(b, m.const(FS)))];
  return m.select(m.ltu(left, right), left, right);
}

function isDirty<V, C>(m: Machine<V, C>, status: V): C {
  return m.eq(m.and(status, m.const(FS)), m.const(FS));
}

/** The guest's area becomes the active one, by a return. mstatus holds HS's bits, as they are after it. */
export function selectGuest<V, C>(m: Machine<V, C>, cause: 'sretToGuest' | 'mretToGuest'): void {
  selectGuestArea(m);
  m.countArea(m.const(AREA_BY_CAUSE[cause].counter));
}

/** The same by who only looks: behind selectHost, all is as it was. */
export function selectGuestArea<V, C>(m: Machine<V, C>): void {
  const host = m.let(m.state('mstatus'));
  const guest = m.let(m.state('vsstatus'));
  m.setState('sstatus', m.and(host, m.const(AREA_STATUS)));
  const own = m.or(m.and(guest, m.const(WITHOUT_FS)), lesserFs(m, host, guest));
  m.setState('mstatus', m.or(m.and(host, m.const(~AREA_STATUS)), own));
  m.setState('virtual', m.const(1));
}

/** The host's area becomes the active one. */
export function selectHost<V, C>(m: Machine<V, C>): void {
  const status = m.let(m.state('mstatus'));
  const host = m.let(m.state('sstatus'));
  m.setState('vsstatus', guestStatus(m, status));
  const own = m.select(isDirty(m, status), m.or(host, m.const(FS)), host);
  m.setState('mstatus', m.or(m.and(status, m.const(~AREA_STATUS)), own));
  m.setState('virtual', m.const(0));
}

/** vsstatus while V is 1, mstatus being `status`. */
export function guestStatus<V, C>(m: Machine<V, C>, status: V): V {
  const fs = m.select(isDirty(m, status), m.const(FS), m.and(m.state('vsstatus'), m.const(FS)));
  return m.let(m.or(m.and(status, m.const(WITHOUT_FS)), fs));
}

/** mstatus after a write of sstatus while V is 1: `next` are the guest's bits, `status` is mstatus before. */
export function writeGuestStatus<V, C>(m: Machine<V, C>, status: V, next: V): void {
  const before = m.let(m.state('sstatus'));
  const host = m.let(m.select(isDirty(m, status), m.or(before, m.const(FS)), before));
  m.setState('sstatus', host);
  m.setState('vsstatus', m.and(next, m.const(AREA_STATUS)));
  const own = m.or(m.and(next, m.const(WITHOUT_FS)), lesserFs(m, host, next));
  m.setState('mstatus', m.or(m.and(status, m.const(~AREA_STATUS)), own));
}

/** Counts a trap of a guest by its code and by where it is taken. */
export function countTrap<V, C>(
  m: Machine<V, C>,
  cause: 'trapToMachine' | 'trapToHypervisor' | 'trapToGuest',
  code: V,
  isInterrupt: boolean,
): void {
  const first = AREA_BY_CAUSE[cause].counter + (isInterrupt ? CODES : 0);
  m.countArea(m.add(m.const(first), m.and(code, m.const(CODES - 1))));
}
