/** Pictures of mechanisms whose counters the statistics hold: nested areas, promotion, relay, overlay, shadows. */
import type { Client } from '../../client/index.ts';
import { type Cell, h, replace, svg, table } from '../dom.ts';
import { number, record } from '../model/figures.ts';
import { bytes, count, perSecond } from '../model/format.ts';
import type { Poll } from '../recorder.ts';
import { bars } from './bars.ts';
import type { Picture } from './picture.ts';

function picture(show: (poll: Poll) => readonly HTMLElement[]): Picture {
  const element = h('div', { class: 'picture' });
  return { element, show: (poll) => replace(element, ...show(poll)) };
}

export function counts(value: unknown): Record<string, number> {
  return Object.fromEntries(Object.entries(record(value)).filter(([, one]) => number(one) !== undefined)) as Record<
    string,
    number
  >;
}

const quiet = (text: string): HTMLElement => h('p', { class: 'quiet' }, text);

/** Two areas, one of them active; by which causes each was selected. */
export function nestedPicture(): Picture {
  return picture(({ stats }) =>
    (stats.vcpus ?? []).flatMap((vcpu) => {
      if (vcpu['nested'] === undefined) return [quiet(`Hart ${vcpu.id} is without the hypervisor extension.`)];
      const nested = record(vcpu['nested']);
      const exits = record(nested['exits']);
      const area = (name: string): HTMLElement =>
        h(
          'div',
          { class: 'area', 'data-active': String(nested['active'] === name) },
          `${name} area${nested['active'] === name ? ': active' : ''}`,
        );
      return [
        h('h3', {}, `Hart ${vcpu.id}`),
        h('div', { class: 'areas' }, area('host'), area('guest')),
        bars('Causes that selected the guest area', counts(nested['entries']), count),
        bars(
          "Causes that selected the host area, taken by the guest's hypervisor",
          counts(exits['toHypervisor']),
          count,
        ),
        bars('Causes that selected the host area, taken by machine mode', counts(exits['toMachine']), count),
        bars('Traps that stayed in the guest', counts(record(nested['within'])['traps']), count),
      ];
    }),
  );
}

/** What left the engine, what promotion kept in it, and the sites that are promoted. */
export function promotionPicture(client: Client, name: string, signal: AbortSignal): Picture {
  const element = h('div', { class: 'picture' });
  const flow = h('div', {});
  const hot = h('div', {});
  element.append(flow, hot);
  return {
    element,
    show: ({ stats, samples }) => {
      const { promotion } = stats;
      const rates = (paths: readonly (readonly [string, string])[]): Record<string, number> => {
        const [before, now] = [samples.at(-4) ?? samples[0], samples.at(-1)];
        if (before === undefined || now === undefined || now === before) return {};
        const seconds = (now.atMs - before.atMs) / 1000;
        return Object.fromEntries(
          paths.map(([title, path]) => [
            title,
            ((now.values.get(path) ?? 0) - (before.values.get(path) ?? 0)) / seconds,
          ]),
        );
      };
      const standing = (promotion?.promoted ?? 0) - (promotion?.demoted ?? 0);
      replace(
        flow,
        h(
          'p',
          { 'data-figure': 'standing' },
          `${standing} sites are promoted (${promotion?.promoted ?? 0} were, ${promotion?.demoted ?? 0} were demoted), in ${bytes(promotion?.bytes ?? 0)} of code; at most it was ${bytes(promotion?.peakBytes ?? 0)}. Promotion code ran ${count(promotion?.executions ?? 0)} times.`,
        ),
        bars(
          'Sensitive work, by where it is done',
          rates([
            ['left the engine: devices', 'exits.mmio'],
            ['left the engine: calls', 'exits.call'],
            ['promoted: device accesses', 'promotion.accesses'],
            ['promoted: SBI calls', 'promotion.calls'],
          ]),
          perSecond,
        ),
      );
      void client
        .getPromotedSites(name, { most: 12 }, { signal })
        .then(({ sites }) => {
          const rows = sites.map(({ text, at, physical, executions }): Cell[] => [
            h('code', {}, text),
            h('code', {}, at ?? physical),
            executions,
          ]);
          if (rows.length === 0) replace(hot, quiet('No site is promoted now.'));
          else
            replace(
              hot,
              table('Sites that are promoted now, by how often they ran', ['Instruction', 'Address', 'Ran'], rows),
            );
        })
        .catch(() => {}); // it may have ended meanwhile
    },
  };
}

