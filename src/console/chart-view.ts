/** A chart as a figure: a drawing for the eye, its latest values as text for everybody. */

import { h, svg } from './dom.ts';
import { type ChartRow, linePath, topOf } from './model/charts.ts';
import type { Sample, Series } from './model/figures.ts';

const BOX = { width: 320, height: 96 };
const WINDOW_MS = 120_000;

export interface ChartView {
  readonly element: HTMLElement;
  show(samples: readonly Sample[]): void;
}

export function chartView(row: ChartRow): ChartView {
  const drawing = svg('svg', {
    ...{ viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: 'img', preserveAspectRatio: 'none' },
    'aria-label': `${row.title}: nothing was counted yet`,
  });
  const top = h('span', { class: 'top', 'aria-hidden': 'true' });
  const legend = h('dl', { class: 'legend' });
  const element = h(
    'figure',
    { class: 'chart', 'data-chart': row.id },
    h('figcaption', {}, h('strong', {}, row.title), h('span', { class: 'quiet' }, ` ${row.hint}`)),
    h('div', { class: 'plot' }, drawing, top),
    legend,
  );
  return {
    element,
    show: (samples) => {
      const series = row.series(samples);
      const highest = topOf(series, row.unit);
      const place = { nowMs: samples.at(-1)?.atMs ?? 0, windowMs: WINDOW_MS, top: highest };
      drawing.replaceChildren(
        ...[0.25, 0.5, 0.75].map((part) =>
          svg('path', { class: 'grid', d: `M0 ${BOX.height * part}H${BOX.width}`, 'aria-hidden': 'true' }),
        ),
        ...series.map((one, i) => svg('path', { class: `line line-${i}`, d: linePath(one, BOX, place) })),
      );
      drawing.setAttribute('aria-label', `${row.title}: ${sentence(row, series)}`);
      top.textContent = row.format(highest);
      legend.replaceChildren(
        ...series.map((one, i) =>
          h(
            'div',
            {},
            h('dt', { class: `key key-${i}` }, one.name),
            h('dd', { 'data-series': one.name }, last(row, one)),
          ),
        ),
      );
      if (series.length === 0) legend.append(h('div', {}, h('dd', { class: 'quiet' }, 'nothing was counted yet')));
    },
  };
}

function last({ format }: ChartRow, { points }: Series): string {
  const point = points.at(-1);
  return point === undefined ? '…' : format(point.value);
}

function sentence(row: ChartRow, series: readonly Series[]): string {
  if (series.length === 0) return 'nothing was counted yet';
  return series.map((one) => `${one.name} ${last(row, one)}`).join(', ');
}
