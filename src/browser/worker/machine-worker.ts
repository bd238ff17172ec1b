/** The worker in which a page's machine lives: takes the page's messages, tells it what happens. */
import { OperatorError } from '../../base/errors.ts';
import type { Failure, FromMachine, ToMachine } from '../messages.ts';
import { WebMachine } from './web-machine.ts';

let machine: WebMachine | undefined;

addEventListener('message', ({ data: message }: MessageEvent<ToMachine>) => {
  switch (message.kind) {
    case 'start':
      void start(message.request);
      break;
    case 'console':
      machine?.writeConsole(message.bytes);
      break;
    case 'pause':
    case 'resume':
      machine?.setPaused(message.kind === 'pause');
      break;
    case 'kill':
      if (machine) machine.kill();
      else tell({ kind: 'exited', status: { reason: 'killed', code: 137 } });
      break;
    case 'stats':
      if (machine) tell({ kind: 'stats', stats: machine.stats() });
      break;
  }
});

async function start(request: Extract<ToMachine, { kind: 'start' }>['request']): Promise<void> {
  try {
    machine = await WebMachine.build(request, {
      progress: (progress) => tell({ kind: 'progress', progress }),
      console: (bytes) => tell({ kind: 'console', bytes }),
    });
    tell({ kind: 'started' });
    const status = await machine.run();
    tell({ kind: 'stats', stats: machine.stats() });
    tell({ kind: 'exited', status });
  } catch (error) {
    tell({ kind: 'failed', failure: failureOf(error) });
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof OperatorError) return { code: error.code, message: error.message, fix: error.fix };
  return { code: 'machine-failed', message: error instanceof Error ? error.message : String(error) };
}

function tell(message: FromMachine): void {
  postMessage(message);
}
