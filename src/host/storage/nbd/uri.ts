/**
 * Where an NBD server is and what it exports (the NBD project's doc/uri.md):
 *
 *     nbd://HOST[:PORT]/EXPORT    nbd+unix:///EXPORT?socket=PATH    nbds:// and nbds+unix:// by TLS
 *
 * With `tls-certificates=FOLDER` and `tls-hostname=NAME` behind the question mark, as libnbd has it.
 */
import { OperatorError } from '../../../base/errors.ts';

const DEFAULT_PORT = 10809;
/** The protocol's limit of names. */
const EXPORT_BYTES_MAX = 4096;

export interface NbdServer {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  /** '': the server's default. */
  readonly exportName: string;
  readonly tls: boolean;
  /** A folder with ca-cert.pem. */
  readonly certificates?: string;
  /** Whom the server's certificate must name, if not the host. */
  readonly tlsHost?: string;
}

export function isNbdUri(text: string): boolean {
  return /^nbds?(\+unix)?:\/\//i.test(text);
}

/** Throws OperatorError `nbd-uri`. */
export function parseNbdUri(text: string): NbdServer {
  try {
    const uri = new URL(text);
    const certificates = uri.searchParams.get('tls-certificates');
    const tlsHost = uri.searchParams.get('tls-hostname');
    const tls = {
      tls: uri.protocol.startsWith('nbds'),
      ...(certificates === null ? {} : { certificates }),
      ...(tlsHost === null ? {} : { tlsHost }),
    };
    const exportName = decodeURIComponent(uri.pathname.replace(/^\//, ''));
    if (Buffer.byteLength(exportName) > EXPORT_BYTES_MAX) throw new RangeError('too long a name');
    if (uri.protocol.endsWith('+unix:')) {
      const path = uri.searchParams.get('socket');
      if (path === null || path === '' || uri.host !== '') throw new RangeError('no socket');
      return { address: { path }, exportName, ...tls };
    }
    if (uri.hostname === '') throw new RangeError('no host');
    const host = uri.hostname.replace(/^\[(.*)\]$/, '$1');
    return { address: { host, port: uri.port === '' ? DEFAULT_PORT : Number(uri.port) }, exportName, ...tls };
  } catch (error) {
    throw new OperatorError(
      'nbd-uri',
      `${text} names no NBD server`,
      'Write nbd://HOST:PORT/EXPORT, or nbd+unix:///EXPORT?socket=PATH',
      { cause: error },
    );
  }
}
