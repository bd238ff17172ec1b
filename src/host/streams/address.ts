/**
 * Where streams between processes and hosts go:
 *
 *     unix:PATH          a socket that belongs to this user alone
 *     tcp:HOST:PORT      of the loopback address: nobody is asked who he is
 *     tls:HOST:PORT      both ends show a certificate that the other's authority signed (a folder with ca.pem, cert.pem, key.pem)
 *     plain:HOST:PORT    any address, unprotected: for a network that nobody else is on
 */
import { isIP } from 'node:net';
import { OperatorError } from '../../base/errors.ts';

export interface StreamAddress {
  readonly kind: 'unix' | 'tcp' | 'tls' | 'plain';
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
}

/** Throws OperatorError `bad-usage`. */
export function parseAddress(text: string): StreamAddress {
  const [, kind, rest] = /^(unix|tcp|tls|plain):(.+)$/.exec(text) ?? [];
  if (kind === 'unix' && rest !== undefined) return { kind, path: rest };
  const [, host, digits] = /^(.*):(\d{1,5})$/.exec(rest ?? '') ?? [];
  const port = Number(digits);
  if (kind === undefined || host === undefined || port > 65_535) throw badAddress(text);
  const name = host.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1';
  if (kind === 'tcp' && !isLoopback(name))
    throw new OperatorError(
      'bad-usage',
      `${text} is not of this host: whoever reaches it could take the guest, or put another in its place`,
      'Write tls:HOST:PORT; on a network that nobody else is on, plain:HOST:PORT.',
    );
  return { kind: kind as 'tcp' | 'tls' | 'plain', host: name, port };
}

/** Its text. */
export function addressText({ kind, path, host, port }: StreamAddress): string {
  return path === undefined ? `${kind}:${isIP(host ?? '') === 6 ? `[${host}]` : host}:${port}` : `${kind}:${path}`;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function badAddress(text: string): OperatorError {
  return new OperatorError(
    'bad-usage',
    `${text} is no address of a stream`,
    'Write unix:PATH, tcp:127.0.0.1:PORT, tls:HOST:PORT or plain:HOST:PORT.',
  );
}
