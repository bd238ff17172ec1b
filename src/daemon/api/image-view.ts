/** A guest image as the API shows it: where its files are, and which release it is made of. */
import type * as z from 'zod';
import type { GuestImage } from '../../host/index.ts';
import type { image } from '../schemas/problem.ts';

export function imageView({ name, kernel, initrd, disk, commandLine, manifest }: GuestImage): z.infer<typeof image> {
  const { release, suite } = manifest;
  return {
    ...{ name, kernel, initrd, commandLine, release, suite, kernelVersion: manifest.kernel.version },
    ...(disk === undefined ? {} : { disk }),
  };
}
