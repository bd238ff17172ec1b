/**
 * Who may ask. On the unix socket the kernel says: its folder is the user's alone. Over TCP a token says, and two headers
 * keep pages of other origins out that a browser was led to, by a name that points here (DNS rebinding) or straight.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { SOCKET_PROTOCOL, TOKEN_PROTOCOL } from '../../client/index.ts';
import { RequestError } from './problem-of.ts';

export interface Guard {
  /** Throws RequestError. `isPage`: a static file of the console, which holds nothing of anybody. */
  check(request: IncomingMessage, isPage: boolean): void;
}

/** For the unix socket: a browser that comes through a proxy says where its page is from. */
export const unixGuard: Guard = { check: (request) => checkOrigin(request) };

export interface TcpGuardOptions {
  readonly token: string;
  /** Names by which the daemon may be called: of its certificate, its address. Without port. */
  readonly hosts: ReadonlySet<string>;
}

export function tcpGuard({ token, hosts }: TcpGuardOptions): Guard {
  const wanted = digest(token);
  return {
    check: (request, isPage) => {
      checkHost(request, hosts);
      checkOrigin(request);
      if (isPage) return;
      const given = tokenOf(request);
      if (given === undefined || !timingSafeEqual(digest(given), wanted))
        throw new RequestError(401, 'no-token', 'the token is missing or wrong', 'Send Authorization: Bearer TOKEN');
    },
  };
}

/** Of equal length, whatever was given: comparing takes the same time. */
export function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Of a header, or of a WebSocket's subprotocols. */
export function tokenOf({ headers }: IncomingMessage): string | undefined {
  const [, bearer] = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(headers.authorization ?? '') ?? [];
  if (bearer !== undefined) return bearer;
  // Pages cannot set headers of a WebSocket; its subprotocols they can.
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  if (!protocols.includes(SOCKET_PROTOCOL)) return undefined;
  return protocols.find((one) => one.startsWith(TOKEN_PROTOCOL))?.slice(TOKEN_PROTOCOL.length);
}

function checkHost({ headers }: IncomingMessage, hosts: ReadonlySet<string>): void {
  const { host } = headers;
  if (host !== undefined && hosts.has(hostName(host))) return;
  const fix = 'Use a name of its certificate, or allow this one with --allow-host';
  throw new RequestError(421, 'wrong-host', `the daemon is not called ${String(host).slice(0, 100)}`, fix);
}

function checkOrigin({ headers }: IncomingMessage): void {
  const { origin, host } = headers;
  if (origin === undefined) return;
  const from = URL.canParse(origin) ? new URL(origin).host : undefined;
  if (from !== undefined && from === host) return;
  const fix = 'Use a page that the daemon serves itself';
  throw new RequestError(403, 'wrong-origin', `pages of ${origin.slice(0, 100)} may not ask`, fix);
}

/** Without its port; an IPv6 address without brackets. */
export function hostName(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}
