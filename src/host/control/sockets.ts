/** Which control sockets have a machine behind them, and which were left by one that died. */
import { lstat, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { withLock } from '../debian/index.ts';
import { daemonSocketName } from './runtime-folder.ts';

/** Whether somebody listens on the socket. */
export async function isAlive(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(path);
    const settle = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.once('connect', () => settle(true));
    // Refused: its process died. Not there: it went away meanwhile. Anything else (busy) counts as alive.
    socket.once('error', (error) => {
      const code = 'code' in error ? error.code : '';
      settle(code !== 'ECONNREFUSED' && code !== 'ENOENT' && code !== 'ENOTSOCK');
    });
  });
}

/** Names of the machines whose sockets answer, sorted; removes sockets that were left behind. */
export async function liveNames(folder: string): Promise<string[]> {
  const names = (await readdir(folder))
    .filter((file) => file.endsWith('.sock'))
    .map((file) => file.slice(0, -5))
    .filter((name) => name !== daemonSocketName);
  const live = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, `${name}.sock`);
      if (await isAlive(path)) return [name];
      await withLock(`${path}.lock`, {}, async () => {
        if (!(await isAlive(path))) await rm(path, { force: true });
      });
      return [];
    }),
  );
  return live.flat().sort();
}

/** Whether a socket lies there whose process is gone. A file of any other kind is somebody's, and none of ours to take away. */
export async function isLeftBehind(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isSocket() === true && !(await isAlive(path));
}
