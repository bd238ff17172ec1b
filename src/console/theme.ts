/** Dark or light: as the system has it, until somebody says otherwise. */
const KEY = 'kagemusha.theme';
export type Theme = 'dark' | 'light';

export function currentTheme(): Theme {
  const said = document.documentElement.dataset['theme'];
  if (said === 'dark' || said === 'light') return said;
  return matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark';
}

export function restoreTheme(): void {
  const kept = localStorage.getItem(KEY);
  if (kept === 'dark' || kept === 'light') document.documentElement.dataset['theme'] = kept;
}

export function switchTheme(): Theme {
  const next = currentTheme() === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset['theme'] = next;
  localStorage.setItem(KEY, next);
  return next;
}
