import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf, testCodecs } from './fakes.testing.ts';
import type { Message } from './messages.ts';
import { MessageReader, MessageWriter } from './stream.ts';

/** A stream of several messages: its bytes, and the pieces that were written. */
async function stream(packs = false): Promise<{ readonly bytes: Uint8Array; readonly pieces: Uint8Array[] }> {
  const pieces: Uint8Array[] = [];
  const sink = {
    write: async (written: readonly Uint8Array[]) => void pieces.push(new Uint8Array(Buffer.concat(written))),
  };
  const writer = new MessageWriter(sink, testCodecs, { packs });
  await writer.say('hello', { mode: 'standby' });
  await writer.send('pages', Uint8Array.of(1, 2, 3, 4), new Uint8Array(4096).fill(7));
  await writer.send(
    'pages',
    Uint8Array.of(5, 6, 7, 8),
    Uint8Array.from({ length: 64 }, (_, i) => i),
  );
  await writer.say('round', { number: 1 });
  assert.equal(
    writer.sentBytes,
    pieces.reduce((sum, piece) => sum + piece.length, 0),
  );
  return { bytes: new Uint8Array(Buffer.concat(pieces)), pieces };
}

function read(bytes: Uint8Array, cuts: readonly number[] = []): Message[] {
  const reader = new MessageReader(testCodecs);
  const out: Message[] = [];
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    for (const message of reader.push(bytes.slice(from, to))) out.push(message);
    from = to;
  }
  return out;
}

const text = (messages: readonly Message[]): string =>
  messages
    .map(({ kind, meta, data }) => `${kind} ${Buffer.from(meta).toString('hex')} ${Buffer.from(data).toString('hex')}`)
    .join('\n');

for (const packs of [false, true])
  test(`what is written is read, ${packs ? 'packed' : 'as it is'}, whatever pieces it comes in`, async () => {
    const { bytes } = await stream(packs);
    const whole = text(read(bytes));
    assert.deepEqual(
      read(bytes).map(({ kind }) => kind),
      ['hello', 'pages', 'pages', 'round'],
    );
    const random = randomOf(5);
    for (let round = 0; round < 50; round++) {
      const cuts = Array.from({ length: random(9) }, () => random(bytes.length)).sort((a, b) => a - b);
      assert.equal(text(read(bytes, cuts)), whole);
    }
    assert.equal(
      text(
        read(
          bytes,
          Array.from({ length: bytes.length }, (_, i) => i),
        ),
      ),
      whole,
    );
  });

test('no byte can be another: what is read is what was written, up to where the stream is refused', async () => {
  for (const packs of [false, true]) {
    const { bytes } = await stream(packs);
    const whole = text(read(bytes));
    for (let at = 0; at < bytes.length; at += at < 400 ? 1 : 37) {
      const wrong = bytes.slice();
      wrong[at] = (wrong[at] ?? 0) ^ (1 << (at % 8));
      const heard: Message[] = [];
      const reader = new MessageReader(testCodecs);
      assert.throws(
        () => {
          for (const message of reader.push(wrong)) heard.push(message);
          // A length that grew has it wait for more: what follows is refused then.
          for (const message of reader.push(new Uint8Array(17 << 20))) heard.push(message);
        },
        { code: 'stream-damaged' },
        `byte ${at}`,
      );
      assert.ok(whole.startsWith(text(heard)));
    }
  }
});

test('a message that is lost, doubled or elsewhere is noticed', async () => {
  const { pieces } = await stream();
  const [prologue, ...messages] = pieces;
  const joined = (...order: readonly number[]): Uint8Array =>
    new Uint8Array(
      Buffer.concat([prologue ?? new Uint8Array(0), ...order.map((i) => messages[i] ?? new Uint8Array(0))]),
    );
  assert.equal(read(joined(0, 1, 2, 3)).length, 4);
  for (const order of [
    [1, 2, 3],
    [0, 2, 3],
    [0, 1, 1, 2],
    [0, 2, 1, 3],
    [0, 0],
  ])
    assert.throws(() => read(joined(...order)), { code: 'stream-damaged' }, `${order}`);
  assert.deepEqual(read(joined(0, 1)).length, 2, 'a stream that ends early says what it said');
});

test('another program, another version, a size that is not taken seriously', async () => {
  const { bytes, pieces } = await stream();
  assert.throws(() => read(new TextEncoder().encode('GET / HTTP/1.1\r\nHost: a\r\n\r\n')), /not kage/);
  const other = bytes.slice();
  other[8] = 9;
  assert.throws(() => read(other), /another version/);
  const huge = bytes.slice();
  new DataView(huge.buffer).setUint32((pieces[0]?.length ?? 0) + 16, 0xffff_ffff, true);
  assert.throws(() => read(huge), { code: 'stream-damaged' });
});
