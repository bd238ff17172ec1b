/** Bars with their numbers: the picture of counters by name. */
import { h, svg } from '../dom.ts';

const LENGTH = 200;

/** The longest first; those of nothing are left out. */
export function bars(
  caption: string,
  counts: Readonly<Record<string, number>>,
  format: (value: number) => string,
): HTMLElement {
  const rows = Object.entries(counts)
    .filter(([, value]) => value > 0)
    .sort(([, one], [, other]) => other - one);
  const most = rows[0]?.[1] ?? 1;
  if (rows.length === 0) return h('p', { class: 'quiet' }, `${caption}: nothing was counted yet.`);
  return h(
    'table',
    { class: 'bars' },
    h('caption', {}, caption),
    h(
      'tbody',
      {},
      ...rows.map(([name, value]) =>
        h(
          'tr',
          { 'data-row': name },
          h('th', { class: 'bar-name', scope: 'row' }, name),
          h('td', { class: 'bar' }, bar(value / most)),
          h('td', { class: 'number' }, format(value)),
        ),
      ),
    ),
  );
}

function bar(part: number): SVGElement {
  return svg(
    'svg',
    { class: 'bar-drawing', viewBox: `0 0 ${LENGTH} 10`, 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    svg('rect', { width: Math.max(1, LENGTH * part), height: 10, rx: 2 }),
  );
}
