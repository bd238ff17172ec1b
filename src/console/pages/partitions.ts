/** All partitions: what they are, how they are, and the verbs. */
import type { Partition } from '../../client/index.ts';
import { h, replace, table } from '../dom.ts';
import { ago, bytes } from '../model/format.ts';
import { hashOf } from '../model/route.ts';
import type { Place } from '../page.ts';
import { verbButtons } from '../verbs.ts';

export function partitionsPage(place: Place): void {
  const { main, live, signal } = place;
  const list = h('div', { 'data-list': true });
  main.append(h('h1', {}, 'Partitions'), list, h('p', {}, h('a', { class: 'button', href: '#/new' }, 'New partition')));
  live.watch(() => {
    if (live.partitions.length === 0) {
      const text = live.connection === 'live' ? 'There is none yet.' : 'Asking the daemon …';
      replace(list, h('p', { class: 'quiet' }, text));
      return;
    }
    const header = ['Name', 'State', 'Harts', 'Memory', 'Since', 'Policy', 'Actions'];
    replace(
      list,
      table(
        'Partitions',
        header,
        live.partitions.map((one) => row(place, one)),
      ),
    );
  }, signal);
}

function row(place: Place, partition: Partition): (string | Node)[] {
  const { name, machine, restartPolicy, spec, exit } = partition;
  const since = machine?.startedAt ?? exit?.at ?? partition.createdAt;
  return [
    h('a', { href: hashOf({ kind: 'partition', name, section: 'overview' }) }, name),
    stateBadge(partition),
    String(machine?.cpus ?? spec?.cpus ?? 1),
    bytes(machine?.memoryBytes ?? spec?.memoryBytes ?? 512 * 2 ** 20),
    since === undefined ? '' : ago(since),
    `${restartPolicy.name}${partition.restarts > 0 ? ` (${partition.restarts} so far)` : ''}`,
    h('span', { class: 'buttons' }, ...verbButtons(place, partition)),
  ];
}

/** Never by colour alone: the word stands in it. */
export function stateBadge({ state, exit }: Partition): HTMLElement {
  const detail = state === 'exited' && exit !== undefined ? ` (${exit.reason}, ${exit.code})` : '';
  return h('span', { class: 'badge', 'data-state': state }, `${state}${detail}`);
}
