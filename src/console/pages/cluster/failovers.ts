/** Failovers as they went, the latest first: of the guest that is chosen, or of all. */
import { h, replace } from '../../dom.ts';
import { failovers } from '../../model/cluster/timeline.ts';
import type { Place } from '../../page.ts';
import { timelinePicture } from '../../pictures/timeline.ts';
import { type ClusterShow, guestLinks } from './section.ts';

const MOST = 10;

export function failoversSection({ main, live, signal }: Place, chosen: string | undefined): ClusterShow {
  const guests = h('div', {});
  const past = h('div', {});
  main.append(guests, past);
  live.watch(() => {
    const found = failovers(live.events, chosen).slice(0, MOST);
    const none = h(
      'p',
      { class: 'quiet' },
      `No failover${chosen === undefined ? '' : ` of ${chosen}`} is among the events that this daemon keeps.`,
    );
    replace(past, ...(found.length === 0 ? [none] : found.map(timelinePicture)));
  }, signal);
  return ({ report }) => replace(guests, guestLinks(report.guests, 'failovers', chosen, 'All'));
}
