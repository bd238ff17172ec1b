/** Interfaces, uplinks, and which carries whose frames; by buttons another is preferred. Also the picture of mechanism 9. */
import type { Client, NetReport, PathEvent } from '../../client/index.ts';
import { type Cell, h, replace, table } from '../dom.ts';
import { bytes, moment } from '../model/format.ts';
import { netView } from '../net-view.ts';
import { attempt, type Place } from '../page.ts';
import { every } from '../recorder.ts';

const POLL_MS = 1000;

export function networkSection(place: Place, name: string): void {
  const { main, client, signal } = place;
  const drawing = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Drawing of the mapping' });
  const why = h('div', {});
  const uplinks = h('div', {});
  const past = h('div', {});
  const failover = h('p', {});
  main.append(h('h2', {}, 'Mapping'), drawing, failover, why, uplinks, h('h2', {}, 'What happened to paths'), past);
  const show = (report: NetReport): void => {
    replace(drawing, netView(report));
    replace(failover, ...failoverSwitch(client, name, report.failover, show));
    replace(why, mappingTable(client, name, report, show));
    replace(uplinks, uplinkTable(report));
  };
  every(POLL_MS, signal, async () => {
    show(await client.getNet(name, { signal }));
    const { events } = await client.netEvents(name, {}, { signal });
    replace(past, pathEventTable(events));
  });
}

function failoverSwitch(
  client: Client,
  name: string,
  isOn: boolean,
  show: (report: NetReport) => void,
): (string | Node)[] & Node[] {
  const change = async (): Promise<void> => show(await client.changeNet(name, { action: 'failover', on: !isOn }));
  return [
    h('span', {}, `Failover is ${isOn ? 'on' : 'off'}. `),
    h(
      'button',
      { id: 'failover', 'aria-pressed': String(isOn), click: () => attempt(change) },
      `Switch it ${isOn ? 'off' : 'on'}`,
    ),
  ];
}

function mappingTable(client: Client, name: string, report: NetReport, show: (report: NetReport) => void): HTMLElement {
  const rows = report.interfaces.map((one): Cell[] => {
    const buttons = one.uplinks.map((uplink) =>
      h(
        'button',
        {
          ...{ id: `prefer-${one.name}-${uplink}`, disabled: one.inForce === uplink && one.uplinks[0] === uplink },
          click: () =>
            attempt(async () =>
              show(await client.changeNet(name, { action: 'prefer', interface: one.name, uplinks: [uplink] })),
            ),
        },
        `Prefer ${uplink}`,
      ),
    );
    const unmap = h(
      'button',
      {
        id: `unmap-${one.name}`,
        click: () => attempt(async () => show(await client.changeNet(name, { action: 'unmap', interface: one.name }))),
      },
      'Unmap',
    );
    const others = report.uplinks.filter(
      (uplink) => uplink.network === one.network && !one.uplinks.includes(uplink.name),
    );
    const maps = others.map((uplink) =>
      h(
        'button',
        {
          id: `map-${one.name}-${uplink.name}`,
          click: () =>
            attempt(async () =>
              show(
                await client.changeNet(name, {
                  ...{ action: 'map', interface: one.name, uplinks: [...one.uplinks, uplink.name] },
                }),
              ),
            ),
        },
        `Map to ${uplink.name}`,
      ),
    );
    return [
      one.name,
      h('span', { 'data-in-force': one.inForce ?? '' }, one.inForce ?? 'none'),
      one.why,
      moment(new Date(one.sinceWallMs).toISOString()),
      one.counters.switches,
      h('span', { class: 'buttons' }, ...buttons, ...maps, ...(one.uplinks.length > 0 ? [unmap] : [])),
    ];
  });
  return table('Interfaces', ['Interface', 'In force', 'Why', 'Since', 'Switches', 'Change'], rows);
}

function uplinkTable({ uplinks }: NetReport): HTMLElement {
  const rows = uplinks.map((one): Cell[] => [
    one.name,
    h('span', { class: 'badge', 'data-state': one.condition }, one.condition),
    one.kind,
    one.probing,
    bytes(one.counters.bytesOut),
    bytes(one.counters.bytesIn),
    one.counters.failures,
  ]);
  return table('Uplinks', ['Uplink', 'Condition', 'Kind', 'Probing', 'Out', 'In', 'Failures'], rows);
}

function pathEventTable(events: readonly PathEvent[]): HTMLElement {
  if (events.length === 0) return h('p', { class: 'quiet' }, 'Nothing so far.');
  const rows = [...events]
    .reverse()
    .slice(0, 50)
    .map((one): Cell[] => [
      moment(new Date(one.wallMs).toISOString()),
      one.kind,
      one.subject,
      one.from !== undefined || one.to !== undefined ? `${one.from ?? 'none'} → ${one.to ?? 'none'}` : '',
      one.cause,
    ]);
  return table('Path events, the latest first', ['When', 'What', 'Of', 'Change', 'Cause'], rows);
}
