/** A guest image as it is shown. */
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
