/**
 * The user's cache folder and how things get into it whole. Everything that can be fetched or built again lives
 * under `$XDG_CACHE_HOME/kagemusha` (else `~/.cache/kagemusha`); deleting it costs time, never data. A folder
 * appears there under its final name only when it is complete: it is built beside its place and renamed.
 */

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { withLock } from './lock.ts';

/** Joins `parts` under the cache folder. A relative XDG_CACHE_HOME is ignored, as the XDG specification asks. */
export function cacheFolder(...parts: string[]): string {
  const fromEnvironment = process.env.XDG_CACHE_HOME;
  const root = fromEnvironment && isAbsolute(fromEnvironment) ? fromEnvironment : join(homedir(), '.cache');
  return join(root, 'kagemusha', ...parts);
}

export interface PublishOptions {
  /** Build it anew and replace what is there. */
  refresh?: boolean;
  /** Whether what is there will do; asked again when it is our turn to build. Default: that it is there. */
  isCurrent?: () => Promise<boolean>;
  signal?: AbortSignal;
}

/**
 * Makes sure that `target` exists: if it does not (or `refresh` is set), `build` fills a temporary folder beside
 * it, which then takes the name. One process builds at a time; the others wait and find the result. A build that
 * throws leaves nothing behind.
 */
export async function publishFolder(
  target: string,
  options: PublishOptions,
  build: (temporary: string) => Promise<void>,
): Promise<void> {
  const willDo = async (): Promise<boolean> => {
    return !options.refresh && existsSync(target) && ((await options.isCurrent?.()) ?? true);
  };
  if (await willDo()) return;
  await mkdir(dirname(target), { recursive: true });
  await withLock(`${target}.lock`, options, async () => {
    if (await willDo()) return;
    await removeLeftovers(target);
    const temporary = `${target}.tmp-${randomUUID()}`;
    try {
      await mkdir(temporary);
      await build(temporary);
      options.signal?.throwIfAborted();
      if (existsSync(target)) await rename(target, `${target}.tmp-old-${randomUUID()}`);
      await rename(temporary, target);
    } finally {
      await removeLeftovers(target);
    }
  });
}

/** Removes what an interrupted or replaced build left beside `target`; the caller holds the lock. */
async function removeLeftovers(target: string): Promise<void> {
  const prefix = `${basename(target)}.tmp-`;
  for (const name of await readdir(dirname(target))) {
    if (name.startsWith(prefix)) await rm(join(dirname(target), name), { recursive: true, force: true });
  }
}
