/** What a section of the cluster's page is: it is shown anew after each poll. */
import type { ClusterPoll } from '../../cluster-recorder.ts';
import { h } from '../../dom.ts';
import type { GuestLine } from '../../model/cluster/report.ts';
import { type ClusterSection, hashOf } from '../../model/route.ts';

export type ClusterShow = (poll: ClusterPoll) => void;

/** Links to that section of each guest; `all`: one to all of them, too. */
export function guestLinks(
  guests: readonly GuestLine[],
  section: ClusterSection,
  chosen: string | undefined,
  all?: string,
): HTMLElement {
  const link = (text: string, guest?: string): HTMLElement =>
    h(
      'a',
      {
        href: hashOf({ kind: 'cluster', section, ...(guest === undefined ? {} : { guest }) }),
        ...(guest === chosen ? { 'aria-current': 'page' } : {}),
      },
      text,
    );
  return h(
    'nav',
    { class: 'sections', 'aria-label': 'Guests', 'data-list': true },
    ...(all === undefined ? [] : [link(all)]),
    ...guests.map(({ name }) => link(name, name)),
  );
}
