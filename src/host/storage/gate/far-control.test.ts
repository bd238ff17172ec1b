/** A gate that is told over the network: by hosts of its authority, and by nobody else. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TestAuthority } from '../../streams/authority.testing.ts';
import { connectStream, parseAddress } from '../../streams/index.ts';
import { CMD } from '../nbd/protocol.ts';
import { GateWorld, until, write } from './gate-world.testing.ts';
import { fenceAtGate, GateControl, gateControl, gateStatus } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gate-far-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const authority = new TestAuthority(join(folder, 'ours'));
const storage = authority.host('storage');
const tls = authority.host('b');
const stranger = new TestAuthority(join(folder, 'theirs')).host('b');

const far = (world: GateWorld, silenceMs = 60_000): Promise<GateControl> =>
  GateControl.open(world.gate, 'tls:127.0.0.1:0', { tls: storage, silenceMs });

test('a host fences by the network, beside the one that does so on the spot; asked twice, it is answered twice', async () => {
  await using world = await GateWorld.start();
  await using _local = await GateControl.open(world.gate, gateControl(world.stateFolder));
  await using control = await far(world);
  for (let i = 0; i < 2; i++)
    assert.deepEqual(await fenceAtGate(control.address, 'disk', 7, { tls }), { generation: 7, proof: 'answered' });
  await assert.rejects(fenceAtGate(control.address, 'disk', 6, { tls }), { code: 'gate-generation-passed' });
  await assert.rejects(fenceAtGate(control.address, 'disk', 0.5, { tls }), { code: 'gate-name' });
  const { exports } = await gateStatus(control.address, { tls });
  assert.deepEqual(exports, [{ name: 'disk', generation: 7, connections: 0 }]);
  assert.deepEqual((await gateStatus(gateControl(world.stateFolder))).exports, exports);
});

test('a fence whose answer is lost is in force, and asked again it is answered', async () => {
  await using world = await GateWorld.start();
  await using control = await far(world);
  await fenceAtGate(control.address, 'disk', 1, { tls });
  const old = await world.client('disk@1');
  world.server.isHolding = true;
  write(old, 0, 1).catch(() => {});
  await until(() => world.server.commands.includes(CMD.WRITE));
  await assert.rejects(fenceAtGate(control.address, 'disk', 2, { tls, timeoutMs: 400 }), { code: 'gate-unanswered' });
  assert.equal(world.gate.report().exports[0]?.generation, 2);
  const again = [fenceAtGate(control.address, 'disk', 2, { tls }), fenceAtGate(control.address, 'disk', 2, { tls })];
  world.server.isHolding = false;
  world.server.release();
  for (const one of await Promise.all(again)) assert.equal(one.proof, 'answered');
});

test('who has no certificate of the authority, or does not ask who is there, fences nothing', async () => {
  await using world = await GateWorld.start();
  await using control = await far(world);
  for (const [address, call, code] of [
    [control.address, { tls: stranger }, 'gate-unreachable'],
    [control.address, {}, 'bad-usage'],
    [control.address.replace('tls:', 'tcp:'), { tls }, 'bad-usage'],
    [control.address.replace('tls:', 'plain:'), { tls }, 'bad-usage'],
    ['tls:127.0.0.1:1', { tls }, 'gate-unreachable'],
  ] as const)
    await assert.rejects(fenceAtGate(address, 'disk', 9, call), { code }, `${address} ${JSON.stringify(call)}`);
  for (const address of ['tcp:127.0.0.1:0', 'plain:127.0.0.1:0', 'nonsense'])
    await assert.rejects(GateControl.open(world.gate, address, { tls: storage }), { code: 'bad-usage' });
  await assert.rejects(GateControl.open(world.gate, 'tls:127.0.0.1:0'), { code: 'bad-usage' });
  const raw = connect(parseAddress(control.address).port ?? 0, '127.0.0.1');
  raw.write('{"id":1,"method":"fence","params":{"export":"disk","generation":9}}\n');
  raw.resume();
  await once(raw, 'close');
  assert.deepEqual(world.gate.report().exports, []);
});

/** Of this authority; then what it says is its own. */
async function host(control: GateControl): Promise<Socket> {
  const socket = await connectStream(parseAddress(control.address), tls);
  return socket.on('error', () => {});
}

test('a host that speaks nonsense, asks without end and reads nothing, or is silent is cut off, and others are served', async () => {
  await using world = await GateWorld.start();
  await using control = await far(world, 100);
  for (const bad of ['\n', 'x\n', 'null\n', '{"id":1}\n', 'y'.repeat(20_000), '\x00\xff\n']) {
    const socket = await host(control);
    socket.resume().write(bad);
    await once(socket, 'close');
  }
  const greedy = await host(control);
  const fence = { id: 1, method: 'fence', params: { export: 'held', generation: 1 } };
  greedy.resume().write(`${JSON.stringify(fence)}\n`.repeat(70));
  await once(greedy, 'close');
  for (const begun of ['', '{"id":1,"method":']) {
    const silent = await host(control);
    silent.resume().write(begun);
    await once(silent, 'close');
  }
  assert.equal((await gateStatus(control.address, { tls })).refused, 0);
});

test('who waits for an answer is not silent', async () => {
  await using world = await GateWorld.start();
  await using control = await far(world, 50);
  await fenceAtGate(control.address, 'disk', 1, { tls });
  const old = await world.client('disk@1');
  world.server.isHolding = true;
  write(old, 0, 1).catch(() => {});
  await until(() => world.server.held === 1);
  const asked = fenceAtGate(control.address, 'disk', 2, { tls });
  await new Promise((resolve) => setTimeout(resolve, 200));
  world.server.release();
  assert.equal((await asked).proof, 'answered');
});

test('so many hosts at once; one more is closed, and those of this host are another matter', async () => {
  await using world = await GateWorld.start();
  await using _local = await GateControl.open(world.gate, gateControl(world.stateFolder));
  await using control = await far(world);
  const hosts: Socket[] = [];
  for (let i = 0; i < 64; i++) {
    const socket = await host(control);
    socket.write('{"id":1,"method":"hello"}\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.deepEqual(JSON.parse(answer.toString()), { id: 1, result: { version: 1 } });
    hosts.push(socket);
  }
  await assert.rejects(fenceAtGate(control.address, 'disk', 2, { tls }), { code: 'gate-unreachable' });
  assert.deepEqual((await gateStatus(gateControl(world.stateFolder))).exports, []);
  for (const socket of hosts) socket.destroy();
  await until(() => hosts.every((socket) => socket.closed));
  await fenceAtGate(control.address, 'disk', 2, { tls });
});
