/** Mechanism 1: domains against kinds of access, what is denied, who tried; and a form that takes rights away. */
import type { ProtectionReport, Violations } from '../../client/index.ts';
import { type Cell, h, replace, table } from '../dom.ts';
import { onSubmit, type Place } from '../page.ts';
import { every } from '../recorder.ts';
import type { Picture } from './picture.ts';

const POLL_MS = 1000;
const ACCESSES = ['fetch', 'load', 'store', 'walk', 'update'] as const;
const PAGE = 4096;

export function protectionPicture({ client, signal }: Place, name: string): Picture {
  const matrix = h('div', {});
  const log = h('div', {});
  const domains = h('select', { name: 'domain', id: 'domain' });
  const element = h('div', { class: 'picture' }, matrix, changeForm(), log);
  every(POLL_MS, signal, async () => {
    try {
      show(await client.getProtection(name, { signal }), await client.getViolations(name, { most: 20 }, { signal }));
    } catch {
      replace(matrix, h('p', { class: 'quiet' }, 'Protection is off, or the partition does not run.'));
    }
  });
  return { element, show: () => {} };

  function show(report: ProtectionReport, { violations }: Violations): void {
    const rows = report.domains.map(({ name: domain, violations: of }): Cell[] => [
      domain,
      deniedTo(report, domain) || 'nothing',
      ...ACCESSES.map((access) => of[access] ?? 0),
    ]);
    replace(matrix, table('Domains and what their tables forbade', ['Domain', 'Denied', ...ACCESSES], rows));
    if (domains.length !== report.domains.length)
      domains.replaceChildren(...report.domains.map((one) => h('option', {}, one.name)));
    const forbidden = [...violations]
      .reverse()
      .map((one): Cell[] => [
        one.domain,
        one.access,
        one.missing,
        h('code', {}, one.physical),
        h('code', {}, one.pc ?? ''),
      ]);
    replace(
      log,
      forbidden.length === 0
        ? h('p', { class: 'quiet' }, 'Nothing was forbidden lately.')
        : table('Forbidden lately', ['Domain', 'Access', 'Missing', 'Physical', 'At pc'], forbidden),
    );
  }

  function changeForm(): HTMLFormElement {
    const form = h(
      'form',
      { class: 'line' },
      h('label', { for: 'domain' }, 'Domain'),
      domains,
      h('label', { for: 'start' }, 'From'),
      h('input', { id: 'start', name: 'start', value: '0x80000000', required: true }),
      h('label', { for: 'pages' }, 'Pages'),
      h('input', { id: 'pages', name: 'pages', type: 'number', min: 1, value: 1 }),
      h('label', { for: 'rights' }, 'Rights'),
      h('select', { id: 'rights', name: 'rights' }, ...['w', 'x', 'r', 'rwx'].map((one) => h('option', {}, one))),
      h('button', { name: 'deny', value: 'deny' }, 'Deny'),
      h('button', { name: 'allow', value: 'allow' }, 'Allow'),
    );
    let action: 'deny' | 'allow' = 'deny';
    form.addEventListener('click', ({ target }) => {
      if (target instanceof HTMLButtonElement) action = target.value === 'allow' ? 'allow' : 'deny';
    });
    return onSubmit(form, async (data) => {
      const start = Number(data.get('start'));
      await client.protect(name, {
        ...{ action, domains: [String(data.get('domain'))], rights: String(data.get('rights')) },
        ...{ start, end: start + Number(data.get('pages')) * PAGE },
      });
    });
  }
}

function deniedTo({ rules }: ProtectionReport, domain: string): string {
  return rules
    .filter((rule) => rule.domain === domain)
    .map(({ start, end, denied }) => `${denied} at ${start}-${end}`)
    .join(', ');
}
