/** How a lease ends for its holder, and the deadline of one that was never confirmed. */
export type LeaseEnd =
  /** Another host saw it expire. */
  | 'fenced'
  /** Another process or boot of this host holds it. */
  | 'superseded'
  /** The key is gone: the host was taken out of the cluster. */
  | 'removed';

export const DEADLINE = { none: Number.NEGATIVE_INFINITY } as const;
