/**
 * The gate under chance: clients of many generations that leave when they like, fences, a server that does what it has taken when it likes, and dies. Whatever the
 * order, the server does nothing of a generation that is below one whose fence was answered.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../../base/errors.ts';
import { Random } from '../../../devices/virtio/random.testing.ts';
import type { NbdConnection } from '../nbd/connection.ts';
import { CMD } from '../nbd/protocol.ts';
import { GateWorld, write } from './gate-world.testing.ts';

const SEEDS = 12;
const STEPS = 200;
/** About what it takes to keep a generation. */
const FENCE_MS = 15;

async function run(seed: number): Promise<{ performed: number; answered: number; doubtful: number }> {
  const random = new Random(seed);
  const count = { performed: 0, answered: 0, doubtful: 0 };
  /** The latest generation whose fence was answered. */
  let floor = 0;
  let latest = 1;
  let isRunning = true;
  const late: string[] = [];
  await using world = await GateWorld.start({
    random,
    performed: ({ command, data }) => {
      if (command !== CMD.WRITE) return;
      count.performed++;
      const generation = data[0] ?? 0;
      if (generation < floor) late.push(`generation ${generation} after the fence of ${floor}`);
    },
  });
  await world.gate.fence('disk', latest);
  world.server.isHolding = true;
  const clients: { readonly generation: number; readonly connection: NbdConnection }[] = [];
  const waiting: Promise<unknown>[] = [];
  /** It may be answered before the next step, or wait for what is held. */
  const fence = async (generation: number): Promise<void> => {
    const fenced = world.gate.fence('disk', generation).then(
      ({ proof }) => {
        floor = Math.max(floor, generation);
        count.answered++;
        if (proof === 'flushed') count.doubtful++;
      },
      () => {},
    );
    waiting.push(fenced);
    if (random.oneIn(2)) await Promise.race([fenced, sleep(FENCE_MS)]);
  };
  for (let step = 0; step < STEPS; step++) {
    const choice = random.below(20);
    if (choice < 4) {
      const generation = Math.max(0, latest - 1 + random.below(3));
      const connected = world.client(`disk@${generation}`).then(
        (connection) => {
          clients.push({ generation, connection });
          // At once: a fence may be on its way.
          waiting.push(write(connection, 0, generation).catch(() => {}));
        },
        () => {},
      );
      if (random.oneIn(2)) await connected;
      else waiting.push(connected);
    } else if (choice < 12 && clients.length > 0) {
      const { generation, connection } = random.pick(clients.slice(-4));
      waiting.push(write(connection, random.below(64) * 512, generation).catch(() => {}));
      if (random.oneIn(6)) {
        // It leaves before it has its answer, and perhaps after the server has the question.
        if (random.oneIn(2)) await sleep(2);
        connection.destroy(new HostError('left', 'the client leaves'));
      }
    } else if (choice === 13) await fence(random.oneIn(2) ? ++latest : latest);
    else if (choice < 19) world.server.release(1 + random.below(4));
    else if (isRunning && random.oneIn(2)) {
      isRunning = false;
      await world.server.kill();
    }
    if (!isRunning && random.oneIn(3)) {
      isRunning = true;
      await world.server.start();
      if (random.oneIn(2)) await fence(++latest);
    }
    for (let turns = random.below(6); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
  }
  if (!isRunning) await world.server.start();
  world.server.isHolding = false;
  world.server.release();
  await fence(++latest);
  await Promise.all(waiting);
  assert.deepEqual(late, [], `seed ${seed}`);
  return count;
}

test('no order of writes, fences and deaths lets an older generation change the disk after a fence', async () => {
  const all = { performed: 0, answered: 0, doubtful: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { performed, answered, doubtful } = await run(seed);
    all.performed += performed;
    all.answered += answered;
    all.doubtful += doubtful;
  }
  // The test has met what it is about.
  assert.ok(all.performed > 50 && all.answered >= SEEDS, JSON.stringify(all));
});
