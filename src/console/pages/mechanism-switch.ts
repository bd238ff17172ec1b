/** The switch of a mechanism, as a group of buttons: how each kind of switch is read, and thrown. */
import { h, replace } from '../dom.ts';
import type { Mechanism, MechanismSwitch } from '../model/mechanisms.ts';
import { attempt, confirmed, type Place } from '../page.ts';

export interface SwitchControl {
  readonly element: HTMLElement;
  /** Heartbeats of this host go that way now. */
  see(mode: string | undefined): void;
}

const WORDS: Readonly<Record<MechanismSwitch['kind'], (flag: string) => string>> = {
  live: () => 'Switch, thrown while it runs: ',
  heartbeats: () => "Switch of this host's heartbeats, thrown while they go: ",
  'at-start': (flag) => `Switch (${flag}), starts it again: `,
  declared: (flag) => `Switch (${flag}), taken up while it runs: `,
};

/** `onThrow`: just before it is. */
export function switchControl(
  place: Place,
  name: string,
  { title, switch: of }: Mechanism,
  onThrow: (from: string, to: string) => void,
): SwitchControl {
  const { client, live, signal } = place;
  const element = h('div', { class: 'switch', role: 'group', 'aria-label': `Switch of ${title}` });
  let current: string | undefined;
  const be = (position: string | undefined): void => {
    current = position;
    replace(
      element,
      h('span', {}, WORDS[of.kind]('flag' in of ? of.flag : '')),
      ...of.positions.map((one) =>
        h(
          'button',
          {
            ...{ id: `switch-${one}`, 'aria-pressed': String(one === current), 'data-position': one },
            click: () => attempt(() => choose(one)),
          },
          one,
        ),
      ),
    );
  };
  const choose = async (position: string): Promise<void> => {
    if (position === current) return;
    const from = current ?? 'unknown';
    const now = await thrown(place, name, of, position, () => onThrow(from, position));
    if (now !== undefined) be(now);
  };
  be(undefined);
  if (of.kind === 'live')
    void client
      .getSwitches(name, { signal })
      .then((switches) => be(of.of(switches)))
      .catch(() => {}); // it does not run
  else if (of.kind !== 'heartbeats')
    live.watch(() => {
      const spec = live.partition(name)?.spec;
      be(spec === undefined ? undefined : of.of(spec));
    }, signal);
  return { element, see: (mode) => (of.kind === 'heartbeats' ? be(mode) : undefined) };
}

/** Where it is then; undefined: as before, or the list of partitions will tell. */
async function thrown(
  { client, live, signal }: Place,
  name: string,
  of: MechanismSwitch,
  position: string,
  onThrow: () => void,
): Promise<string | undefined> {
  if (of.kind === 'live') {
    onThrow();
    return of.of(await client.setSwitches(name, of.change(position), { signal }));
  }
  if (of.kind === 'heartbeats') {
    onThrow();
    const { heartbeats } = await client.setHeartbeats(
      { mode: position === 'direct' ? 'direct' : 'constant' },
      { signal },
    );
    return heartbeats?.mode;
  }
  const spec = live.partition(name)?.spec;
  if (spec === undefined) throw new Error(`${name} was not declared: what it is made of is not known`);
  const isStartedAgain = of.kind === 'at-start';
  if (!isStartedAgain && of.of(spec) === undefined) throw new Error(`The cluster does not keep ${name} up`);
  const question = `${name} starts again with ${of.flag} ${position}. What runs in it ends.`;
  if (isStartedAgain && !(await confirmed(question, 'Start again'))) return undefined;
  onThrow();
  await client.declarePartition(name, { spec: { ...spec, ...of.change(position, spec) } });
  await live.refresh();
  return undefined;
}
