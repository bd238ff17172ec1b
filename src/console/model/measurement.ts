/**
 * What a switch changes: figures over the seconds before it was thrown, and over those since. Pure; a page shows it.
 * Moments are those of the samples.
 */
import { meanRate, type Sample } from './figures.ts';
import type { Figure } from './mechanisms.ts';

/** Rates are means over so long. */
export const BEFORE_MS = 10_000;
/** What the switch itself costs belongs to neither side. */
export const SETTLE_MS = 2000;

export interface Thrown {
  readonly from: string;
  readonly to: string;
  readonly atMs: number;
  readonly before: ReadonlyMap<Figure, number | undefined>;
}

export function figureNow(samples: readonly Sample[], { path, as }: Figure, fromMs: number): number | undefined {
  return as === 'rate' ? meanRate(samples, path, fromMs) : samples.at(-1)?.values.get(path);
}

export function thrown(
  samples: readonly Sample[],
  figures: readonly Figure[],
  change: Pick<Thrown, 'from' | 'to' | 'atMs'>,
): Thrown {
  const before = new Map(figures.map((figure) => [figure, figureNow(samples, figure, change.atMs - BEFORE_MS)]));
  return { ...change, before };
}

/** Undefined until there is something to measure. */
export function since({ atMs }: Thrown, samples: readonly Sample[], figure: Figure): number | undefined {
  const last = samples.at(-1);
  if (last === undefined || last.atMs < atMs + SETTLE_MS) return undefined;
  return figureNow(samples, figure, Math.max(atMs + SETTLE_MS, last.atMs - BEFORE_MS));
}
