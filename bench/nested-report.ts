/** From the samples of nested.ts to its figures, its table and its bounds. */
import { must } from '../src/base/assert.ts';
import type { Sample } from './measure.ts';
import { geometricMean, median } from './results.ts';

/** QEMU with H; our machine; ours without combined shadows. */
export type NestedSide = 'qemu' | 'ours' | 'walks';

/** Medians over the runs of one side. */
export interface SideFigures {
  /** Speed at the second level over speed at the first, geometric mean of each class's workloads. */
  readonly speeds: Readonly<Record<string, number>>;
  /** The same of each workload. */
  readonly workloads: Readonly<Record<string, number>>;
  /** Units of guest/exits a second. */
  readonly rates: Readonly<Record<string, number>>;
  /** Seconds to the first program of a small Linux at each level; the second is absent where it did not run. */
  readonly boot: { readonly first: number; readonly second: number };
}

export interface Bound {
  readonly holds: boolean;
  readonly sentence: string;
}

const SPEED_FLOOR = 0.95;
const RATE_FLOOR = 1;
const BOOT_CEILING = 3;
/** The loops whose rates have a bound. */
const bounded = ['null', 'timer'];

/** Throws an assertion where a level's sample is missing. */
export function nestedFigures(samples: readonly Sample[]): SideFigures {
  const byName = Map.groupBy(samples, ({ workload }) => workload);
  const middle = (name: string, value: (sample: Sample) => number): number =>
    median(must(byName.get(name), `${name} did not run`).map(value));
  /**
   * By the guest's own clock: the host hears of a result at level 2 only after a console's worth of exits. The least
   * of the runs, for a busy host only ever adds.
   */
  const least = (name: string): number =>
    Math.min(...must(byName.get(name), `${name} did not run`).map(({ seconds }) => seconds));
  const workloads: Record<string, number> = {};
  const rates: Record<string, number> = {};
  for (const [name, list] of byName) {
    if (name.startsWith('2/exits/')) {
      rates[name.slice(8)] = median(list.map(({ iterations, seconds }) => iterations / seconds));
    } else if (name.startsWith('1/')) {
      const workload = name.slice(2);
      workloads[workload] = least(name) / least(`2/${workload}`);
    }
  }
  const byClass = Map.groupBy(Object.entries(workloads), ([name]) => must(name.split('/')[0]));
  const speeds = Object.fromEntries([...byClass].map(([name, list]) => [name, geometricMean(list.map(([, x]) => x))]));
  const whole = ({ wholeSeconds }: Sample): number => wholeSeconds;
  return {
    speeds,
    workloads,
    rates,
    boot: { first: middle('boot/linux', whole), second: middle('2/boot/linux', whole) },
  };
}

/** A table with a column for each side, for a terminal. */
export function nestedReport(figures: ReadonlyMap<NestedSide, SideFigures>): string {
  const line = ([name, ...cells]: Row): string =>
    `${name.padEnd(32)}${cells.map((cell) => cell.padStart(12)).join('')}\n`;
  return rowsOf(figures).map(line).join('');
}

/** The same for a document. */
export function nestedMarkdown(figures: ReadonlyMap<NestedSide, SideFigures>): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.trim()).join(' | ')} |`;
  const [head, ...rows] = rowsOf(figures);
  const lines = [line(must(head)), line(must(head).map(() => '---')), ...rows.map(line)];
  return [
    ...lines,
    '',
    ...nestedBounds(figures).map(({ holds, sentence }) => `- ${holds ? '' : 'not held: '}${sentence}`),
  ].join('\n');
}

type Row = readonly [string, ...string[]];

function rowsOf(figures: ReadonlyMap<NestedSide, SideFigures>): Row[] {
  const all = [...figures.values()];
  const names = (pick: (one: SideFigures) => object): string[] => [
    ...new Set(all.flatMap((one) => Object.keys(pick(one)))),
  ];
  const row = (name: string, cell: (one: SideFigures) => string): Row => [name, ...all.map(cell)];
  const speed = (value = Number.NaN): string => value.toFixed(3);
  return [
    ['', ...figures.keys()],
    ...names(({ speeds }) => speeds).map((name) =>
      row(`${name}: level 2 over level 1`, ({ speeds }) => speed(speeds[name])),
    ),
    ...names(({ workloads }) => workloads).map((name) => row(`  ${name}`, ({ workloads }) => speed(workloads[name]))),
    ...names(({ rates }) => rates).map((name) =>
      row(`${name}: a second`, ({ rates }) => (rates[name] ?? Number.NaN).toFixed(0)),
    ),
    row('linux: level 1, s', ({ boot }) => boot.first.toFixed(2)),
    row('linux: level 2, s', ({ boot }) => boot.second.toFixed(2)),
    row('linux: level 2 over level 1', ({ boot }) => (boot.second / boot.first).toFixed(2)),
  ];
}

/** The bounds that apply to what ran. */
export function nestedBounds(figures: ReadonlyMap<NestedSide, SideFigures>): Bound[] {
  const [ours, qemu, walks] = [figures.get('ours'), figures.get('qemu'), figures.get('walks')];
  if (ours === undefined) return [];
  const bounds: Bound[] = [];
  for (const [name, speed] of Object.entries(ours.speeds)) {
    const sentence = `${name} at level 2 has ${(100 * speed).toFixed(1)} % of its speed at level 1 (at least 95 %)`;
    bounds.push({ holds: speed >= SPEED_FLOOR, sentence });
  }
  for (const name of qemu === undefined ? [] : bounded) {
    const share = must(ours.rates[name]) / must(qemu?.rates[name]);
    const sentence = `${name} has ${share.toFixed(2)} times QEMU's rate (at least 1, goal 3)`;
    bounds.push({ holds: share >= RATE_FLOOR, sentence });
  }
  const boot = ours.boot.second / ours.boot.first;
  bounds.push({
    holds: boot <= BOOT_CEILING,
    sentence: `a second Linux takes ${boot.toFixed(2)} times the first one's way (at most 3, goal 2)`,
  });
  if (walks !== undefined) {
    // Combined shadows must be worth something, or the switch does nothing.
    const worth = walks.boot.second / ours.boot.second;
    bounds.push({
      holds: worth > 1,
      sentence: `without combined shadows a second Linux takes ${worth.toFixed(2)} times as long`,
    });
  }
  return bounds;
}
