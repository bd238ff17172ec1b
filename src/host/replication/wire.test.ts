/** A connection as replication has it: who writes waits for who reads, and hears of its end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, test } from 'node:test';
import { listenForStreams, parseAddress } from '../streams/index.ts';
import { connectPeer, isSlow, wireOf } from './wire.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-wire-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('what is slower than packing pages', () => {
  for (const [text, isFar] of [
    ['unix:/run/web.stream', false],
    ['tcp:127.0.0.1:4711', false],
    ['tcp:localhost:4711', false],
    ['tcp:[::1]:4711', false],
    ['tls:host.example:4711', true],
    ['plain:10.0.0.1:4711', true],
  ] as const)
    assert.equal(isSlow(parseAddress(text)), isFar);
});

for (const text of [`unix:${join(folder, 'a')}`, 'tcp:127.0.0.1:0'])
  test(`${text.slice(0, 4)}: bytes go through, a reader that waits holds the writer up, an end is an end`, async () => {
    const arrived = Promise.withResolvers<Duplex>();
    const listener = await listenForStreams(parseAddress(text), undefined, arrived.resolve);
    const stream = await connectPeer(listener.address);
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
    await listener.close();
  });

test('a connection that is gone says so to who writes', async () => {
  const arrived = Promise.withResolvers<Duplex>();
  const listener = await listenForStreams(parseAddress('tcp:127.0.0.1:0'), undefined, arrived.resolve);
  const stream = await connectPeer(listener.address);
  stream.on('error', () => {});
  const other = await arrived.promise;
  const closed = once(stream, 'close');
  stream.resume();
  other.destroy();
  await closed;
  await assert.rejects(wireOf(stream).write([new Uint8Array(1)]), /closed/);
  await listener.close();
});

test('nobody is there, or nothing to show who we are', async () => {
  await assert.rejects(connectPeer(parseAddress(`unix:${join(folder, 'nobody')}`)), { code: 'peer-unreachable' });
  await assert.rejects(connectPeer(parseAddress('tls:127.0.0.1:4711')), { code: 'bad-usage' });
});
