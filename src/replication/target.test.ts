/** Sources are hostile: what they say out of turn, or wrongly, ends the conversation, and spoils nothing that is whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeRuns, RUN } from '../machine/index.ts';
import { FakeTarget, FakeWire, MemoryDisk, settled, testCodecs, VirtualTime } from './fakes.testing.ts';
import type { MessageKind } from './messages.ts';
import { Peer } from './peer.ts';
import { Target } from './target.ts';

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const page = (number: number): Uint8Array => encodeRuns([{ first: number, count: 1, kind: RUN.data }]);
const NONE = new Uint8Array(0);

type Said = readonly [kind: MessageKind, meta: Uint8Array, data: Uint8Array];
const say = (kind: MessageKind, value: unknown = {}): Said => [kind, NONE, json(value)];

const round = (number: number, pages: number, isWhole: boolean, disks = 0): Said =>
  say('round', { number, pages, disks, isWhole, ticks: 5 });
const pageOf = (number: number, value: number): Said => ['pages', page(number), new Uint8Array(8).fill(value)];
const state: Said = say('state', { version: 7 });
const HELLO = say('hello', { mode: 'standby' });
const WHOLE: readonly Said[] = [HELLO, pageOf(1, 1), state, round(1, 1, true)];

/** A target that was told these things: what became of it, and what it answered. */
async function told(all: readonly Said[]) {
  const machine = new FakeTarget(new MemoryDisk(8192));
  const time = new VirtualTime();
  const [a, b] = FakeWire.pair(time);
  const target = new Target({ make: async () => machine, changed: () => {} });
  const lost: Error[] = [];
  const heard: string[] = [];
  const options = { packs: false, silenceMs: 5000 };
  const peer = new Peer(b, testCodecs, time, options, {
    message: (message) => target.message(message),
    lost: (error) => {
      lost.push(error);
      target.lost(error);
    },
  });
  const source = new Peer(a, testCodecs, time, options, {
    message: ({ kind }) => heard.push(kind),
    lost: (error) => heard.push(`lost: ${'code' in error ? error.code : ''}`),
  });
  target.attach(peer);
  a.hears = source;
  b.hears = peer;
  for (const [kind, meta, data] of all) {
    source.writer.send(kind, meta, data).catch(() => {});
    await settled();
    await time.advance(5);
  }
  return { target, machine, lost, heard, time };
}

test('a guest comes, round by round, and is as it was with the last whole one', async () => {
  const { target, machine, heard } = await told([...WHOLE, pageOf(1, 2), state, round(2, 1, true), pageOf(1, 9)]);
  assert.deepEqual(heard, ['welcome', 'ack', 'ack']);
  assert.deepEqual([target.state, target.epoch, machine.pages[1]?.[0]], ['ready', 2, 2]);
});

test('a guest that has ended: nobody stands in for it, and that is answered', async () => {
  const { target, heard } = await told([...WHOLE, say('ended')]);
  assert.deepEqual(heard, ['welcome', 'ack', 'ended', 'lost: peer-lost']);
  assert.equal(target.state, 'discarded');
});

test('what came cannot be kept: the source is told, and nobody takes it for a standby', async () => {
  const { target, machine, heard, time } = await told(WHOLE);
  target.failed(new Error('no space left'));
  await time.advance(5);
  assert.deepEqual(heard, ['welcome', 'ack', 'lost: replication-failed']);
  assert.deepEqual([target.state, machine.isDiscarded], ['discarded', true]);
  await assert.rejects(target.promote(), { code: 'standby-not-ready' });
});

test('a guest that runs here is not ended by what its source sent', async () => {
  const { target, machine } = await told(WHOLE);
  await target.promote();
  target.failed(new Error('late'));
  assert.deepEqual([target.state, machine.isDiscarded], ['running', false]);
});

const wrong: readonly (readonly [of: string, said: readonly Said[]])[] = [
  ['something before hello', [pageOf(1, 1)]],
  ['hello twice', [HELLO, HELLO]],
  ['what only a target says', [HELLO, say('ack', { number: 1 })]],
  ['a round of another number', [HELLO, round(2, 0, false)]],
  ['a round with a page less', [HELLO, pageOf(1, 1), round(1, 2, false)]],
  ['a round with writes that did not come', [HELLO, round(1, 0, false, 1)]],
  ['a round that is whole without a state', [HELLO, round(1, 0, true)]],
  ['two states', [HELLO, state, state]],
  ['a round that is not whole, behind one that was', [...WHOLE, round(2, 0, false)]],
  ['a whole round again', [...WHOLE, state, round(1, 0, true)]],
  ['pages beyond memory', [HELLO, ['pages', page(99), new Uint8Array(8)]]],
  ['pages without their bytes', [HELLO, ['pages', page(1), new Uint8Array(4)]]],
  ['a list that is none', [HELLO, ['pages', Uint8Array.of(1, 2, 3), NONE]]],
  ['more pages than there is memory', [...WHOLE, ...Array.from({ length: 140_000 / 500 }, () => manyPages())]],
  ['a disk write beyond the disk', [HELLO, ['disk', NONE, new Uint8Array(512)]]],
  ['a state that makes no sense', [...WHOLE, pageOf(1, 2), say('state'), round(2, 1, true)]],
  ['a state that is no JSON', [HELLO, pageOf(1, 1), ['state', NONE, Uint8Array.of(0xff)], round(1, 1, true)]],
  [
    'more lists of empty pages than there is memory',
    [...WHOLE, ...Array.from({ length: 280 }, () => manyEmptyPages())],
  ],
  ['a handover that nobody asked for', [...WHOLE, say('handover')]],
  ['a round that is no JSON', [HELLO, ['round', NONE, Uint8Array.of(0xff, 0xfe)]]],
  ['a round that is a list', [HELLO, ['round', NONE, json([1])]]],
  ['a number that is none', [HELLO, say('round', { number: 'x', pages: 0, disks: 0, isWhole: false, ticks: 1 })]],
  ['pages behind the end', [...WHOLE, say('ended'), pageOf(1, 1)]],
];

/** All pages, as often as makes a kilobyte times five. */
function manyPages(): Said {
  const all = encodeRuns([{ first: 0, count: 24, kind: RUN.data }]);
  return ['pages', all, new Uint8Array(24 * 8)];
}

/** The same of zeros, each page a run of its own: lists without bytes. */
function manyEmptyPages(): Said {
  return ['pages', encodeRuns(Array.from({ length: 24 }, (_, i) => ({ first: i, count: 1, kind: RUN.zero }))), NONE];
}

for (const [of, said] of wrong)
  test(`${of}: the conversation ends`, async () => {
    const wasWhole = said.length >= WHOLE.length && said[1] === WHOLE[1];
    const { target, lost, heard, machine } = await told(
      of.startsWith('more ')
        ? [...said, ...Array.from({ length: 6000 }, of.includes('empty') ? manyEmptyPages : manyPages)].slice(0, 5600)
        : said,
    );
    if (of === 'pages behind the end') {
      assert.equal(target.state, 'discarded');
      return;
    }
    assert.equal((lost[0] as { code?: string } | undefined)?.code, 'stream-damaged', `${lost[0]}`);
    assert.ok(heard.some((one) => one.startsWith('lost')));
    assert.equal(target.state, wasWhole ? 'orphaned' : 'discarded');
    if (!wasWhole) return;
    assert.equal(machine.pages[1]?.[0], 1, 'what was whole is as it was');
    await target.promote();
    assert.equal(machine.isRunning, true);
  });
