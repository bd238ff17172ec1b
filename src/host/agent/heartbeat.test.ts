import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heartbeat } from './heartbeat.ts';
import { PausableClock } from './pausable-clock.ts';
import { VirtualClock } from './virtual-clock.testing.ts';

const limits = { lateMs: 2000, silentMs: 4000 };

function heart() {
  const world = new VirtualClock();
  const clock = new PausableClock(world);
  const states: string[] = [];
  const heartbeat = new Heartbeat(clock, (to, from) => states.push(`${from} ${to}`));
  let sequence = 0;
  const beat = (more = 1): void => {
    sequence += more;
    heartbeat.heard({ sequence, uptimeSeconds: 7.5, load: 0.25 });
  };
  return { world, clock, heartbeat, states, beat };
}

test('a heart that was never heard is not silent; one that was is late, then silent, and well again', async () => {
  const { world, heartbeat, states, beat } = heart();
  heartbeat.set(1000, limits);
  await world.pass(60_000);
  assert.deepEqual(states, ['off never-seen']);
  beat();
  for (let i = 0; i < 5; i++) {
    await world.pass(1900);
    beat();
  }
  assert.equal(heartbeat.state, 'alive');
  await world.pass(1999);
  assert.equal(heartbeat.state, 'alive');
  await world.pass(1);
  assert.equal(heartbeat.state, 'late');
  await world.pass(1999);
  assert.equal(heartbeat.state, 'late');
  await world.pass(1);
  assert.deepEqual(heartbeat.report(), {
    ...{ state: 'silent', intervalMs: 1000, sequence: 6, uptimeSeconds: 7.5, load: 0.25 },
    ...{ agoMs: 4000, heard: 6, missed: 0 },
  });
  await world.pass(60_000);
  beat();
  assert.deepEqual(states.slice(1), ['never-seen alive', 'alive late', 'late silent', 'silent alive']);
});

test('beats that are missing between others are counted; an agent that begins anew misses none', () => {
  const { heartbeat, beat } = heart();
  heartbeat.set(1000, limits);
  beat();
  beat(4);
  heartbeat.heard({ sequence: 1 });
  heartbeat.heard({ sequence: 2 });
  const { heard, missed, sequence, uptimeSeconds } = heartbeat.report();
  assert.deepEqual([heard, missed, sequence, uptimeSeconds], [4, 3, 2, undefined]);
});

test('numbers that leap as far as they can, again and again, are counted to a bound', () => {
  const { heartbeat } = heart();
  heartbeat.set(1000, limits);
  for (let i = 0; i < 3000; i++) for (const sequence of [1, 999_999_999]) heartbeat.heard({ sequence });
  assert.equal(heartbeat.report().missed, 1e12);
});

test('a guest that is paused is not late, however long; what was left of its time is left behind the pause', async () => {
  const { world, clock, heartbeat, beat } = heart();
  heartbeat.set(1000, limits);
  beat();
  await world.pass(1500);
  clock.pause();
  clock.pause();
  await world.pass(3_600_000);
  clock.resume();
  await world.pass(3_600_000);
  assert.equal(heartbeat.state, 'alive');
  assert.equal(heartbeat.report().agoMs, 1500);
  clock.resume();
  await world.pass(499);
  assert.equal(heartbeat.state, 'alive');
  await world.pass(1);
  assert.equal(heartbeat.state, 'late');
});

test('switched off it hears nothing, and no alarm is left; switched on again it was never seen', async () => {
  const { world, heartbeat, states, beat } = heart();
  heartbeat.set(1000, limits);
  beat();
  heartbeat.set(0);
  beat();
  assert.equal(world.alarms, 0);
  assert.deepEqual(heartbeat.report(), { state: 'off', intervalMs: 0, heard: 1, missed: 0 });
  heartbeat.set(500, limits);
  assert.deepEqual(states, ['off never-seen', 'never-seen alive', 'alive off', 'off never-seen']);
  await world.pass(10_000);
  assert.equal(heartbeat.state, 'never-seen');
});

test('another interval gives the heart another time', async () => {
  const { world, heartbeat, beat } = heart();
  heartbeat.set(1000, limits);
  beat();
  await world.pass(1999);
  heartbeat.set(10_000, { lateMs: 20_000, silentMs: 40_000 });
  await world.pass(19_999);
  assert.equal(heartbeat.state, 'alive');
  await world.pass(1);
  assert.equal(heartbeat.state, 'late');
});
