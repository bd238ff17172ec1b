/** The worker that translates for a machine's processors, in a page (src/machine/translation-thread.ts). */
import { runTranslation, type ThreadStart } from '../../machine/index.ts';
import { ticksSince } from './web-ports.ts';

/** The one message that it gets. */
export interface WebTranslationStart extends ThreadStart {
  readonly epochMs: number;
}

addEventListener(
  'message',
  ({ data: start }: MessageEvent<WebTranslationStart>) => runTranslation(start, { ticks: ticksSince(start.epochMs) }),
  { once: true },
);
