/** A partition: its head, which stays, and one of its sections. */

import type { Event, PathEvent } from '../../client/index.ts';
import { chartView } from '../chart-view.ts';
import { type Child, h, replace, table } from '../dom.ts';
import { chartRows } from '../model/charts.ts';
import { ago, bytes } from '../model/format.ts';
import { hashOf, type Route, SECTIONS, type Section } from '../model/route.ts';
import type { Place } from '../page.ts';
import { every } from '../recorder.ts';
import { verbButtons } from '../verbs.ts';
import { commandSection } from './command.ts';
import { eventTable } from './events.ts';
import { logsSection } from './logs.ts';
import { mechanismsSection } from './mechanisms.ts';
import { networkSection } from './network.ts';
import { stateBadge } from './partitions.ts';
import { terminalSection } from './terminal.ts';

const PATHS_MS = 1000;

export type SectionShow = (place: Place, name: string, detail: string | undefined) => void;

const TITLES: Readonly<Record<Section, string>> = {
  overview: 'Overview',
  terminal: 'Terminal',
  command: 'Command',
  logs: 'Logs',
  network: 'Network',
  mechanisms: 'Mechanisms',
  events: 'Events',
  spec: 'Specification',
};

const SHOW: Readonly<Record<Section, SectionShow>> = {
  overview: overviewSection,
  terminal: terminalSection,
  command: commandSection,
  logs: logsSection,
  network: networkSection,
  mechanisms: mechanismsSection,
  events: eventsSection,
  spec: specSection,
};

export function partitionPage(place: Place, route: Route & { readonly kind: 'partition' }): void {
  const { main, live, signal } = place;
  const { name, section, detail } = route;
  const state = h('span', {});
  const buttons = h('span', { class: 'buttons' });
  const inner = h('section', { 'aria-label': TITLES[section] });
  const links = SECTIONS.map((one) => {
    const here = one === section ? { 'aria-current': 'page' } : {};
    return h('a', { href: hashOf({ kind: 'partition', name, section: one }), ...here }, TITLES[one]);
  });
  main.append(
    h('div', { class: 'head' }, h('h1', {}, name), state, buttons),
    h('nav', { class: 'sections', 'aria-label': `Sections of ${name}` }, ...links),
    inner,
  );
  live.watch(() => {
    const partition = live.partition(name);
    const known = partition === undefined && live.connection === 'live' ? 'there is no such partition' : '';
    replace(state, partition === undefined ? h('span', { class: 'quiet' }, known) : stateBadge(partition));
    replace(buttons, ...(partition === undefined ? [] : verbButtons(place, partition)));
  }, signal);
  SHOW[section]({ ...place, main: inner }, name, detail);
}

function overviewSection({ main, live, recorder, signal }: Place, name: string): void {
  const facts = h('dl', { class: 'facts' });
  const views = chartRows.map(chartView);
  main.append(facts, h('div', { class: 'charts' }, ...views.map(({ element }) => element)));
  live.watch(() => {
    const partition = live.partition(name);
    if (partition === undefined) return;
    const { machine, exit, restartPolicy, restarts } = partition;
    const rows: [string, Child][] = [
      ['Policy', `${restartPolicy.name}${restarts > 0 ? `, restarted ${restarts} times` : ''}`],
      ...(machine === undefined
        ? []
        : ([
            ['Process', String(machine.pid)],
            ['Harts', String(machine.cpus)],
            ['Memory', bytes(machine.memoryBytes)],
            ['Runs for', ago(machine.startedAt)],
            ['Published', machine.publish.join(', ') || 'nothing'],
          ] as [string, Child][])),
      ...(exit === undefined
        ? []
        : ([['Latest end', `${exit.reason}, code ${exit.code}. ${exit.message ?? ''}`]] as [string, Child][])),
    ];
    replace(facts, ...rows.map(([title, text]) => h('div', {}, h('dt', {}, title), h('dd', {}, text))));
  }, signal);
  recorder.follow(name, signal, ({ samples }) => {
    for (const view of views) view.show(samples);
  });
}

/** The daemon's events, and those of its paths, which the machine keeps. */
function eventsSection({ main, client, live, signal }: Place, name: string): void {
  const list = h('div', {});
  main.append(list);
  let paths: readonly Event[] = [];
  const show = (): void => {
    const own = live.events.filter(({ partition, kind }) => partition === name && kind !== 'path');
    const all = [...own, ...paths].sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
    replace(list, eventTable(all));
  };
  live.watch(show, signal);
  every(PATHS_MS, signal, async () => {
    paths = (await client.netEvents(name, {}, { signal })).events.map((one) => asEvent(one, name));
    show();
  });
}

function asEvent({ wallMs, kind, subject, from = 'none', to = 'none', cause }: PathEvent, partition: string): Event {
  const change = from === to ? {} : { change: `${from} → ${to}` };
  const at = new Date(wallMs).toISOString();
  return { id: 0, at, kind: 'path', partition, detail: { what: kind, of: subject, ...change, cause } };
}

function specSection({ main, live, signal }: Place, name: string): void {
  const place = h('div', {});
  main.append(place);
  live.watch(() => {
    const spec = live.partition(name)?.spec;
    if (spec === undefined)
      replace(place, h('p', { class: 'quiet' }, 'It was not declared: what runs was only found.'));
    else
      replace(
        place,
        table(
          'Specification',
          ['Member', 'Value'],
          Object.entries(spec).map(([key, value]) => [key, h('code', {}, JSON.stringify(value))]),
        ),
      );
  }, signal);
}
