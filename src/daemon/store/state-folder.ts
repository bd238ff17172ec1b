/**
 * The folder with what is to be known of partitions over restarts: `$XDG_STATE_HOME/kagemusha`, else
 * `~/.local/state/kagemusha`. What guests said is in it, so it is the user's alone, as the runtime folder is.
 *
 *   state.db                    declarations, counts, events (database.ts)
 *   partitions/NAME/            its console's log, its end (host/control/machine-record.ts)
 *   token                       of a daemon that listens on TCP, unless another file is named
 */
import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';

/** Makes the folder where it is missing. Errors: `state-folder`, `state-folder-unsafe`. */
export function stateFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const given = environment['XDG_STATE_HOME'];
  const root = given !== undefined && isAbsolute(given) ? given : join(homedir(), '.local/state');
  const path = join(root, 'kagemusha');
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const fix = 'Set XDG_STATE_HOME to a folder of your own that you may write to';
    throw new OperatorError('state-folder', `the folder ${path} cannot be made`, fix, { cause });
  }
  const state = lstatSync(path);
  if (!state.isDirectory() || state.uid !== userInfo().uid || (state.mode & 0o077) !== 0) {
    throw new OperatorError(
      'state-folder-unsafe',
      `${path} is not a folder that you alone may enter`,
      'Make it so (chmod 700), or set XDG_STATE_HOME to a folder of your own',
    );
  }
  return path;
}

/** Where a partition's machine leaves its records. */
export function partitionHome(folder: string, name: string): string {
  return join(folder, 'partitions', name);
}

export function removeHome(folder: string, name: string): void {
  rmSync(partitionHome(folder, name), { recursive: true, force: true });
}
