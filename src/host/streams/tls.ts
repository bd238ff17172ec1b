/**
 * TLS 1.3 where both ends show a certificate that the other's authority signed. A folder holds what one end has of it: ca.pem, cert.pem,
 * key.pem. No early data: what one says is never said again by somebody who recorded it.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createSecureContext, createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { OperatorError } from '../../base/errors.ts';

/** For a peer that connects and says nothing. */
export const HANDSHAKE_MS = 10_000;

/** Throws OperatorError `bad-usage` where the files are not there or do not belong together. */
export function peerCertificates(folder: string | undefined): SecureContextOptions {
  if (folder === undefined)
    throw new OperatorError(
      'bad-usage',
      'TLS needs certificates',
      'Name a folder with ca.pem, cert.pem, key.pem (--tls).',
    );
  try {
    const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFileSync(join(folder, name)));
    const options = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), minVersion: 'TLSv1.3' } as const;
    createSecureContext(options);
    return options;
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError(
      'bad-usage',
      `the certificates in ${folder} cannot be used: ${what}`,
      "It has ca.pem, cert.pem, key.pem, and the key is the certificate's.",
      { cause },
    );
  }
}

/**
 * The server's side, on a connection that is there: the client has shown a certificate of the authority when this resolves. Rejects,
 * and closes the connection, where it has none, or does not come to it in time. Nobody may read from the socket any more.
 */
export function secureAsServer(socket: Socket, certificates: SecureContextOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new Error('the client has gone'));
    // A server of its own for each: which of the connections a client's failure belongs to is said by nothing else.
    const server = createServer(
      { ...certificates, requestCert: true, rejectUnauthorized: true, handshakeTimeout: HANDSHAKE_MS },
      (secure) => {
        socket.off('close', gone);
        resolve(secure);
      },
    );
    server.once('tlsClientError', (error, secure) => {
      reject(error);
      secure.destroy();
      socket.destroy();
    });
    socket.once('close', gone);
    server.emit('connection', socket);
  });
}
