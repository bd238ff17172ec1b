/** Pages for who learns: each mechanism at work on this very guest, with its switch and the difference that makes. */

import type { ClusterPoll } from '../cluster-recorder.ts';
import { type Cell, h, replace, table } from '../dom.ts';
import { samplesOf } from '../model/cluster/figures.ts';
import type { Sample } from '../model/figures.ts';
import { BEFORE_MS, figureNow, since, type Thrown, thrown } from '../model/measurement.ts';
import {
  type ClusterMechanismId,
  difference,
  formatOf,
  type GuestMechanismId,
  isOfCluster,
  type Mechanism,
  mechanisms,
} from '../model/mechanisms.ts';
import { hashOf } from '../model/route.ts';
import type { Place } from '../page.ts';
import { nestedPicture, overlayPicture, promotionPicture, relayPicture, shadowPicture } from '../pictures/counted.ts';
import { methodsPicture } from '../pictures/methods.ts';
import type { Picture } from '../pictures/picture.ts';
import { protectionPicture } from '../pictures/protection.ts';
import { ringPicture } from '../pictures/ring.ts';
import { noCluster } from './cluster/cluster.ts';
import { switchControl } from './mechanism-switch.ts';
import { networkSection } from './network.ts';

const PICTURES: Readonly<Record<GuestMechanismId, (place: Place, name: string) => Picture>> = {
  'protection-tables': protectionPicture,
  'nested-virtualization': nestedPicture,
  promotion: ({ client, signal }, name) => promotionPicture(client, name, signal),
  'interrupt-relay': relayPicture,
  'code-overlay': overlayPicture,
  'shadow-tables': shadowPicture,
  'network-paths': (place, name) => {
    const element = h('div', { class: 'picture' });
    networkSection({ ...place, main: element }, name);
    return { element, show: () => {} };
  },
};

const CLUSTER_PICTURES: Readonly<Record<ClusterMechanismId, (poll: ClusterPoll, name: string) => HTMLElement[]>> = {
  'failover-heartbeats': ringPicture,
  'failover-methods': ({ report }, name) => {
    const guest = report.guests.find((one) => one.name === name);
    return guest === undefined ? [notKept(name)] : methodsPicture(guest);
  },
};

function notKept(name: string): HTMLElement {
  return h(
    'p',
    { class: 'prose' },
    `The cluster does not keep ${name} up: it was declared without failover. Declare it with `,
    h('code', {}, '--failover recovery-time=5s'),
    '.',
  );
}

/** A picture, and what it is shown by: polls of the guest, or of the cluster. `take`: the figures of each. */
interface View {
  readonly element: HTMLElement;
  follow(take: (samples: readonly Sample[], poll?: ClusterPoll) => void): void;
}

function viewOf(place: Place, name: string, { id }: Mechanism): View {
  const { recorder, cluster, signal } = place;
  if (!isOfCluster(id)) {
    const picture = PICTURES[id](place, name);
    return {
      element: picture.element,
      follow: (take) =>
        recorder.follow(name, signal, (poll) => {
          picture.show(poll);
          take(poll.samples);
        }),
    };
  }
  const element = h('div', { class: 'picture' });
  return {
    element,
    follow: (take) =>
      cluster.follow(signal, (poll) => {
        replace(element, ...(poll === undefined ? [noCluster()] : CLUSTER_PICTURES[id](poll, name)));
        if (poll !== undefined) take(samplesOf(poll.samples, name), poll);
      }),
  };
}

/** Switches that were thrown while this tab is open, so that a page that is left and found again still compares. */
const thrownSwitches = new Map<string, Thrown>();

export function mechanismsSection(place: Place, name: string, detail: string | undefined): void {
  const mechanism = mechanisms.find(({ id }) => id === detail);
  if (mechanism === undefined) place.main.append(overview(name));
  else showMechanism(place, name, mechanism);
}

function overview(name: string): HTMLElement {
  return h(
    'ol',
    { class: 'cards', 'data-list': true },
    ...mechanisms.map(({ id, number, title, text }) =>
      h(
        'li',
        { class: 'card', value: number },
        h(
          'h2',
          {},
          `${number} `,
          h('a', { href: hashOf({ kind: 'partition', name, section: 'mechanisms', detail: id }) }, title),
        ),
        h('p', {}, text[0]),
      ),
    ),
  );
}

function showMechanism(place: Place, name: string, mechanism: Mechanism): void {
  const { main } = place;
  const key = `${name}/${mechanism.id}`;
  const view = viewOf(place, name, mechanism);
  const figures = h('div', { class: 'figures' });
  let samples: readonly Sample[] = [];
  const control = switchControl(place, name, mechanism, (from, to) => {
    thrownSwitches.set(key, thrown(samples, mechanism.figures, { from, to, atMs: performance.now() }));
  });
  main.append(
    h('p', {}, h('a', { href: hashOf({ kind: 'partition', name, section: 'mechanisms' }) }, 'All mechanisms')),
    h('h2', {}, `${mechanism.number} ${mechanism.title}`),
    h(
      'div',
      { class: 'mechanism' },
      h(
        'div',
        {},
        ...mechanism.text.map((text) => h('p', { class: 'prose' }, text)),
        h('p', {}, h('a', { href: `./docs/${mechanism.id}.html`, target: '_blank' }, 'How it is built')),
        control.element,
      ),
      figures,
    ),
    view.element,
  );
  view.follow((taken, poll) => {
    samples = taken;
    control.see(poll?.report.heartbeats?.mode);
    if (mechanism.figures.length > 0) replace(figures, figureTable(mechanism, samples, thrownSwitches.get(key)));
  });
}

function figureTable({ figures }: Mechanism, samples: readonly Sample[], last: Thrown | undefined): HTMLElement {
  const nowMs = samples.at(-1)?.atMs ?? 0;
  const text = (format: (value: number) => string, value: number | undefined): string =>
    value === undefined ? '…' : format(value);
  if (last === undefined) {
    const rows = figures.map((figure): Cell[] => [
      figure.title,
      text(formatOf(figure), figureNow(samples, figure, nowMs - BEFORE_MS)),
    ]);
    return table(`Figures, over ${BEFORE_MS / 1000} s`, ['Figure', 'Now'], rows);
  }
  const rows = figures.map((figure): Cell[] => {
    const [before, after] = [last.before.get(figure), since(last, samples, figure)];
    return [figure.title, text(formatOf(figure), before), text(formatOf(figure), after), difference(before, after)];
  });
  return table(
    'The difference, measured',
    ['Figure', `Before (${last.from})`, `Since (${last.to})`, 'Difference'],
    rows,
  );
}
