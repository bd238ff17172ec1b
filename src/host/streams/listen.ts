/** Servers at their addresses, and those of streams: of TLS, a stream arrives when its client has shown who it is. */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { HostError, OperatorError } from '../../base/errors.ts';
import { addressText, type StreamAddress } from './address.ts';
import { Newcomers } from './newcomers.ts';
import { peerCertificates, secureAsServer } from './tls.ts';
import { isLeftBehind } from './unix-sockets.ts';

/** Of clients that are still to show their certificates. */
const NEWCOMERS_MAX = 64;

export interface StreamListener {
  /** With the port that it was given. */
  readonly address: StreamAddress;
  /** Nobody arrives any more; resolves when the streams that did are closed. */
  close(): Promise<void>;
}

/**
 * `tls`: the folder of the certificates. Whoever has a stream hears of its errors. Rejects with OperatorError `bad-usage`,
 * `address-in-use`, HostError `cannot-listen`.
 */
export async function listenForStreams(
  address: StreamAddress,
  tls: string | undefined,
  arrived: (stream: Socket) => void,
): Promise<StreamListener> {
  const { kind, path, host = '127.0.0.1', port = 0 } = address;
  const newcomers = new Newcomers(NEWCOMERS_MAX);
  const certificates = kind === 'tls' ? peerCertificates(tls) : undefined;
  const server = createServer((socket) => {
    if (path === undefined) socket.setNoDelay(true);
    if (certificates === undefined) return void arrived(socket);
    newcomers.add(socket);
    // Of a connection that came to nothing: the next may do better.
    secureAsServer(socket, certificates).then(
      (stream) => {
        newcomers.delete(socket);
        arrived(stream);
      },
      () => newcomers.delete(socket),
    );
  });
  await listenAt(server, path === undefined ? { host, port } : { path }, { name: addressText(address) });
  const bound = server.address();
  return {
    address: typeof bound === 'object' && bound !== null ? { ...address, port: bound.port } : address,
    close: async () => {
      const closed = once(server.close(), 'close');
      newcomers.close();
      await closed;
    },
  };
}

/**
 * A socket that a dead process left is taken away, nothing else; ours goes when the server is closed, and is for this user alone, or
 * for whom the umask says. Of a single connection's failure nobody hears. Rejects with OperatorError `address-in-use`, HostError
 * `cannot-listen`.
 */
export async function listenAt(
  server: Server,
  address: { readonly path: string } | { readonly host: string; readonly port: number },
  {
    name = 'path' in address ? address.path : `${address.host}:${address.port}`,
    isFor = 'user',
  }: { readonly name?: string; readonly isFor?: 'user' | 'umask' } = {},
): Promise<void> {
  try {
    if ('path' in address && (await isLeftBehind(address.path))) await rm(address.path, { force: true });
    await once(server.listen(address), 'listening');
    server.on('error', () => {});
    if ('path' in address && isFor === 'user') await chmod(address.path, 0o600);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE')
      throw new OperatorError('address-in-use', `${name} is in use by another program`, 'Listen elsewhere.', { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HostError('cannot-listen', `Nobody can listen on ${name}: ${why}`, { cause });
  }
}
