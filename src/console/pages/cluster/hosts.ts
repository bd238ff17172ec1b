/** Hosts and guests as they stand, what is missed, and what waits for a place and why. */
import { type Cell, h, replace, svg, table } from '../../dom.ts';
import { associationText, type HostRow, hostRows, needsText, summary, waiting } from '../../model/cluster/lines.ts';
import type { ClusterReport, GuestLine } from '../../model/cluster/report.ts';
import { hashOf } from '../../model/route.ts';
import { attempt, confirmed, type Place } from '../../page.ts';
import { missedMarks } from '../../pictures/methods.ts';
import type { ClusterShow } from './section.ts';

export function hostsSection(place: Place): ClusterShow {
  const line = h('p', { role: 'status', 'data-cluster': 'summary' });
  const [hosts, waits, guests] = [h('div', {}), h('div', {}), h('div', {})];
  place.main.append(line, hosts, waits, guests);
  let drawn = '';
  return ({ report }) => {
    const text = summary(report);
    if (line.textContent !== text) line.textContent = text;
    // Leases change each time: the table around them, and who points at its buttons, are left alone.
    const rows = hostRows(report);
    const rest = JSON.stringify(rows.map(({ lease: _, ...row }) => row));
    if (rest !== drawn) replace(hosts, hostTable(place, rows));
    drawn = rest;
    rows.forEach(({ lease }, i) => {
      const cell = hosts.querySelectorAll('[data-lease]')[i];
      if (cell !== undefined) cell.textContent = lease;
    });
    replace(waits, ...waitingList(report));
    replace(guests, guestTable(report));
  };
}

function hostTable(place: Place, hosts: readonly HostRow[]): HTMLElement {
  const rows = hosts.map((row): Cell[] => [
    h('span', {}, h('strong', {}, row.name), row.roles.length > 0 && ` (${row.roles.join(', ')})`),
    h('span', { class: 'badge', 'data-state': row.state }, row.state),
    row.guests,
    h('span', {}, row.cores, row.corePart !== undefined && bar(row.corePart)),
    h('span', {}, row.memory, bar(row.memoryPart)),
    h('span', { class: 'number', 'data-lease': row.name }),
    drainButton(place, row) ?? '',
  ]);
  return table('Hosts', ['Host', 'State', 'Guests', 'Load', 'Memory of guests', 'Lease left', 'Change'], rows);
}

/** Undefined: a host that is not in has nothing to give up. */
function drainButton({ client }: Place, { name, state, isIn, isDraining }: HostRow): HTMLElement | undefined {
  if (!isIn || state === 'suspected') return undefined;
  const question = `${name} gives its guests up to others, and takes none until that is undone.`;
  const drain = async (): Promise<void> => {
    if (isDraining || (await confirmed(question, 'Drain')))
      await attempt(() => client.drainHost(name, { undo: isDraining }));
  };
  const text = isDraining ? `Undo the drain of ${name}` : `Drain ${name}`;
  return h('button', { id: `drain-${name}`, click: drain }, text);
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
