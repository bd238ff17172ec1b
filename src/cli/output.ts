/** What verbs print: tables for people, JSON for programs (`--format json`). Never colours, never guesses. */
import type { Io } from './io.ts';

export type Format = 'table' | 'json';

/** Rows as columns wide enough for their longest cell, under upper-case heads. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heads.map((head) => head.toUpperCase()), ...rows];
  const widths = heads.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

export function print(io: Io, format: Format, value: unknown, forPeople: () => string): void {
  io.stdout.write(format === 'json' ? `${JSON.stringify(value, undefined, 2)}\n` : forPeople());
}

/** `512M`, `1.5G`: the largest unit that keeps it short. */
export function sizeText(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${Number((bytes / 2 ** (10 * unit)).toFixed(1))}${units[unit]}`;
}

/** Nested counters as lines `vcpus.0.exits.mmio  7`. */
export function flatten(value: unknown, path = ''): [string, string][] {
  if (typeof value !== 'object' || value === null) return [[path, String(value)]];
  return Object.entries(value).flatMap(([name, inner]) => flatten(inner, path === '' ? name : `${path}.${name}`));
}
