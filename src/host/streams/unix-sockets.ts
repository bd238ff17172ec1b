/** Which Unix sockets have somebody behind them, and which were left by a process that died. */
import { lstat } from 'node:fs/promises';
import { connect } from 'node:net';

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

/** Whether a socket lies there whose process is gone. A file of any other kind is somebody's, and none of ours to take away. */
export async function isLeftBehind(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isSocket() === true && !(await isAlive(path));
}
