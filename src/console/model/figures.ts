/**
 * Counters of a partition as they were polled, and what charts make of them: rates and levels. Pure; the pages draw it.
 * Of what the daemon reports loosely nothing is taken on trust: what is no number is not there.
 */
import type { Stats } from '../../client/index.ts';

/** A poll: numbers by a path such as `exits.mmio`. */
export interface Sample {
  readonly atMs: number;
  readonly values: ReadonlyMap<string, number>;
}

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
}

export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

export function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** All numbers below `value`, by their paths; lists by their places. */
export function numbersIn(value: unknown, path = '', into = new Map<string, number>(), depth = 0): Map<string, number> {
  const one = number(value);
  if (one !== undefined) into.set(path, one);
  else if (depth < 6)
    for (const [name, inner] of Object.entries(record(value)))
      numbersIn(inner, path === '' ? name : `${path}.${name}`, into, depth + 1);
  return into;
}

/** What charts look at. Harts are summed. */
export function sampleOf(stats: Stats, atMs: number): Sample {
  const values = new Map<string, number>();
  for (const part of ['exits', 'promotion', 'memory', 'translation', 'overlay', 'protection'] as const)
    numbersIn(stats[part], part, values);
  for (const vcpu of stats.vcpus ?? []) {
    add(values, 'instructions.translated', vcpu.translated);
    add(values, 'instructions.interpreted', vcpu.instructions - vcpu.translated);
    const { roots: _, ...shadows } = record(vcpu['shadows']);
    for (const [path, value] of numbersIn(shadows, 'shadows')) add(values, path, value);
    const nested = record(vcpu['nested']);
    for (const [path, value] of numbersIn(nested, 'nested')) add(values, path, value);
  }
  const interrupts = record(stats['interrupts']);
  for (const name of ['interrupts', 'polls', 'pollsAvoided', 'messages', 'empty', 'unknown'])
    add(values, `relay.${name}`, number(interrupts[name]) ?? 0);
  for (const [place, counters] of Object.entries(record(interrupts['requesters'])))
    values.set(`requesters.${place}`, number(record(counters)['interrupts']) ?? 0);
  let all = 0;
  for (const count of Object.values(stats.exits ?? {})) all += count;
  values.set('exits', all);
  return { atMs, values };
}

function add(values: Map<string, number>, path: string, value: number): void {
  values.set(path, (values.get(path) ?? 0) + value);
}

/** The latest polls of a partition; those of an earlier run are forgotten when its counters begin anew. */
export class History {
  readonly #most: number;
  #samples: Sample[] = [];

  constructor(most = 180) {
    this.#most = most;
  }

  get samples(): readonly Sample[] {
    return this.#samples;
  }

  push(sample: Sample): void {
    const before = this.#samples.at(-1)?.values.get('instructions.translated') ?? 0;
    if ((sample.values.get('instructions.translated') ?? 0) < before) this.#samples = [];
    this.#samples.push(sample);
    if (this.#samples.length > this.#most) this.#samples.shift();
  }
}

/** A counter's growth for each second between polls. */
export function rateSeries(samples: readonly Sample[], path: string, name = path): Series {
  const points = samples.slice(1).map(({ atMs, values }, i) => {
    const before = samples[i] as Sample;
    const grown = (values.get(path) ?? 0) - (before.values.get(path) ?? 0);
    return { atMs, value: Math.max(0, grown) / Math.max(0.001, (atMs - before.atMs) / 1000) };
  });
  return { name, points };
}

export function levelSeries(samples: readonly Sample[], path: string, name = path): Series {
  return { name, points: samples.map(({ atMs, values }) => ({ atMs, value: values.get(path) ?? 0 })) };
}

/** Paths below `prefix` of which something was counted, the busiest first. */
export function pathsBelow(samples: readonly Sample[], prefix: string, most: number): string[] {
  const last = samples.at(-1)?.values ?? new Map<string, number>();
  return [...last]
    .filter(([path, value]) => path.startsWith(`${prefix}.`) && value > 0)
    .sort(([, one], [, other]) => other - one)
    .slice(0, most)
    .map(([path]) => path);
}

/** A counter's growth for each second over the polls since `fromMs`; undefined where there are fewer than two. */
export function meanRate(samples: readonly Sample[], path: string, fromMs: number): number | undefined {
  const those = samples.filter(({ atMs }) => atMs >= fromMs);
  const [first, last] = [those[0], those.at(-1)];
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
  const grown = (last.values.get(path) ?? 0) - (first.values.get(path) ?? 0);
  return (grown * 1000) / (last.atMs - first.atMs);
}
