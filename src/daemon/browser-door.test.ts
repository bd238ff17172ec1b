import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { OperatorError } from '../base/errors.ts';
import { Caller, Client, fetchTransport } from '../client/index.ts';
import { BrowserDoor } from './browser-door.ts';
import { ownFolders, type Served, served } from './daemon.testing.ts';

const folders = ownFolders();

describe('the door for browsers', () => {
  let daemon: Served;
  let door: BrowserDoor;
  let used = 0;
  before(async () => {
    const pages = join(folders.root, 'pages');
    mkdirSync(pages);
    writeFileSync(join(pages, 'index.html'), '<!doctype html><title>The console</title>');
    daemon = await served({ pages });
    await daemon.client.createPartition({ name: 'web', spec: { kernel: '/k' }, start: true });
    const [socketPath = ''] = daemon.daemon.addresses;
    door = await BrowserDoor.open({ socketPath, port: 0, onUsed: () => used++ });
  });
  after(async () => {
    await door[Symbol.asyncDispose]();
    await daemon[Symbol.asyncDispose]();
  });

  function address(): { origin: string; link: string; port: number } {
    const { origin, hash, port } = new URL(door.newLink());
    return { origin, link: hash.replace('#link=', ''), port: Number(port) };
  }

  async function exchange(origin: string, body: unknown): Promise<Response> {
    return await fetch(`${origin}/console/session`, { method: 'POST', body: JSON.stringify(body) });
  }

  async function token(): Promise<{ origin: string; token: string; port: number }> {
    const { origin, link, port } = address();
    const { token } = (await (await exchange(origin, { link })).json()) as { token: string };
    return { origin, token, port };
  }

  /** `fetch` sets Host and Origin itself. */
  function ask(port: number, path: string, headers: Record<string, string>): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port, path, headers, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  /** A request whose path is sent as it is. */
  async function raw(port: number, path: string): Promise<string> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: close\r\n\r\n`);
    let answer = '';
    for await (const bytes of socket) answer += String(bytes);
    return answer;
  }

  test('a link is good once, and the latest alone', async () => {
    const first = address();
    const { origin, link } = address();
    const before = used;
    assert.equal((await exchange(origin, { link: first.link })).status, 403);
    assert.equal((await exchange(origin, { link })).status, 200);
    assert.equal((await exchange(origin, { link })).status, 403);
    assert.equal(used, before + 1);
  });

  for (const body of [{}, null, { link: 7 }, { link: '' }, 'text', { link: 'x'.repeat(2000) }])
    test(`${JSON.stringify(body).slice(0, 20)} is no link`, async () => {
      const status = (await exchange(address().origin, body)).status;
      assert.ok(status === 403 || status === 413, String(status));
    });

  test('the console’s files are for everybody, what they show is not', async () => {
    const { origin, port } = address();
    const page = await fetch(origin);
    assert.match(await page.text(), /The console/);
    assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'/);
    for (const path of ['/v1/partitions', '/v1/openapi.json', '/metrics', '/healthz', '/v1/events'])
      assert.equal(await ask(port, path, {}), 401, path);
    assert.equal(await ask(port, '/v1/partitions', { authorization: 'Bearer guess' }), 401);
    assert.equal(await ask(port, '/v1/partitions', { cookie: `token=${(await token()).token}` }), 401);
  });

  for (const path of [
    ...['/%761/partitions', '/v1%2Fpartitions', '/x/../v1/partitions', '/./v1/partitions', '//v1/partitions'],
    ...['/x/%2e%2e/v1/partitions', '/\\v1/partitions', '/;/../v1/partitions', 'http://127.0.0.1/v1/partitions'],
    ...[
      'http:///v1/partitions',
      '/\t/v1/partitions',
      'v1/partitions',
      '/metrics%3F',
      '/x#/v1/partitions',
      '/v1/',
      '/v1;/partitions',
    ],
  ])
    test(`${JSON.stringify(path)} is no way around the token`, async () => {
      const answer = await raw(address().port, path);
      assert.match(answer, /^HTTP\/1\.1 40[01] /);
      assert.ok(!answer.includes('"web"'));
    });

  test('who leaves in the middle of the exchange ends nothing', async () => {
    const { port, origin, link } = address();
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(`POST /console/session HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-length: 100\r\n\r\n{"li`);
    socket.resume();
    await once(socket, 'close');
    assert.equal((await exchange(origin, { link })).status, 200);
  });

  test('with the token everything is, streams and WebSockets too', async () => {
    const { origin: url, token: mine } = await token();
    const client = new Client(new Caller(fetchTransport({ url, token: mine })));
    assert.equal((await client.getPartition('web')).state, 'running');
    const leaving = new AbortController();
    for await (const { kind } of client.events({ since: 0 }, { signal: leaving.signal })) {
      assert.ok(kind);
      break;
    }
    leaving.abort();
    const socket = await client.attachConsole('web');
    socket.send(new TextEncoder().encode('hello'));
    let said = '';
    for await (const message of socket.messages()) {
      said += Buffer.from(message).toString();
      if (said.includes('hello')) break;
    }
    socket.close();
  });

  test('a WebSocket without the token, or of another origin, is refused', async () => {
    const { port, token: mine } = await token();
    const open = (protocols: string[], origin?: string): Promise<string> =>
      new Promise((resolve) => {
        const options = origin === undefined ? {} : { origin };
        const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/partitions/web/console`, protocols, options);
        socket.on('open', () => {
          resolve(socket.protocol);
          socket.close();
        });
        socket.on('error', ({ message }) => resolve(message));
      });
    const ours = ['kagemusha.v1', `kagemusha.token.${mine}`];
    assert.match(await open(['kagemusha.v1']), /401/);
    assert.match(await open(ours, 'http://evil.example'), /401/);
    assert.equal(await open(ours, `http://127.0.0.1:${port}`), 'kagemusha.v1');
  });

  for (const [what, headers] of [
    ['a name that was bent to it', { host: 'evil.example' }],
    ['another port’s name', { host: '127.0.0.1:1' }],
    ['a page of another origin', { origin: 'http://evil.example' }],
    ['a page without an origin', { origin: 'null' }],
    ['a script of another site', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
  ] as const)
    test(`${what} gets nothing`, async () => {
      const { port, token: mine } = await token();
      const host = `127.0.0.1:${port}`;
      assert.equal(await ask(port, '/', { host, ...headers }), 403);
      assert.equal(await ask(port, '/v1/partitions', { host, authorization: `Bearer ${mine}`, ...headers }), 403);
      assert.equal(await ask(port, '/v1/partitions', { host, authorization: `Bearer ${mine}` }), 200);
    });

  test('a port in use is the operator’s to put right', async () => {
    const { port } = address();
    await assert.rejects(
      BrowserDoor.open({ socketPath: '/nowhere', port }),
      (error) => error instanceof OperatorError && error.code === 'port-in-use',
    );
  });

  test('without the daemon it says so', async () => {
    await using lonely = await BrowserDoor.open({ socketPath: join(folders.root, 'nobody.sock'), port: 0 });
    assert.equal((await fetch(new URL(lonely.newLink()).origin)).status, 502);
  });
});
