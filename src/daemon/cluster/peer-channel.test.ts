/** What hosts ask of each other, and who is not heard: strangers, impostors, peers that send what is none. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { HostError, OperatorError } from '../../base/errors.ts';
import { certify, certifyOther, type HostCertificates, newAuthority } from './certificates.ts';
import { freePort } from './cluster.testing.ts';
import type { HostAddress } from './cluster-config.ts';
import { HttpsPeerChannel } from './peer-channel.ts';

const authority = newAuthority();
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-peers-'));
const book = new Map<string, HostAddress>();
const bugs: unknown[] = [];
let [a, b]: HttpsPeerChannel[] = [];

async function open(name: string, certificates: HostCertificates): Promise<HttpsPeerChannel> {
  const listen = { host: '127.0.0.1', port: await freePort() };
  book.set(name, listen);
  return await HttpsPeerChannel.open({
    ...{ listen, certificates, addressOf: async (host) => book.get(host) },
    failed: (error) => bugs.push(error),
  });
}

const of = (name: string, days?: number): HostCertificates => certify(authority, name, ['127.0.0.1'], days);

before(async () => {
  a = await open('a', of('a'));
  b = await open('b', of('b'));
});
after(async () => {
  await a?.[Symbol.asyncDispose]();
  await b?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
  assert.deepEqual(bugs, []);
});

function channels(): [HttpsPeerChannel, HttpsPeerChannel] {
  assert.ok(a !== undefined && b !== undefined);
  return [a, b];
}

describe('hosts of the cluster', () => {
  test('are answered, under the names of their certificates', async () => {
    const [a, b] = channels();
    b.serve('standby', async ({ from, name, body, files }) => ({ from, name, body, files: files !== undefined }));
    const answer = await a.ask('b', 'standby', 'web', { of: 1 });
    assert.deepEqual(answer, { from: 'a', name: 'web', body: { of: 1 }, files: false });
  });

  test('send files, whole, and of any length', async () => {
    const [a, b] = channels();
    b.serve('checkpoint', async ({ body, files }) => {
      let [bytes, sum] = [0, 0];
      for await (const piece of files ?? []) {
        bytes += piece.length;
        for (const byte of piece) sum = (sum + byte) >>> 0;
      }
      return { bytes, sum, body };
    });
    for (const size of [0, 1, 5_000_000]) {
      const content = Buffer.alloc(size, 7);
      writeFileSync(join(folder, 'file'), content);
      const answer = await a.send('b', 'checkpoint', 'web', join(folder, 'file'), { size });
      assert.deepEqual(answer, { bytes: size, sum: 7 * size, body: { size } });
    }
  });

  test('pass on errors as they are, and break off where the asker leaves', async () => {
    const [a, b] = channels();
    b.serve('refuse', async () => {
      throw new OperatorError('no-room', 'there is no room', 'Make some');
    });
    b.serve('host', async () => {
      throw new HostError('disk', 'the disk is gone');
    });
    writeFileSync(join(folder, 'large'), Buffer.alloc(30_000_000));
    await assert.rejects(a.ask('b', 'refuse', 'web'), {
      code: 'no-room',
      message: 'there is no room',
      fix: 'Make some',
    });
    await assert.rejects(a.send('b', 'refuse', 'web', join(folder, 'large')), { code: 'no-room' });
    await assert.rejects(a.ask('b', 'host', 'web'), { code: 'disk', message: 'b: the disk is gone' });
    await assert.rejects(a.ask('b', 'nothing', 'web'), { code: 'not-offered' });
    b.serve('slow', () => new Promise(() => {}));
    const left = new AbortController();
    const asked = a.ask('b', 'slow', 'web', {}, left.signal);
    setImmediate(() => left.abort(new Error('left')));
    await assert.rejects(asked, { message: 'left' });
  });

  test('show new certificates without a break', async () => {
    const [a, b] = channels();
    b.serve('name', async ({ from }) => ({ from }));
    b.renew(of('b'));
    a.renew(of('a'));
    assert.deepEqual(await a.ask('b', 'name', 'web'), { from: 'a' });
  });

  test('that are not there are told of as such', async () => {
    const [a] = channels();
    await assert.rejects(a.ask('nobody', 'name', 'web'), { code: 'peer-unreachable' });
    book.set('away', { host: '127.0.0.1', port: await freePort() });
    await assert.rejects(a.ask('away', 'name', 'web'), { code: 'peer-unreachable' });
  });
});

describe('nobody else is heard', () => {
  /** The error of a connection with these certificates, or what comes back for a request. */
  async function asked(certificates: Partial<HostCertificates>, ca = authority.cert): Promise<string> {
    const { port = 0 } = book.get('b') ?? {};
    const { cert, key } = certificates;
    const who = cert === undefined || key === undefined ? {} : { cert, key };
    const outgoing = request({
      ...{ host: '127.0.0.1', port, method: 'POST', path: '/peer/name/web', agent: false, ca, ...who },
      headers: { 'content-type': 'application/json' },
    });
    outgoing.end('{}');
    try {
      const [incoming] = await once(outgoing, 'response');
      return Buffer.concat(await incoming.toArray()).toString();
    } catch (error) {
      return `cut off: ${(error as NodeJS.ErrnoException).code}`;
    }
  }

  test('without a certificate, with one of a namesake authority, with one that has expired', async () => {
    const foreign = newAuthority();
    for (const other of [{}, certify(foreign, 'a', ['127.0.0.1']), of('a', -0.5)])
      assert.match(await asked(other), /^cut off/);
    assert.equal(await asked(of('a')), '{"answer":{"from":"a"}}');
  });

  test('under a name that is no host, as are those of credentials', async () => {
    for (const other of [of('stranger'), certifyOther(authority, ['a'])])
      assert.match(await asked(other), /"code":"unknown-peer"/);
  });

  test("an impostor at a host's address is not asked", async () => {
    const [a] = channels();
    await using c = await open('c', of('c'));
    c.serve('name', async () => ({ from: 'c' }));
    const { port = 0 } = book.get('c') ?? {};
    book.set('victim', { host: '127.0.0.1', port });
    await assert.rejects(a.ask('victim', 'name', 'web'), {
      code: 'peer-unreachable',
      message: /c answers in its place/,
    });
    await using expired = await open('expired', of('expired', -0.5));
    await assert.rejects(a.ask('expired', 'name', 'web'), { code: 'peer-unreachable', message: /expired/ });
    assert.ok(expired);
  });
});

