/** The verbs that a partition takes in its state, as buttons. */
import type { Client, Partition } from '../client/index.ts';
import { h } from './dom.ts';
import { attempt, confirmed, type Place } from './page.ts';

type State = Partition['state'];
const ON: readonly State[] = ['running', 'paused'];

export interface Verb {
  readonly name: string;
  readonly states: readonly State[];
  readonly run: (client: Client, name: string) => Promise<unknown>;
  /** It is asked before. */
  readonly question?: (name: string) => string;
}

export const verbs: readonly Verb[] = [
  { name: 'Start', states: ['created', 'exited', 'restarting'], run: (client, name) => client.startPartition(name) },
  { name: 'Pause', states: ['running'], run: (client, name) => client.pausePartition(name) },
  { name: 'Resume', states: ['paused'], run: (client, name) => client.resumePartition(name) },
  { name: 'Restart', states: ON, run: (client, name) => client.restartPartition(name) },
  { name: 'Stop', states: [...ON, 'restarting'], run: (client, name) => client.stopPartition(name) },
  {
    name: 'Kill',
    states: [...ON, 'starting'],
    run: (client, name) => client.killPartition(name),
    question: (name) => `End ${name} at once? What the guest has not written is lost.`,
  },
  {
    name: 'Remove',
    states: ['created', 'exited'],
    run: (client, name) => client.removePartition(name),
    question: (name) => `Forget ${name}, and what its console said?`,
  },
];

export function verbsOf(state: State): readonly Verb[] {
  return verbs.filter(({ states }) => states.includes(state));
}

export function verbButtons({ client, live }: Place, { name, state }: Partition): HTMLElement[] {
  return verbsOf(state).map((verb) => {
    const button: HTMLButtonElement = h(
      'button',
      {
        ...{ id: `${verb.name}-${name}`, 'aria-label': `${verb.name} ${name}` },
        ...(verb.question === undefined ? {} : { class: 'danger' }),
        click: async () => {
          if (verb.question !== undefined && !(await confirmed(verb.question(name), verb.name))) return;
          button.disabled = true;
          await attempt(async () => {
            await verb.run(client, name);
            await live.refresh();
          });
          button.disabled = false;
        },
      },
      verb.name,
    );
    return button;
  });
}
