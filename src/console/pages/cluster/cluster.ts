/** The cluster that the daemon is in: one of its sections; or, without one, how to begin. */
import { h, replace } from '../../dom.ts';
import { CLUSTER_SECTIONS, type ClusterSection, hashOf, type Route } from '../../model/route.ts';
import type { Place } from '../../page.ts';
import { failoversSection } from './failovers.ts';
import { heartbeatsSection } from './heartbeats.ts';
import { hostsSection } from './hosts.ts';
import { methodsSection } from './methods.ts';
import type { ClusterShow } from './section.ts';

const TITLES: Readonly<Record<ClusterSection, string>> = {
  hosts: 'Hosts and guests',
  heartbeats: 'Heartbeats',
  methods: 'Methods',
  failovers: 'Failovers',
};

const SECTIONS: Readonly<Record<ClusterSection, (place: Place, guest: string | undefined) => ClusterShow>> = {
  hosts: hostsSection,
  heartbeats: heartbeatsSection,
  methods: methodsSection,
  failovers: failoversSection,
};

export function clusterPage(place: Place, { section, guest }: Route & { readonly kind: 'cluster' }): void {
  const { main, cluster, signal } = place;
  const inner = h('section', { 'aria-label': TITLES[section] }, h('p', { class: 'quiet' }, 'Asking …'));
  const trouble = h('div', { role: 'status' });
  const links = CLUSTER_SECTIONS.map((one) => {
    const here = one === section ? { 'aria-current': 'page' } : {};
    return h('a', { href: hashOf({ kind: 'cluster', section: one }), ...here }, TITLES[one]);
  });
  main.append(
    h('h1', {}, 'Cluster'),
    h('nav', { class: 'sections', 'aria-label': 'Sections of the cluster' }, ...links),
    trouble,
    inner,
  );
  let show: ClusterShow | undefined;
  cluster.follow(signal, (poll) => {
    if (poll === undefined) {
      show = undefined;
      replace(inner, noCluster());
      return;
    }
    if (show === undefined) {
      inner.replaceChildren();
      show = SECTIONS[section]({ ...place, main: inner }, guest);
    }
    const { problem } = poll.report.self;
    replace(
      trouble,
      ...(problem === undefined ? [] : [h('p', { class: 'missed' }, h('strong', {}, 'Trouble: '), problem)]),
    );
    show(poll);
  });
}

/** Also where mechanisms of the cluster have nothing to show. */
export function noCluster(): HTMLElement {
  return h(
    'p',
    { class: 'prose', 'data-cluster': 'none' },
    'This daemon is in no cluster. Begin one on this host with ',
    h('code', {}, 'kage cluster init --address ADDRESS'),
    '; it prints the token that others join with.',
  );
}
