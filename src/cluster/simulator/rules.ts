/**
 * Rules that can be broken, one at a time, to see that the invariants notice: what keeps guests safe is then shown to be needed. Each
 * has the faults that bring it to light, and what the invariants say then.
 */
import type { Fault } from './faults.ts';

export interface BrokenRule {
  readonly what: string;
  /** Only these faults; all without. */
  readonly faults?: readonly Fault[];
  readonly noticed: RegExp;
}

export const RULES = {
  gate: {
    what: 'the storage takes writes of any generation',
    faults: ['stopped-before-write', 'host-crash', 'machine-crash'],
    noticed: /a write of generation \d+ from \w+ after \d+/,
  },
  guard: {
    what: "machines do not look at their lease's deadline",
    faults: ['isolated', 'cut-from-store', 'daemon-stopped'],
    noticed: /fenced while its machine of \w+ may act|may act on/,
  },
  limits: {
    what: 'hosts say that they have a thousand times what they have',
    faults: ['host-crash', 'isolated'],
    noticed: /has no memory|has no cores/,
  },
  'stale-reads': {
    what: 'reads are answered by a replica that is behind',
    noticed: /does not run, and there is room for it|did not come back|while nothing happened|flaps/,
  },
  'wall-clock': {
    what: 'leases are timed by the time of day, which jumps',
    faults: ['clock-jump', 'isolated'],
    noticed: /before its lease had expired|may act/,
  },
  hysteresis: {
    what: 'every cheaper choice is made at once',
    faults: ['requirements'],
    noticed: /changed \d+ times while nothing happened/,
  },
  margin: {
    what: 'leases are taken away before they have expired',
    noticed: /before its lease had expired|may act/,
  },
  compares: {
    what: 'the store does not compare revisions',
    noticed: /./,
  },
  'unknown-outcome': {
    what: 'a write that timed out counts as done',
    faults: ['store-outage', 'cut-from-store', 'store-leader-change'],
    noticed: /./,
  },
  quarantine: {
    what: 'hosts that fail again and again are used all the same',
    faults: ['flapping', 'flapping', 'application-failed'],
    noticed: /flaps/,
  },
  'constant-heartbeats': {
    what: "slaves' beats go to their standbys' slaves",
    noticed: /a standby's slave was sent heartbeats/,
  },
} as const satisfies Record<string, BrokenRule>;

export type Rule = keyof typeof RULES;
export const RULE_NAMES = Object.keys(RULES) as Rule[];

export function ruleOf(name: Rule): BrokenRule {
  return RULES[name];
}
