/**
 * The static files of the console: a folder that the build filled, read once. They hold nothing of anybody, so that they are
 * served without a token; what the page shows it asks for with one.
 */
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';

export interface Page {
  send(response: ServerResponse): void;
}

export interface Pages {
  /** Undefined: no file of ours is asked for. */
  find(request: IncomingMessage): Page | undefined;
}

/** On every answer. Scripts and styles of the console are files of its own. */
export const securityHeaders: readonly (readonly [string, string])[] = [
  ['x-content-type-options', 'nosniff'],
  ['referrer-policy', 'no-referrer'],
  ['x-frame-options', 'DENY'],
  ['cross-origin-opener-policy', 'same-origin'],
  ['cross-origin-resource-policy', 'same-origin'],
  [
    'content-security-policy',
    "default-src 'self'; connect-src 'self' wss:; img-src 'self' data:; style-src 'self' 'unsafe-inline'; " +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
];

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
};

/** Paths of the API are never files, whatever lies in the folder. */
export function pagesOf(folder: string): Pages {
  const files = new Map<string, { bytes: Buffer; type: string; tag: string }>();
  for (const path of globSync('**/*', { cwd: folder, withFileTypes: false })) {
    const type = TYPES[extname(path)];
    if (type === undefined) continue;
    const bytes = readFileSync(join(folder, path));
    const tag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
    files.set(`/${path}`, { bytes, type, tag });
  }
  const index = files.get('/index.html');
  if (index !== undefined) files.set('/', index);
  return {
    find: ({ method, url = '', headers }) => {
      if (method !== 'GET' && method !== 'HEAD') return undefined;
      const file = files.get(url.split('?', 1)[0] ?? '');
      if (file === undefined || /^\/(v1|metrics|healthz|readyz)(\/|$)/.test(url)) return undefined;
      return {
        send: (response) => {
          const { bytes, type, tag } = file;
          const isSame = headers['if-none-match'] === tag;
          response.writeHead(isSame ? 304 : 200, {
            ...{ 'content-type': type, etag: tag, 'cache-control': 'no-cache' },
            ...(isSame ? {} : { 'content-length': bytes.length }),
          });
          response.end(isSame || method === 'HEAD' ? undefined : bytes);
        },
      };
    },
  };
}
