/**
 * Interrupts that machine level makes for supervisor level (AIA specification, section "Interrupt filtering and virtual
 * interrupts for supervisor level"). For a number that mideleg does not delegate and mvien names, sip shows mvip's bit in
 * place of mip's, and sie is a bit of its own. mvien has bits for SSI and SEI alone.
 *
 *     mideleg  mvien     sip        sie
 *        0       0        0          0
 *        0       1      mvip    sieVirtual
 *        1       -       mip        mie
 *
 * mvip's SEIP is the bit that software writes in mip; while mvien names SEI, mip does not show it.
 */
import type { Machine } from '../machine.ts';
import { SEIP, SSIP } from './causes.ts';

/** Writable bits of mvien. */
export const VIRTUAL_INTERRUPTS: bigint = SSIP | SEIP;

/** Interrupts that are virtual ones at supervisor level. */
export function virtualInterrupts<V, C>(m: Machine<V, C>): V {
  return m.and(m.state('mvien'), m.not(m.state('mideleg')));
}

/** Their bits in sip. */
export function virtualPending<V, C>(m: Machine<V, C>): V {
  const bits = m.or(m.and(m.state('mvip'), m.const(SSIP)), m.and(m.state('mip'), m.const(SEIP)));
  return m.and(bits, virtualInterrupts(m));
}

/** Those that are to be taken: enabled in sie, too. */
export function virtualWaiting<V, C>(m: Machine<V, C>): V {
  return m.and(virtualPending(m), m.state('sieVirtual'));
}
