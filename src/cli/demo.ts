/** `kage demo`: serves the demo page (docs/browser.md) until it is told to end. */
import { OperatorError } from '../base/errors.ts';
import { imageFor } from '../host/index.ts';
import type { Io, Platform } from './io.ts';
import { ProgressDisplay } from './progress.ts';
import { parseCount } from './values.ts';

/** As commander hands them over. */
export interface DemoFlags {
  readonly port?: string;
  readonly isolation: boolean;
  readonly quiet?: boolean;
}

/** Prints the page's address, and returns when `io.signal` aborts. */
export async function demo(io: Io, platform: Platform, named: string | undefined, flags: DemoFlags): Promise<number> {
  const port = flags.port === undefined ? undefined : parseCount(flags.port, '--port', 0, 65535);
  const progress = new ProgressDisplay(io.stderr, { quiet: flags.quiet === true });
  const image = await imageFor(named, {}, platform.images, { progress: progress.show, signal: io.signal }).finally(() =>
    progress.finish(),
  );
  if (image === undefined) throw new OperatorError('image-not-found', 'there is no image', 'Name one');
  if (image.disk !== undefined) {
    const message = `the image ${image.name} boots from a disk, which is too large for a page`;
    throw new OperatorError('image-has-disk', message, 'Name one without a disk, such as debian');
  }
  await using server = await platform.startDemo({
    image,
    isolation: flags.isolation,
    ...(port === undefined ? {} : { port }),
  });
  io.stdout.write(`${server.address}\n`);
  if (flags.quiet !== true && io.stderr.isTTY) io.stderr.write('Open it in a browser; Ctrl-c ends the server.\n');
  if (!io.signal.aborted) await new Promise((resolve) => io.signal.addEventListener('abort', resolve, { once: true }));
  return 0;
}
