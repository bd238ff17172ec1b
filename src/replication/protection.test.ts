/**
 * Whenever the source dies, what the standby has is what the source was at a checkpoint, and nobody was told anything that is
 * younger than that; whatever was acknowledged to the world is there.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { digest, MemoryDisk, randomOf } from './fakes.testing.ts';
import { Link } from './links.testing.ts';
import { Protection, type ProtectionOptions } from './protection.ts';

function protect(link: Link, options: Partial<ProtectionOptions> = {}) {
  const states: string[] = [];
  const broken: Error[] = [];
  const all = { epochMs: 10, isEager: false, onLoss: 'go-on', mostHeldBytes: 1 << 20, ...options } as const;
  const protection = new Protection(link.guest, link.source, link.time, all, {
    changed: (state) => states.push(state),
    broken: (error) => broken.push(error),
  });
  link.handlers.message = (message) => protection.rounds.message(message);
  link.handlers.lost = (error) => protection.lost(error);
  const over = protection.run({ mode: 'standby' });
  over.catch(() => {});
  return { protection, states, broken, over };
}

/** The source is gone, in the middle of whatever it does: what it would do yet, nobody sees. What the world was told. */
function kill(link: Link): readonly number[] {
  const { guest, machine } = link;
  guest.isRunning = false;
  const left = new MemoryDisk(guest.shared.sizeBytes);
  left.bytes.set(guest.shared.bytes);
  machine.shared = left;
  const world = [...guest.world];
  link.wires[0].cut();
  return world;
}

test('a source that dies at any moment: the standby is what it was at a checkpoint, and the world knows nothing younger', async () => {
  let promoted = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomOf(seed * 7919);
    const link = new Link(seed, 1 + random(8));
    const { guest, machine } = link;
    // Here the source dies with the write that is so many bytes further on, half of which arrives; or just so.
    let left = random(12_000);
    let world: readonly number[] | undefined;
    if (seed % 2 === 0)
      link.wires[0].passes = (bytes) => {
        left -= bytes;
        if (left <= 0) world ??= kill(link);
        return left > 0;
      };
    protect(link, seed % 3 === 0 ? { isEager: true, epochMs: 80 } : {});
    await link.live(30 + random(250));
    world ??= kill(link);
    await link.time.advance(50);
    if (link.target.state !== 'orphaned') continue;
    promoted++;
    await link.target.promote();
    assert.equal(machine.isRunning, true);
    const moment = guest.moments.get(machine.version);
    assert.deepEqual(machine.moment(), moment, `seed ${seed}: it is what the guest was`);
    // What was said after protection began is of before the checkpoint.
    const young = world.filter((version) => version > machine.version);
    assert.deepEqual(young, [], `seed ${seed}`);
  }
  assert.ok(promoted > 30, `${promoted}`);
});

test('what is said leaves soon, all of it, once, and in order', async () => {
  const link = new Link(3);
  const { states } = protect(link);
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(300);
  const { world, version } = link.guest;
  assert.ok((world.at(-1) ?? 0) > version - 40, 'an epoch or two later');
  assert.deepEqual(
    world,
    [...new Set(world)].sort((a, b) => a - b),
  );
  assert.ok(link.guest.gate.heldPieces > 50, 'it waited');
});

test('the standby is lost: what waits leaves, disks are up to date, and the guest goes on', async () => {
  const link = new Link(4);
  const { states, over } = protect(link);
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(57);
  link.wires[1].cut();
  await link.live(20);
  await over;
  assert.deepEqual(states, ['protected', 'unprotected']);
  assert.equal(link.guest.gate.isClosed, false);
  const { layer, shared } = link.guest;
  assert.equal(digest(layer.bytes, shared.bytes), link.guest.moment().disk);
  const before = link.guest.version;
  await link.live(10);
  assert.equal(link.guest.version, before + 10);
});

test('the standby says nothing any more: lost after two seconds', async () => {
  const link = new Link(5);
  const { states } = protect(link);
  await link.until(() => states.includes('protected'), 'protected');
  link.wires[0].hears = undefined;
  await link.live(1500);
  assert.deepEqual(states, ['protected']);
  await link.live(1500);
  assert.deepEqual(states, ['protected', 'unprotected']);
});

