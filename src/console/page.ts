/** What pages have in common: where they are, the notice of what went wrong, a question before what cannot be undone. */
import { ApiError, type Client } from '../client/index.ts';
import type { ClusterRecorder } from './cluster-recorder.ts';
import { h } from './dom.ts';
import type { Live } from './live.ts';
import type { Recorder } from './recorder.ts';

export interface Place {
  readonly main: HTMLElement;
  readonly client: Client;
  readonly live: Live;
  readonly recorder: Recorder;
  readonly cluster: ClusterRecorder;
  /** Aborts when the page is left. */
  readonly signal: AbortSignal;
}

/** Does what somebody asked for, and says what went wrong with it. */
export async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  notice();
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return false;
    const fix = error instanceof ApiError && error.fix !== undefined ? ` ${error.fix}.` : '';
    notice(`${error instanceof Error ? error.message : String(error)}.${fix}`);
    return false;
  }
}

export function notice(text = ''): void {
  const place = document.getElementById('notice');
  if (place === null) return;
  if (text === '') place.replaceChildren();
  else place.replaceChildren(h('p', {}, text), h('button', { click: () => notice() }, 'Close'));
}

/** A dialog; true when `yes` was chosen. The focus goes back to where it was. */
export async function confirmed(question: string, yes: string): Promise<boolean> {
  const dialog = h(
    'dialog',
    { 'aria-label': question },
    h('p', {}, question),
    h(
      'form',
      { method: 'dialog', class: 'buttons' },
      h('button', { value: 'no', autofocus: true }, 'Cancel'),
      h('button', { value: 'yes', class: 'danger' }, yes),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
  dialog.remove();
  return dialog.returnValue === 'yes';
}

/** `form-action 'none'` forbids forms that go anywhere; ours only call back. */
export function onSubmit(form: HTMLFormElement, work: (data: FormData) => Promise<unknown>): HTMLFormElement {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void attempt(() => work(new FormData(form)));
  });
  return form;
}
