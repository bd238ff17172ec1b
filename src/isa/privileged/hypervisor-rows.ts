/**
 * Instructions of the hypervisor extension ("Hypervisor Instructions"), and Svinval's for it: fences of guests'
 * translations, and loads and stores as a guest would make them. They are HS- and M-mode's; loads and stores may be
 * U-mode's, too (hstatus.HU).
 */
import type { AccessSize, Machine } from '../machine.ts';
import { type Row, row } from '../row.ts';
import { FEATURE } from '../state.ts';
import { fenceSelected } from './fences.ts';
import { HSTATUS } from './hstatus.ts';
import { anyOf, hasFeature, isGuest, MODE, MSTATUS, requireHypervisor, requireSupervisorUnless } from './mstatus.ts';

/** Harts that one engine serves may have the extension or not. */
function requireExtension<V, C>(m: Machine<V, C>): void {
  m.require(hasFeature(m, FEATURE.h));
}

function requireGuestAccess<V, C>(m: Machine<V, C>): void {
  requireExtension(m);
  m.requireVirtual(m.negate(isGuest(m)));
  m.require(m.either(m.ne(m.mode(), m.const(MODE.user)), anyOf(m, m.state('hstatus'), HSTATUS.HU)));
}

function load<V, C>(m: Machine<V, C>, size: AccessSize, signed: boolean): void {
  requireGuestAccess(m);
  m.rd(m.guestLoad(m.rs1(), size, signed, false));
}

function loadExecutable<V, C>(m: Machine<V, C>, size: AccessSize): void {
  requireGuestAccess(m);
  m.rd(m.guestLoad(m.rs1(), size, false, true));
}

function store<V, C>(m: Machine<V, C>, size: AccessSize): void {
  requireGuestAccess(m);
  m.guestStore(m.rs1(), size, m.rs2());
}

function fenceGuest<V, C>(m: Machine<V, C>): void {
  requireExtension(m);
  requireHypervisor(m);
  fenceSelected(m, (va, asid) => m.fenceGuest(va, asid));
}

/** rs1 holds the guest-physical address without its two lowest bits. */
function fenceGuestPhysical<V, C>(m: Machine<V, C>): void {
  requireExtension(m);
  requireHypervisor(m);
  requireSupervisorUnless(m, MSTATUS.TVM, 0n);
  fenceSelected(m, (gpa, vmid) => m.fenceGuestPhysical(gpa && m.sll(gpa, m.const(2)), vmid));
}

// biome-ignore format: table
export const HYPERVISOR: readonly Row[] = [
  row('hfence.vvma', '0010001 rs2 rs1 000 00000 1110011', 'hfence.vvma rs1, rs2', 'h', 'system', "Orders a guest's page-table writes before its later translations.", fenceGuest),
  row('hfence.gvma', '0110001 rs2 rs1 000 00000 1110011', 'hfence.gvma rs1, rs2', 'h', 'system', 'Orders writes of G-stage page tables before later translations.', fenceGuestPhysical),
  row('hinval.vvma', '0010011 rs2 rs1 000 00000 1110011', 'hinval.vvma rs1, rs2', 'h+svinval', 'system', 'Invalidates as hfence.vvma does, unordered.', fenceGuest),
  row('hinval.gvma', '0110011 rs2 rs1 000 00000 1110011', 'hinval.gvma rs1, rs2', 'h+svinval', 'system', 'Invalidates as hfence.gvma does, unordered.', fenceGuestPhysical),

  row('hlv.b',   '0110000 00000 rs1 100 rd 1110011', 'hlv.b rd, (rs1)', 'h', 'system', "Loads a guest's byte, sign-extended.", m => load(m, 1, true)),
  row('hlv.bu',  '0110000 00001 rs1 100 rd 1110011', 'hlv.bu rd, (rs1)', 'h', 'system', "Loads a guest's byte.", m => load(m, 1, false)),
  row('hlv.h',   '0110010 00000 rs1 100 rd 1110011', 'hlv.h rd, (rs1)', 'h', 'system', "Loads a guest's halfword, sign-extended.", m => load(m, 2, true)),
  row('hlv.hu',  '0110010 00001 rs1 100 rd 1110011', 'hlv.hu rd, (rs1)', 'h', 'system', "Loads a guest's halfword.", m => load(m, 2, false)),
  row('hlvx.hu', '0110010 00011 rs1 100 rd 1110011', 'hlvx.hu rd, (rs1)', 'h', 'system', 'Loads a halfword that the guest may execute.', m => loadExecutable(m, 2)),
  row('hlv.w',   '0110100 00000 rs1 100 rd 1110011', 'hlv.w rd, (rs1)', 'h', 'system', "Loads a guest's word, sign-extended.", m => load(m, 4, true)),
  row('hlv.wu',  '0110100 00001 rs1 100 rd 1110011', 'hlv.wu rd, (rs1)', 'h', 'system', "Loads a guest's word.", m => load(m, 4, false)),
  row('hlvx.wu', '0110100 00011 rs1 100 rd 1110011', 'hlvx.wu rd, (rs1)', 'h', 'system', 'Loads a word that the guest may execute.', m => loadExecutable(m, 4)),
  row('hlv.d',   '0110110 00000 rs1 100 rd 1110011', 'hlv.d rd, (rs1)', 'h', 'system', "Loads a guest's doubleword.", m => load(m, 8, true)),
  row('hsv.b',   '0110001 rs2 rs1 100 00000 1110011', 'hsv.b rs2, (rs1)', 'h', 'system', "Stores a guest's byte.", m => store(m, 1)),
  row('hsv.h',   '0110011 rs2 rs1 100 00000 1110011', 'hsv.h rs2, (rs1)', 'h', 'system', "Stores a guest's halfword.", m => store(m, 2)),
  row('hsv.w',   '0110101 rs2 rs1 100 00000 1110011', 'hsv.w rs2, (rs1)', 'h', 'system', "Stores a guest's word.", m => store(m, 4)),
  row('hsv.d',   '0110111 rs2 rs1 100 00000 1110011', 'hsv.d rs2, (rs1)', 'h', 'system', "Stores a guest's doubleword.", m => store(m, 8)),
];
