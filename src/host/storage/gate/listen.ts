/** A server at its address: a socket that a dead process left is taken away, nothing else. */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import { OperatorError } from '../../../base/errors.ts';
import { isLeftBehind } from '../../control/sockets.ts';

type Address = { readonly path: string } | { readonly host: string; readonly port: number };

/** A Unix socket is for this user alone. Throws OperatorError `gate-address`. */
export async function listenAt(server: Server, address: Address): Promise<void> {
  try {
    if ('path' in address && (await isLeftBehind(address.path))) await rm(address.path, { force: true });
    await once(server.listen(address), 'listening');
    if ('path' in address) await chmod(address.path, 0o600);
  } catch (cause) {
    const text = 'path' in address ? address.path : `${address.host}:${address.port}`;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError('gate-address', `nobody can listen on ${text}: ${why}`, 'Listen elsewhere.', { cause });
  }
}
