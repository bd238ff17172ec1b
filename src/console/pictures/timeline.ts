/** A failover as it went: a bar from each step to the next for the eye, and the same as a list for everybody. */
import { h, svg } from '../dom.ts';
import { type Failover, failoverSentence, timelineRows, timeText } from '../model/cluster/timeline.ts';
import { moment } from '../model/format.ts';

const DRAWING = { width: 640, left: 124, right: 66, row: 28 } as const;

export function timelinePicture(failover: Failover): HTMLElement {
  const sentence = failoverSentence(failover);
  const { guest, generation, at, steps, isFromFirstStep } = failover;
  return h(
    'section',
    { class: 'failover', 'aria-label': `${guest}, generation ${generation}`, 'data-guest': guest },
    h('h2', {}, `${guest}: ${failover.from ?? 'another host'} → ${failover.to}`),
    h('p', {}, sentence, ' ', h('span', { class: 'quiet' }, moment(at))),
    h(
      'div',
      { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Drawing of the failover of ${guest}` },
      drawn(failover, sentence),
    ),
    h(
      'ol',
      { class: 'steps' },
      ...steps.map(({ kind, sinceMs, text }) =>
        h('li', { 'data-step': kind }, h('span', { class: 'number' }, timeText(sinceMs)), ` ${text}`),
      ),
    ),
    isFromFirstStep &&
      h(
        'p',
        { class: 'quiet' },
        'Nobody who answers told when its host was heard last: times count from the first step.',
      ),
  );
}

function drawn(failover: Failover, sentence: string): SVGSVGElement {
  const { width, left, right, row: each } = DRAWING;
  const rows = timelineRows(failover);
  const plot = width - left - right;
  const height = rows.length * each + 4;
  return svg(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, class: 'timeline', role: 'img', 'aria-label': sentence },
    svg('title', {}, sentence),
    svg('rect', { class: 'ground', width, height }),
    ...rows.flatMap(({ kind, title, start, end, time }, i) => {
      const y = i * each + 4;
      return [
        svg('path', { class: 'rule', d: `M0 ${y + each - 3}H${width}` }),
        svg('text', { x: 0, y: y + 17, class: 'title' }, title),
        svg('rect', {
          ...{ class: `step ${kind}`, 'data-step': kind, x: left + plot * start, y: y + 4 },
          ...{ width: Math.max(3, plot * (end - start)), height: 16, rx: 3 },
        }),
        svg('text', { x: left + plot * end + 8, y: y + 17, class: 'detail' }, time),
      ];
    }),
  );
}
