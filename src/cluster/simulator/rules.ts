/** Rules that can be broken, one at a time, to see that the invariants notice: what keeps guests safe is then shown to be needed. */
export const RULES = {
  gate: 'the storage takes writes of any generation',
  guard: "machines do not look at their lease's deadline",
  limits: 'hosts say that they have a thousand times what they have',
  'stale-reads': 'reads are answered by a replica that is behind',
  'wall-clock': 'leases are timed by the time of day, which jumps',
  hysteresis: 'every cheaper choice is made at once',
  margin: 'leases are taken away before they have expired',
  compares: 'the store does not compare revisions',
  'unknown-outcome': 'a write that timed out counts as done',
  quarantine: 'hosts that fail again and again are used all the same',
  'constant-heartbeats': "slaves' beats go to their standbys' slaves",
} as const;

export type Rule = keyof typeof RULES;
export const RULE_NAMES = Object.keys(RULES) as Rule[];
