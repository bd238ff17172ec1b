import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReply, QgaProtocolError, type QgaReply, ReplyReader } from './reply-reader.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const sentinel = Uint8Array.of(0xff);

function reader(limitBytes = 1000) {
  const replies: QgaReply[] = [];
  const made = new ReplyReader();
  made.limitBytes = limitBytes;
  return {
    replies,
    reader: made,
    push: (...parts: Uint8Array[]) => parts.forEach((part) => made.push(part, (reply) => replies.push(reply))),
  };
}

test('replies are read alike however they are cut, behind the sentinel alone', () => {
  const stream = Buffer.concat([
    bytes('{"return": "stale"}\n{"ret'),
    sentinel,
    bytes('{"return": {"text": "ä {[\\" \\\\"}}\n{"error": {"class": "GenericError", "desc": "no\\u0007"}}\n\n'),
  ]);
  const expected: QgaReply[] = [
    { kind: 'return', value: { text: 'ä {[" \\' } },
    { kind: 'error', class: 'GenericError', description: 'no?' },
  ];
  for (let cut = 1; cut <= stream.length; cut++) {
    const { replies, reader: made } = reader();
    for (let at = 0; at < stream.length; at += cut)
      made.push(stream.subarray(at, at + cut), (reply) => replies.push(reply));
    assert.deepEqual(replies, expected, `cut each ${cut}`);
  }
});

test('a sentinel drops what was begun; a reset waits for the next', () => {
  const one = reader();
  one.push(sentinel, bytes('{"return": 1'), sentinel, bytes('{"return": 2}\n'));
  assert.deepEqual(one.replies, [{ kind: 'return', value: 2 }]);
  one.reader.reset();
  one.push(bytes('{"return": 3}\n'), sentinel, bytes('{"return": 4}\n'));
  assert.deepEqual(one.replies.at(-1), { kind: 'return', value: 4 });
  assert.equal(one.replies.length, 2);
});

test('before the sentinel a flood is not kept; behind it no line grows beyond its limit', () => {
  const one = reader(100);
  for (let i = 0; i < 100; i++) one.push(new Uint8Array(65_536));
  one.push(sentinel);
  assert.throws(() => {
    for (;;) one.push(bytes('x'.repeat(30)));
  }, QgaProtocolError);
  one.push(bytes('{"return": 1}\n'));
  assert.deepEqual(one.replies, [], 'it is to be synchronized first');
});

test('what is no reply is refused: no JSON, no object, nesting, no UTF-8', () => {
  const deep = (count: number): string => `{"return": ${'['.repeat(count)}${']'.repeat(count)}}`;
  for (const line of [
    '',
    'x',
    '1',
    'null',
    '[]',
    '{}',
    '{"returns": 1}',
    '{"return": 1',
    '"return"',
    deep(16),
    deep(100_000),
  ])
    assert.throws(() => parseReply(bytes(line)), QgaProtocolError, line.slice(0, 40));
  assert.throws(
    () => parseReply(Buffer.concat([bytes('{"return": "'), Uint8Array.of(0xc3), bytes('"}')])),
    QgaProtocolError,
  );
  assert.equal(parseReply(bytes(deep(15))).kind, 'return');
  assert.deepEqual(parseReply(bytes('{"return": "[[[[[[[[[[[[[[[[[[[[[["}')), {
    kind: 'return',
    value: '[[[[[[[[[[[[[[[[[[[[[[',
  });
});

test('an error may lack all that it should have, and is bounded', () => {
  for (const error of ['null', '1', '[]', '{}', '{"desc": 7, "class": {}}', '{"__proto__": {"desc": "x"}}'])
    assert.deepEqual(parseReply(bytes(`{"error": ${error}}`)), { kind: 'error', class: '', description: '' });
  const long = parseReply(bytes(`{"error": {"class": "C", "desc": "${'d'.repeat(100_000)}"}}`));
  assert.ok(long.kind === 'error' && long.description.length === 512);
});
