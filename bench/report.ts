/** The results as text for a terminal and as the table in docs/PERFORMANCE.md. */
import { readFile, writeFile } from 'node:fs/promises';
import { cpus, loadavg, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { HostError } from '../src/base/errors.ts';
import { versions } from '../test/toolbox.ts';
import type { Results, WorkloadResult } from './results.ts';

/** What was compared, where, and how. */
export interface Setting {
  readonly date: string;
  readonly command: string;
  readonly runs: number;
  readonly permille: number;
  readonly kernel: string;
  readonly node: string;
  readonly qemu: string;
  readonly compiler: string;
  readonly processor: string;
  /** Runnable processes per core while it ran: above 1 the figures are less sure. */
  readonly loadPerCore: number;
}

const columns = ['workload', 'QEMU s', 'ours s', 'ratio', 'CPU ratio', 'ours MIPS'];

export function describeSetting(given: Pick<Setting, 'command' | 'runs' | 'permille' | 'kernel'>): Setting {
  const count = cpus().length;
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return {
    ...given,
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    node: `Node ${process.versions.node} (V8 ${process.versions.v8})`,
    qemu: firstLine(versions('qemu')),
    compiler: firstLine(versions('cross')),
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${count} cores, ${gibibytes} GiB`,
    loadPerCore: (loadavg()[0] ?? 0) / count,
  };
}

/** Lines for a terminal. */
export function textReport(results: Results, setting: Setting): string {
  const lines = [...settingLines(setting).map((line) => `# ${line}`), ''];
  const [name = '', ...rest] = columns;
  lines.push(name.padEnd(24) + rest.map((column) => column.padStart(10)).join(''));
  for (const one of results.classes) {
    for (const row of one.workloads) {
      const [first = '', ...cells] = cellsOf(row);
      lines.push(first.padEnd(24) + cells.map((cell) => cell.padStart(10)).join(''));
    }
    const mean = `${one.geometricMean.toFixed(2)} (by CPU time ${one.cpuMean.toFixed(2)}, uncapped ${one.uncappedMean.toFixed(2)}, least ${one.least.toFixed(2)})`;
    lines.push(`${one.name}: geometric mean ${mean}`, '');
  }
  lines.push(...summaryLines(results));
  return `${lines.join('\n')}\n`;
}

/** The part of docs/PERFORMANCE.md between its two marks. */
export function markdownReport(results: Results, setting: Setting): string {
  const lines = settingLines(setting).map((line) => `- ${line}`);
  lines.push(
    '',
    '| class | geometric mean | by CPU time | without the cap | least | floor (translator) | goal |',
    row(Array(7).fill('---')),
  );
  for (const one of results.classes) {
    const figures = [one.geometricMean, one.cpuMean, one.uncappedMean, one.least].map((figure) => figure.toFixed(2));
    lines.push(row([`${one.name}: ${one.title}`, ...figures, String(one.floor), String(one.goal)]));
  }
  lines.push('', ...summaryLines(results).map((line) => `- ${line}`), '', row(columns), row(columns.map(() => '---')));
  for (const one of results.classes) for (const workload of one.workloads) lines.push(row(cellsOf(workload)));
  return lines.join('\n');
}

/** The parts of documents that scripts write, each between two marks of its name: of docs/PERFORMANCE.md, but for `relay`. */
export type DocumentPart = 'bench' | 'nested' | 'io' | 'memory' | 'code-memory' | 'relay';

/** Puts the report between the marks of its document. */
export async function writeDocument(report: string, part: DocumentPart = 'bench'): Promise<void> {
  const document = part === 'relay' ? 'mechanisms/interrupt-relay.md' : 'PERFORMANCE.md';
  const path = fileURLToPath(new URL(`../docs/${document}`, import.meta.url));
  const text = await readFile(path, 'utf8');
  await writeFile(path, replaceBetweenMarks(text, report, part));
}

/** Throws HostError `bench-document` where a mark is missing. */
export function replaceBetweenMarks(text: string, report: string, part: DocumentPart = 'bench'): string {
  const marks = [`<!-- ${part}:begin -->`, `<!-- ${part}:end -->`] as const;
  const [from, to] = marks.map((mark) => text.indexOf(mark));
  if (from === undefined || to === undefined || from < 0 || to < from) {
    throw new HostError('bench-document', `the document lacks its marks ${marks.join(' and ')}`);
  }
  return `${text.slice(0, from + marks[0].length)}\n${report}\n${text.slice(to)}`;
}

export function settingLines(setting: Setting): string[] {
  const size = setting.permille === 1000 ? 'full size' : `${setting.permille / 10} % of the full size`;
  return [
    `${setting.date} UTC, \`${setting.command}\`: median of ${setting.runs}, ${size}, one hart, 512 MiB`,
    `${setting.qemu}; ${setting.node}; ${setting.compiler}`,
    `guest: ${setting.kernel}`,
    `host: ${setting.processor}; load per core ${setting.loadPerCore.toFixed(1)} at the end`,
  ];
}

function summaryLines(results: Results): string[] {
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const share = ((100 * results.ourPeakBytes) / results.qemuPeakBytes).toFixed(0);
  const lines = [
    `peak resident memory: ours ${mebibytes(results.ourPeakBytes)}, QEMU ${mebibytes(results.qemuPeakBytes)} (${share} %)`,
  ];
  if (results.integerMips !== undefined) {
    lines.push(`integer code in our machine: ${results.integerMips.toFixed(0)} million instructions per second`);
  }
  return lines;
}

function cellsOf(row: WorkloadResult): string[] {
  const mips = row.ourMips > 0 ? row.ourMips.toFixed(0) : '';
  return [
    row.workload,
    row.qemuSeconds.toFixed(3),
    row.ourSeconds.toFixed(3),
    row.ratio.toFixed(2),
    row.cpuRatio.toFixed(2),
    mips,
  ];
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
