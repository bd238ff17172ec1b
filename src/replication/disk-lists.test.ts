import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DriveChange, decodeDiskChanges, encodeDiskChanges } from './disk-lists.ts';

const sizes = [1 << 20, 2 ** 41];

function through(changes: readonly DriveChange[]): DriveChange[] {
  return [...encodeDiskChanges(changes)].flatMap(({ meta, data }) => decodeDiskChanges(meta, data, sizes));
}

test('changes of several disks come through in their order', () => {
  const changes: DriveChange[] = [
    { drive: 0, change: { kind: 'data', offset: 512, bytes: new Uint8Array(1024).fill(3) } },
    { drive: 1, change: { kind: 'zeroes', offset: 2 ** 40, sizeBytes: 4096 } },
    { drive: 0, change: { kind: 'discard', offset: 0, sizeBytes: 512 } },
  ];
  assert.deepEqual(through(changes), changes);
  assert.deepEqual(through([]), []);
});

test('what is large is cut, and is the same', () => {
  const bytes = new Uint8Array(1 << 20).fill(5);
  const many = Array.from({ length: 9 }, (): DriveChange => ({ drive: 0, change: { kind: 'data', offset: 0, bytes } }));
  assert.equal(through(many).length, 9);
  assert.ok([...encodeDiskChanges(many)].length > 1);
  const wide = through([{ drive: 1, change: { kind: 'zeroes', offset: 0, sizeBytes: 3 * 2 ** 30 } }]);
  assert.equal(
    wide.reduce((sum, { change }) => sum + ('sizeBytes' in change ? change.sizeBytes : 0), 0),
    3 * 2 ** 30,
  );
});

test('a list that no source writes is refused', () => {
  const [good] = [
    ...encodeDiskChanges([{ drive: 0, change: { kind: 'data', offset: 512, bytes: new Uint8Array(512) } }]),
  ];
  assert.ok(good);
  const { meta, data } = good;
  const with_ = (at: number, value: number): Uint8Array => {
    const wrong = meta.slice();
    new DataView(wrong.buffer).setUint32(at, value, true);
    return wrong;
  };
  const wrong: readonly (readonly [Uint8Array, Uint8Array])[] = [
    [meta.subarray(1), data],
    [with_(0, 2), data],
    [with_(4, 3), data],
    [with_(8, 1 << 20), data],
    [with_(12, 1), data],
    [with_(8, 100), data],
    [with_(16, 0), data],
    [with_(16, 1024), data],
    [meta, new Uint8Array(1024)],
  ];
  for (const [list, bytes] of wrong)
    assert.throws(() => decodeDiskChanges(list, bytes, sizes), { code: 'stream-damaged' });
});
