/** Hosts and guests as they stand, what is missed, and what waits for a place and why. */
import { type Cell, h, replace, svg, table } from '../../dom.ts';
import { associationText, hostRows, needsText, summary, waiting } from '../../model/cluster/lines.ts';
import type { ClusterReport, GuestLine } from '../../model/cluster/report.ts';
import { hashOf } from '../../model/route.ts';
import type { Place } from '../../page.ts';
import { missedMarks } from '../../pictures/methods.ts';
import type { ClusterShow } from './section.ts';

export function hostsSection({ main }: Place): ClusterShow {
  const line = h('p', { role: 'status', 'data-cluster': 'summary' });
  const [hosts, waits, guests] = [h('div', {}), h('div', {}), h('div', {})];
  main.append(line, hosts, waits, guests);
  return ({ report }) => {
    const text = summary(report);
    if (line.textContent !== text) line.textContent = text;
    replace(hosts, hostTable(report));
    replace(waits, ...waitingList(report));
    replace(guests, guestTable(report));
  };
}

function hostTable(report: ClusterReport): HTMLElement {
  const rows = hostRows(report).map((row): Cell[] => [
    h('span', {}, h('strong', {}, row.name), row.roles.length > 0 && ` (${row.roles.join(', ')})`),
    h('span', { class: 'badge', 'data-state': row.state }, row.state),
    row.guests,
    h('span', {}, row.cores, row.corePart !== undefined && bar(row.corePart)),
    h('span', {}, row.memory, bar(row.memoryPart)),
    row.lease,
  ]);
  return table('Hosts', ['Host', 'State', 'Guests', 'Load', 'Memory of guests', 'Lease left'], rows);
}

/** The number stands beside it. */
function bar(part: number): SVGElement {
  return svg(
    'svg',
    { class: 'bar-drawing', viewBox: '0 0 100 10', 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    svg('rect', { class: 'whole', width: 100, height: 10, rx: 2 }),
    svg('rect', { width: Math.max(1, 100 * part), height: 10, rx: 2 }),
  );
}

function waitingList(report: ClusterReport): HTMLElement[] {
  const guests = waiting(report);
  if (guests.length === 0) return [];
  return [
    h('h2', {}, 'Waiting for a place'),
    h('ul', { class: 'missed' }, ...guests.map(({ name, why }) => h('li', {}, h('strong', {}, name), `: ${why}`))),
  ];
}

function guestTable({ guests }: ClusterReport): HTMLElement {
  if (guests.length === 0)
    return h(
      'p',
      { class: 'prose' },
      'The cluster keeps no guest up yet. Give it one with ',
      h('code', {}, 'kage create --failover recovery-time=5s,data-loss=0 IMAGE'),
      '.',
    );
  const rows = guests.map((guest): Cell[] => [
    h('a', { href: hashOf({ kind: 'cluster', section: 'methods', guest: guest.name }) }, guest.name),
    h('span', { class: 'badge', 'data-state': guest.state }, guest.state),
    guest.host ?? '',
    guest.generation,
    h('span', {}, needsText(guest), guest.missed.length > 0 && missedMarks(guest.missed)),
    h('span', {}, ...methodCell(guest)),
    guest.why,
    h(
      'a',
      {
        href: hashOf({ kind: 'cluster', section: 'failovers', guest: guest.name }),
        'aria-label': `Failovers of ${guest.name}`,
      },
      'Failovers',
    ),
  ]);
  const wrapped = table(
    'Guests',
    ['Guest', 'State', 'Host', 'Generation', 'Needs', 'Method, then', 'Why', 'Past'],
    rows,
  );
  wrapped.setAttribute('data-list', '');
  return wrapped;
}

function methodCell({ associations: [first, ...others], next, fixed }: GuestLine): (Node | string)[] {
  return [
    first === undefined ? 'nothing' : h('strong', {}, associationText(first)),
    fixed === undefined ? '' : ' (fixed)',
    others.length === 0 ? '' : `, then ${others.map(associationText).join(', ')}`,
    next === undefined ? '' : `; being made: ${associationText(next)}`,
  ];
}
