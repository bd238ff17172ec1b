/** The gate: who gets in, what a fence waits for, and what it keeps out. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { blockBackendSuite } from '../../../devices/virtio/block-backend.testing.ts';
import { openNbd } from '../nbd/index.ts';
import { CMD } from '../nbd/protocol.ts';
import { gateExportName, parseGatedName } from './export-name.ts';
import { GateWorld, head, isSettled, read, sector, until, write } from './gate-world.testing.ts';

for (const structured of [true, false]) {
  blockBackendSuite(`NBD through the gate, ${structured ? 'structured' : 'simple'} replies behind`, async (content) => {
    const sizeBytes = Math.ceil(content.length / 512) * 512;
    const world = await GateWorld.start({ structured, sizeBytes });
    await world.gate.fence('disk', 1);
    const { disk, close } = await openNbd(world.uri('disk@1'));
    await disk.write(0, [content]);
    const { readOnly } = disk;
    return {
      backend: {
        ...{ sizeBytes: content.length, readOnly },
        read: (offset, into) => disk.read(offset, into),
        write: (offset, from) => disk.write(offset, from),
        flush: () => disk.flush(),
      },
      close: async () => {
        await close();
        await world[Symbol.asyncDispose]();
      },
    };
  });
}

test('names of exports with generations', () => {
  for (const [text, exportName, generation] of [
    ['disk0@7', 'disk0', 7],
    ['@0', '', 0],
    ['a@b@12', 'a@b', 12],
    ['a\nb@9007199254740991', 'a\nb', Number.MAX_SAFE_INTEGER],
  ] as const) {
    assert.deepEqual(parseGatedName(text), { exportName, generation });
    assert.equal(gateExportName(exportName, generation), text);
  }
  for (const bad of [
    '',
    'disk',
    'disk@',
    'd@-1',
    'd@1.5',
    'd@07',
    'd@1e3',
    'd@9007199254740992',
    `${'x'.repeat(1025)}@1`,
  ]) {
    assert.equal(parseGatedName(bad), undefined, bad);
  }
  assert.throws(() => gateExportName('d', -1), { code: 'gate-name' });
});

test('nobody gets in before the first fence; then the generation that it names, and later ones', async () => {
  await using world = await GateWorld.start();
  await assert.rejects(world.client('disk@7'), { code: 'nbd-export', message: /was ever let in/ });
  await world.gate.fence('disk', 7);
  await assert.rejects(world.client('disk'), { code: 'nbd-export', message: /EXPORT@GENERATION/ });
  await assert.rejects(world.client('other@7'), { code: 'nbd-export' });
  await assert.rejects(world.client('disk@6'), { code: 'nbd-export', message: /generation 6 is over: 7 / });
  const seven = await world.client('disk@7');
  const nine = await world.client('disk@9');
  await write(nine, 0, 9);
  // A later one raises nothing by itself.
  await write(seven, 512, 7);
  assert.deepEqual([await read(seven, 0), await read(nine, 512)], [9, 7]);
  const { exports, connections, refused } = world.gate.report();
  assert.deepEqual(exports, [{ name: 'disk', generation: 7, connections: 2 }]);
  assert.deepEqual([connections >= 2, refused], [true, 1]);
});

test('after a fence older connections are closed, and neither write nor read', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const old = await world.client('disk@1');
  const other = await world.client('disk@2');
  assert.deepEqual(await world.gate.fence('disk', 2), { generation: 2, proof: 'answered' });
  await old.ended;
  await assert.rejects(write(old, 0, 1));
  await assert.rejects(world.client('disk@1'), { code: 'nbd-export' });
  await write(other, 0, 2);
  assert.equal(await read(other, 0), 2);
});

test('a fence waits for a write that is frozen behind; what the client asks in the meantime is refused', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const old = await world.client('disk@1');
  world.server.isHolding = true;
  const frozen = write(old, 0, 1);
  await until(() => world.server.held === 1);
  const fence = world.gate.fence('disk', 2);
  await assert.rejects(write(old, 512, 1), { code: 'nbd-shutdown' });
  await assert.rejects(read(old, 0), { code: 'nbd-shutdown' });
  assert.equal(await isSettled(fence), false);
  // Another export's does not wait for it.
  await world.gate.fence('other', 5);
  assert.equal(world.server.held, 1);
  world.server.isHolding = false;
  world.server.release();
  assert.deepEqual(await fence, { generation: 2, proof: 'answered' });
  await frozen;
  await old.ended;
  assert.equal(world.server.commands.filter((command) => command === CMD.WRITE).length, 1);
});

test('a client that leaves while its write is frozen behind is waited for just so', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const { socket } = await world.rawClient('disk@1');
  world.server.isHolding = true;
  socket.write(head(CMD.WRITE, 1, 0, 512));
  socket.write(sector(1));
  await until(() => world.server.held === 1);
  socket.destroy();
  await until(() => world.gate.report().connections === 0);
  const fence = world.gate.fence('disk', 2);
  assert.equal(await isSettled(fence), false);
  world.server.release();
  assert.equal((await fence).proof, 'answered');
});

test('a write of which a part is in the gate when the fence comes is not done, whenever the rest arrives', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const { socket } = await world.rawClient('disk@1');
  socket.write(head(CMD.WRITE, 1, 0, 512));
  socket.write(sector(1).subarray(0, 511));
  await isSettled(new Promise(() => {}));
  assert.equal((await world.gate.fence('disk', 2)).proof, 'answered');
  socket.write(sector(1).subarray(511));
  if (!socket.closed) await once(socket, 'close');
  assert.equal(world.server.commands.includes(CMD.WRITE), false);
});

test('a client whose connection behind is made while the fence comes does not get in', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  let greet = (): void => {};
  const greets = new Promise<void>((resolve) => {
    greet = resolve;
  });
  world.server.options = { ...world.server.options, greets };
  const coming = world.client('disk@1');
  await until(() => world.gate.report().connections === 1);
  await isSettled(coming);
  await world.gate.fence('disk', 2);
  greet();
  await assert.rejects(coming, { code: 'nbd-export', message: /generation 1 is over/ });
});

test('a client stopped by SIGSTOP writes after the takeover: refused', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const program = new URL('./stopped-client.testing.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, world.uri('disk@1')], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    child.kill('SIGSTOP');
    child.stdin.write('write\n');
    await world.gate.fence('disk', 2);
    const next = await world.client('disk@2');
    await write(next, 0, 2);
    child.kill('SIGCONT');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    assert.match(said.toString(), /^refused/);
    assert.equal(await read(next, 0), 2);
  } finally {
    child.kill('SIGKILL');
  }
});

test('generations outlive the gate; what it had outstanding then is asked of the server', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 7);
  await world.restart();
  await assert.rejects(world.client('disk@6'), { code: 'nbd-export' });
  await write(await world.client('disk@7'), 0, 7);
  assert.deepEqual(await world.gate.fence('disk', 8), { generation: 8, proof: 'flushed' });
  assert.equal(world.server.commands.includes(CMD.FLUSH), true);
  assert.deepEqual(await world.gate.fence('disk', 9), { generation: 9, proof: 'answered' });
  const kept: unknown = JSON.parse(readFileSync(join(world.stateFolder, 'generations.json'), 'utf8'));
  assert.deepEqual(kept, { version: 1, exports: { disk: 9 } });
});

test('generations never go back; who comes with an older one is told', async () => {
  await using world = await GateWorld.start();
  const eight = world.gate.fence('disk', 8);
  const nine = world.gate.fence('disk', 9);
  await assert.rejects(eight, { code: 'gate-generation-passed' });
  await nine;
  await assert.rejects(world.gate.fence('disk', 8), { code: 'gate-generation-passed' });
  assert.equal((await world.gate.fence('disk', 9)).generation, 9);
  await assert.rejects(world.gate.fence('disk', 1.5), { code: 'gate-name' });
});

test('one gate a folder, and none over a file that it does not understand', async () => {
  await using world = await GateWorld.start();
  await assert.rejects(world.open(), { code: 'gate-in-use' });
  await world.gate.fence('disk', 3);
  await world.gate.close();
  const path = join(world.stateFolder, 'generations.json');
  for (const bad of [
    '',
    '{}',
    '{"version":2,"exports":{}}',
    '{"version":1,"exports":{"a":"1"}}',
    '{"version":1,"exp',
  ]) {
    writeFileSync(path, bad);
    await assert.rejects(world.open(), { code: 'gate-state' });
    assert.equal(readFileSync(path, 'utf8'), bad);
  }
  writeFileSync(path, '{"version":1,"exports":{"__proto__":4,"disk":3}}');
  world.gate = await world.open();
  await assert.rejects(world.client('__proto__@3'), { code: 'nbd-export' });
  await world.client('__proto__@4');
});

test('the server behind dies: its clients are closed, and a fence wants to hear from it again', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const old = await world.client('disk@1');
  world.server.isHolding = true;
  const lost = write(old, 0, 1);
  await until(() => world.server.held === 1);
  const fence = world.gate.fence('disk', 2);
  fence.catch(() => {});
  await world.server.kill();
  await assert.rejects(lost);
  await old.ended;
  await assert.rejects(fence, { code: 'gate-unsettled' });
  await assert.rejects(world.gate.fence('disk', 2), { code: 'gate-unsettled' });
  await assert.rejects(world.client('disk@2'), { code: 'nbd-export', message: /shutting down/ });
  world.server.isHolding = false;
  await world.server.start();
  assert.deepEqual(await world.gate.fence('disk', 2), { generation: 2, proof: 'flushed' });
  assert.deepEqual(await world.gate.fence('disk', 2), { generation: 2, proof: 'answered' });
  await write(await world.client('disk@2'), 0, 2);
});

test('a server whose one answer is no answer loses the connection, and the write is in doubt', async () => {
  await using world = await GateWorld.start({ garbage: { command: CMD.WRITE, bytes: () => new Uint8Array(64) } });
  await world.gate.fence('disk', 1);
  const client = await world.client('disk@1');
  await assert.rejects(write(client, 0, 1));
  await client.ended;
  assert.equal((await world.gate.fence('disk', 2)).proof, 'flushed');
});

test("the server's own errors go through", async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const client = await world.client('disk@1');
  world.server.error = { command: CMD.WRITE, code: 28 };
  await assert.rejects(write(client, 0, 1), { code: 'nbd-error', number: 28 });
  world.server.error = undefined;
  await write(client, 0, 1);
});

test('a gate closes although the server behind is silent', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 1);
  const client = await world.client('disk@1');
  world.server.isMute = true;
  const lost = write(client, 0, 1);
  lost.catch(() => {});
  await until(() => world.server.commands.includes(CMD.WRITE));
  await world.restart();
  await assert.rejects(lost);
});
