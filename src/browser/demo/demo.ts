/**
 * The demo page: boots the image that lies beside it (image/image.json) and joins its console to a terminal.
 * Words of the address: `cpus=2`, `memory=256` (MiB), `append=...`, `drive=ADDRESS`, `translate=off`,
 * `boot` (at once), `image=FOLDER`.
 */
import { OperatorError } from '../../base/errors.ts';
import { BrowserMachine, canShareMemory } from '../index.ts';
import { openTerminal, type PageTerminal } from './terminal.ts';
import { page, type Sample, showProgress, showStarting, showState, showStats } from './view.ts';

/** What `kage demo` serves as image/image.json; the files are named relative to it. */
interface ImageDescription {
  readonly title: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
}

const STATS_MS = 500;
const HARTS = [1, 2, 3, 4, 6, 8];
const PROMPT = /[#$] $/;

const words = new URLSearchParams(location.search);
const folder = new URL(words.get('image') ?? '../../image/', document.baseURI);
let image: ImageDescription | undefined;
let terminal: PageTerminal | undefined;
let machine: BrowserMachine | undefined;
let starting: AbortController | undefined;

showIsolation();
showState('idle', 'Loading');
page.controls.addEventListener('submit', (event) => {
  event.preventDefault();
  void boot();
});
page.end.addEventListener('click', () => {
  starting?.abort(new Error('ended while it was starting'));
  void machine?.kill();
});
let isPaused = false;
page.pause.addEventListener('click', () => {
  isPaused = !isPaused;
  page.pause.textContent = isPaused ? 'Resume' : 'Pause';
  if (isPaused) machine?.pause();
  else machine?.resume();
});
try {
  image = await describeImage();
  page.image.textContent = image.title;
  showState('idle', 'Ready to boot');
  if (words.has('boot')) void boot();
} catch (error) {
  showFailure(error);
  page.boot.disabled = true;
}

async function describeImage(): Promise<ImageDescription> {
  const response = await fetch(new URL('image.json', folder));
  if (!response.ok) throw new Error(`there is no guest image at ${folder.href}`);
  return (await response.json()) as ImageDescription;
}

/** One machine's life. */
async function boot(): Promise<void> {
  if (image === undefined || starting !== undefined) return;
  starting = new AbortController();
  page.stats.textContent = '\u00a0';
  showStarting('Loading the terminal');
  try {
    terminal ??= await openTerminal(page.terminal, (bytes) => machine?.writeConsole(bytes));
    terminal.clear();
    showStarting('Loading the machine');
    machine = await BrowserMachine.start({
      kernel: new URL(image.kernel, folder),
      initrd: new URL(image.initrd, folder),
      append: [image.commandLine, words.get('append') ?? ''].join(' ').trim(),
      drives: words.getAll('drive'),
      translate: words.get('translate') !== 'off',
      cpus: Number(page.cpus.value),
      memoryBytes: Number(page.memory.value) * 2 ** 20,
      onProgress: showProgress,
      signal: starting.signal,
    });
    await live(machine, terminal);
  } catch (error) {
    showFailure(error);
  } finally {
    machine = undefined;
    starting = undefined;
  }
}

/** From the first instruction to the end. The curtain rises when the console says something. */
async function live(running: BrowserMachine, screen: PageTerminal): Promise<void> {
  const startedMs = performance.now();
  const decoder = new TextDecoder();
  let shellMs: number | undefined;
  let tail = '';
  running.onConsole((bytes) => {
    screen.write(bytes);
    if (document.body.dataset['state'] === 'starting') {
      showState('running');
      screen.focus();
    }
    if (shellMs !== undefined) return;
    tail = (tail + decoder.decode(bytes, { stream: true })).slice(-100);
    // The cursor is asked for its place behind a prompt.
    if (PROMPT.test(tail.replace(/\u001b\[[\d;?]*[a-zA-Z]/g, ''))) shellMs = performance.now() - startedMs;
  });
  let sample: Sample = { atMs: startedMs, instructions: 0 };
  const timer = setInterval(async () => {
    sample = showStats(await running.stats(), sample, shellMs);
  }, STATS_MS);
  const status = await running.exited.finally(() => clearInterval(timer));
  isPaused = false;
  page.pause.textContent = 'Pause';
  if (status.reason === 'error') showState('failed', 'The machine failed', status.message);
  else showState('ended', status.reason === 'poweroff' ? 'Powered off' : `Ended: ${status.reason}`);
}

function showFailure(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  showState('failed', message, error instanceof OperatorError ? error.fix : '');
}

function showIsolation(): void {
  const shares = canShareMemory();
  page.isolation.classList.toggle('good', shares);
  page.isolation.textContent = shares ? 'SharedArrayBuffer: a thread for each hart' : 'no SharedArrayBuffer: one hart';
  page.isolation.title = shares
    ? 'This page is cross-origin isolated.'
    : 'Threads may share memory only in pages served with COOP and COEP headers.';
  const most = shares ? Math.max(2, navigator.hardwareConcurrency) : 1;
  const counts = HARTS.filter((count) => count <= most);
  page.cpus.replaceChildren(...counts.map((count) => new Option(String(count))));
  const asked = words.get('cpus');
  if (asked !== null && counts.includes(Number(asked))) page.cpus.value = asked;
  const memory = words.get('memory');
  if (memory !== null) {
    if (![...page.memory.options].some((option) => option.value === memory))
      page.memory.add(new Option(`${memory} MiB`, memory));
    page.memory.value = memory;
  }
}
