/** Streams by their addresses; by TLS, who gets through and who does not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { TestAuthority } from './authority.testing.ts';
import { addressText, connectStream, listenForStreams, parseAddress, type StreamListener } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-streams-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const authority = new TestAuthority(join(folder, 'ours'));
const [a, b] = [authority.host('a'), authority.host('b')];
const stranger = new TestAuthority(join(folder, 'theirs')).host('a');
const anywhere = parseAddress('tls:127.0.0.1:0');

/** Sends back what comes, and says who came. */
async function echo(tls: string): Promise<{ readonly listener: StreamListener; readonly streams: Socket[] }> {
  const streams: Socket[] = [];
  const listener = await listenForStreams(anywhere, tls, (stream) => {
    streams.push(stream);
    stream.on('error', () => {});
    stream.pipe(stream);
  });
  return { listener, streams };
}

/** What comes first: bytes, or the end. */
async function first(stream: Socket): Promise<string> {
  stream.on('error', () => {});
  stream.write('x');
  return await new Promise((resolve) => {
    stream.once('data', (bytes: Buffer) => resolve(bytes.toString()));
    stream.once('close', () => resolve('closed'));
  });
}

test('addresses, and their texts', () => {
  for (const text of [
    'unix:/run/web.stream',
    'tcp:127.0.0.1:4711',
    'tcp:localhost:4711',
    'tcp:[::1]:4711',
    'tls:host.example:4711',
    'plain:10.0.0.1:4711',
  ])
    assert.equal(addressText(parseAddress(text)), text);
  assert.deepEqual(parseAddress('tcp::80'), { kind: 'tcp', host: '127.0.0.1', port: 80 });
});

test('what is none, and what would be open to everybody', () => {
  for (const text of ['', '/run/web', 'unix:', 'tcp:4711', 'tcp:127.0.0.1:70000', 'http:a:80', 'tls:host'])
    assert.throws(() => parseAddress(text), { code: 'bad-usage' }, text);
  assert.throws(() => parseAddress('tcp:10.0.0.1:4711'), /not of this host/);
});

test('a socket that a process left behind is replaced; one in use is not, nor what is no socket', async () => {
  const address = parseAddress(`unix:${join(folder, 'b')}`);
  const listen = (at = address) => listenForStreams(at, undefined, (stream) => stream.destroy());
  const listener = await listen();
  assert.equal(statSync(join(folder, 'b')).mode & 0o777, 0o600);
  await assert.rejects(listen(), { code: 'address-in-use' });
  await listener.close();
  await (await listen()).close();
  const file = join(folder, 'file');
  writeFileSync(file, 'of somebody');
  await assert.rejects(listen(parseAddress(`unix:${file}`)), { code: 'address-in-use' });
  assert.equal(readFileSync(file, 'utf8'), 'of somebody');
  await assert.rejects(listen(parseAddress(`unix:${join(folder, 'none', 'b')}`)), { code: 'cannot-listen' });
});

test('by TLS hosts of one authority speak to each other, and bytes go both ways', async () => {
  const { listener, streams } = await echo(a);
  const stream = await connectStream(listener.address, b);
  assert.equal(await first(stream), 'x');
  assert.equal(streams.length, 1);
  stream.destroy();
  await listener.close();
});

test("who has no certificate, a stranger's, an old or another one's, or speaks an older TLS does not arrive", async () => {
  const { listener, streams } = await echo(a);
  const ca = readFileSync(join(a, 'ca.pem'));
  const at = { host: '127.0.0.1', port: listener.address.port ?? 0 };
  const shown = (from: string) => ({
    cert: readFileSync(join(from, 'cert.pem')),
    key: readFileSync(join(from, 'key.pem')),
  });
  for (const options of [
    { ...at, ca },
    { ...at, ca, ...shown(stranger) },
    { ...at, ca, ...shown(authority.host('old', { days: -1 })) },
    { ...at, ca, ...shown(authority.host('server', { usages: ['server'] })) },
    { ...at, ca, ...shown(b), maxVersion: 'TLSv1.2' as const },
  ])
    assert.equal(await first(connectTls(options)), 'closed');
  const nonsense = connect(at);
  nonsense.write('GET / HTTP/1.1\r\n\r\n');
  nonsense.resume();
  await once(nonsense, 'close');
  assert.equal(streams.length, 0);
  assert.equal(await first(await connectStream(listener.address, b)), 'x');
  for (const stream of streams) stream.destroy();
  await listener.close();
});

test('a server of another authority, or of another name, is none', async () => {
  for (const tls of [stranger, authority.host('elsewhere', { hosts: ['elsewhere.example'] })]) {
    const { listener, streams } = await echo(tls);
    await assert.rejects(connectStream(listener.address, b), /self-signed|unable to|altnames/i);
    assert.equal(streams.length, 0);
    await listener.close();
  }
});

test('those that connect and say nothing give way to the next, the oldest first', async () => {
  const { listener, streams } = await echo(a);
  const at = { host: '127.0.0.1', port: listener.address.port ?? 0 };
  const silent = Array.from({ length: 64 }, () =>
    connect(at)
      .on('error', () => {})
      .resume(),
  );
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  const stream = await connectStream(listener.address, b);
  assert.equal(await first(stream), 'x');
  while (silent.every((socket) => !socket.closed)) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.equal(silent.filter((socket) => socket.closed).length, 1);
  stream.destroy();
  for (const one of streams) one.destroy();
  await listener.close();
  await Promise.all(silent.map((socket) => socket.closed || once(socket, 'close')));
});

test('nobody there; nobody answers; certificates that are not there, or do not belong together', async () => {
  await assert.rejects(connectStream(parseAddress(`unix:${join(folder, 'nobody')}`)), /ENOENT/);
  const listener = await listenForStreams(parseAddress('tcp:127.0.0.1:0'), undefined, (stream) => stream.resume());
  const silent = { ...listener.address, kind: 'tls' as const };
  await assert.rejects(connectStream(silent, a, 50), /does not answer/);
  await assert.rejects(connectStream(silent), { code: 'bad-usage' });
  await assert.rejects(connectStream(silent, folder), { code: 'bad-usage', message: /ca\.pem/ });
  const mixed = join(folder, 'mixed');
  mkdirSync(mixed);
  for (const [from, file] of [
    [a, 'ca.pem'],
    [a, 'cert.pem'],
    [b, 'key.pem'],
  ] as const)
    copyFileSync(join(from, file), join(mixed, file));
  await assert.rejects(connectStream(silent, mixed), { code: 'bad-usage', message: /mismatch/ });
  await assert.rejects(
    listenForStreams(anywhere, mixed, () => {}),
    { code: 'bad-usage' },
  );
  await listener.close();
});
