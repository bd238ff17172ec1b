/** The worker of a processor, in a page: runs vCPUs until the machine ends (src/machine/processor-thread.ts). */
import { type ProcessorStart, runProcessor } from '../../machine/index.ts';
import { ticksSince } from './web-ports.ts';

/** The one message that a processor gets. */
export interface WebProcessorStart extends ProcessorStart {
  readonly epochMs: number;
}

addEventListener(
  'message',
  ({ data: start }: MessageEvent<WebProcessorStart>) =>
    runProcessor(start, { ticks: ticksSince(start.epochMs), wallMs: () => Date.now(), stopped: () => {} }),
  { once: true },
);
