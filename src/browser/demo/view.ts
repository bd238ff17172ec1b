/** What the demo page shows beside its terminal: the state of things, a bar, a line of counters. */
import type { MachineStats, Progress } from '../index.ts';

export type State = 'idle' | 'starting' | 'running' | 'ended' | 'failed';

const MiB = 2 ** 20;
const FETCHING = {
  kernel: 'Fetching the kernel',
  initrd: 'Fetching its first file system',
  drive: 'Fetching a disk',
} as const;

export const page = {
  controls: element('controls', HTMLFormElement),
  cpus: element('cpus', HTMLSelectElement),
  memory: element('memory', HTMLSelectElement),
  boot: element('boot', HTMLButtonElement),
  pause: element('pause', HTMLButtonElement),
  end: element('end', HTMLButtonElement),
  terminal: element('terminal', HTMLElement),
  image: element('image', HTMLElement),
  isolation: element('isolation', HTMLElement),
  step: element('step', HTMLElement),
  bar: element('bar', HTMLElement),
  detail: element('detail', HTMLElement),
  stats: element('stats', HTMLElement),
};

/** `data-state` of the body: what the style sheet and tests look at. */
export function showState(state: State, step = '', detail = ''): void {
  document.body.dataset['state'] = state;
  page.step.textContent = step;
  page.detail.textContent = detail;
  const isOn = state === 'starting' || state === 'running';
  for (const control of [page.cpus, page.memory]) control.disabled = isOn;
  page.boot.hidden = isOn;
  page.boot.textContent = state === 'idle' ? 'Boot' : 'Boot again';
  page.pause.hidden = state !== 'running';
  page.end.hidden = !isOn;
}

/** Something is being loaded, and there is no telling how long. */
export function showStarting(step: string): void {
  showState('starting', step);
  setBar(undefined);
}

export function showProgress(progress: Progress): void {
  if (progress.step !== 'fetch') {
    page.step.textContent = progress.step === 'engine' ? 'Writing the engine for this processor' : 'The kernel starts';
    page.detail.textContent = '';
    setBar(undefined);
    return;
  }
  const { what, doneBytes, totalBytes } = progress;
  page.step.textContent = FETCHING[what];
  page.detail.textContent =
    totalBytes === undefined
      ? `${mebibytes(doneBytes)} MiB`
      : `${mebibytes(doneBytes)} of ${mebibytes(totalBytes)} MiB`;
  setBar(totalBytes === undefined || totalBytes === 0 ? undefined : doneBytes / totalBytes);
}

/** `shellMs`: from the start to the first prompt, once there was one. */
export function showStats(stats: MachineStats, since: Sample, shellMs: number | undefined): Sample {
  const now: Sample = { atMs: performance.now(), instructions: instructionsOf(stats) };
  const rate = (now.instructions - since.instructions) / ((now.atMs - since.atMs) * 1000);
  const { touchedBytes, codeBytes } = stats.memory;
  page.stats.textContent = [
    `${stats.vcpus.length} ${stats.vcpus.length === 1 ? 'hart' : 'harts'}`,
    `${rate.toFixed(rate < 10 ? 1 : 0)} million instructions/s`,
    `${(now.instructions / 1e6).toFixed(0)} million so far`,
    `${mebibytes(touchedBytes)} MiB touched`,
    `${mebibytes(codeBytes)} MiB of decoded code`,
    ...(shellMs === undefined ? [] : [`shell after ${(shellMs / 1000).toFixed(1)} s`]),
  ].join('  ·  ');
  return now;
}

export interface Sample {
  readonly atMs: number;
  readonly instructions: number;
}

function instructionsOf(stats: MachineStats): number {
  return stats.vcpus.reduce((sum, vcpu) => sum + vcpu.instructions, 0);
}

/** A fraction from 0 to 1, or undefined where there is no telling. */
function setBar(fraction: number | undefined): void {
  page.bar.classList.toggle('endless', fraction === undefined);
  page.bar.style.width = fraction === undefined ? '' : `${fraction * 100}%`;
}

function mebibytes(bytes: number): string {
  return (bytes / MiB).toFixed(1);
}

function element<T extends HTMLElement>(id: string, kind: abstract new (...args: never[]) => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}
