/** The daemon over TCP: TLS and a token, or nothing; and bounds for whoever is rude. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { ApiError, Caller, Client, fetchTransport } from '../../client/index.ts';
import { ownFolders, type Served, served, until } from '../daemon.testing.ts';
import { connectDaemon } from '../reach.ts';
import { readToken, selfSignedFiles } from '../tls-files.ts';
import { type Route, routes } from './routes.ts';

const TOKEN = 'a-token-that-nobody-guesses';
let api: Served;
let port: number;
let ca: string;
after(async () => await api[Symbol.asyncDispose]());
const folders = ownFolders();
before(async () => {
  const pages = join(folders.root, 'pages');
  mkdirSync(pages);
  writeFileSync(join(pages, 'index.html'), '<title>console</title>');
  writeFileSync(join(pages, 'secret.txt'), 'not a page');
  mkdirSync(join(pages, 'v1'));
  writeFileSync(join(pages, 'v1/partitions.html'), 'not the API');
  const files = selfSignedFiles(folders.root, ['kage.example']);
  ca = readFileSync(files.certificateFile, 'utf8');
  api = await served({ pages, tcp: { host: '127.0.0.1', port: 0, ...files, token: TOKEN } });
  port = Number(new URL(api.daemon.addresses[1] ?? '').port);
  await api.client.createPartition({ name: 'secret-name', spec: { kernel: '/k' } });
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

async function ask(options: RequestOptions, send = request): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asked = send({ host: '127.0.0.1', port, ca, servername: 'localhost', agent: false, ...options }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        body += piece;
      });
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
    });
    asked.on('error', reject);
    asked.on('upgrade', (_answer, socket) => {
      socket.destroy();
      resolve({ status: 101, headers: {}, body: '' });
    });
    asked.end();
  });
}

const bearer = { authorization: `Bearer ${TOKEN}` };

describe('without the token', () => {
  for (const [operation, { method, path }] of Object.entries<Route>(routes)) {
    test(`${operation} tells nothing`, async () => {
      const answer = await ask({
        method: method.toUpperCase(),
        path: path.replace('{name}', 'secret-name').replaceAll(/\{\w+\}/g, 'x'),
      });
      assert.equal(answer.status, 401);
      assert.equal((JSON.parse(answer.body) as { code: string }).code, 'no-token');
      assert.match(String(answer.headers['www-authenticate']), /^Bearer/);
      assert.ok(!answer.body.includes('secret'));
    });
  }

  for (const [what, headers] of [
    ['another one', { authorization: 'Bearer another-token-of-that-kind' }],
    ['a part of it', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['none', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: `Basic ${Buffer.from(`x:${TOKEN}`).toString('base64')}` }],
  ] as const) {
    test(`with ${what}`, async () => assert.equal((await ask({ path: '/v1/partitions', headers })).status, 401));
  }

  test('nor does a WebSocket', async () => {
    const upgrade = {
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'x'.repeat(22) + '==',
    };
    const path = '/v1/partitions/secret-name/console';
    assert.equal((await ask({ path, headers: upgrade })).status, 401);
    const wrong = { ...upgrade, 'sec-websocket-protocol': 'kagemusha.v1, kagemusha.token.wrong' };
    assert.equal((await ask({ path, headers: wrong })).status, 401);
    const right = { ...upgrade, 'sec-websocket-protocol': `kagemusha.v1, kagemusha.token.${TOKEN}` };
    assert.equal((await ask({ path, headers: right })).status, 409, 'it does not run');
  });

  test('only pages are served, and of these, pages alone', async () => {
    const page = await ask({ path: '/' });
    assert.deepEqual([page.status, page.body], [200, '<title>console</title>']);
    assert.match(String(page.headers['content-security-policy']), /default-src 'self'/);
    for (const path of [
      '/secret.txt',
      '/../token',
      '/%2e%2e/token',
      '//etc/passwd',
      '/v1/partitions.html',
      '/index.html/..',
    ])
      assert.equal((await ask({ path })).status, 401, path);
  });
});

test('with the token it answers, over TLS', async () => {
  const client = connectDaemon({ kind: 'tls', url: `https://localhost:${port}`, token: TOKEN, ca });
  const { partitions } = await client.listPartitions();
  assert.equal(partitions[0]?.name, 'secret-name');
  assert.equal((await ask({ path: '/metrics', headers: bearer })).status, 200);
});

test('its certificate is checked', async () => {
  const client = connectDaemon({ kind: 'tls', url: `https://localhost:${port}`, token: TOKEN });
  await assert.rejects(client.listPartitions(), { code: 'daemon-gone' });
});

test('a page of another origin, and another name for the daemon, are refused', async () => {
  const headers = { ...bearer, host: `localhost:${port}` };
  assert.equal(
    (await ask({ path: '/v1/version', headers: { ...headers, origin: `https://localhost:${port}` } })).status,
    200,
  );
  assert.equal(
    (await ask({ path: '/v1/version', headers: { ...headers, origin: 'https://evil.example' } })).status,
    403,
  );
  assert.equal((await ask({ path: '/v1/version', headers: { ...headers, origin: 'null' } })).status, 403);
  assert.equal((await ask({ path: '/v1/version', headers: { ...bearer, host: 'evil.example' } })).status, 421);
  assert.equal((await ask({ path: '/', headers: { host: 'evil.example' } })).status, 421);
  assert.equal((await ask({ path: '/v1/version', headers: { ...bearer, host: `kage.example:${port}` } })).status, 200);
});

test('without TLS nobody is listened to', async () => {
  await assert.rejects(ask({ path: '/v1/version', headers: bearer }, plainRequest as typeof request));
});

test('the client of pages: fetch with the token', async () => {
  // Node's own fetch trusts the system alone: what it is asked for is all that is looked at here.
  const asked: [string, unknown][] = [];
  const outer = globalThis.fetch;
  globalThis.fetch = (async (url: string, init: { headers: unknown }) => {
    asked.push([url, init.headers]);
    return Response.json({ code: 'no-token', detail: 'the token is missing', status: 401 }, { status: 401 });
  }) as typeof fetch;
  try {
    const client = new Client(new Caller(fetchTransport({ url: 'https://kage.example/', token: TOKEN })));
    await assert.rejects(client.getVersion(), (error) => error instanceof ApiError && error.code === 'no-token');
    assert.deepEqual(asked, [['https://kage.example/v1/version', { accept: 'application/json', ...bearer }]]);
  } finally {
    globalThis.fetch = outer;
  }
});

describe('whoever is rude', () => {
  test('is refused, and nobody else notices', async () => {
    const rude: Buffer[] = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from('\x16\x03\x01 garbage'),
      Buffer.from(`GET / HTTP/1.1\r\nHost: localhost\r\n${'x: y\r\n'.repeat(5000)}\r\n`),
      Buffer.from(
        'POST /v1/partitions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n',
      ),
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      Buffer.from('CONNECT evil:443 HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    ];
    for (const bytes of rude) {
      const plain = connect(port, '127.0.0.1');
      plain.on('error', () => {});
      plain.end(bytes);
      const secure = connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost' });
      secure.on('error', () => {});
      secure.resume();
      secure.end(bytes);
      await Promise.all([plain, secure].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    }
    assert.equal((await ask({ path: '/healthz', headers: bearer })).status, 200);
  });

  test('who comes in numbers does not keep others out for long', async () => {
    const crowd = Array.from({ length: 600 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    await until(() => crowd.some((socket) => socket.destroyed));
    for (const socket of crowd) socket.destroy();
    await until(async () => (await ask({ path: '/healthz', headers: bearer }).catch(() => undefined))?.status === 200);
  });
});

describe('the token', () => {
  const file = (): string => join(folders.root, 'token');

  test('is made where there is none, for this user alone, and is the same again', () => {
    const token = readToken(file());
    assert.match(token, /^[\w-]{43}$/);
    assert.equal(statSync(file()).mode & 0o777, 0o600);
    assert.equal(readToken(file()), token);
  });

  test('that others may read, or is none, is refused', () => {
    chmodSync(file(), 0o644);
    assert.throws(() => readToken(file()), { code: 'bad-token' });
    writeFileSync(join(folders.root, 'short'), 'short', { mode: 0o600 });
    assert.throws(() => readToken(join(folders.root, 'short')), { code: 'bad-token' });
  });
});
