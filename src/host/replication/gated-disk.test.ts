/** A guest that moves, with its disk behind the storage's gate: under the generation that it had (docs/replication.md, Disks). */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { assemble } from '../../isa/index.ts';
import { createMachine, type MachineHandle, receiveMachine } from '../machine/index.ts';
import { GateWorld, until } from '../storage/gate/gate-world.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gated-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function guest(file: string, name: string): Promise<MachineHandle> {
  const bios = join(folder, 'program.bin');
  writeFileSync(bios, assemble('1: j 1b', 0x8000_0000n).bytes);
  const drives = [{ file, format: 'raw' as const }];
  return await createMachine({ bios, memoryBytes: 16 << 20, network: false, name, drives });
}

test('it has let go of the disk before the target opens it; a fence shuts out both', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 7);
  const here = await guest(world.uri('disk@7'), 'gated');
  const receiver = await receiveMachine({ listen: `unix:${join(folder, 's')}`, machine: { name: 'gated-there' } });
  try {
    assert.equal(world.gate.report().exports[0]?.connections, 1);
    await here.migrate({ to: receiver.address, silenceMs: 20_000 });
    assert.equal((await here.exited).reason, 'migrated');
    assert.deepEqual(world.gate.report().exports, [{ name: 'disk', generation: 7, connections: 1 }]);
    await world.gate.fence('disk', 8);
    await assert.rejects(world.client('disk@7'), { code: 'nbd-export', message: /generation 7 is over/ });
    await (await receiver.machine).kill();
  } finally {
    await here.kill();
    await receiver.close();
  }
});

test('a hot standby of a guest with such a disk opens it when it is promoted, and not before; not under a generation that is over', async () => {
  for (const isFenced of [false, true]) {
    await using world = await GateWorld.start();
    await world.gate.fence('disk', 7);
    const here = await guest(world.uri('disk@7'), `protected${isFenced}`);
    const name = `stands-by${isFenced}`;
    const receiver = await receiveMachine({ listen: `unix:${join(folder, name)}`, machine: { name } });
    try {
      await here.replicate({ to: receiver.address, epochMs: 20, silenceMs: 20_000 });
      assert.equal(world.gate.report().exports[0]?.connections, 1);
      if (isFenced) {
        await world.gate.fence('disk', 8);
        await assert.rejects(receiver.promote(), { code: 'nbd-export', message: /generation 7 is over/ });
      } else {
        await receiver.promote();
        assert.equal(
          world.gate.report().exports[0]?.connections,
          2,
          'the gate, not the stream, keeps the one out that was',
        );
        await (await receiver.machine).kill();
      }
    } finally {
      await here.kill();
      await receiver.close();
    }
  }
});

test('a guest whose generation is over does not move: nobody gets the disk by it', async () => {
  await using world = await GateWorld.start();
  await world.gate.fence('disk', 7);
  const here = await guest(world.uri('disk@7'), 'fenced');
  const receiver = await receiveMachine({ listen: `unix:${join(folder, 't')}`, machine: { name: 'fenced-there' } });
  try {
    await world.gate.fence('disk', 8);
    await assert.rejects(here.migrate({ to: receiver.address, silenceMs: 20_000 }));
    await until(() => receiver.report().state === 'discarded');
    assert.match(JSON.stringify(await here.exited), /generation 7 is over/);
    assert.deepEqual(world.gate.report().exports, [{ name: 'disk', generation: 8, connections: 0 }]);
  } finally {
    await here.kill();
    await receiver.close();
  }
});
