/** Which charts a partition has, as data; how lines lie in a chart. Pure; chart-view.ts makes drawings of it. */
import { levelSeries, pathsBelow, rateSeries, type Sample, type Series } from './figures.ts';
import { bytes, count, perSecond } from './format.ts';

export interface ChartRow {
  readonly id: string;
  readonly title: string;
  /** What it shows, for who meets it the first time. */
  readonly hint: string;
  readonly format: (value: number) => string;
  /** What its axis counts in: 1 by default. */
  readonly unit?: number;
  readonly series: (samples: readonly Sample[]) => readonly Series[];
}

const ratesBelow = (prefix: string, most: number) => (samples: readonly Sample[]) =>
  pathsBelow(samples, prefix, most).map((path) => rateSeries(samples, path, path.slice(prefix.length + 1)));

/** By their paths, the names that they have in the chart. */
const lines =
  (of: typeof rateSeries) =>
  (names: Readonly<Record<string, string>>) =>
  (samples: readonly Sample[]): Series[] =>
    Object.entries(names).map(([path, name]) => of(samples, path, name));
const [rates, levels] = [lines(rateSeries), lines(levelSeries)];

export const chartRows: readonly ChartRow[] = [
  {
    id: 'instructions',
    title: 'Instructions',
    hint: 'By translated code, and by the interpreter.',
    format: perSecond,
    series: rates({ 'instructions.translated': 'translated', 'instructions.interpreted': 'interpreted' }),
  },
  {
    id: 'exits',
    title: 'Exits by cause',
    hint: 'Why harts left the engine for the hypervisor.',
    format: perSecond,
    series: ratesBelow('exits', 5),
  },
  {
    id: 'promotion',
    title: 'Promotion',
    hint: 'Sites that were promoted and demoted so far.',
    format: count,
    series: levels({ 'promotion.promoted': 'promoted', 'promotion.demoted': 'demoted' }),
  },
  {
    id: 'promoted-work',
    title: 'Work of promoted code',
    hint: 'Device accesses and SBI calls that did not leave the engine.',
    format: perSecond,
    series: rates({ 'promotion.accesses': 'accesses', 'promotion.calls': 'calls' }),
  },
  {
    id: 'code',
    title: 'Code memory',
    hint: 'Decoded code, machine code of the host (an estimate), promotion code.',
    format: bytes,
    unit: 2 ** 20,
    series: levels({
      'memory.codeBytes': 'decoded',
      'translation.hostBytes': 'translated',
      'promotion.bytes': 'promotion',
    }),
  },
  {
    id: 'shadows',
    title: 'Shadow tables',
    hint: 'Changes of address space that found a shadow, and that did not.',
    format: perSecond,
    series: rates({ 'shadows.hits': 'hits', 'shadows.misses': 'misses' }),
  },
  {
    id: 'interrupts',
    title: 'Interrupts by requester',
    hint: 'By the place of the PCI Express function.',
    format: perSecond,
    series: ratesBelow('requesters', 5),
  },
];

export interface Box {
  readonly width: number;
  readonly height: number;
}

/** The next number above `value` that people like on an axis. */
export function niceTop(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((one) => one * power >= value) ?? 10;
  return step * power;
}

export function topOf(series: readonly Series[], unit = 1): number {
  const highest = series.flatMap(({ points }) => points).reduce((most, { value }) => Math.max(most, value), 0);
  return niceTop(highest / unit) * unit;
}

/** An SVG path: the right edge is `nowMs`, the left `windowMs` before it. */
export function linePath(
  { points }: Series,
  { width, height }: Box,
  { nowMs, windowMs, top }: { nowMs: number; windowMs: number; top: number },
): string {
  return points
    .filter(({ atMs }) => atMs >= nowMs - windowMs)
    .map(({ atMs, value }, i) => {
      const x = width * (1 - (nowMs - atMs) / windowMs);
      const y = height * (1 - Math.min(value, top) / top);
      return `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}
