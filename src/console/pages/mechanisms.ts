/** Pages for who learns: each mechanism at work on this very guest, with its switch and the difference that makes. */
import { type Cell, h, replace, table } from '../dom.ts';
import type { Sample } from '../model/figures.ts';
import { BEFORE_MS, figureNow, since, type Thrown, thrown } from '../model/measurement.ts';
import {
  difference,
  formatOf,
  type Mechanism,
  type MechanismId,
  mechanisms,
  missingMechanisms,
} from '../model/mechanisms.ts';
import { hashOf } from '../model/route.ts';
import { attempt, confirmed, type Place } from '../page.ts';
import { nestedPicture, overlayPicture, promotionPicture, relayPicture, shadowPicture } from '../pictures/counted.ts';
import type { Picture } from '../pictures/picture.ts';
import { protectionPicture } from '../pictures/protection.ts';
import { networkSection } from './network.ts';

const PICTURES: Readonly<Record<MechanismId, (place: Place, name: string) => Picture>> = {
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

/** Switches that were thrown while this tab is open, so that a page that is left and found again still compares. */
const thrownSwitches = new Map<string, Thrown>();

export function mechanismsSection(place: Place, name: string, detail: string | undefined): void {
  const mechanism = mechanisms.find(({ id }) => id === detail);
  if (mechanism === undefined) place.main.append(overview(name));
  else showMechanism(place, name, mechanism);
}

function overview(name: string): HTMLElement {
  const items = mechanisms.map(({ id, number, title, text }) => ({ id, number, title, text: text[0] ?? '' }));
  const missing = missingMechanisms.map((one) => ({ ...one, id: undefined, text: 'Not in this version yet.' }));
  const cards = [...items, ...missing].sort((one, other) => one.number - other.number);
  return h(
    'ol',
    { class: 'cards', 'data-list': true },
    ...cards.map(({ id, number, title, text }) =>
      h(
        'li',
        { class: 'card', value: number },
        h(
          'h2',
          {},
          `${number} `,
          id === undefined
            ? title
            : h('a', { href: hashOf({ kind: 'partition', name, section: 'mechanisms', detail: id }) }, title),
        ),
        h('p', {}, text),
      ),
    ),
  );
}

function showMechanism(place: Place, name: string, mechanism: Mechanism): void {
  const { main, recorder, signal } = place;
  const key = `${name}/${mechanism.id}`;
  const picture = PICTURES[mechanism.id](place, name);
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
        control,
      ),
      figures,
    ),
    picture.element,
  );
  recorder.follow(name, signal, (poll) => {
    samples = poll.samples;
    picture.show(poll);
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

/** A group of buttons, of which the one in force is pressed. */
function switchControl(
  { client, live, signal }: Place,
  name: string,
  { title, switch: of }: Mechanism,
  onThrow: (from: string, to: string) => void,
): HTMLElement {
  const group = h('div', { class: 'switch', role: 'group', 'aria-label': `Switch of ${title}` });
  let current: string | undefined;
  const paint = (): void => {
    replace(
      group,
      h('span', {}, of.kind === 'live' ? 'Switch, thrown while it runs: ' : `Switch (${of.flag}), starts it again: `),
      ...of.positions.map((position) =>
        h(
          'button',
          {
            ...{ id: `switch-${position}`, 'aria-pressed': String(position === current), 'data-position': position },
            click: () => attempt(() => choose(position)),
          },
          position,
        ),
      ),
    );
  };
  const choose = async (position: string): Promise<void> => {
    if (position === current) return;
    const from = current ?? 'unknown';
    if (of.kind === 'live') {
      onThrow(from, position);
      current = of.of(await client.setSwitches(name, of.change(position), { signal }));
    } else {
      const spec = live.partition(name)?.spec;
      if (spec === undefined) throw new Error(`${name} was not declared: what it is made of is not known`);
      if (!(await confirmed(`${name} starts again with ${of.flag} ${position}. What runs in it ends.`, 'Start again')))
        return;
      onThrow(from, position);
      await client.declarePartition(name, { spec: { ...spec, ...of.change(position) } });
      await live.refresh();
    }
    paint();
  };
  if (of.kind === 'live')
    void client
      .getSwitches(name, { signal })
      .then((switches) => {
        current = of.of(switches);
        paint();
      })
      .catch(() => {}); // it does not run
  else
    live.watch(() => {
      const spec = live.partition(name)?.spec;
      current = spec === undefined ? undefined : of.of(spec);
      paint();
    }, signal);
  paint();
  return group;
}
