/** The worker of a processor, in a page: runs its vCPU until the machine ends (src/machine/vcpu-thread.ts). */
import { runVcpu, type VcpuStart } from '../../machine/index.ts';
import { ticksSince } from './web-ports.ts';

/** The one message that a processor gets. */
export interface WebVcpuStart extends VcpuStart {
  readonly epochMs: number;
}

addEventListener(
  'message',
  ({ data: start }: MessageEvent<WebVcpuStart>) =>
    runVcpu(start, { ticks: ticksSince(start.epochMs), wallMs: () => Date.now(), stopped: () => {} }),
  { once: true },
);
