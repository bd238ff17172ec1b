/**
 * How a page comes to its token. A link of `kage console` holds a word that is good once, behind `#`, where no server and no
 * log sees it; it is exchanged for a token, which stays in this tab's sessionStorage: that belongs to one origin with its
 * port, where a cookie would go to every port of the host. Over TCP the daemon's own token is entered (docs/console.md).
 */
const KEY = 'kagemusha.token';
export const LINK_PATH = '/console/session';

/** The token that this tab has; undefined: it has none, and may need none. */
export async function tokenOfTab(): Promise<string | undefined> {
  const [, word] = /^#link=([\w-]{16,128})$/.exec(location.hash) ?? [];
  if (word !== undefined) {
    history.replaceState(null, '', `${location.pathname}#/`);
    const answer = await fetch(LINK_PATH, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ link: word }),
    });
    if (answer.ok) {
      const { token } = (await answer.json()) as { readonly token: string };
      keepToken(token);
    }
  }
  return sessionStorage.getItem(KEY) ?? undefined;
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}
