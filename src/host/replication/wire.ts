/**
 * Connections of checkpoint streams, by address:
 *
 *   unix:PATH          a socket that belongs to this user alone
 *   tcp:HOST:PORT      of the loopback address: nobody is asked who he is
 *   tls:HOST:PORT      both ends show a certificate that the other's authority signed (a folder with ca.pem, cert.pem, key.pem)
 *   plain:HOST:PORT    any address, unprotected: for a network that nobody else is on
 */
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp, createServer, isIP, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer, type SecureContextOptions } from 'node:tls';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { Wire } from '../../replication/index.ts';
import { isLeftBehind } from '../control/sockets.ts';
import { errorCode } from '../network/errors.ts';

export interface StreamAddress {
  readonly kind: 'unix' | 'tcp' | 'tls' | 'plain';
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
}

const CONNECT_WITHIN_MS = 5000;
/** Bytes that wait in this process for a peer that reads slowly. */
const MOST_UNSENT_BYTES = 4 << 20;

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

/** Whether the connection is slower than packing pages is. */
export function isSlow({ kind, host }: StreamAddress): boolean {
  return kind !== 'unix' && !isLoopback(host ?? '');
}

/** `tls`: the folder of the certificates. Rejects with OperatorError `peer-unreachable`. */
export async function connectStream(address: StreamAddress, tls?: string): Promise<Duplex> {
  const socket = open(address, tls);
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('it does not answer')), CONNECT_WITHIN_MS);
      socket.once(address.kind === 'tls' ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
      socket.once('close', () => clearTimeout(late));
      socket.once('connect', () => address.kind === 'tls' || clearTimeout(late));
      socket.once('secureConnect', () => clearTimeout(late));
    });
    if (address.kind !== 'unix') socket.setNoDelay(true);
    return socket;
  } catch (cause) {
    socket.destroy();
    throw new OperatorError(
      'peer-unreachable',
      `nobody can be reached at ${addressText(address)}: ${cause instanceof Error ? cause.message : cause}`,
      'Start "kage receive" there, and see that the address is right.',
      { cause },
    );
  }
}

function open({ kind, path, host, port }: StreamAddress, tls: string | undefined): Socket {
  if (path !== undefined) return connectTcp(path);
  const to = { host: host ?? '127.0.0.1', port: port ?? 0 };
  return kind === 'tls' ? connectTls({ ...to, ...certificates(tls) }) : connectTcp(to);
}

export interface StreamListener {
  readonly address: StreamAddress;
  close(): void;
}

/** Rejects with OperatorError `address-in-use`, HostError `cannot-listen`. */
export async function listenForStreams(
  address: StreamAddress,
  tls: string | undefined,
  arrived: (stream: Duplex) => void,
): Promise<StreamListener> {
  const { kind, path, host, port } = address;
  const server: Server =
    kind === 'tls'
      ? createTlsServer({ ...certificates(tls), requestCert: true, rejectUnauthorized: true }, arrived)
      : createServer(arrived);
  // Of a connection that came to nothing: the next may do better.
  server.on('tlsClientError', () => {});
  if (path !== undefined && (await isLeftBehind(path))) rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const text = addressText(address);
      if (errorCode(cause) === 'EADDRINUSE')
        reject(
          new OperatorError('address-in-use', `${text} is in use by another program`, 'Listen elsewhere', { cause }),
        );
      else reject(new HostError('cannot-listen', `Nobody can listen on ${text}: ${String(cause)}`, { cause }));
    });
    if (path !== undefined) server.listen(path, resolve);
    else server.listen(port ?? 0, host ?? '127.0.0.1', resolve);
  });
  server.on('error', () => {});
  if (path !== undefined) chmodSync(path, 0o600);
  const bound = server.address();
  const actual = typeof bound === 'object' && bound !== null ? { ...address, port: bound.port } : address;
  return {
    address: actual,
    close: () => {
      server.close();
      if (path !== undefined) rmSync(path, { force: true });
    },
  };
}

/** A connection as replication has it. */
export function wireOf(stream: Duplex): Wire {
  return {
    write: async (pieces) => {
      if (stream.destroyed) throw new Error('the connection is closed');
      for (const piece of pieces) stream.write(piece);
      if (stream.writableLength <= MOST_UNSENT_BYTES) return;
      await new Promise<void>((resolve, reject) => {
        const done = (): void => {
          stream.off('drain', drained);
          stream.off('close', closed);
        };
        const drained = (): void => {
          done();
          resolve();
        };
        const closed = (): void => {
          done();
          reject(new Error('the connection is closed'));
        };
        stream.on('drain', drained);
        stream.on('close', closed);
      });
    },
    close: () => {
      stream.end();
      setTimeout(() => stream.destroy(), 1000).unref();
    },
  };
}

function certificates(folder: string | undefined): SecureContextOptions {
  if (folder === undefined)
    throw new OperatorError(
      'bad-usage',
      'tls: needs certificates',
      'Name a folder with ca.pem, cert.pem, key.pem (--tls).',
    );
  try {
    const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFileSync(join(folder, name)));
    return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), minVersion: 'TLSv1.3' };
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError(
      'bad-usage',
      `the certificates cannot be read: ${what}`,
      'It has ca.pem, cert.pem, key.pem.',
      {
        cause,
      },
    );
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function badAddress(text: string): OperatorError {
  return new OperatorError(
    'bad-usage',
    `${text} is no address of a checkpoint stream`,
    'Write unix:PATH, tcp:127.0.0.1:PORT, tls:HOST:PORT or plain:HOST:PORT.',
  );
}
