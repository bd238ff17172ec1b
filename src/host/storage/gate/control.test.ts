/** The gate's control socket: fences and questions from other processes, and what is no question. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { CMD } from '../nbd/protocol.ts';
import { gateControl, linesOf } from './control.ts';
import { GateWorld, until, write } from './gate-world.testing.ts';
import { fenceAtGate, GateControl, gateStatus } from './index.ts';

const socketOf = ({ stateFolder }: GateWorld): string => join(stateFolder, 'control.sock');

test('a fence by the socket; the status; an older one is told whose turn it is', async () => {
  await using world = await GateWorld.start();
  await using _control = await GateControl.open(world.gate, gateControl(world.stateFolder));
  assert.equal(statSync(socketOf(world)).mode & 0o777, 0o600);
  assert.deepEqual(await fenceAtGate(gateControl(world.stateFolder), 'disk', 7), { generation: 7, proof: 'answered' });
  await assert.rejects(fenceAtGate(gateControl(world.stateFolder), 'disk', 6), {
    code: 'gate-generation-passed',
    fix: /do not start/,
  });
  await assert.rejects(fenceAtGate(gateControl(world.stateFolder), 'disk', -1), { code: 'gate-name' });
  assert.deepEqual(await gateStatus(gateControl(world.stateFolder)), {
    ...{ connections: 0, refused: 0 },
    exports: [{ name: 'disk', generation: 7, connections: 0 }],
  });
});

test('who does not wait for the answer has fenced all the same', async () => {
  await using world = await GateWorld.start();
  await using _control = await GateControl.open(world.gate, gateControl(world.stateFolder));
  await fenceAtGate(gateControl(world.stateFolder), 'disk', 1);
  const old = await world.client('disk@1');
  world.server.isHolding = true;
  const frozen = write(old, 0, 1);
  frozen.catch(() => {});
  await until(() => world.server.commands.includes(CMD.WRITE));
  await assert.rejects(fenceAtGate(gateControl(world.stateFolder), 'disk', 2, { timeoutMs: 300 }), {
    code: 'gate-unanswered',
  });
  await until(() => world.gate.report().exports[0]?.generation === 2);
  await assert.rejects(write(old, 512, 1), { code: 'nbd-shutdown' });
  const again = fenceAtGate(gateControl(world.stateFolder), 'disk', 2);
  world.server.isHolding = false;
  world.server.release();
  assert.equal((await again).proof, 'answered');
});

test('no gate, and a gate that goes', async () => {
  await using world = await GateWorld.start();
  await assert.rejects(gateStatus(gateControl(world.stateFolder)), { code: 'gate-unreachable' });
  const control = await GateControl.open(world.gate, gateControl(world.stateFolder));
  await assert.rejects(GateControl.open(world.gate, gateControl(world.stateFolder)), { code: 'address-in-use' });
  await fenceAtGate(gateControl(world.stateFolder), 'disk', 1);
  const old = await world.client('disk@1');
  world.server.isHolding = true;
  write(old, 0, 1).catch(() => {});
  await until(() => world.server.held === 1);
  const asked = fenceAtGate(gateControl(world.stateFolder), 'disk', 2);
  await assert.rejects(
    Promise.all([
      asked,
      until(() => world.gate.report().exports[0]?.generation === 2).then(() => control[Symbol.asyncDispose]()),
    ]),
    {
      code: 'gate-unanswered',
    },
  );
});

test('a gate that is none, or another: what was not heard is told from what may have been', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'kagemusha-gate-fake-')), 'gate.sock');
  const hello = '{"id":1,"result":{"version":1}}';
  for (const [lines, code] of [
    [['x'], 'gate-unreachable'],
    [['null'], 'gate-unreachable'],
    [['{"id":1,"error":{"code":"bad-usage"}}'], 'gate-unreachable'],
    [['{"id":1,"result":{"version":2}}'], 'gate-unreachable'],
    [[hello, 'null'], 'gate-unanswered'],
    [[hello, '{"id":1,"result":{"generation":7}}'], 'gate-unanswered'],
    [[hello], 'gate-unanswered'],
  ] as const) {
    const server = createServer((socket) => {
      const left = [...lines];
      socket.on('error', () => {});
      socket.on('data', () => {
        const line = left.shift();
        if (line === undefined) socket.destroy();
        else socket.write(`${line}\n`);
      });
    });
    await once(server.listen(path), 'listening');
    await assert.rejects(fenceAtGate(`unix:${path}`, 'disk', 7), { code }, lines.join());
    await once(server.close(), 'close');
  }
  rmSync(dirname(path), { recursive: true });
});

test('lines that are no requests end their connection; wrong requests are answered', async () => {
  await using world = await GateWorld.start();
  await using _control = await GateControl.open(world.gate, gateControl(world.stateFolder));
  for (const bad of [
    '\n',
    'x\n',
    '[]\n',
    '{"id":"1","method":"status"}\n',
    '{"id":1}\n',
    'y'.repeat(20_000),
    'null\n',
  ]) {
    const socket = connect(socketOf(world)).on('error', () => {});
    socket.write(bad);
    socket.resume();
    await once(socket, 'close');
  }
  const socket = connect(socketOf(world));
  for (const [line, code] of [
    ['{"id":1,"method":"open"}', 'bad-usage'],
    ['{"id":1,"method":"fence"}', 'gate-name'],
    ['{"id":1,"method":"fence","params":{"export":"x","generation":"7"}}', 'gate-name'],
    [`{"id":1,"method":"fence","params":{"export":"${'x'.repeat(2000)}","generation":7}}`, 'gate-name'],
  ]) {
    socket.write(`${line}\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    const { id, error } = JSON.parse(answer.toString()) as { id: number; error: { code: string } };
    assert.deepEqual([id, error.code], [1, code]);
  }
  socket.destroy();
  assert.deepEqual(world.gate.report().exports, []);
});

test('lines come in pieces, and several in one', async () => {
  await using world = await GateWorld.start();
  await using _control = await GateControl.open(world.gate, gateControl(world.stateFolder));
  const socket = connect(socketOf(world));
  socket.write('{"id":1,"met');
  socket.write('hod":"status"}\n{"id":2,"method":"status"}\n');
  const ids: number[] = [];
  for await (const line of linesOf(socket)) {
    ids.push((JSON.parse(line) as { id: number }).id);
    if (ids.length === 2) break;
  }
  assert.deepEqual(ids.sort(), [1, 2]);
});
