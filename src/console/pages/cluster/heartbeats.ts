/** Who exchanges heartbeats with whom, how many there are, and that guests add none. */
import { chartView } from '../../chart-view.ts';
import { h, replace } from '../../dom.ts';
import { heartbeatCharts } from '../../model/cluster/figures.ts';
import type { Place } from '../../page.ts';
import { ringPicture } from '../../pictures/ring.ts';
import type { ClusterShow } from './section.ts';

export function heartbeatsSection({ main }: Place): ClusterShow {
  const ring = h('div', {});
  const views = heartbeatCharts.map(chartView);
  main.append(ring, h('div', { class: 'charts' }, ...views.map(({ element }) => element)));
  return (poll) => {
    replace(ring, ...ringPicture(poll));
    for (const view of views) view.show(poll.samples);
  };
}
