/**
 * TLS on an NBD connection, with a folder of certificates as QEMU, nbdkit and libnbd have it: ca-cert.pem, and for servers
 * that ask who is there client-cert.pem and client-key.pem; or as our hosts have it: ca.pem, cert.pem, key.pem. Without a folder, the
 * system's authorities judge.
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
  const isHosts = !existsSync(join(folder, 'ca-cert.pem')) && existsSync(join(folder, 'ca.pem'));
  const [ca, cert, key] = isHosts
    ? (['ca.pem', 'cert.pem', 'key.pem'] as const)
    : (['ca-cert.pem', 'client-cert.pem', 'client-key.pem'] as const);
  try {
    const read = (file: string): Buffer => readFileSync(join(folder, file));
    const own = existsSync(join(folder, cert)) ? { cert: read(cert), key: read(key) } : {};
    return { ...options, ca: read(ca), ...own };
  } catch (error) {
    throw new OperatorError(
      'nbd-tls',
      `${folder} does not hold the certificates`,
      'Put ca-cert.pem there, and client-cert.pem with client-key.pem if the server asks for them; or ca.pem, cert.pem, key.pem.',
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
