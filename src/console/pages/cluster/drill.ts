/** A failover tried: a double of the guest takes over, and the guest itself is left alone. */
import type { DrillResult } from '../../../client/index.ts';
import { h } from '../../dom.ts';
import { drillSentence, seconds } from '../../model/cluster/lines.ts';
import { attempt, type Place } from '../../page.ts';

export function drillControl({ client, signal }: Place, guest: string): HTMLElement {
  const result = h('div', { role: 'status' });
  const button: HTMLButtonElement = h(
    'button',
    {
      id: 'drill',
      click: async () => {
        button.disabled = true;
        result.replaceChildren(h('p', { class: 'quiet' }, 'A double takes over …'));
        const isDone = await attempt(async () => show(result, await client.drill({ guest }, { signal })));
        if (!isDone) result.replaceChildren();
        button.disabled = false;
      },
    },
    `Drill ${guest}`,
  );
  return h(
    'div',
    { class: 'line' },
    button,
    h('span', { class: 'quiet' }, 'Fails it over in a double; the guest itself runs on.'),
    result,
  );
}

function show(place: HTMLElement, result: DrillResult): void {
  const steps = result.steps.map(({ step, tookMs }) => h('li', {}, `${step}: ${seconds(tookMs)}`));
  place.replaceChildren(h('p', { 'data-met': String(result.isMet) }, drillSentence(result)), h('ol', {}, ...steps));
}
