/** The images that are made of the archive's packages and nothing else, by name: what `kage images pull` knows. */
import { type PullOptions, pullDebianImage } from './pull.ts';
import { pullNestedImage } from './pull-nested.ts';
import type { GuestImage } from './store.ts';

const pulls = {
  debian: pullDebianImage,
  nested: pullNestedImage,
} satisfies Record<string, (options?: PullOptions) => Promise<GuestImage>>;

export type PulledName = keyof typeof pulls;
export const pulledNames = Object.keys(pulls) as readonly PulledName[];

export function isPulled(name: string): name is PulledName {
  return Object.hasOwn(pulls, name);
}

/** Gives the image, making it if it is not there. Throws what fetchPackages throws. */
export async function pullImage(name: PulledName, options: PullOptions = {}): Promise<GuestImage> {
  return await pulls[name](options);
}
