import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, test } from 'node:test';
import { addressText, connectStream, isSlow, listenForStreams, parseAddress, wireOf } from './wire.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-wire-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('addresses, and what they mean', () => {
  for (const [text, isFar] of [
    ['unix:/run/web.stream', false],
    ['tcp:127.0.0.1:4711', false],
    ['tcp:localhost:4711', false],
    ['tcp:[::1]:4711', false],
    ['tls:host.example:4711', true],
    ['plain:10.0.0.1:4711', true],
  ] as const) {
    const address = parseAddress(text);
    assert.equal(addressText(address), text);
    assert.equal(isSlow(address), isFar);
  }
  assert.deepEqual(parseAddress('tcp::80'), { kind: 'tcp', host: '127.0.0.1', port: 80 });
});

test('what is none, and what would be open to everybody', () => {
  for (const text of ['', '/run/web', 'unix:', 'tcp:4711', 'tcp:127.0.0.1:70000', 'http:a:80', 'tls:host'])
    assert.throws(() => parseAddress(text), { code: 'bad-usage' }, text);
  assert.throws(() => parseAddress('tcp:10.0.0.1:4711'), /not of this host/);
});

for (const text of [`unix:${join(folder, 'a')}`, 'tcp:127.0.0.1:0'])
  test(`${text.slice(0, 4)}: bytes go through, a reader that waits holds the writer up, an end is an end`, async () => {
    const arrived = Promise.withResolvers<Duplex>();
    const listener = await listenForStreams(parseAddress(text), undefined, arrived.resolve);
    if (text.startsWith('unix')) assert.equal(statSync(join(folder, 'a')).mode & 0o777, 0o600);
    const stream = await connectStream(listener.address);
    const other = await arrived.promise;
    const wire = wireOf(stream);
    other.pause();
    const piece = new Uint8Array(1 << 20).fill(3);
    let written = 0;
    const all = (async () => {
      for (; written < 16; written++) await wire.write([piece]);
    })();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(written < 16, `${written} of 16 are too many for a reader that does not read`);
    let bytes = 0;
    other.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    other.resume();
    await all;
    wire.close();
    await once(other, 'end');
    assert.equal(bytes, 16 << 20);
    other.destroy();
    listener.close();
  });

test('nobody listens; somebody does already; a socket that a process left behind is replaced', async () => {
  const path = join(folder, 'b');
  await assert.rejects(connectStream(parseAddress(`unix:${path}`)), { code: 'peer-unreachable' });
  const listener = await listenForStreams(parseAddress(`unix:${path}`), undefined, (stream) => stream.destroy());
  await assert.rejects(
    listenForStreams(parseAddress(`unix:${path}`), undefined, () => {}),
    { code: 'address-in-use' },
  );
  listener.close();
  const again = await listenForStreams(parseAddress(`unix:${path}`), undefined, (stream) => stream.destroy());
  again.close();
  const file = join(folder, 'file');
  writeFileSync(file, 'of somebody');
  await assert.rejects(
    listenForStreams(parseAddress(`unix:${file}`), undefined, () => {}),
    { code: 'address-in-use' },
  );
  assert.equal(readFileSync(file, 'utf8'), 'of somebody');
});

test('a connection that is gone says so to who writes', async () => {
  const arrived = Promise.withResolvers<Duplex>();
  const listener = await listenForStreams(parseAddress('tcp:127.0.0.1:0'), undefined, arrived.resolve);
  const stream = await connectStream(listener.address);
  stream.on('error', () => {});
  const other = await arrived.promise;
  const closed = once(stream, 'close');
  stream.resume();
  other.destroy();
  await closed;
  await assert.rejects(wireOf(stream).write([new Uint8Array(1)]), /closed/);
  listener.close();
});

test('tls without certificates is refused', async () => {
  await assert.rejects(connectStream(parseAddress('tls:127.0.0.1:4711')), { code: 'bad-usage' });
  await assert.rejects(connectStream(parseAddress('tls:127.0.0.1:4711'), folder), /cannot be read/);
});
