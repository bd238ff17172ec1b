/** Mechanism 7: masters on a ring, their exchanges, and slaves' beats that stay inside their host. */

import type { ClusterPoll } from '../cluster-recorder.ts';
import { h, svg } from '../dom.ts';
import { heartbeatRates } from '../model/cluster/figures.ts';
import { BOX, type DrawnExchange, type DrawnHost, ringDrawing } from '../model/cluster/ring-drawing.ts';

const DOT = { across: 12, from: 16, y: 66 } as const;

/** The drawing, what it says in words, and what it leaves out. */
export function ringPicture({ report, samples }: ClusterPoll): HTMLElement[] {
  const drawing = ringDrawing(report, heartbeatRates(samples));
  const picture = svg(
    'svg',
    {
      ...{ viewBox: `0 0 ${drawing.width} ${drawing.height}`, class: 'ring', role: 'img' },
      'aria-label': drawing.sentence,
    },
    svg('title', {}, drawing.sentence),
    ...drawing.exchanges.map(exchange),
    ...drawing.hosts.map(host),
    ...drawing.exchanges.filter(({ label }) => label !== '').map(label),
  );
  return [
    h(
      'div',
      { id: 'ring', class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Drawing of heartbeats' },
      picture,
    ),
    h('p', { class: 'prose' }, drawing.sentence),
    h(
      'p',
      { class: 'quiet' },
      'A dot is a slave in a guest; a ring is the slave of a standby that runs, which hears nothing. Lines with numbers are measured at this host; the others are not seen from here.',
      drawing.left > 0 && ` ${drawing.left} hosts more are not drawn.`,
    ),
  ];
}

function exchange({ from, to, kind, path }: DrawnExchange): SVGElement {
  return svg('path', { class: `exchange ${kind}`, d: path, 'data-from': from, 'data-to': to, 'data-kind': kind });
}

function label({ label: text, x, y }: DrawnExchange): SVGElement {
  const width = 12 + text.length * 7.5;
  return svg(
    'g',
    { class: 'node rate', transform: `translate(${x - width / 2} ${y - 10})` },
    svg('rect', { width, height: 20, rx: 10 }),
    svg('text', { x: width / 2, y: 14, 'text-anchor': 'middle' }, text),
  );
}

function host({ name, isSelf, isLeader, condition, detail, dots, moreDots, x, y }: DrawnHost): SVGElement {
  const title = `${shortened(name, isLeader ? 12 : 18)}${isLeader ? ' · leader' : ''}`;
  return svg(
    'g',
    {
      ...{ class: `node host${isSelf ? ' self' : ''}`, 'data-name': name, 'data-condition': condition },
      transform: `translate(${x} ${y})`,
    },
    svg('rect', { width: BOX.width, height: BOX.height, rx: 8 }),
    svg('text', { x: 12, y: 24, class: 'title' }, title),
    svg('text', { x: 12, y: 44, class: 'detail' }, isSelf ? `this host · ${detail}` : detail),
    ...dots.map((role, i) =>
      svg('circle', { class: `slave ${role}`, cx: DOT.from + i * DOT.across, cy: DOT.y, r: 4, 'aria-hidden': 'true' }),
    ),
    ...(moreDots > 0
      ? [svg('text', { x: DOT.from - 6 + dots.length * DOT.across, y: DOT.y + 4, class: 'detail' }, `+${moreDots}`)]
      : []),
  );
}

function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
