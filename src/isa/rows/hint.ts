/**
 * Zihintpause, Zawrs and Zimop: instructions that wait a little, and instructions that may one day do something.
 * Unprivileged specification, chapters 5, 14 and 7. Waiting on a reservation set may end for any reason (Zawrs), so it ends at
 * once and only lets others run. Where TW or VTW bounds it, the bounded time is none: a hypervisor whose guest spins gives the
 * hart to another of its guest's harts (Linux KVM sets VTW for that).
 */
import type { Machine } from '../machine.ts';
import { HSTATUS } from '../privileged/hstatus.ts';
import { anyOf, inMode, isGuest, MODE, MSTATUS } from '../privileged/mstatus.ts';
import { type Row, row } from '../row.ts';

function waitOnReservationSet<V, C>(m: Machine<V, C>): void {
  m.require(m.either(inMode(m, MODE.machine), m.negate(anyOf(m, m.state('mstatus'), MSTATUS.TW))));
  m.requireVirtual(m.negate(m.both(isGuest(m), anyOf(m, m.state('hstatus'), HSTATUS.VTW))));
  m.pause();
}

// biome-ignore format: table
export const HINT: readonly Row[] = [
  row('pause',    '0000 0001 0000 00000 000 00000 0001111', 'pause', 'zihintpause', 'hint', 'The hart spins.', (m) => m.pause()),
  row('wrs.nto',  '000000001101 00000 000 00000 1110011', 'wrs.nto', 'zawrs', 'hint', 'Waits on the reservation set.', waitOnReservationSet),
  row('wrs.sto',  '000000011101 00000 000 00000 1110011', 'wrs.sto', 'zawrs', 'hint', 'Waits on the reservation set for a short time.', (m) => m.pause()),
  row('mop.r.N',  '1 uimm[4] 00 uimm[3:2] 0111 uimm[1:0] rs1 100 rd 1110011', 'mop.r.N rd, rs1', 'zimop', 'alu', 'May be an operation: writes zero.', (m) => m.rd(m.const(0))),
  row('mop.rr.N', '1 uimm[2] 00 uimm[1:0] 1 rs2 rs1 100 rd 1110011', 'mop.rr.N rd, rs1, rs2', 'zimop', 'alu', 'May be an operation: writes zero.', (m) => m.rd(m.const(0))),
];
