/**
 * The folder with the control sockets of this user's machines: `$XDG_RUNTIME_DIR/kagemusha`, else
 * `/tmp/kagemusha-UID`. Whoever can write to it can pose as a machine, so it must be a real folder of this user
 * that nobody else may enter; anything else is an error, never repaired.
 */
import { lstatSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';

/** Bytes of a socket's path that the kernel takes (sockaddr_un.sun_path, its ending zero aside). */
const longestSocketPath = 107;

/** Where sockets lie; makes the folder if needed. Errors: `runtime-folder-unsafe`, `runtime-folder`. */
export async function runtimeFolder(environment: NodeJS.ProcessEnv = process.env): Promise<string> {
  const uid = userInfo().uid;
  const given = environment['XDG_RUNTIME_DIR'];
  const path =
    given !== undefined && isAbsolute(given) && isOwnFolder(given, uid)
      ? join(given, 'kagemusha')
      : join(tmpdir(), `kagemusha-${uid}`);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
      const fix = 'Set XDG_RUNTIME_DIR to a folder of your own that you may write to';
      throw new OperatorError('runtime-folder', `The folder ${path} cannot be made`, fix, { cause: error });
    }
  }
  const state = lstatSync(path);
  if (!state.isDirectory() || state.uid !== uid || (state.mode & 0o077) !== 0) {
    throw new OperatorError(
      'runtime-folder-unsafe',
      `${path} is not a folder that you alone may enter`,
      'Remove it, or set XDG_RUNTIME_DIR to a folder of your own with mode 0700',
    );
  }
  return path;
}

/** The socket of `kage serve` lies with those of the machines, so that no machine can be called so. */
export const daemonSocketName = 'daemon';

/** Throws OperatorError `bad-name` unless a machine may be called so. */
export function checkMachineName(name: string): void {
  if (name === daemonSocketName)
    throw new OperatorError('bad-name', `"${name}" is the name of the daemon's socket`, 'Choose another');
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name)) {
    const fix = 'Use up to 63 letters, digits, "-", "_" and ".", with a letter or a digit in front';
    throw new OperatorError('bad-name', `"${name.slice(0, 80)}" cannot be the name of a machine`, fix);
  }
}

/** The socket of the machine `name`. Errors: `bad-name`. */
export function socketPath(folder: string, name: string): string {
  checkMachineName(name);
  const path = join(folder, `${name}.sock`);
  if (Buffer.byteLength(path) > longestSocketPath) {
    const fix = 'Choose a shorter name, or set XDG_RUNTIME_DIR to a shorter path';
    throw new OperatorError('bad-name', `The path of the control socket is too long: ${path}`, fix);
  }
  return path;
}

function isOwnFolder(path: string, uid: number): boolean {
  try {
    const state = lstatSync(path);
    return state.isDirectory() && state.uid === uid;
  } catch {
    return false;
  }
}
