import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { OVERHEAD_BYTES, UdpDatagrams } from './udp-datagrams.ts';

const secret = Buffer.alloc(32, 7);

async function host(self: string, key = secret) {
  const heard: string[] = [];
  let wake = (): void => undefined;
  const datagrams = await UdpDatagrams.open({
    ...{ self, secret: key, listen: { host: '127.0.0.1', port: 0 } },
    received: (from, bytes) => {
      heard.push(`${from}: ${Buffer.from(bytes)}`);
      wake();
    },
  });
  const hear = async (count: number): Promise<string[]> => {
    const limit = AbortSignal.timeout(5000);
    while (heard.length + datagrams.counters.refused < count) {
      limit.throwIfAborted();
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 20);
      });
    }
    return heard;
  };
  return { self, datagrams, heard, hear, address: { host: '127.0.0.1', port: datagrams.port } };
}

type Host = Awaited<ReturnType<typeof host>>;
const meet = (...hosts: readonly Host[]): void => {
  for (const { datagrams } of hosts) datagrams.setPeers(new Map(hosts.map(({ self, address }) => [self, address])));
};

test('datagrams come with the name of who sent them, and are counted as they are on the wire', async () => {
  const [a, b] = [await host('a'), await host('b')];
  meet(a, b);
  a.datagrams.send('b', Buffer.from('one'));
  assert.deepEqual(await b.hear(1), ['a: one']);
  b.datagrams.send('a', Buffer.alloc(0));
  assert.deepEqual(await a.hear(1), ['b: ']);
  const { sentPackets, sentBytes, receivedPackets, receivedBytes } = a.datagrams.counters;
  assert.deepEqual(
    [sentPackets, sentBytes, receivedPackets, receivedBytes],
    [1, OVERHEAD_BYTES + 3, 1, OVERHEAD_BYTES],
  );
  a.datagrams.send('c', Buffer.from('nobody'));
  a.datagrams.send('b', Buffer.alloc(2000));
  assert.equal(a.datagrams.counters.unsent, 2);
  for (const { datagrams } of [a, b]) datagrams.close();
  a.datagrams.send('b', Buffer.from('late'));
});

test('what is not proved is dropped: another secret, another receiver, a byte changed, a stranger, garbage', async () => {
  const [a, b, c, liar] = [await host('a'), await host('b'), await host('c'), await host('a', Buffer.alloc(32, 8))];
  meet(a, b, c);
  liar.datagrams.setPeers(new Map([['b', b.address]]));
  liar.datagrams.send('b', Buffer.from('lie'));
  await b.hear(1);
  const wire = createSocket('udp4');
  const packets: Buffer[] = [];
  wire.on('message', (packet) => packets.push(packet));
  await new Promise<void>((resolve) => wire.bind(0, '127.0.0.1', resolve));
  a.datagrams.setPeers(new Map([['b', { host: '127.0.0.1', port: wire.address().port }]]));
  a.datagrams.send('b', Buffer.from('true'));
  while (packets.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const [packet = Buffer.alloc(0)] = packets;
  const changed = Buffer.from(packet);
  changed.writeUInt8(changed.readUInt8(packet.length - 1) ^ 1, packet.length - 1);
  for (const bad of [changed, packet.subarray(0, 23), Buffer.from('x'), Buffer.alloc(0), Buffer.alloc(100, 1)])
    wire.send(bad, b.address.port, b.address.host);
  // To c what was for b.
  wire.send(packet, c.address.port, c.address.host);
  wire.send(packet, b.address.port, b.address.host);
  assert.deepEqual(await b.hear(7), ['a: true']);
  await c.hear(1);
  assert.deepEqual([b.datagrams.counters.refused, c.datagrams.counters.refused, c.heard.length], [6, 1, 0]);
  wire.close();
  for (const { datagrams } of [a, b, c, liar]) datagrams.close();
});

test('a port that is taken is said', async () => {
  const a = await host('a');
  const again = UdpDatagrams.open({ self: 'b', secret, listen: a.address, received: () => undefined });
  await assert.rejects(again, { code: 'cannot-listen' });
  a.datagrams.close();
});