/** Who interrupted. */
export function relayPicture(): Picture {
  return picture(({ stats }) => {
    const interrupts = record(stats['interrupts']);
    if (stats['interrupts'] === undefined)
      return [quiet('This partition has no PCI Express: start it with "pci": true.')];
    const requesters = Object.entries(record(interrupts['requesters']));
    const sums = Object.fromEntries(requesters.map(([place, one]) => [place, number(record(one)['interrupts']) ?? 0]));
    const rows = requesters.map(([place, one]): Cell[] => {
      const counters = record(one);
      const latency = number(record(counters['latencyUs'])['half']);
      const each = ['interrupts', 'delivered', 'merged', 'dropped', 'polls'].map((key) => number(counters[key]) ?? 0);
      return [place, ...each, latency === undefined ? '' : `${latency} µs`];
    });
    return [
      h(
        'p',
        {},
        `The relay is ${String(interrupts['relay'])}: ${count(number(interrupts['pollsAvoided']) ?? 0)} polls were avoided, ${count(number(interrupts['polls']) ?? 0)} were made.`,
      ),
      bars('Interrupts by requester', sums, count),
      table('Requesters', ['Place', 'Interrupts', 'Delivered', 'Merged', 'Dropped', 'Polls', 'Half within'], rows),
    ];
  });
}

export function overlayPicture(): Picture {
  return picture(({ stats }) => {
    const overlay = record(stats['overlay']);
    return [
      h(
        'p',
        {},
        `${number(overlay['frames']) ?? 0} frames of at most ${number(overlay['limit']) ?? 0} have an overlay.`,
      ),
      bars('Substitutes in them, by what they are for', counts(overlay['substitutes']), count),
      bars(
        'Executions',
        { 'by substitutes': number(overlay['executions']) ?? 0, 'by trap': number(overlay['emulations']) ?? 0 },
        count,
      ),
      bars('Trapped by policy', counts(overlay['traps']), count),
      bars(
        'Overlays',
        {
          made: number(overlay['made']) ?? 0,
          'dropped by writes': number(overlay['droppedByWrites']) ?? 0,
          evicted: number(overlay['evicted']) ?? 0,
        },
        count,
      ),
    ];
  });
}

/** A box for each shadow: how full, whose, and which is registered now. */
export function shadowPicture(): Picture {
  return picture(({ stats }) =>
    (stats.vcpus ?? []).flatMap((vcpu) => {
      const shadows = record(vcpu['shadows']);
      const roots = (Array.isArray(shadows['roots']) ? shadows['roots'] : []).map(record);
      return [
        h('h3', {}, `Hart ${vcpu.id}: ${roots.length} shadows`),
        h(
          'ol',
          { class: 'shadows', 'aria-label': `Shadows of hart ${vcpu.id}, the last used first` },
          ...roots.map(shadowBox),
        ),
        bars(
          'Changes of root',
          { 'found a shadow': number(shadows['hits']) ?? 0, 'found none': number(shadows['misses']) ?? 0 },
          count,
        ),
        bars('Fences', counts(shadows['fences']), count),
      ];
    }),
  );
}

function shadowBox(shadow: Readonly<Record<string, unknown>>): HTMLElement {
  const [entries, capacity] = [number(shadow['entries']) ?? 0, number(shadow['capacity']) ?? 1];
  const part = Math.sqrt(entries / capacity); // few entries should be seen, too
  const text = `ASID ${String(shadow['asid'])}, root ${String(shadow['root'])}`;
  return h(
    'li',
    { class: 'shadow', 'data-in-use': String(shadow['inUse'] === true) },
    svg(
      'svg',
      { viewBox: '0 0 40 40', 'aria-hidden': 'true', preserveAspectRatio: 'none' },
      svg('rect', { class: 'fill', x: 0, y: 40 - 40 * part, width: 40, height: 40 * part }),
    ),
    h('span', {}, text),
    h(
      'span',
      { class: 'quiet' },
      `${entries} entries, registered ${number(shadow['registrations']) ?? 0} times${shadow['inUse'] === true ? ': in use' : ''}`,
    ),
  );
}
