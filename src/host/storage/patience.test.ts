import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Patience } from './patience.ts';

function clocked(): { patience: Patience; take: (ms: number) => void; pass: (ms: number) => void } {
  let nowMs = 1000;
  const patience = new Patience(() => nowMs);
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  return { patience, pass, take: (ms) => patience.timed(() => pass(ms)) };
}

test('transfers that are fast are waited for', () => {
  const { patience, take } = clocked();
  for (let i = 0; i < 10; i++) {
    take(0.4);
    assert.ok(patience.isThere);
  }
});

test('after some slow ones none is, for a while; a slow one then rests again, and fast ones make up for them', () => {
  const { patience, take, pass } = clocked();
  for (let i = 0; i < 3; i++) {
    take(3);
    assert.ok(patience.isThere, 'it may have been the host that was busy');
  }
  take(3);
  assert.ok(!patience.isThere);
  pass(249);
  assert.ok(!patience.isThere);
  pass(1);
  assert.ok(patience.isThere);
  take(3);
  assert.ok(!patience.isThere);
  pass(250);
  for (let i = 0; i < 8; i++) take(0.1);
  take(3);
  assert.ok(patience.isThere);
});

test('a host that is busy once in a hundred transfers costs nothing', () => {
  const { patience, take } = clocked();
  for (let i = 0; i < 1000; i++) {
    take(i % 100 === 0 ? 3 : 0.1);
    assert.ok(patience.isThere);
  }
});

test('what is slower by its nature is given more time', () => {
  let nowMs = 1000;
  const patience = new Patience(() => nowMs, 2);
  const take = (ms: number): void =>
    patience.timed(() => {
      nowMs += ms;
    });
  for (let i = 0; i < 10; i++) take(1.9);
  assert.ok(patience.isThere);
  for (let i = 0; i < 4; i++) take(2.1);
  assert.ok(!patience.isThere);
});

test('one that fails counts too', () => {
  const { patience, pass } = clocked();
  for (let i = 0; i < 4; i++)
    assert.throws(() =>
      patience.timed(() => {
        pass(5);
        throw new Error('the disk is gone');
      }),
    );
  assert.ok(!patience.isThere);
});
