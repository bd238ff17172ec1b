/** What an image gives to a machine: what its options leave open. */
import { OperatorError } from '../../base/errors.ts';
import type { WorkOptions } from '../debian/index.ts';
import type { MachineOptions } from '../machine/machine-api.ts';
import { isPublished } from '../package-files.ts';
import { whyItBoots } from '../snapshots/index.ts';
import { debianImageName } from './pull.ts';
import { isPulled, type PulledName } from './pulled.ts';
import type { GuestImage } from './store.ts';

/** Where images come from. */
export interface Images {
  pull(name: PulledName, options: WorkOptions): Promise<GuestImage>;
  find(name: string): Promise<GuestImage | undefined>;
}

/** The image that a run needs, if any: fetched where it is Debian's, else it must be there. */
export async function imageFor(
  named: string | undefined,
  options: MachineOptions,
  images: Images,
  work: WorkOptions,
): Promise<GuestImage | undefined> {
  if (named === undefined && (options.kernel !== undefined || options.bios !== undefined)) return undefined;
  const name = named ?? debianImageName;
  if (isPulled(name)) return await images.pull(name, work);
  const image = await images.find(name);
  if (image !== undefined) return image;
  const fix = 'See "kage images" for those that are; put -- before the guest\'s command';
  throw new OperatorError('image-not-found', `there is no image ${name}`, fix);
}

/** The image's kernel, initrd and disk where the options name none; its command line, with theirs behind it. */
export function withImage(options: MachineOptions, image: GuestImage | undefined): MachineOptions {
  if (image === undefined) return options;
  const usesItsKernel = options.kernel === undefined;
  const append = [usesItsKernel ? image.commandLine : '', options.append ?? ''].filter((part) => part !== '').join(' ');
  const disk = image.disk === undefined ? [] : [{ file: image.disk, overlay: true }];
  return {
    ...options,
    kernel: options.kernel ?? image.kernel,
    initrd: options.initrd ?? image.initrd,
    ...(append === '' ? {} : { append }),
    drives: [...disk, ...(options.drives ?? [])],
  };
}

/**
 * Whether the machine may start where an earlier one had booted: by default where a published kage boots an image of its
 * own making. A clone, whose code changes under the same name, does it when asked.
 */
export function withBootSnapshot(options: MachineOptions, image: GuestImage | undefined): MachineOptions {
  const { bootSnapshot: asked, ...rest } = options;
  const why = whyItBoots(rest);
  if (asked === true && why !== undefined)
    throw new OperatorError('bad-usage', `--boot-snapshot on does not go with ${why}`, 'Leave one of them out');
  const isOn = asked ?? (isPublished && image !== undefined && why === undefined);
  return isOn ? { ...rest, bootSnapshot: true } : rest;
}
