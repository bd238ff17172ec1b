/** What the partition's console said, as the daemon keeps it, over restarts too. */
import { h } from '../dom.ts';
import { attempt, type Place } from '../page.ts';

const TAIL = 500;
const MOST_CHARACTERS = 500_000;
/** Escape sequences are for terminals. */
const ESCAPES = /\u001b(?:\[[\d;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|\r/g;

export function logsSection({ main, client, signal }: Place, name: string): void {
  const log = h('pre', { class: 'output', tabindex: 0, role: 'log', 'aria-label': `Log of ${name}` });
  main.append(h('p', { class: 'quiet' }, `The latest ${TAIL} lines, and what is said from now on.`), log);
  const decoder = new TextDecoder();
  void attempt(async () => {
    for await (const bytes of client.partitionLogs(name, { follow: true, tail: TAIL }, { signal })) {
      const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      log.append(withoutEscapes(decoder.decode(bytes, { stream: true })));
      while ((log.textContent?.length ?? 0) > MOST_CHARACTERS) log.firstChild?.remove();
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    }
  });
}

export function withoutEscapes(text: string): string {
  return text.replace(ESCAPES, '');
}
