/** The partition's console in a terminal. It joins again when the partition starts again. */

import type { Socket } from '../../client/index.ts';
import { h } from '../dom.ts';
import { notice, type Place } from '../page.ts';
import { openTerminal, type PageTerminal } from '../terminal.ts';

const AGAIN_MS = 1000;

export function terminalSection(place: Place, name: string): void {
  const screen = h('div', { class: 'terminal' });
  const state = h('p', { class: 'quiet', role: 'status' }, 'Joining …');
  place.main.append(screen, state, h('p', { class: 'quiet' }, 'Shift+Escape leaves the terminal.'));
  void joined(place, name, screen, state).catch((error: unknown) => notice(String(error)));
}

async function joined(place: Place, name: string, screen: HTMLElement, state: HTMLElement): Promise<void> {
  const { client, live, signal } = place;
  let socket: Socket | undefined;
  const terminal: PageTerminal = await openTerminal(screen, {
    label: `Console of ${name}`,
    onInput: (bytes) => socket?.send(bytes),
    leave: () => document.querySelector<HTMLElement>('nav.sections [aria-current]')?.focus(),
  });
  signal.addEventListener('abort', () => terminal.close());
  if (signal.aborted) return terminal.close();
  terminal.focus();
  while (!signal.aborted) {
    try {
      socket = await client.attachConsole(name, { signal });
      state.textContent = `Joined to ${name}.`;
      for await (const message of socket.messages()) if (typeof message !== 'string') terminal.write(message);
      if (!signal.aborted) terminal.say(`the console of ${name} has ended`);
    } catch {
      // It does not run, or the daemon is away.
    }
    socket = undefined;
    if (signal.aborted) return;
    state.textContent = `${name} does not run; the terminal joins when it does.`;
    do await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    while (!signal.aborted && !['running', 'paused'].includes(live.partition(name)?.state ?? ''));
  }
}
