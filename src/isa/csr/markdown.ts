/** The CSR table as a table of docs/privileged.md; runs of CSRs that differ only in a number are one line. */
import { type Csr, type CsrField, isReadOnly, privilegeOf } from './csr.ts';
import { CSRS } from './index.ts';

const LETTERS = ['U', 'S', 'H', 'M'] as const;

export function csrsAsMarkdown(): string {
  const lines = runs(CSRS).map((run) => {
    const [first] = run;
    const last = run.at(-1);
    if (first === undefined || last === undefined) return '';
    const isRun = run.length > 1;
    const cells = [
      isRun ? `${hex(first.number)} to ${hex(last.number)}` : hex(first.number),
      isRun ? `${first.name} to ${last.name}` : first.name,
      `${LETTERS[privilegeOf(first.number)]}${isReadOnly(first.number) ? ', read-only' : ''}`,
      first.requires ?? '',
      first.fields.length === 0 ? 'zero' : first.fields.map(fieldText).join(' '),
      first.reset === 0n ? '0' : `0x${first.reset.toString(16)}`,
      isRun ? unnumbered(first) : first.summary,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| number | name | from | needs | fields | after reset | what it is |',
    '|---|---|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

function runs(rows: readonly Csr[]): Csr[][] {
  const out: Csr[][] = [];
  for (const row of rows) {
    const before = out.at(-1)?.at(-1);
    const continues = before && stem(before) === stem(row) && stem(row) !== row.name && alike(before, row);
    if (continues) out.at(-1)?.push(row);
    else out.push([row]);
  }
  return out;
}

function stem(row: Csr): string {
  return row.name.replace(/\d+$/, '');
}

function unnumbered(row: Csr): string {
  return row.summary.replace(/ \d+\b/, '');
}

function alike(a: Csr, b: Csr): boolean {
  return (
    a.reset === b.reset &&
    unnumbered(a) === unnumbered(b) &&
    a.fields.map(fieldText).join() === b.fields.map(fieldText).join()
  );
}

function fieldText(field: CsrField): string {
  const bits = field.high === field.low ? `${field.low}` : `${field.high}:${field.low}`;
  const kind = field.kind === 'writable' ? '' : field.kind === 'derived' ? '=*' : `=${field.kind}`;
  return `${field.name}[${bits}]${kind}`;
}

function hex(number: number): string {
  return `0x${number.toString(16).padStart(3, '0')}`;
}
