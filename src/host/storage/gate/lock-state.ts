/** One gate for a folder of generations: a second one would not know what the first has refused since. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatorError } from '../../../base/errors.ts';
import { type DiskLock, lockDisk } from '../disk-lock.ts';

/** Throws OperatorError `gate-in-use`. Locks are in the folder itself, so that other users' gates count. */
export async function lockState(folder: string): Promise<DiskLock> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    return await lockDisk(folder, await stat(folder, { bigint: true }), 'exclusive', join(folder, 'locks'));
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    throw new OperatorError('gate-in-use', `another gate keeps its generations in ${folder}`, 'Give each its own.', {
      cause: error,
    });
  }
}
