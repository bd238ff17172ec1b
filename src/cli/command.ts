/** What the command `kage` is: joins the verbs (program.ts) to this process. Loaded by kage.ts. */
import { constants } from 'node:os';
import {
  buildDebianDisk,
  consolePages,
  createMachine,
  findImage,
  listImages,
  pullImage,
  receiveMachine,
  removeImage,
  restoreMachine,
  startDemo,
} from '../host/index.ts';
import type { Platform } from './io.ts';
import { MACHINE_ENVIRONMENT, MACHINE_FLAGS } from './machine-flags.ts';
import { main } from './program.ts';

const platform: Platform = {
  createMachine,
  restoreMachine,
  receiveMachine,
  startDemo,
  ...(consolePages === undefined ? {} : { consolePages }),
  program: {
    entry: new URL('../cli/detached.ts', import.meta.url),
    flags: MACHINE_FLAGS,
    environment: MACHINE_ENVIRONMENT,
  },
  images: { pull: pullImage, build: buildDebianDisk, find: findImage, list: listImages, remove: removeImage },
};

const ending = new AbortController();
const hangUps = new Set<() => void>();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (name === 'SIGHUP' && hangUps.size > 0) for (const listener of hangUps) listener();
    else ending.abort(128 + constants.signals[name]);
  });
}

const { stdin, stdout, stderr, env } = process;
// Whoever read our output is gone: so is the purpose of what we do, as SIGPIPE (13) has it elsewhere.
stdout.on('error', () => ending.abort(128 + constants.signals.SIGPIPE));
stderr.on('error', () => {});
const code = await main(
  process.argv.slice(2),
  {
    ...{ stdin, stdout, stderr, environment: env, signal: ending.signal },
    onHangUp: (listener) => {
      hangUps.add(listener);
      return () => hangUps.delete(listener);
    },
  },
  platform,
);
// A stdin that is still open, or a worker on its way out, must not hold the process; output must be out.
await new Promise<void>((resolve) => (stdout.destroyed ? resolve() : stdout.write('', () => resolve())));
process.exit(code);
