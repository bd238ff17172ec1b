/** The drawing of the network mapping as SVG (geometry: net-drawing.ts). */
import type { NetReport } from '../client/index.ts';
import { svg } from './dom.ts';
import { type DrawnNode, NODE, netDrawing } from './model/net-drawing.ts';

export function netView(report: NetReport): SVGSVGElement {
  const drawing = netDrawing(report);
  return svg(
    'svg',
    {
      ...{ viewBox: `0 0 ${drawing.width} ${drawing.height}`, class: 'net', role: 'img' },
      'aria-label': drawing.sentence,
    },
    svg('title', {}, drawing.sentence),
    ...drawing.lines.map(({ from, to, kind, path }) =>
      svg('path', { class: `wire ${kind}`, d: path, 'data-from': from, 'data-to': to, 'data-kind': kind }),
    ),
    ...drawing.interfaces.map((node) => drawn(node, 'interface')),
    ...drawing.uplinks.map((node) => drawn(node, 'uplink')),
  );
}

function drawn({ name, title, detail, condition, x, y }: DrawnNode, kind: string): SVGElement {
  return svg(
    'g',
    { class: `node ${kind}`, 'data-name': name, 'data-condition': condition, transform: `translate(${x} ${y})` },
    svg('rect', { width: NODE.width, height: NODE.height, rx: 8 }),
    svg('text', { x: 12, y: 24, class: 'title' }, shortened(title, 24)),
    svg('text', { x: 12, y: 44, class: 'detail' }, shortened(detail, 28)),
  );
}

function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
