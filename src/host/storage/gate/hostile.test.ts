/** Clients that do not speak the protocol, or too much of it: they end alone, and what they hold is bounded. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Random } from '../../../devices/virtio/random.testing.ts';
import { words } from '../nbd/fake-server.testing.ts';
import { CMD, ERROR, OPT, REP, REP_ERR } from '../nbd/protocol.ts';
import { GateWorld, head, isSettled, option, type Raw, read, reply, until, write } from './gate-world.testing.ts';

async function begin(world: GateWorld): Promise<Raw> {
  const raw = world.raw();
  await raw.stream.take(18);
  raw.socket.write(words(['u32', 3]));
  return raw;
}

async function closes({ socket }: Pick<Raw, 'socket'>): Promise<void> {
  if (!socket.closed) await once(socket, 'close');
}

test('options that the gate does not have are refused, and the client may go on', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const raw = await begin(world);
  for (const [number, data, type] of [
    [OPT.LIST, new Uint8Array(), REP_ERR.POLICY],
    [OPT.STRUCTURED_REPLY, new Uint8Array(), REP_ERR.UNSUP],
    [OPT.STARTTLS, new Uint8Array(), REP_ERR.UNSUP],
    [99, new Uint8Array(100), REP_ERR.UNSUP],
    [OPT.GO, new Uint8Array(5), REP_ERR.INVALID],
    [OPT.GO, words(['u32', 1000], ['u16', 0]), REP_ERR.INVALID],
    [OPT.GO, words(['u32', 0], ['u16', 7]), REP_ERR.INVALID],
    [OPT.GO, words(['u32', 0], ['u16', 0]), REP_ERR.UNKNOWN],
    [OPT.ABORT, new Uint8Array(), REP.ACK],
  ] as const) {
    raw.socket.write(option(number, data));
    assert.equal(await reply(raw, number), type);
  }
  await closes(raw);
});

test('handshakes that are none end with the connection', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const name = new TextEncoder().encode('disk@1');
  for (const bytes of [
    words(['u32', 4]),
    words(['u32', 0]),
    Buffer.concat([words(['u32', 3]), new Uint8Array(16)]),
    Buffer.concat([words(['u32', 3]), option(OPT.GO, new Uint8Array(), 0xffff_ffff)]),
    Buffer.concat([words(['u32', 3]), option(OPT.EXPORT_NAME, new Uint8Array(3))]),
    Buffer.concat([words(['u32', 3]), ...Array.from({ length: 65 }, () => option(99))]),
    Buffer.concat([words(['u32', 3]), option(OPT.EXPORT_NAME, name), new Uint8Array(28)]),
    Buffer.concat([words(['u32', 3]), option(OPT.EXPORT_NAME, name), head(CMD.WRITE, 1, 0, (32 << 20) + 1)]),
  ]) {
    const raw = world.raw();
    raw.socket.write(bytes);
    await closes(raw);
  }
  await write(await world.client('disk@1'), 0, 1);
});

test('requests that make no sense are refused one by one, and never get behind', async () => {
  await using world = await GateWorld.start({ blockBytes: 512 });
  await world.gate.fence('disk', 1);
  const { socket, stream } = await world.rawClient('disk@1');
  const end = 1 << 20;
  const cases: readonly [bytes: Uint8Array, error: number][] = [
    [head(5, 1, 0, 512), ERROR.EINVAL],
    [head(99, 2, 0, 0), ERROR.EINVAL],
    [head(CMD.READ, 3, 0, 0), ERROR.EINVAL],
    [head(CMD.READ, 4, 0, 0xffff_ffff), ERROR.EINVAL],
    [head(CMD.READ, 5, end, 512), ERROR.EINVAL],
    [head(CMD.READ, 6, 256, 512), ERROR.EINVAL],
    [head(CMD.TRIM, 7, end, 512), ERROR.ENOSPC],
    [head(CMD.WRITE_ZEROES, 8, 0, 512, 0x80), ERROR.EINVAL],
    [head(CMD.READ, 9, 0, 512, 1), ERROR.EINVAL],
    [Buffer.concat([head(CMD.WRITE, 10, end, 512), new Uint8Array(512)]), ERROR.ENOSPC],
    [Buffer.concat([head(CMD.WRITE, 11, 0, 512, 1), new Uint8Array(512)]), ERROR.EINVAL],
    [Buffer.concat([head(CMD.WRITE, 12, Number.MAX_SAFE_INTEGER, 512), new Uint8Array(512)]), ERROR.ENOSPC],
    [head(CMD.FLUSH, 13, 512, 0), ERROR.EINVAL],
  ];
  for (const [i, [bytes, error]] of cases.entries()) {
    socket.write(bytes);
    const answer = await stream.take(16);
    assert.deepEqual([answer.getUint32(4), answer.getBigUint64(8)], [error, BigInt(i + 1)]);
  }
  assert.deepEqual(world.server.commands, []);
});

test('an export that may only be read is not written', async () => {
  await using world = await GateWorld.start({ flags: 0x6f });
  await world.gate.fence('disk', 1);
  const client = await world.client('disk@1');
  await assert.rejects(write(client, 0, 1), { number: ERROR.EPERM });
  assert.equal(await read(client, 0), 0);
  assert.equal(world.server.commands.includes(CMD.WRITE), false);
});

test('a client that asks and does not read has so much under way, and no more', async () => {
  await using world = await GateWorld.start({ sizeBytes: 4 << 20 });
  await world.gate.fence('disk', 1);
  const { socket, stream } = await world.rawClient('disk@1');
  world.server.isHolding = true;
  for (let i = 0; i < 1000; i++) socket.write(head(CMD.READ, i, 0, 512));
  await until(() => world.server.held === 128);
  await isSettled(new Promise(() => {}));
  assert.equal(world.server.held, 128);
  world.server.isHolding = false;
  world.server.release();
  for (let i = 0; i < 1000; i++) await stream.take(16 + 512);
});

test('so many clients at once; one more is closed, and comes in when there is room', async () => {
  await using world = await GateWorld.start({}, { mostConnections: 2 });
  await world.gate.fence('disk', 1);
  const first = await world.rawClient('disk@1');
  const second = await world.rawClient('disk@1');
  const third = world.raw();
  await closes(third);
  first.socket.destroy();
  await until(() => world.gate.report().connections === 1);
  await write(await world.client('disk@1'), 0, 1);
  second.socket.destroy();
});

test('bytes by chance, in the handshake and behind it: the gate goes on', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const random = new Random(8);
  const name = new TextEncoder().encode('disk@1');
  for (let i = 0; i < 150; i++) {
    const raw = world.raw();
    const valid = Buffer.concat([
      words(['u32', 3]),
      option(random.pick([OPT.LIST, OPT.STRUCTURED_REPLY, 99]), random.bytes(random.below(20))),
      option(OPT.EXPORT_NAME, name),
      head(random.below(8), random.u32(), random.below(1 << 20), random.pick([0, 512, 4096, random.u32()])),
      random.bytes(random.below(6000)),
    ]);
    for (let flips = random.below(4); flips > 0; flips--) valid[random.below(valid.length)] = random.below(256);
    raw.socket.write(valid.subarray(0, random.oneIn(3) ? random.below(valid.length) : valid.length));
    // What waits for more is the client's own time.
    raw.socket.end();
    raw.socket.resume();
    await closes(raw);
  }
  // What they had sent on is still answered.
  await until(() => world.gate.report().exports[0]?.connections === 0);
  const client = await world.client('disk@1');
  await write(client, 0, 5);
  assert.equal(await read(client, 0), 5);
});
