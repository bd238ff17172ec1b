/** A cache folder of a test's own, which shares package lists (and, if asked for, fetched packages) with the user's. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from './cache-folder.ts';

/** Runs `body` with XDG_CACHE_HOME set to a temporary folder; tests of one file run one after the other. */
export async function withIsolatedCache(
  shared: readonly ('apt' | 'packages')[],
  body: () => Promise<void>,
): Promise<void> {
  const before = process.env.XDG_CACHE_HOME;
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-cache-'));
  mkdirSync(join(folder, 'kagemusha'));
  for (const name of shared) {
    mkdirSync(cacheFolder(name), { recursive: true });
    symlinkSync(cacheFolder(name), join(folder, 'kagemusha', name));
  }
  process.env.XDG_CACHE_HOME = folder;
  try {
    await body();
  } finally {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
    rmSync(folder, { recursive: true, force: true });
  }
}
