/**
 * Interrupts of guests: hvip, hip, hie, and vsip, vsie, which are sip and sie for VS-mode ("Hypervisor Interrupt (hvip, hip,
 * and hie) Registers", "Virtual Supervisor Interrupt (vsip and vsie) Registers").
 *
 *   hvip: software's bits of mip.    hip: mip's bits of guests.    hie: mie's bits of guests.
 *   vsip, vsie: those that hideleg delegates, one bit lower: VSSI 2 -> SSI 1, VSTI 6 -> STI 5, VSEI 10 -> SEI 9
 */
import type { Machine } from '../machine.ts';
import { HYPERVISOR_INTERRUPT_BITS, SGEIP, VIRTUAL_INTERRUPT_BITS, VSSIP } from '../privileged/causes.ts';
import { merge } from '../privileged/mstatus.ts';
import { pendingBits } from '../privileged/trap.ts';
import { type Csr, csr, type Read, register } from './csr.ts';

/** What VS-mode has for its own, of hip and hie. */
function delegated<V, C>(m: Machine<V, C>): V {
  return m.and(m.state('hideleg'), m.const(VIRTUAL_INTERRUPT_BITS));
}

export const readGuestPending: Read = (m) => m.srl(m.and(pendingBits(m), delegated(m)), m.const(1));

export const readGuestEnables: Read = (m) => m.srl(m.and(m.state('mie'), delegated(m)), m.const(1));

export function writeGuestEnables<V, C>(m: Machine<V, C>, value: V): void {
  m.setState('mie', merge(m, m.state('mie'), m.sll(value, m.const(1)), m.let(delegated(m))));
}

/** Only SSIP is writable. */
export function writeGuestPending<V, C>(m: Machine<V, C>, value: V): void {
  const mask = m.let(m.and(m.state('hideleg'), m.const(VSSIP)));
  m.setState('mip', merge(m, m.state('mip'), m.sll(value, m.const(1)), mask));
}

/** A write of those bits of mip or mie that are `mask`. */
function writeBits<V, C>(m: Machine<V, C>, field: 'mip' | 'mie', value: V, mask: bigint): void {
  m.setState(field, merge(m, m.state(field), value, m.const(mask)));
  m.contextChanged();
}

/** Bits 1 to GEILEN. */
function files<V, C>(m: Machine<V, C>): V {
  return m.sll(m.sub(m.sll(m.const(1), m.state('guestFiles')), m.const(1)), m.const(1));
}

export const GUEST_INTERRUPT_CSRS: readonly Csr[] = [
  csr(0x204, 'vsie', 'SEIE[9] STIE[5] SSIE[1]', "VS-mode's sie.", readGuestEnables, {
    requires: 'h',
    write: (m, value) => {
      writeGuestEnables(m, value);
      m.contextChanged();
    },
  }),
  csr(0x244, 'vsip', 'SEIP[9]=* STIP[5]=* SSIP[1]', "VS-mode's sip.", readGuestPending, {
    requires: 'h',
    write: (m, value) => {
      writeGuestPending(m, value);
      m.contextChanged();
    },
  }),
  register(0x603, 'hideleg', 'VSEI[10] VSTI[6] VSSI[2]', 'Interrupts that go to VS-mode.', {
    requires: 'h',
    write: (m, value) => {
      m.setState('hideleg', m.and(value, m.const(VIRTUAL_INTERRUPT_BITS)));
      m.contextChanged();
    },
  }),
  csr(
    0x604,
    'hie',
    'SGEIE[12] VSEIE[10] VSTIE[6] VSSIE[2]',
    'Interrupts of guests that are enabled.',
    (m) => m.and(m.state('mie'), m.const(HYPERVISOR_INTERRUPT_BITS)),
    { requires: 'h', write: (m, value) => writeBits(m, 'mie', value, VIRTUAL_INTERRUPT_BITS | SGEIP) },
  ),
  register(0x607, 'hgeie', 'files[63:1]', "Guest external interrupts that are HS-mode's to take.", {
    requires: 'h',
    write: (m, value) => {
      m.setState('hgeie', m.and(value, files(m)));
      m.contextChanged();
    },
  }),
  csr(
    0x644,
    'hip',
    'SGEIP[12]=* VSEIP[10]=* VSTIP[6]=* VSSIP[2]',
    'Interrupts of guests that are pending.',
    (m) => m.and(pendingBits(m), m.const(HYPERVISOR_INTERRUPT_BITS)),
    { requires: 'h', write: (m, value) => writeBits(m, 'mip', value, VSSIP) },
  ),
  csr(
    0x645,
    'hvip',
    'VSEIP[10] VSTIP[6] VSSIP[2]',
    'Interrupts that the hypervisor raises for VS-mode.',
    (m) => m.and(m.state('mip'), m.const(VIRTUAL_INTERRUPT_BITS)),
    { requires: 'h', write: (m, value) => writeBits(m, 'mip', value, VIRTUAL_INTERRUPT_BITS) },
  ),
  csr(0xe12, 'hgeip', 'files[63:1]=*', 'Guest external interrupts that are pending.', (m) => m.state('hgeip'), {
    requires: 'h',
  }),
];
