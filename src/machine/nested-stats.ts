/**
 * Counters of nested virtualization (mechanism 2): how often each cause selected a hart's host or guest status area, by
 * level and cause. The rows are those of isa/privileged/area-by-cause.ts.
 */
import type { VcpuState } from '../engine/index.ts';
import { AREA_BY_CAUSE, CODES, EXCEPTION, FEATURE, INTERRUPT } from '../isa/index.ts';

/** By the cause's name; causes that never occurred are left out. */
export type CauseCounts = Readonly<Record<string, number>>;

export interface NestedStats {
  /** The status area that is active: whose code the hart executes. */
  readonly active: 'host' | 'guest';
  /** Entries into the guest: by sret, by mret. */
  readonly entries: Readonly<Record<'sret' | 'mret', number>>;
  /** Exits from the guest: traps taken by its hypervisor, by machine mode. */
  readonly exits: Readonly<Record<'toHypervisor' | 'toMachine', CauseCounts>>;
  /** What stayed in the guest: traps that were delegated to it, returns from them. */
  readonly within: { readonly traps: CauseCounts; readonly returns: number };
}

const nameOf = (names: Readonly<Record<string, number>>, code: number, kind: string): string =>
  Object.keys(names).find((name) => names[name] === code) ?? `${kind}${code}`;

/** Of a hart; undefined if it is without the hypervisor extension. */
export function nestedStats(state: VcpuState): NestedStats | undefined {
  if ((state.features & FEATURE.h) === 0n) return undefined;
  const count = (name: keyof typeof AREA_BY_CAUSE, index = 0): number =>
    Number(state.areaCounts[AREA_BY_CAUSE[name].counter + index] ?? 0n);
  const traps = (name: 'trapToMachine' | 'trapToHypervisor' | 'trapToGuest'): CauseCounts => {
    const counts: Record<string, number> = {};
    for (let code = 0; code < CODES; code++) {
      const [exceptions, interrupts] = [count(name, code), count(name, CODES + code)];
      if (exceptions > 0) counts[nameOf(EXCEPTION, code, 'exception')] = exceptions;
      if (interrupts > 0) counts[nameOf(INTERRUPT, code, 'interrupt')] = interrupts;
    }
    return counts;
  };
  return {
    active: state.virtual === 0n ? 'host' : 'guest',
    entries: { sret: count('sretToGuest'), mret: count('mretToGuest') },
    exits: { toHypervisor: traps('trapToHypervisor'), toMachine: traps('trapToMachine') },
    within: { traps: traps('trapToGuest'), returns: count('sretInGuest') },
  };
}
