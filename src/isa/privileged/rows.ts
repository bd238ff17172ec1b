/**
 * Instructions of the privileged architecture, and Zicsr. Privileged specification, "Machine-Mode Privileged
 * Instructions", "Supervisor Instructions", Svinval; unprivileged specification, Zicsr. What a CSR's reads and writes
 * do is the CSR table's (../csr/). Extension `s` is supervisor mode.
 *
 * csrrw reads its CSR even where rd is x0, which the manual forbids only because of reads with side effects: no CSR
 * here has any.
 */
import type { Machine } from '../machine.ts';
import { type Row, row } from '../row.ts';
import { FEATURE } from '../state.ts';
import { EXCEPTION } from './causes.ts';
import { fenceSelected } from './fences.ts';
import { HSTATUS } from './hstatus.ts';
import { HYPERVISOR } from './hypervisor-rows.ts';
import {
  anyOf,
  hasFeature,
  inMode,
  isGuest,
  MODE,
  MSTATUS,
  requirePrivilege,
  requireSupervisor,
  requireSupervisorUnless,
} from './mstatus.ts';
import { interruptWaiting, returnFromMachine, returnFromSupervisor } from './trap.ts';

/** An S-mode call ends in the built-in SBI, which is outside the engine, unless firmware runs in M-mode. */
function ecall<V, C>(m: Machine<V, C>): void {
  const fromHost = m.both(inMode(m, MODE.supervisor), m.negate(isGuest(m)));
  m.when(
    m.both(fromHost, hasFeature(m, FEATURE.sbi)),
    () => m.leave('call'),
    () => {
      m.when(inMode(m, MODE.user), () => m.raise(EXCEPTION.ecallFromUser, m.const(0)));
      m.when(inMode(m, MODE.supervisor), () => {
        m.when(isGuest(m), () => m.raise(EXCEPTION.ecallFromVirtualSupervisor, m.const(0)));
        m.raise(EXCEPTION.ecallFromSupervisor, m.const(0));
      });
      m.when(inMode(m, MODE.machine), () => m.raise(EXCEPTION.ecallFromMachine, m.const(0)));
    },
  );
}

/**
 * With TW or VTW, and in U-mode, the bounded time that the manual grants before the exception is none. A guest's timers are
 * looked at all the same: a hypervisor may come back at once, again and again (Linux KVM, which polls before it sleeps), and
 * the guest is to have its interrupt then, not when a slice of instructions is over.
 */
function wfi<V, C>(m: Machine<V, C>): void {
  m.require(m.either(inMode(m, MODE.machine), m.negate(anyOf(m, m.state('mstatus'), MSTATUS.TW))));
  m.requireVirtual(m.negate(m.both(inMode(m, MODE.user), hasFeature(m, FEATURE.supervisor))));
  const bounded = m.let(m.bool(m.both(isGuest(m), anyOf(m, m.state('hstatus'), HSTATUS.VTW))));
  m.when(m.ne(bounded, m.const(0)), () => m.timerChanged());
  m.requireVirtual(m.eq(bounded, m.const(0)));
  m.when(m.negate(interruptWaiting(m)), () => m.leave('wait'));
}

function mret<V, C>(m: Machine<V, C>): void {
  requirePrivilege(m, MODE.machine);
  returnFromMachine(m);
}

function sret<V, C>(m: Machine<V, C>): void {
  requireSupervisorUnless(m, MSTATUS.TSR, HSTATUS.VTSR);
  returnFromSupervisor(m);
}

/** In VS-mode it is the guest's own fence, for the VMID in hgatp. */
function fenceAddresses<V, C>(m: Machine<V, C>): void {
  requireSupervisorUnless(m, MSTATUS.TVM, HSTATUS.VTVM);
  m.when(
    isGuest(m),
    () => fenceSelected(m, (va, asid) => m.fenceGuest(va, asid)),
    () => fenceSelected(m, (va, asid) => m.fenceTranslation(va, asid)),
  );
}

