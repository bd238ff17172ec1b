/** The console's keys: `?` shows them. They sleep while somebody types into a field or a terminal. */
import { h } from './dom.ts';
import { CLUSTER_SECTIONS, hashOf, parseRoute, SECTIONS } from './model/route.ts';

const KEYS: readonly (readonly [keys: string, what: string])[] = [
  ['?', 'these keys'],
  ['p', 'partitions'],
  ['c', 'the cluster'],
  ['e', 'events'],
  ['n', 'a new partition'],
  ['1 … 8', "a partition's or the cluster's sections, from left to right"],
  ['j, k', 'the next, the previous link of the list'],
  ['t', 'dark or light'],
  ['Shift+Escape', 'out of a terminal'],
  ['Tab, Enter, Escape', 'as everywhere'],
];

export function installKeys(theme: () => void): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]') !== null) return;
    if (act(event.key, theme)) event.preventDefault();
  });
}

function act(key: string, theme: () => void): boolean {
  const route = parseRoute(location.hash);
  if (key === '?') showHelp();
  else if (key === 'p') location.hash = '#/';
  else if (key === 'c') location.hash = '#/cluster';
  else if (key === 'e') location.hash = '#/events';
  else if (key === 'n') location.hash = '#/new';
  else if (key === 't') theme();
  else if (key === 'j' || key === 'k') move(key === 'j' ? 1 : -1);
  else if (/^[1-8]$/.test(key) && route.kind === 'partition') {
    const section = SECTIONS[Number(key) - 1];
    if (section !== undefined) location.hash = hashOf({ kind: 'partition', name: route.name, section });
  } else if (/^[1-8]$/.test(key) && route.kind === 'cluster') {
    const section = CLUSTER_SECTIONS[Number(key) - 1];
    if (section !== undefined) location.hash = hashOf({ kind: 'cluster', section });
  } else return false;
  return true;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('input, textarea, select, .xterm, [contenteditable]') !== null;
}

function move(by: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLElement>('main [data-list] a')];
  const at = links.findIndex((link) => link.matches(':focus'));
  links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}

export function showHelp(): void {
  const dialog = h(
    'dialog',
    { 'aria-label': 'Keys' },
    h('h2', {}, 'Keys'),
    h('dl', { class: 'keys' }, ...KEYS.flatMap(([keys, what]) => [h('dt', {}, h('kbd', {}, keys)), h('dd', {}, what)])),
    h('form', { method: 'dialog' }, h('button', { autofocus: true }, 'Close')),
  );
  document.body.append(dialog);
  dialog.addEventListener('close', () => dialog.remove());
  dialog.showModal();
}
