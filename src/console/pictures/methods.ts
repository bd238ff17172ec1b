/** Mechanism 8: what each method would give a guest, against what it needs, and which is in force and why. */
import { type Cell, h, svg, table } from '../dom.ts';
import { associationText, type MethodRow, methodTable, needsText, seconds } from '../model/cluster/lines.ts';
import type { GuestLine } from '../model/cluster/report.ts';

const DRAWING = { width: 640, left: 70, right: 90, row: 44, top: 26 } as const;

export function methodsPicture(guest: GuestLine): HTMLElement[] {
  const { rows, limitPart, sentence } = methodTable(guest);
  const { associations, next, why, missed, isMeasured, requirements } = guest;
  const facts: readonly (readonly [string, string | Node])[] = [
    ['Needs', needsText(guest)],
    ['In force', associations[0] === undefined ? 'nothing' : associationText(associations[0])],
    ['Then', associations.slice(1).map(associationText).join(', ') || 'nothing'],
    ...(next === undefined ? [] : [['Being made', associationText(next)] as const]),
    ['Why', why === '' ? 'not told yet' : why],
    ...(missed.length === 0 ? [] : [['Missed', missedMarks(missed)] as const]),
  ];
  return [
    h('dl', { class: 'facts' }, ...facts.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))),
    h(
      'div',
      { id: 'methods', class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Drawing of methods' },
      drawn(rows, limitPart, sentence, `recoveryTime ${seconds(requirements.recoveryTimeMs)}`),
    ),
    table(
      'What each method would give, and cost',
      ['Method', 'Standing', 'Back in', 'Work', 'Speed meanwhile', 'Takes there', 'Between hosts', 'Price', 'Misses'],
      rows.map((row): Cell[] => [
        row.method,
        h('span', { class: 'badge', 'data-state': stateOf(row) }, row.standing),
        ...[row.recovery, row.loss, row.speed, row.takes, row.traffic, row.price],
        row.missed.length === 0 ? '' : missedMarks(row.missed),
      ]),
    ),
    h(
      'p',
      { class: 'quiet' },
      isMeasured
        ? 'By figures that were measured of this guest.'
        : 'By careful figures: this guest was not measured yet.',
      ' A price of 1 is a core, or a GiB of memory, 100 GiB of disk, 100 MB/s between hosts. The cheapest that misses nothing is put in force.',
    ),
  ];
}

export function missedMarks(missed: readonly string[]): HTMLElement {
  return h('ul', { class: 'missed' }, ...missed.map((one) => h('li', {}, h('strong', {}, 'missed: '), one)));
}

function stateOf({ isInForce, missed, standing }: MethodRow): string {
  if (isInForce) return missed.length === 0 ? 'up' : 'down';
  return standing === 'does not do' ? 'down' : standing === 'being made' ? 'starting' : '';
}

/** Bars of the time to be back, with the requirement as a line across; below each a thin one of its price. */
function drawn(rows: readonly MethodRow[], limitPart: number, sentence: string, limit: string): SVGSVGElement {
  const { width, left, right, row: each, top } = DRAWING;
  const plot = width - left - right;
  const height = top + rows.length * each;
  const limitX = left + plot * limitPart;
  return svg(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, class: 'methods', role: 'img', 'aria-label': sentence },
    svg('title', {}, sentence),
    svg('rect', { class: 'ground', width, height }),
    svg('path', { class: 'limit', d: `M${limitX} ${top - 4}V${height}` }),
    ...rows.flatMap(({ method, isInForce, missed, recovery, price, recoveryPart, pricePart }, i) => {
      const y = top + i * each;
      const does = missed.length === 0 ? 'does' : 'misses';
      return [
        svg('text', { x: 0, y: y + 16, class: isInForce ? 'title in-force' : 'title' }, method),
        svg('rect', {
          ...{ class: `recovery ${does}${isInForce ? ' in-force' : ''}`, 'data-method': method },
          ...{ x: left, y: y + 2, width: Math.max(2, plot * recoveryPart), height: 18, rx: 3 },
        }),
        svg('text', { x: left + plot * recoveryPart + 6, y: y + 16, class: 'detail' }, recovery),
        svg('rect', { class: 'price', x: left, y: y + 24, width: Math.max(1, plot * pricePart), height: 5, rx: 2 }),
        svg('text', { x: left + plot * pricePart + 6, y: y + 33, class: 'detail' }, `price ${price}`),
      ];
    }),
    svg(
      'text',
      {
        x: limitX,
        y: 14,
        class: 'detail',
        'text-anchor': limitPart > 0.8 ? 'end' : limitPart < 0.15 ? 'start' : 'middle',
      },
      limit,
    ),
  );
}
