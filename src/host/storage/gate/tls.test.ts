/** Clients of the gate that come by TLS, and those that should have. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TestAuthority } from '../../streams/authority.testing.ts';
import { NbdConnection } from '../nbd/connection.ts';
import { words } from '../nbd/fake-server.testing.ts';
import { openNbd } from '../nbd/index.ts';
import { dialNbd, tlsOf } from '../nbd/open-nbd.ts';
import { OPT, REP, REP_ERR } from '../nbd/protocol.ts';
import { parseNbdUri } from '../nbd/uri.ts';
import { StorageGate } from './gate.ts';
import { GateWorld, option, type Raw, read, reply, until, write } from './gate-world.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gate-tls-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const authority = new TestAuthority(join(folder, 'ours'));
const storage = authority.host('storage');
const ours = authority.host('b');
const stranger = new TestAuthority(join(folder, 'theirs')).host('b');

async function start(more: { readonly mostConnections?: number } = {}): Promise<GateWorld> {
  const world = await GateWorld.start({}, { listen: 'nbds://127.0.0.1:0', tls: storage, ...more });
  await world.gate.fence('disk', 1);
  return world;
}

const uri = (world: GateWorld, name: string, tls = ours, scheme = 'nbds'): string =>
  `${scheme}://127.0.0.1:${world.gate.port}/${name}?tls-certificates=${tls}`;

async function client(world: GateWorld, name: string): Promise<NbdConnection> {
  const server = parseNbdUri(uri(world, name));
  return new NbdConnection(await dialNbd(server, tlsOf(server)));
}

test('a disk by TLS: it works, until it is fenced', async () => {
  await using world = await start();
  const { disk, close } = await openNbd(uri(world, 'disk@1'));
  await disk.write(8, [new Uint8Array(100_352).fill(7)]);
  await disk.flush();
  const into = new Uint8Array(100_352);
  await disk.read(8, [into]);
  assert.ok(into.every((byte) => byte === 7));
  await world.gate.fence('disk', 2);
  await assert.rejects(async () => await disk.write(0, [new Uint8Array(512)]));
  // It has written what it cannot flush any more.
  await assert.rejects(close());
  await assert.rejects(client(world, 'disk@1'), /generation 1 is over/);
  const next = await client(world, 'disk@2');
  assert.equal(await read(next, 4096), 7);
});

test('a write that is under way by TLS holds the fence up, as any other', async () => {
  await using world = await start();
  const old = await client(world, 'disk@1');
  world.server.isHolding = true;
  const frozen = write(old, 0, 1);
  await until(() => world.server.held === 1);
  let isFenced = false;
  const fenced = world.gate.fence('disk', 2).then((result) => {
    isFenced = true;
    return result;
  });
  await assert.rejects(write(old, 512, 1), { code: 'nbd-shutdown' });
  assert.equal(isFenced, false);
  world.server.isHolding = false;
  world.server.release();
  await frozen;
  assert.equal((await fenced).proof, 'answered');
});

test('who does not use TLS, or is not of the authority, has no disk', async () => {
  await using world = await start();
  await assert.rejects(openNbd(uri(world, 'disk@1', ours, 'nbd')), /wants TLS/);
  await assert.rejects(openNbd(uri(world, 'disk@1', stranger)), { code: 'nbd-tls' });
  // It trusts the gate, and shows what the gate does not trust.
  const mixed = authority.host('mixed', { usages: ['server'] });
  await assert.rejects(openNbd(uri(world, 'disk@1', mixed)), { code: 'nbd-unreachable' });
  await write(await client(world, 'disk@1'), 0, 1);
});

async function begin(world: GateWorld): Promise<Raw> {
  const raw = world.raw();
  await raw.stream.take(18);
  raw.socket.write(words(['u32', 3]));
  return raw;
}

const closed = async ({ socket }: Raw): Promise<unknown> => socket.closed || once(socket, 'close');

test('before TLS nothing is chosen, and nothing that was said counts', async () => {
  await using world = await start();
  const name = new TextEncoder().encode('disk@1');
  const raw = await begin(world);
  for (const [number, data, type] of [
    [OPT.GO, Buffer.concat([words(['u32', name.length]), name, words(['u16', 0])]), REP_ERR.TLS_REQD],
    [OPT.LIST, new Uint8Array(), REP_ERR.TLS_REQD],
    [OPT.STRUCTURED_REPLY, new Uint8Array(), REP_ERR.TLS_REQD],
    [OPT.STARTTLS, new Uint8Array(1), REP_ERR.INVALID],
    [OPT.ABORT, new Uint8Array(), REP.ACK],
  ] as const) {
    raw.socket.write(option(number, data));
    assert.equal(await reply(raw, number), type);
  }
  await closed(raw);
  for (const bytes of [
    option(OPT.EXPORT_NAME, name),
    // What a man in the middle would slip in.
    Buffer.concat([option(OPT.STARTTLS), option(OPT.EXPORT_NAME, name)]),
  ]) {
    const other = await begin(world);
    other.socket.write(bytes);
    await closed(other);
  }
  const nonsense = await begin(world);
  nonsense.socket.write(option(OPT.STARTTLS));
  assert.equal(await reply(nonsense, OPT.STARTTLS), REP.ACK);
  nonsense.socket.write(new Uint8Array(100));
  await closed(nonsense);
  assert.deepEqual([world.server.commands, world.gate.report().refused], [[], 0]);
});

test('those that begin and do not go on give way to one that does', async () => {
  await using world = await start({ mostConnections: 2 });
  const idle = [await begin(world), await begin(world)];
  const third = await client(world, 'disk@1');
  await write(third, 0, 1);
  await Promise.race(idle.map(closed));
  // Two that have a disk are all that there may be.
  const fourth = await client(world, 'disk@1');
  await Promise.all(idle.map(closed));
  const fifth = world.raw();
  await closed(fifth);
  await write(fourth, 0, 2);
  await write(third, 0, 3);
});

test('a gate for TLS wants its certificates', async () => {
  const options = { listen: 'nbds://127.0.0.1:0', upstream: 'nbd://127.0.0.1:1', stateFolder: join(folder, 'state') };
  await assert.rejects(StorageGate.open(options), { code: 'bad-usage' });
});
