/** For who comes without a link of `kage console`: the daemon's token is entered. */
import { h } from '../dom.ts';
import { onSubmit } from '../page.ts';

export function signInPage(
  main: HTMLElement,
  why: string | undefined,
  enter: (token: string) => Promise<unknown>,
): void {
  const field = h('input', { name: 'token', type: 'password', autocomplete: 'off', required: true, id: 'token' });
  const form = h(
    'form',
    { class: 'panel narrow' },
    h('h1', {}, 'Sign in'),
    h('p', {}, 'Open a new link of ', h('code', {}, 'kage console'), ', or enter the token of the daemon:'),
    h('label', { for: 'token' }, 'Token'),
    field,
    h(
      'p',
      { class: 'quiet' },
      'kage serve --token-file says where it is; by default it is ',
      h('code', {}, 'token'),
      ' in the state folder.',
    ),
    why !== undefined && h('p', { role: 'alert' }, why),
    h('button', { class: 'primary' }, 'Sign in'),
  );
  main.replaceChildren(onSubmit(form, (data) => enter(String(data.get('token')))));
  field.focus();
}
