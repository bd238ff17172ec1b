/** The API for a verb of `kage`: the daemon's, if one runs, else in this process. */
import { join } from 'node:path';
import { Caller, Client } from '../client/index.ts';
import { daemonSocketName, isAlive, runtimeFolder } from '../host/index.ts';
import { type LocalOptions, openService } from './local.ts';
import { inProcessTransport } from './transports/in-process.ts';
import { type DaemonAddress, nodeTransport } from './transports/node-transport.ts';

export interface ReachedApi extends AsyncDisposable {
  readonly client: Client;
  /** Whether somebody supervises. */
  readonly daemon: boolean;
}

/** Errors: those of the store, where no daemon runs. */
export async function reachApi(options: LocalOptions): Promise<ReachedApi> {
  const path = join(options.runtimeFolder ?? (await runtimeFolder()), `${daemonSocketName}.sock`);
  if (await isAlive(path))
    return { client: connectDaemon({ kind: 'unix', path }), daemon: true, [Symbol.asyncDispose]: async () => {} };
  const service = await openService(options, { isReady: () => true });
  return {
    client: new Client(new Caller(inProcessTransport(service))),
    daemon: false,
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}

/**
 * A client of this user's daemon, or of one at an address; its calls reject with ApiError for what the daemon refuses, with
 * OperatorError `no-daemon` where none listens.
 */
export function connectDaemon(address: DaemonAddress = { kind: 'user' }): Client {
  return new Client(new Caller(nodeTransport(address)));
}
