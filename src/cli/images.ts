/** `kage images`: the guest images in the user's cache folder. */
import { OperatorError } from '../base/errors.ts';
import { type GuestImage, isPulled, pulledNames } from '../host/index.ts';
import type { Io, Platform } from './io.ts';
import { type Format, print, table } from './output.ts';
import { ProgressDisplay } from './progress.ts';
import { exitCode } from './run.ts';
import { parseCount, parseSize } from './values.ts';

export async function listImages(io: Io, platform: Platform, format: Format): Promise<number> {
  const images = await platform.images.list();
  print(io, format, images, () =>
    images.length === 0
      ? 'no images yet; "kage images pull debian" makes one\n'
      : table(
          ['name', 'release', 'kernel', 'disk'],
          images.map(({ name, manifest }) => [
            name,
            `${manifest.suite} ${manifest.release}`,
            manifest.kernel.version,
            manifest.disk === undefined ? '-' : 'yes',
          ]),
        ),
  );
  return 0;
}

export async function pullImage(
  io: Io,
  platform: Platform,
  name: string,
  flags: { quiet?: boolean; refresh?: boolean; format: Format },
): Promise<number> {
  if (!isPulled(name)) {
    const fix = `Pull ${pulledNames.join(' or ')}, or bring a kernel of your own with --kernel and --initrd`;
    throw new OperatorError('image-not-found', `there is no image ${name} to pull`, fix);
  }
  const refresh = flags.refresh === true;
  const image = await withProgress(io, flags.quiet === true, (progress) =>
    platform.images.pull(name, { progress: progress.show, signal: io.signal, refresh }),
  );
  printImage(io, flags.format, image);
  return 0;
}

export interface BuildFlags {
  readonly package?: readonly string[];
  readonly size?: string;
  readonly hostname?: string;
  readonly memory?: string;
  readonly cpus?: string;
  readonly verbose?: boolean;
  readonly quiet?: boolean;
  readonly format: Format;
}

/** A full Debian root disk; what its packages' scripts do is done in a guest of ours. */
export async function buildImage(io: Io, platform: Platform, name: string, flags: BuildFlags): Promise<number> {
  const packages = (flags.package ?? []).flatMap((list) => list.split(',')).filter((one) => one !== '');
  const size = {
    memoryBytes: parseSize(flags.memory ?? '1G', '--memory'),
    cpus: parseCount(flags.cpus ?? '1', '--cpus', 1, 16),
  };
  const image = await withProgress(io, flags.quiet === true, (progress) =>
    platform.images.build({
      name,
      packages,
      ...(flags.size === undefined ? {} : { sizeBytes: parseSize(flags.size, '--size') }),
      ...(flags.hostname === undefined ? {} : { hostname: flags.hostname }),
      boot: async ({ kernel, initrd, disk, commandLine }) => {
        await using machine = await platform.createMachine({
          ...size,
          kernel,
          initrd,
          append: commandLine,
          drives: [{ file: disk }],
          signal: io.signal,
        });
        if (flags.verbose) machine.onConsole((bytes) => io.stderr.write(bytes));
        const onAbort = (): void => void machine.kill();
        io.signal.addEventListener('abort', onAbort, { once: true });
        return await machine.exited.then(exitCode).finally(() => io.signal.removeEventListener('abort', onAbort));
      },
      progress: progress.show,
      signal: io.signal,
    }),
  );
  printImage(io, flags.format, image);
  return 0;
}

export async function removeImages(io: Io, platform: Platform, names: readonly string[]): Promise<number> {
  for (const name of names) {
    if (!(await platform.images.remove(name, { signal: io.signal }))) {
      throw new OperatorError('image-not-found', `there is no image ${name}`, 'See "kage images" for those that are');
    }
    io.stdout.write(`${name}\n`);
  }
  return 0;
}

async function withProgress<T>(io: Io, quiet: boolean, body: (progress: ProgressDisplay) => Promise<T>): Promise<T> {
  const progress = new ProgressDisplay(io.stderr, { quiet });
  try {
    return await body(progress);
  } finally {
    progress.finish();
  }
}

function printImage(io: Io, format: Format, image: GuestImage): void {
  print(io, format, image, () => `${image.name}\n`);
}
