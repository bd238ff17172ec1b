/**
 * TLS on an NBD connection, with a folder of certificates as QEMU, nbdkit and libnbd have it: ca-cert.pem, and for servers
 * that ask who is there client-cert.pem and client-key.pem. Without a folder, the system's authorities judge.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, connect } from 'node:tls';
import { OperatorError } from '../../../base/errors.ts';

/** Throws OperatorError `nbd-tls`. `host`: whom the server's certificate must name. */
export function tlsOptions(host: string | undefined, folder: string | undefined): ConnectionOptions {
  const name = host ?? 'localhost';
  const options = { minVersion: 'TLSv1.2' as const, host: name, ...(isIP(name) === 0 ? { servername: name } : {}) };
  if (folder === undefined) return options;
  const client = join(folder, 'client-cert.pem');
  try {
    return {
      ...options,
      ca: readFileSync(join(folder, 'ca-cert.pem')),
      ...(existsSync(client) ? { cert: readFileSync(client), key: readFileSync(join(folder, 'client-key.pem')) } : {}),
    };
  } catch (error) {
    throw new OperatorError(
      'nbd-tls',
      `${folder} does not hold the certificates`,
      'Put ca-cert.pem there, and client-cert.pem with client-key.pem if the server asks for them.',
      { cause: error },
    );
  }
}

/** Throws OperatorError `nbd-tls` where server and certificates do not fit. */
export async function startTls(socket: Socket, options: ConnectionOptions): Promise<Socket> {
  return await new Promise((resolve, reject) => {
    const secure = connect({ ...options, socket }, () => {
      secure.off('error', failed);
      resolve(secure);
    });
    const failed = (cause: Error): void =>
      reject(
        new OperatorError(
          'nbd-tls',
          `The NBD server cannot be trusted by TLS: ${cause.message}`,
          'Name the folder of its authority: ...?tls-certificates=FOLDER, with ca-cert.pem in it.',
          { cause },
        ),
      );
    secure.once('error', failed);
  });
}
