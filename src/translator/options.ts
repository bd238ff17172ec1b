/** When code is translated, and how much of it at a time. */
export interface TranslatorOptions {
  /** A jump target is translated when it was reached this often: 1 to 65535. */
  readonly threshold: number;
  /** And again, into a larger region, when it was reached this often; 0: never. */
  readonly secondThreshold: number;
  /** Regions that are compiled together. */
  readonly batch: number;
  /** Code that was never executed is translated with what was: for tests. */
  readonly followsCold: boolean;
  readonly first: RegionLimits;
  readonly second: RegionLimits;
  /** Regions that begin with a promoted instruction. */
  readonly promoted: RegionLimits;
  readonly promotion: PromotionMode;
}

/** Steps of a vCPU between looks at what has cooled down. */
export const SWEEP_STEPS = 32_000_000n;

/** `auto`: what is worth it; `always`: what is emulated once; `off`: nothing. */
export type PromotionMode = 'off' | 'auto' | 'always';

/** Instructions and pages of a region, calls within calls, at the most. */
export interface RegionLimits {
  readonly instructions: number;
  readonly pages: number;
  readonly depth: number;
}

/**
 * A region costs one to two milliseconds of processor time, all threads together, the host's compilers included: what
 * twelve thousand turns in the interpreter cost that are thirty instructions long. To wait so long and no longer costs
 * twice the best choice at the most. From 1000 and 16,000 on, a boot took a third more (measured, bench/boot-cost.ts).
 */
export const DEFAULT_TRANSLATION: TranslatorOptions = {
  threshold: 12_000,
  secondThreshold: 60_000,
  batch: 8,
  followsCold: false,
  first: { instructions: 200, pages: 6, depth: 2 },
  second: { instructions: 500, pages: 12, depth: 6 },
  promoted: { instructions: 100, pages: 4, depth: 1 },
  promotion: 'auto',
};
