import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Acknowledgement } from './tcp-acknowledgement.ts';

const SEGMENT_BYTES = 1460;

/** Bursts of a hundred bytes, each of one segment. */
class Conversation {
  readonly ack = new Acknowledgement(0);
  nowMs = 1000;
  #next = 0;

  ask(bytes = 100, ends = true): void {
    this.#next += bytes;
    this.ack.arrived(this.#next, false, ends, SEGMENT_BYTES, this.nowMs);
  }

  /** Whether that was acknowledged by a segment of its own before the answer came. */
  exchange(answerMs: number): boolean {
    this.ask();
    const atOnce = this.ack.wanted;
    if (atOnce) this.ack.sent(this.#next);
    this.nowMs += answerMs;
    this.ack.onTimer(this.nowMs);
    const isAlone = atOnce || this.ack.wanted;
    this.ack.answered(this.nowMs);
    this.ack.sent(this.#next);
    return isAlone;
  }
}

test('the end of a burst is acknowledged by the answer, if that comes soon', () => {
  const talk = new Conversation();
  assert.deepEqual([talk.exchange(1), talk.exchange(1.9), talk.exchange(2)], [false, false, true]);
});

test('answers that take long are not waited for again', () => {
  const talk = new Conversation();
  for (let i = 0; i < 5; i++) assert.ok(talk.exchange(30));
});

test('data that answer nothing earn nothing', () => {
  const talk = new Conversation();
  talk.exchange(30);
  for (let i = 0; i < 10; i++) talk.ack.answered(talk.nowMs);
  talk.ask();
  assert.ok(talk.ack.wanted);
});

test('an acknowledgement that no answer came for is sent after two milliseconds', () => {
  const talk = new Conversation();
  talk.ask();
  assert.ok(!talk.ack.wanted);
  assert.equal(talk.ack.dueMs, talk.nowMs + 2);
  talk.ack.onTimer(talk.nowMs + 1);
  assert.ok(!talk.ack.wanted);
  talk.ack.onTimer(talk.nowMs + 2);
  assert.ok(talk.ack.wanted);
});

test('where answers come soon, a late one now and then does not matter', () => {
  const talk = new Conversation();
  const alone = Array.from({ length: 1000 }, (_, i) => talk.exchange(i % 100 === 99 ? 30 : 1)).filter(Boolean);
  assert.equal(alone.length, 19, 'the late ones, and the next ones');
});

test('a guest that waits for acknowledgements waits once, and not again for 64 answers', () => {
  const talk = new Conversation();
  assert.ok(talk.exchange(1) === false);
  talk.ask();
  talk.nowMs += 2;
  talk.ack.onTimer(talk.nowMs);
  assert.ok(talk.ack.wanted, 'in vain');
  talk.ack.sent(200);
  for (let i = 0; i < 65; i++) assert.ok(talk.exchange(0), `answer ${i}`);
  assert.ok(!talk.exchange(0));
});

test('every second segment, and what tells of a loss, is acknowledged at once also where answers come soon', () => {
  const talk = new Conversation();
  talk.exchange(1);
  talk.ask(SEGMENT_BYTES, false);
  assert.ok(!talk.ack.wanted);
  talk.ask(SEGMENT_BYTES, false);
  assert.ok(talk.ack.wanted);
  const lossy = new Conversation();
  lossy.exchange(1);
  lossy.ack.arrived(100, true, true, SEGMENT_BYTES, lossy.nowMs);
  assert.ok(lossy.ack.wanted);
});

test('the middle of a burst is acknowledged after twenty milliseconds', () => {
  const talk = new Conversation();
  talk.ask(100, false);
  assert.equal(talk.ack.dueMs, talk.nowMs + 20);
  talk.nowMs += 5;
  talk.ask(100, false);
  assert.equal(talk.ack.dueMs, talk.nowMs + 15);
});
