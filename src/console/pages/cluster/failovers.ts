/** Failovers as they went, by what all hosts told, the latest first: of the guest that is chosen, or of all. */
import type { Event } from '../../../client/index.ts';
import { h, replace } from '../../dom.ts';
import { failovers } from '../../model/cluster/timeline.ts';
import type { Place } from '../../page.ts';
import { timelinePicture } from '../../pictures/timeline.ts';
import { every } from '../../recorder.ts';
import { type ClusterShow, guestLinks } from './section.ts';

const MOST = 10;
const POLL_MS = 2000;

export function failoversSection({ main, client, signal }: Place, chosen: string | undefined): ClusterShow {
  const guests = h('div', {});
  const past = h('div', {}, h('p', { class: 'quiet' }, 'Asking all hosts …'));
  const silent = h('div', {});
  main.append(guests, silent, past);
  let known = '';
  every(POLL_MS, signal, async () => {
    const history = await client.clusterHistory({ signal });
    const told = JSON.stringify([history.silent, history.events.map(({ host, id }) => [host, id])]);
    if (signal.aborted || told === known) return;
    // What is known is not drawn anew: other hosts' clocks are a millisecond off each time.
    known = told;
    replace(past, ...pictures(history.events, chosen));
    replace(silent, ...(history.silent.length === 0 ? [] : [silentHosts(history.silent)]));
  });
  return ({ report }) => replace(guests, guestLinks(report.guests, 'failovers', chosen, 'All'));
}

function pictures(events: readonly Event[], chosen: string | undefined): HTMLElement[] {
  const found = failovers(events, chosen).slice(0, MOST);
  if (found.length > 0) return found.map(timelinePicture);
  const whose = chosen === undefined ? '' : ` of ${chosen}`;
  return [h('p', { class: 'quiet' }, `No failover${whose} is among the events that hosts keep.`)];
}

function silentHosts(hosts: readonly string[]): HTMLElement {
  return h(
    'p',
    { class: 'quiet' },
    `${hosts.join(', ')} did not answer: what was told there is not among these steps.`,
  );
}
