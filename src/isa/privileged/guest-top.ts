/**
 * The interrupt that is first for a guest, as vstopi tells it (AIA specification, sections "Virtual interrupts for VS
 * level", "Virtual supervisor top interrupt CSR (vstopi)"). Of two candidates the smaller key is first:
 *
 *   SEI     the guest file's identity p; or hvictl.IPRIO, if VGEIN is 0 and IID 9; or 256               4p + 2
 *   other   without VTI: SSI, then STI, behind SEI, as hviprio1 and hviprio2 are read-only zero         LAST
 *           with VTI and IID not 9: hvictl's, n = IPRIO, ahead of SEI or behind it by DPR               4n + 1 or 3
 *                                                                                        n = 0:         0 or LAST
 */
import { EI_WORDS, FILE, FILE_WORD, FILE_WORDS } from '../interrupt-files.ts';
import type { Machine } from '../machine.ts';
import { HSTATUS, VGEIN_SHIFT } from './hstatus.ts';
import { anyOf, isGuest } from './mstatus.ts';

export const HVICTL = { VTI: 1n << 30n, IID: 0xfffn << 16n, DPR: 1n << 9n, IPRIOM: 1n << 8n, IPRIO: 0xffn } as const;
const IID_SHIFT = 16;
const SEI = 9;
/** Beyond all keys of priorities that there are. */
const LAST = 4 * 257;
const BEYOND = 256;
const LOWEST = 255;

/** hvictl decides which interrupts the guest has. */
export function hasControl<V, C>(m: Machine<V, C>): C {
  return anyOf(m, m.state('hvictl'), HVICTL.VTI);
}

/** Its IID. */
function identityOf<V, C>(m: Machine<V, C>): V {
  return m.srl(m.and(m.state('hvictl'), m.const(HVICTL.IID)), m.const(IID_SHIFT));
}

/** It makes an interrupt of its own: not SEI, which is the guest's as it is. */
export function hasInjected<V, C>(m: Machine<V, C>): C {
  return m.both(hasControl(m), m.ne(identityOf(m), m.const(SEI)));
}

/** What a guest may not do to interrupts that are not by mip and mie: a virtual instruction. */
export function requireNoControl<V, C>(m: Machine<V, C>): void {
  m.when(isGuest(m), () => m.requireVirtual(m.negate(hasControl(m))));
}

/** hstatus.VGEIN: the guest's interrupt file, 0 for none. */
export function guestFile<V, C>(m: Machine<V, C>): V {
  return m.let(m.srl(m.and(m.state('hstatus'), m.const(HSTATUS.VGEIN)), m.const(VGEIN_SHIFT)));
}

/** Index of the first word of the file of that guest. For 0, which is none, of some file. */
export function guestFileAt<V, C>(m: Machine<V, C>, file: V): V {
  const number = m.add(m.select(m.eq(file, m.const(0)), m.const(1), file), m.const(FILE.guest - 1));
  return m.let(m.mul(number, m.const(FILE_WORDS)));
}

/** The identity that is pending, enabled and within the threshold in the file there, the lowest one; 0: none. */
export function topIdentity<V, C>(m: Machine<V, C>, first: V): V {
  const word = (index: number): V => m.fileWord(m.add(first, m.const(index)));
  let top = m.const(0);
  for (let i = EI_WORDS - 1; i >= 0; i--) {
    const waiting = m.let(m.and(word(FILE_WORD.eip + i), word(FILE_WORD.eie + i)));
    top = m.select(m.ne(waiting, m.const(0)), m.add(m.ctz(waiting), m.const(64 * i)), top);
  }
  const identity = m.let(top);
  const threshold = m.let(word(FILE_WORD.eithreshold));
  const isWithin = m.either(m.eq(threshold, m.const(0)), m.ltu(identity, threshold));
  return m.let(m.select(isWithin, identity, m.const(0)));
}

/** `waiting`: the bits of vsip that vsie enables. Identity 0: there is none. `priority`: as vstopi has it. */
export function topForGuest<V, C>(m: Machine<V, C>, waiting: V): { identity: V; priority: V } {
  const control = m.let(m.state('hvictl'));
  const among = m.let(waiting);
  const number = m.let(m.and(control, m.const(HVICTL.IPRIO)));
  const identity = m.let(identityOf(m));
  const isBehind = anyOf(m, control, HVICTL.DPR);
  const zero = m.eq(number, m.const(0));

  const external = externalPriority(m, identity, number);
  const hasExternal = anyOf(m, among, 1n << BigInt(SEI));
  const externalKey = m.let(m.add(m.sll(external, m.const(2)), m.const(2)));

  const bySelf = anyOf(m, among, 2n);
  const usual = m.select(bySelf, m.const(1), m.select(anyOf(m, among, 1n << 5n), m.const(5), m.const(0)));
  const injected = m.select(hasInjected(m), identity, m.const(0));
  const other = m.let(m.select(hasControl(m), injected, usual));
  const nominal = m.add(m.sll(number, m.const(2)), m.select(isBehind, m.const(3), m.const(1)));
  const extreme = m.select(isBehind, m.const(LAST), m.const(0));
  const otherKey = m.select(hasControl(m), m.select(zero, extreme, nominal), m.const(LAST));
  // What is told of a number that is zero: first of all, or last.
  const last = m.either(m.negate(hasControl(m)), isBehind);
  const told = m.select(last, m.const(LOWEST), m.const(0));
  const otherTold = m.select(m.both(hasControl(m), m.negate(zero)), number, told);

  const isOther = m.both(m.ne(other, m.const(0)), m.either(m.negate(hasExternal), m.ltu(otherKey, externalKey)));
  const isExternal = m.both(hasExternal, m.negate(isOther));
  const first = m.let(m.select(isOther, other, m.select(isExternal, m.const(SEI), m.const(0))));
  const externalTold = m.select(m.ltu(external, m.const(BEYOND)), external, m.const(LOWEST));
  const priority = m.select(isOther, otherTold, externalTold);
  return { identity: first, priority: m.let(m.select(anyOf(m, control, HVICTL.IPRIOM), priority, m.const(1))) };
}

/** SEI's number: the identity in the guest's file; or hvictl's; or beyond all. */
function externalPriority<V, C>(m: Machine<V, C>, identity: V, number: V): V {
  const file = guestFile(m);
  const hasFile = m.ne(file, m.const(0));
  const top = topIdentity(m, guestFileAt(m, file));
  const inFile = m.both(hasFile, m.ne(top, m.const(0)));
  const byControl = m.both(m.negate(hasFile), m.both(m.eq(identity, m.const(SEI)), m.ne(number, m.const(0))));
  return m.let(m.select(inFile, top, m.select(byControl, number, m.const(BEYOND))));
}