function readWrite<V, C>(m: Machine<V, C>, source: V): void {
  m.requireCsrWritable();
  const old = m.csrRead();
  m.csrWrite(source, m.const(-1), old);
  m.rd(old);
}

/** Writes nothing, and so needs no right to write, where the rs1 (zimm) field is zero. */
function readSet<V, C>(m: Machine<V, C>, bits: V): void {
  m.when(m.rs1IsNotZero(), () => m.requireCsrWritable());
  const old = m.csrRead();
  m.when(m.rs1IsNotZero(), () => m.csrWrite(m.or(old, bits), bits, old));
  m.rd(old);
}

function readClear<V, C>(m: Machine<V, C>, bits: V): void {
  m.when(m.rs1IsNotZero(), () => m.requireCsrWritable());
  const old = m.csrRead();
  m.when(m.rs1IsNotZero(), () => m.csrWrite(m.and(old, m.not(bits)), bits, old));
  m.rd(old);
}

// biome-ignore format: table
export const PRIVILEGED: readonly Row[] = [
  row('ecall',          '000000000000 00000 000 00000 1110011', 'ecall', 'i', 'system', 'Calls the environment.', ecall),
  row('ebreak',         '000000000001 00000 000 00000 1110011', 'ebreak', 'i', 'system', 'Raises a breakpoint exception.', m => m.raise(EXCEPTION.breakpoint, m.pc())),
  row('mret',           '0011000 00010 00000 000 00000 1110011', 'mret', 'i', 'system', 'Returns from a trap in M-mode.', mret),
  row('sret',           '0001000 00010 00000 000 00000 1110011', 'sret', 's', 'system', 'Returns from a trap in S-mode.', sret),
  row('wfi',            '0001000 00101 00000 000 00000 1110011', 'wfi', 'i', 'system', 'Waits for an interrupt that mie enables.', wfi),
  row('sfence.vma',     '0001001 rs2 rs1 000 00000 1110011', 'sfence.vma rs1, rs2', 's', 'system', 'Orders page-table writes before later translations.', fenceAddresses),
  row('sinval.vma',     '0001011 rs2 rs1 000 00000 1110011', 'sinval.vma rs1, rs2', 'svinval', 'system', 'Invalidates translations as sfence.vma does, unordered.', fenceAddresses),
  row('sfence.w.inval', '0001100 00000 00000 000 00000 1110011', 'sfence.w.inval', 'svinval', 'system', 'Orders earlier stores before later sinval.vma.', requireSupervisor),
  row('sfence.inval.ir', '0001100 00001 00000 000 00000 1110011', 'sfence.inval.ir', 'svinval', 'system', 'Orders earlier sinval.vma before later translations.', requireSupervisor),
  row('csrrw',  'csr rs1 001 rd 1110011', 'csrrw rd, csr, rs1', 'zicsr', 'csr', 'Swaps a CSR with a register.', m => readWrite(m, m.rs1())),
  row('csrrs',  'csr rs1 010 rd 1110011', 'csrrs rd, csr, rs1', 'zicsr', 'csr', 'Reads a CSR and sets bits of it.', m => readSet(m, m.rs1())),
  row('csrrc',  'csr rs1 011 rd 1110011', 'csrrc rd, csr, rs1', 'zicsr', 'csr', 'Reads a CSR and clears bits of it.', m => readClear(m, m.rs1())),
  row('csrrwi', 'csr zimm 101 rd 1110011', 'csrrwi rd, csr, zimm', 'zicsr', 'csr', 'Reads a CSR and writes the immediate to it.', m => readWrite(m, m.zimm())),
  row('csrrsi', 'csr zimm 110 rd 1110011', 'csrrsi rd, csr, zimm', 'zicsr', 'csr', 'Reads a CSR and sets the bits of the immediate.', m => readSet(m, m.zimm())),
  row('csrrci', 'csr zimm 111 rd 1110011', 'csrrci rd, csr, zimm', 'zicsr', 'csr', 'Reads a CSR and clears the bits of the immediate.', m => readClear(m, m.zimm())),
  ...HYPERVISOR,
];