test('the standby is lost, and the guest is to wait: it stands still and tells nothing, until it is told to go on', async () => {
  const link = new Link(6);
  const { states, protection } = protect(link, { onLoss: 'wait' });
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(33);
  link.wires[1].cut();
  await link.live(50);
  const { version, world } = link.guest;
  const told = world.length;
  assert.deepEqual(states, ['protected', 'waiting']);
  await link.live(20);
  assert.deepEqual([link.guest.version, world.length], [version, told]);
  await protection.stop();
  await link.live(20);
  assert.deepEqual(states, ['protected', 'waiting', 'unprotected']);
  assert.equal(link.guest.version, version + 20);
  assert.equal(link.guest.gate.isClosed, false);
});

test('told to go on while the loss is being found out, it does so at once; and another standby can be given', async () => {
  const link = new Link(13);
  const { states, protection, over } = protect(link, { onLoss: 'wait' });
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(33);
  // It stands still for nobody: a disk does not answer, say.
  link.guest.hold = () => new Promise(() => {});
  link.wires[1].cut();
  await link.live(2);
  await protection.stop();
  await over;
  assert.equal(states.at(-1), 'unprotected');
  assert.equal(link.guest.gate.isClosed, false);

  const next = new Link(14);
  const first = protect(next, { onLoss: 'wait' });
  await next.until(() => first.states.includes('protected'), 'protected');
  next.wires[1].cut();
  await next.live(50);
  assert.deepEqual(first.states, ['protected', 'waiting']);
  await first.protection.stop();
  const again = new Link(15, 1, next);
  const second = protect(again, { onLoss: 'wait' });
  await again.until(() => second.states.includes('protected'), 'protected again');
  await again.live(40);
  const world = kill(again);
  await again.time.advance(50);
  await again.target.promote();
  assert.deepEqual(again.machine.moment(), again.guest.moments.get(again.machine.version));
  assert.deepEqual(
    world.filter((version) => version > again.machine.version),
    [],
  );
});

test('behind its deadline a guest that ends tells nobody, and nothing leaves: its standby can be promoted', async () => {
  const link = new Link(16);
  const { states, protection } = protect(link, { onLoss: 'wait' });
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(25);
  link.guest.gate.send(4, () => link.guest.world.push(-1));
  const told = link.guest.world.length;
  link.guest.isRunning = false;
  await protection.guestEnded({ isOurs: false });
  await link.live(50);
  assert.equal(link.guest.world.length, told);
  assert.equal(link.target.state, 'orphaned');
  await link.target.promote();
  assert.equal(states.at(-1), 'ended');
});

test('the operator ends it: the standby is of no use, the guest goes on', async () => {
  const link = new Link(7);
  const { states, protection } = protect(link, { onLoss: 'wait' });
  await link.until(() => states.includes('protected'), 'protected');
  await protection.stop();
  await link.live(30);
  assert.deepEqual(states, ['protected', 'unprotected']);
});

test('the guest ends: its last words leave, and nobody stands in for it', async () => {
  const link = new Link(8);
  const { states, protection } = protect(link);
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(25);
  link.guest.gate.send(4, () => link.guest.world.push(-1));
  link.guest.isRunning = false;
  // Checkpoints that come before it is told find no guest to hold.
  await link.live(30);
  const ended = protection.guestEnded();
  await link.live(50);
  await ended;
  assert.equal(link.guest.world.at(-1), -1);
  assert.equal(link.target.state, 'discarded');
  await assert.rejects(link.target.promote(), { code: 'standby-not-ready' });
  assert.equal(states.at(-1), 'ended');
});

test('the guest ends, and its standby cannot be told: its last words wait, as for any loss, where that is asked for', async () => {
  for (const isKilled of [false, true]) {
    const link = new Link(8);
    const { states, protection } = protect(link, { onLoss: 'wait' });
    await link.until(() => states.includes('protected'), 'protected');
    await link.live(25);
    link.guest.gate.send(4, () => link.guest.world.push(-1));
    link.guest.isRunning = false;
    // It is lost before it can answer.
    link.wires[1].passes = () => false;
    const ended = protection.guestEnded();
    await link.live(3000);
    assert.equal(states.at(-1), 'waiting');
    assert.equal(link.guest.world.includes(-1), false, 'somebody may go on from before it was said');
    if (isKilled) protection.giveUp();
    else await protection.stop();
    await ended;
    assert.equal(link.guest.world.includes(-1), !isKilled);
    assert.equal(states.at(-1), 'ended');
  }
});

