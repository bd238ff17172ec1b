/** What happened, of all partitions or of one, with its cause. */
import type { Event } from '../../client/index.ts';
import { h, replace, table } from '../dom.ts';
import { moment } from '../model/format.ts';
import type { Place } from '../page.ts';

export function eventsPage({ main, live, signal }: Place): void {
  const list = h('div', {});
  main.append(h('h1', {}, 'Events'), list);
  live.watch(() => replace(list, eventTable(live.events)), signal);
}

/** The latest first. */
export function eventTable(events: readonly Event[]): HTMLElement {
  if (events.length === 0) return h('p', { class: 'quiet' }, 'Nothing happened yet.');
  const rows = [...events]
    .reverse()
    .slice(0, 200)
    .map(({ at, kind, partition = '', detail }) => {
      return [moment(at), h('span', { class: 'badge', 'data-kind': kind }, kind), partition, detailText(detail)];
    });
  return table('Events, the latest first', ['When', 'What', 'Partition', 'Cause and detail'], rows);
}

export function detailText(detail: Event['detail'] = {}): string {
  return Object.entries(detail)
    .map(([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(', ');
}
