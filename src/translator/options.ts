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
}

/** Instructions and pages of a region, calls within calls, at the most. */
export interface RegionLimits {
  readonly instructions: number;
  readonly pages: number;
  readonly depth: number;
}

export const DEFAULT_TRANSLATION: TranslatorOptions = {
  threshold: 1000,
  secondThreshold: 16_000,
  batch: 8,
  followsCold: false,
  first: { instructions: 100, pages: 4, depth: 1 },
  second: { instructions: 500, pages: 12, depth: 6 },
};