test('a standby that refuses says why, and the guest goes on as before', async () => {
  const link = new Link(9);
  link.refuses = new OperatorError('disk-changed', 'its disk is another', 'Copy it.');
  const { over } = protect(link);
  await link.live(20);
  await assert.rejects(over, { code: 'disk-changed', message: 'its disk is another', fix: 'Copy it.' });
  assert.equal(link.guest.gate.isClosed, false);
  assert.equal(link.guest.version, 20);
});

test('output ends the epoch: it leaves as soon as a checkpoint is acknowledged, and who says nothing has none', async () => {
  for (const isEager of [true, false]) {
    const link = new Link(13);
    const { states, protection } = protect(link, { isEager, epochMs: 200 });
    await link.until(() => states.includes('protected'), 'protected');
    link.guest.step = () => {};
    await link.live(1000);
    const before = protection.measures();
    const latencies: number[] = [];
    for (let i = 0; i < 20; i++) {
      const since = link.time.nowMs();
      let at = 0;
      link.guest.gate.send(4, () => {
        at = link.time.nowMs();
      });
      await link.until(() => at > 0, 'it leaves');
      latencies.push(at - since);
    }
    const after = protection.measures();
    assert.equal(after.early - before.early, isEager ? 20 : 0);
    // There and back again is 2 ms; what it ran since the checkpoint before is the rest.
    if (isEager) assert.ok(Math.max(...latencies) <= 10, `${latencies}`);
    else assert.ok(Math.min(...latencies) > 100, `${latencies}`);
    assert.ok(before.checkpoints <= 8, 'while nothing is said epochs are as long as they may be');
  }
});

test('a guest that speaks all the time, and stands still for long: it runs twice as long as that', async () => {
  const link = new Link(14);
  link.guest.pauseMs = 20;
  const { states, protection } = protect(link, { isEager: true, epochMs: 500 });
  await link.until(() => states.includes('protected'), 'protected');
  const { checkpoints } = protection.measures();
  await link.live(3000);
  const more = protection.measures().checkpoints - checkpoints;
  assert.ok(more > 30 && more <= 3000 / 60 + 1, `${more}`);
});

test('more waits than may: the guest stands still until it is acknowledged', async () => {
  const link = new Link(10, 40);
  const { states, protection } = protect(link, { epochMs: 200, mostHeldBytes: 3000 });
  await link.until(() => states.includes('protected'), 'protected');
  let stood = 0;
  let last = link.guest.version;
  for (let i = 0; i < 600; i++) {
    await link.live(1);
    if (link.guest.version === last) stood++;
    last = link.guest.version;
  }
  const { stalls, heldPeakBytes, checkpoints } = protection.measures();
  assert.ok(stalls > 0 && stood > 0, 'it stood still');
  assert.ok(heldPeakBytes < 4000, `${heldPeakBytes}`);
  assert.ok(checkpoints > 5, 'checkpoints come early');
});

test('a disk that refuses what was acknowledged: nothing leaves any more', async () => {
  const link = new Link(11);
  const { states, broken } = protect(link);
  await link.until(() => states.includes('protected'), 'protected');
  link.guest.shared.write = () => {
    throw new Error('no space left');
  };
  await link.live(100);
  const told = link.guest.world.length;
  await link.live(100);
  assert.match(broken[0]?.message ?? '', /no space/);
  assert.equal(link.guest.world.length, told);
});

test('costs are told: pages, bytes, how long it stood still', async () => {
  const link = new Link(12);
  const { states, protection } = protect(link);
  await link.until(() => states.includes('protected'), 'protected');
  await link.live(200);
  const { checkpoints, pages, bytes, dirtyPagesPerSecond, pagesEach, ackMs } = protection.measures();
  assert.ok(
    checkpoints > 10 && pages > 100 && bytes > 1000 && dirtyPagesPerSecond > 100 && pagesEach.p50 > 1 && ackMs.p50 > 0,
  );
});
