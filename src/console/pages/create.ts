/** A new partition: the few things that people choose, and the whole specification for who wants more. */
import type { CreateRequest, PartitionSpec, RestartPolicy } from '../../client/index.ts';
import { h } from '../dom.ts';
import { hashOf } from '../model/route.ts';
import { onSubmit, type Place } from '../page.ts';

export function createPage({ main, client, live, signal }: Place): void {
  const images = h('datalist', { id: 'images' });
  const form = h(
    'form',
    { class: 'panel narrow' },
    h('h1', {}, 'New partition'),
    field('Name', h('input', { name: 'name', pattern: '[A-Za-z0-9][A-Za-z0-9_.\\-]{0,62}', autofocus: true })),
    field('Image', h('input', { name: 'image', list: 'images', value: 'debian' })),
    images,
    field('Harts', h('input', { name: 'cpus', type: 'number', min: 1, max: 16, value: 1 })),
    field('Memory, MiB', h('input', { name: 'memory', type: 'number', min: 16, value: 512 })),
    field('Restart policy', h('select', { name: 'policy' }, ...policies.map((name) => h('option', {}, name)))),
    h(
      'details',
      {},
      h('summary', {}, 'More of the specification'),
      field(
        'JSON, as /v1 has it',
        h('textarea', { name: 'more', rows: 6, spellcheck: 'false', placeholder: '{"protection": true, "pci": true}' }),
      ),
    ),
    h('label', { class: 'check' }, h('input', { name: 'start', type: 'checkbox', checked: true }), 'Start it'),
    h('button', { class: 'primary' }, 'Create'),
  );
  main.append(
    onSubmit(form, async (data) => {
      const { name } = await client.createPartition(requestOf(data), { signal });
      await live.refresh();
      location.hash = hashOf({ kind: 'partition', name, section: 'overview' });
    }),
  );
  void client
    .listImages({ signal })
    .then((list) => images.append(...list.images.map(({ name }) => h('option', { value: name }))))
    .catch(() => {}); // names to choose from are a help, no more
}

const policies: readonly RestartPolicy['name'][] = ['no', 'on-failure', 'always', 'unless-stopped'];

function field(label: string, input: HTMLElement): HTMLElement {
  return h('label', {}, h('span', {}, label), input);
}

/** Errors: SyntaxError, where what was written is no JSON. */
export function requestOf(data: FormData): CreateRequest {
  const text = (name: string): string => String(data.get(name) ?? '').trim();
  const more = text('more') === '' ? {} : (JSON.parse(text('more')) as PartitionSpec);
  const named = text('image') === '' ? {} : { image: text('image') };
  const spec = { ...named, cpus: Number(text('cpus')), memoryBytes: Number(text('memory')) * 2 ** 20, ...more };
  const policy = policies.find((one) => one === text('policy')) ?? 'no';
  return {
    ...(text('name') === '' ? {} : { name: text('name') }),
    ...{ spec, restartPolicy: { name: policy }, start: data.has('start') },
  };
}
