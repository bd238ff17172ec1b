/** The console as a whole: the frame of the page, who is let in, which page is shown, keys. */
import { ApiError, Caller, Client, fetchTransport } from '../client/index.ts';
import { ClusterRecorder } from './cluster-recorder.ts';
import { h } from './dom.ts';
import { installKeys, showHelp } from './keys.ts';
import { Live } from './live.ts';
import { parseRoute } from './model/route.ts';
import type { Place } from './page.ts';
import { clusterPage } from './pages/cluster/cluster.ts';
import { createPage } from './pages/create.ts';
import { eventsPage } from './pages/events.ts';
import { partitionPage } from './pages/partition.ts';
import { partitionsPage } from './pages/partitions.ts';
import { signInPage } from './pages/sign-in.ts';
import { Recorder } from './recorder.ts';
import { forgetToken, keepToken, tokenOfTab } from './session.ts';
import { currentTheme, restoreTheme, switchTheme } from './theme.ts';

export function startApp(body: HTMLElement): void {
  restoreTheme();
  const main = h('main', { id: 'main', tabindex: -1 });
  const state = h('span', { id: 'connection', role: 'status' });
  const theme = h('button', { id: 'theme', click: () => paintTheme(theme, switchTheme()) });
  paintTheme(theme, currentTheme());
  matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => paintTheme(theme, currentTheme()));
  body.replaceChildren(
    h('a', { class: 'skip', href: '#main', click: (event) => toMain(event, main) }, 'Skip to content'),
    h(
      'header',
      { class: 'top' },
      h('a', { class: 'brand', href: '#/' }, h('img', { src: './seal.svg', alt: '' }), 'Kagemusha'),
      h(
        'nav',
        { 'aria-label': 'Console' },
        h('a', { href: '#/', 'data-nav': 'partitions' }, 'Partitions'),
        h('a', { href: '#/cluster', 'data-nav': 'cluster' }, 'Cluster'),
        h('a', { href: '#/events', 'data-nav': 'events' }, 'Events'),
        h('a', { href: '#/new', 'data-nav': 'create' }, 'New'),
      ),
      state,
      theme,
      h('button', { id: 'help', 'aria-keyshortcuts': '?', click: showHelp }, 'Keys'),
    ),
    main,
    h('div', { id: 'notice', role: 'alert' }),
  );
  installKeys(() => paintTheme(theme, switchTheme()));
  void enter(main, state);
}

async function enter(main: HTMLElement, state: HTMLElement): Promise<void> {
  const token = await tokenOfTab();
  const client = clientWith(token);
  try {
    await client.getVersion();
  } catch (error) {
    forgetToken();
    const why = error instanceof ApiError && error.status === 401 ? undefined : String(error);
    signInPage(main, why, async (given) => {
      await clientWith(given).getVersion();
      keepToken(given);
      await enter(main, state);
    });
    return;
  }
  run(client, main, state);
}

function clientWith(token: string | undefined): Client {
  return new Client(new Caller(fetchTransport(token === undefined ? {} : { token })));
}

function run(client: Client, main: HTMLElement, state: HTMLElement): void {
  const whole = new AbortController();
  const live = new Live(client, whole.signal);
  const recorder = new Recorder(client);
  const cluster = new ClusterRecorder(client);
  live.watch(() => {
    state.textContent = { live: 'live', lost: 'connecting …', refused: 'signed out' }[live.connection];
    state.dataset['state'] = live.connection;
    if (live.connection !== 'refused' || whole.signal.aborted) return;
    whole.abort();
    forgetToken();
    location.reload();
  }, whole.signal);
  void live.follow();
  let page = new AbortController();
  const show = (isFirst = false): void => {
    page.abort();
    page = new AbortController();
    const route = parseRoute(location.hash);
    const wasSection = (document.activeElement?.closest('nav.sections') ?? null) !== null;
    for (const link of document.querySelectorAll('[data-nav]'))
      if (link.getAttribute('data-nav') === route.kind) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    const place: Place = { main, client, live, recorder, cluster, signal: page.signal };
    main.replaceChildren();
    if (route.kind === 'partition') partitionPage(place, route);
    else if (route.kind === 'cluster') clusterPage(place, route);
    else if (route.kind === 'create') createPage(place);
    else if (route.kind === 'events') eventsPage(place);
    else partitionsPage(place);
    document.title = `${main.querySelector('h1')?.textContent ?? 'Console'} · Kagemusha`;
    if (isFirst) return;
    scrollTo(0, 0);
    // Whoever walks along the sections goes on from where he is.
    const section = wasSection ? main.querySelector<HTMLElement>('nav.sections [aria-current]') : null;
    if (section !== null && !isInside(section)) section.focus({ preventScroll: true });
    else if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  };
  addEventListener('hashchange', () => show());
  show(true);
}

/** A section may have taken the focus for a field of its own. */
function isInside(section: HTMLElement): boolean {
  const focused = document.activeElement;
  return focused !== null && focused !== section && section.closest('main')?.contains(focused) === true;
}

function paintTheme(button: HTMLElement, theme: 'dark' | 'light'): void {
  button.textContent = theme === 'dark' ? 'Light' : 'Dark';
  button.setAttribute('aria-label', theme === 'dark' ? 'Switch to light' : 'Switch to dark');
}

function toMain(event: Event, main: HTMLElement): void {
  event.preventDefault();
  main.focus();
}
