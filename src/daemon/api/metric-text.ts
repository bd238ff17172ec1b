/** One metric in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

const PREFIX = 'kagemusha_';

/** Nothing where there is no sample. */
export function metricText(name: string, type: 'counter' | 'gauge', help: string, all: readonly Sample[]): string {
  if (all.length === 0) return '';
  const lines = all.map(({ labels, value }) => {
    const pairs = Object.entries(labels).map(([label, of]) => `${label}="${escaped(of)}"`);
    return `${PREFIX}${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`;
  });
  return `# HELP ${PREFIX}${name} ${help}\n# TYPE ${PREFIX}${name} ${type}\n${lines.join('')}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