test('those who connect and show nothing give way', async () => {
  const [a] = channels();
  const { port = 0 } = book.get('b') ?? {};
  const idle = Array.from({ length: 300 }, () => connectPlain(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(idle.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')])));
  assert.deepEqual(await a.ask('b', 'name', 'web'), { from: 'a' });
  for (const socket of idle) socket.destroy();
});

describe('what is none', () => {
  async function raw(bytes: Buffer, patienceMs = 5000): Promise<string> {
    const { port = 0 } = book.get('b') ?? {};
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', ...of('a'), ca: authority.cert });
    await once(socket, 'secureConnect');
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('error', () => {});
    socket.write(bytes);
    const timer = setTimeout(() => socket.destroy(), patienceMs);
    await once(socket, 'close');
    clearTimeout(timer);
    return Buffer.concat(pieces).toString();
  }

  function posted(path: string, type: string, body: Buffer, length = body.length): Buffer {
    const head = `POST ${path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n\r\n`;
    return Buffer.concat([Buffer.from(head), body]);
  }

  test('is refused, and loses nothing', async () => {
    const [a, b] = channels();
    const got: unknown[] = [];
    b.serve('take', async ({ body, files }) => {
      for await (const piece of files ?? []) got.push(piece.length);
      return { body };
    });
    const json = 'application/json';
    const file = 'application/vnd.kagemusha.file';
    const long = Buffer.alloc(4);
    long.writeUInt32BE(0xffff_ffff);
    for (const [what, code] of [
      [posted('/peer/take/web', json, Buffer.from('{')), 'bad-body'],
      [posted('/peer/take/..%2f..%2fetc', json, Buffer.from('{}')), 'not-offered'],
      [posted('/peer/take/%ff', json, Buffer.from('{}')), 'not-offered'],
      [posted('/peer/__proto__/web', json, Buffer.from('{}')), 'not-offered'],
      [posted('/peer/take/web/more', json, Buffer.from('{}')), 'not-offered'],
      [posted('/peer/take/web', json, Buffer.alloc(1 << 20, 0x20), 2 << 20), undefined],
      [posted('/peer/take/web', json, Buffer.alloc(2 << 20, 0x20)), 'body-too-large'],
      [posted('/peer/take/web', file, long), 'body-too-large'],
      [posted('/peer/take/web', file, Buffer.from([0, 0])), 'bad-body'],
      [posted('/peer/take/web', file, Buffer.from([0, 0, 0, 2, 0x7b])), 'bad-body'],
    ] as const) {
      const answer = await raw(what, code === undefined ? 300 : 5000);
      if (code !== undefined) assert.match(answer, new RegExp(`"code":"${code}"`), what.toString('latin1', 0, 200));
    }
    assert.deepEqual(await a.ask('b', 'take', 'web', {}), { body: {} });
  });

  test('a file that breaks off is an error to who reads it', async () => {
    const [, b] = channels();
    const seen = Promise.withResolvers<unknown>();
    b.serve('take', async ({ files }) => {
      try {
        for await (const _ of files ?? []);
        seen.resolve('whole');
      } catch (error) {
        seen.resolve(error);
        throw new HostError('broken-off', 'the file broke off');
      }
      return {};
    });
    const begun = posted(
      '/peer/take/web',
      'application/vnd.kagemusha.file',
      Buffer.from([0, 0, 0, 2, 0x7b, 0x7d, 1, 2, 3]),
      1000,
    );
    await raw(begun, 200);
    assert.ok((await seen.promise) instanceof Error);
  });

  test('plain TCP, and TLS before 1.3, are cut off', async () => {
    const { port = 0 } = book.get('b') ?? {};
    const plain = connectPlain(port, '127.0.0.1');
    plain.on('error', () => {});
    plain.write('GET / HTTP/1.1\r\n\r\n');
    await once(plain, 'close');
    const old = connect({ port, host: '127.0.0.1', ...of('a'), ca: authority.cert, maxVersion: 'TLSv1.2' });
    await assert.rejects(once(old, 'secureConnect'));
  });
});
