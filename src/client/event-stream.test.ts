import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventData } from './event-stream.ts';

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

async function read(...texts: string[]): Promise<string[]> {
  const all: string[] = [];
  for await (const data of eventData(pieces(...texts))) all.push(data);
  return all;
}

for (const [what, texts, expected] of [
  ['one after another', ['data: a\n\ndata:b\n\n'], ['a', 'b']],
  ['in pieces', ['da', 'ta: ', 'a\r', '\n\n'], ['a']],
  ['with ids, kinds and comments', [': alive\n\nid: 7\nevent: x\ndata: a\n\n'], ['a']],
  ['of several lines', ['data: a\ndata: b\r\n\r\n'], ['a\nb']],
  ['that is not whole', ['data: a\n'], []],
] as const) {
  test(`events ${what}`, async () => assert.deepEqual(await read(...texts), expected));
}

test('a letter that is cut in two', async () => {
  const bytes = Buffer.from('data: ä\n\n');
  async function* halves(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 7);
    yield bytes.subarray(7);
  }
  const all: string[] = [];
  for await (const data of eventData(halves())) all.push(data);
  assert.deepEqual(all, ['ä']);
});

test('what never ends is no event', async () => {
  await assert.rejects(read('x'.repeat(1 << 19), 'x'.repeat(1 << 19), 'xx'));
});
