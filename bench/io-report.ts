/** From the results of io-run.ts to its table and its bounds. */
import type { IoTransport } from './guest.ts';
import type { Bound } from './nested-report.ts';
import type { Results, WorkloadResult } from './results.ts';

/** Bytes of a workload's unit; the others are counted. */
const unitBytes: Readonly<Record<string, number>> = {
  'network/send': 1 << 20,
  'network/receive': 1 << 20,
  'block/write-1m': 1 << 20,
  'block/read-1m': 1 << 20,
};

const columns = ['workload', 'by', 'QEMU', 'ours', 'ratio', 'CPU ratio'];

/** For a terminal. */
export function ioReport(results: ReadonlyMap<IoTransport, Results>): string {
  const line = ([name = '', ...cells]: readonly string[]): string =>
    name.padEnd(24) + cells.map((cell) => cell.padStart(16)).join('');
  return [line(columns), ...rowsOf(results).map(line), ...classLines(results)].join('\n');
}

/** The same for a document. */
export function ioMarkdown(results: ReadonlyMap<IoTransport, Results>): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = [columns, columns.map(() => '---'), ...rowsOf(results)].map(line);
  const bounds = ioBounds(results).map(({ holds, sentence }) => `- ${holds ? '' : 'not held: '}${sentence}`);
  return [...classLines(results).map((text) => `- ${text}`), '', ...table, '', ...bounds].join('\n');
}

/** A class's floor, for each transport. */
export function ioBounds(results: ReadonlyMap<IoTransport, Results>): Bound[] {
  return [...results].flatMap(([transport, { classes }]) =>
    classes.map(({ name, geometricMean, floor, goal }) => ({
      holds: geometricMean >= floor,
      sentence: `${name} by ${transport} has ${geometricMean.toFixed(2)} times QEMU's speed (at least ${floor}, goal ${goal})`,
    })),
  );
}

function classLines(results: ReadonlyMap<IoTransport, Results>): string[] {
  return [...results].flatMap(([transport, { classes }]) =>
    classes.map(
      ({ name, geometricMean, cpuMean, least }) =>
        `${name} by ${transport}: geometric mean ${geometricMean.toFixed(2)} (by CPU time ${cpuMean.toFixed(2)}, least ${least.toFixed(2)})`,
    ),
  );
}

function rowsOf(results: ReadonlyMap<IoTransport, Results>): string[][] {
  return [...results].flatMap(([transport, { classes }]) =>
    classes.flatMap(({ workloads }) => workloads.map((row) => cellsOf(transport, row))),
  );
}

function cellsOf(transport: IoTransport, row: WorkloadResult): string[] {
  const { workload, qemuSeconds, ourSeconds, ratio, cpuRatio } = row;
  const speeds = [qemuSeconds, ourSeconds].map((seconds) => speedOf(row, seconds));
  return [workload, transport, ...speeds, ratio.toFixed(2), cpuRatio.toFixed(2)];
}

function speedOf({ workload, iterations }: WorkloadResult, seconds: number): string {
  const bytes = unitBytes[workload];
  if (bytes === undefined) return `${(iterations / seconds).toFixed(0)}/s`;
  return `${((iterations * bytes) / seconds / 1e6).toFixed(0)} MB/s`;
}
