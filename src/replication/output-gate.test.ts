import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutputGate } from './output-gate.ts';

function gate(): { gate: OutputGate; said: string[]; say: (word: string) => void } {
  const made = new OutputGate();
  const said: string[] = [];
  return { gate: made, said, say: (word) => made.send(word.length, () => said.push(word)) };
}

test('open, nothing waits; closed, an epoch leaves when it is committed, in order', () => {
  const { gate: one, said, say } = gate();
  say('a');
  one.close(5);
  say('b');
  assert.equal(one.mark(), 5);
  say('c');
  say('d');
  assert.equal(one.mark(), 6);
  say('e');
  assert.deepEqual([said.join(''), one.heldBytes], ['a', 4]);
  one.commit(4);
  assert.equal(said.join(''), 'a');
  one.commit(5);
  assert.equal(said.join(''), 'ab');
  one.commit(6);
  assert.deepEqual([said.join(''), one.heldBytes, one.peakBytes], ['abcd', 1, 4]);
});

test('the epoch that goes on is never committed, whatever is said of it', () => {
  const { gate: one, said, say } = gate();
  one.close(1);
  say('a');
  one.commit(99);
  assert.deepEqual(said, []);
});

test('opened, all leaves in its order; what that brings about comes behind', () => {
  const { gate: one, said, say } = gate();
  one.close(1);
  one.send(1, () => {
    said.push('a');
    say('z');
  });
  say('b');
  one.mark();
  say('c');
  one.open();
  assert.deepEqual([said.join(''), one.heldBytes, one.isClosed], ['abcz', 0, false]);
  say('d');
  assert.equal(said.join(''), 'abczd');
});

test('who fills it hears how much waits', () => {
  const { gate: one, say } = gate();
  const heard: number[] = [];
  one.onHeld = (bytes) => heard.push(bytes);
  say('open');
  one.close(1);
  say('abc');
  say('de');
  assert.deepEqual(heard, [3, 5]);
});
