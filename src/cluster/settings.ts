/**
 * Times and limits of a cluster. Timer gaps on a loaded host reach half a second (measured), so nobody is suspected
 * before 1.0 s, and nothing is taken over before a lease has expired, however silent its holder is.
 */
export interface Settings {
  readonly leaseMs: number;
  readonly renewMs: number;
  /** What an observer adds to a lease: clocks whose rates differ by up to 4 % together are covered. */
  readonly marginMs: number;
  /** How often leases are read, and the longest time between two reads that counts as observed. */
  readonly readMs: number;
  readonly longestGapMs: number;
  /** How long a request to the store may take before its outcome is unknown. */
  readonly requestMs: number;
  readonly beatMs: number;
  readonly suspectMs: number;
  /** Peers of a master on each side of the ring. */
  readonly peersEachSide: number;
  readonly heartbeats: 'constant' | 'direct';
  /** A slave that is silent for so long: its guest failed. */
  readonly slaveSilentMs: number;
  /** Machines that a host starts at once. */
  readonly startsAtOnce: number;
  /** The part of a host's cores, memory and disk that guests may have. */
  readonly usableShare: number;
  /** The planner looks, waits for a better choice to last, and leaves a choice alone. */
  readonly planMs: number;
  readonly lastingMs: number;
  readonly restMs: number;
  /** A cheaper choice must cost at most this part of the one in force. */
  readonly cheaper: number;
  /** Fences after which a host is in quarantine; how long it must then be well; how long it takes to forget a fence. */
  readonly fencesToQuarantine: number;
  readonly quarantineMs: number;
  readonly forgetFenceMs: number;
}

export const DEFAULT_SETTINGS: Settings = {
  leaseMs: 2500,
  renewMs: 500,
  marginMs: 250,
  readMs: 500,
  longestGapMs: 1500,
  requestMs: 700,
  beatMs: 250,
  suspectMs: 1200,
  peersEachSide: 2,
  heartbeats: 'constant',
  slaveSilentMs: 3000,
  startsAtOnce: 4,
  usableShare: 0.95,
  planMs: 1000,
  lastingMs: 10_000,
  restMs: 30_000,
  cheaper: 0.7,
  fencesToQuarantine: 3,
  quarantineMs: 60_000,
  forgetFenceMs: 600_000,
};

/** The longest time from a host's death until somebody may act on it: it had just renewed, and was read just before. */
export function detectionMs({ leaseMs, readMs, marginMs, requestMs }: Settings): number {
  return leaseMs + readMs + marginMs + requestMs / 2;
}
