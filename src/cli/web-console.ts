/** `kage console`: lets a browser of this user in to the daemon (docs/console.md), until it is told to end. */
import { join } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import { BrowserDoor } from '../daemon/index.ts';
import { daemonSocketName, isAlive, runtimeFolder } from '../host/index.ts';
import type { Io } from './io.ts';
import { parseCount } from './values.ts';

/** As commander hands them over. */
export interface WebConsoleFlags {
  readonly port?: string;
  readonly quiet?: boolean;
}

/** Prints a link, and another as soon as one was used. */
export async function webConsole(io: Io, { port = '0', quiet = false }: WebConsoleFlags): Promise<number> {
  const socketPath = join(await runtimeFolder(), `${daemonSocketName}.sock`);
  if (!(await isAlive(socketPath)))
    throw new OperatorError('no-daemon', `no daemon listens at ${socketPath}`, 'Start one with "kage serve"');
  await using door = await BrowserDoor.open({
    socketPath,
    port: parseCount(port, '--port', 0, 65_535),
    onUsed: () => say('The link was used. For another tab:'),
  });
  if (!(await fetch(new URL(door.newLink()).origin)).ok) {
    const fix = 'From a clone, make them with "npm run build", and start the daemon again';
    throw new OperatorError('no-console', 'the daemon has no pages for browsers', fix);
  }
  const hint = (text: string): void => {
    if (!quiet && io.stderr.isTTY) io.stderr.write(`${text}\n`);
  };
  function say(text: string): void {
    hint(text);
    io.stdout.write(`${door.newLink()}\n`);
  }
  say('Open it in a browser of this host; Ctrl-c ends the door, not the daemon.');
  if (!io.signal.aborted) await new Promise((resolve) => io.signal.addEventListener('abort', resolve, { once: true }));
  return 0;
}
