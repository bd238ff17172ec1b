/** Whose files are on either side, for an ordinary user of the host and for its root. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from './errno.ts';
import { Owners } from './owners.ts';

const UNCHANGED = 0xffff_ffff;
const NOBODY = 65534;

test("the user's files are root's in the guest, and others' are nobody's", () => {
  const owners = new Owners(1000, 100);
  assert.ok(!owners.isHostRoot);
  assert.deepEqual(
    [1000, 0, 1001].map((uid) => owners.uidToGuest(uid)),
    [0, NOBODY, NOBODY],
  );
  assert.deepEqual(
    [100, 0, 1000].map((gid) => owners.gidToGuest(gid)),
    [0, NOBODY, NOBODY],
  );
  assert.deepEqual(owners.toHost(0, 0), [1000, 100]);
  assert.deepEqual(owners.toHost(undefined, 0), [-1, 100]);
  assert.deepEqual(owners.toHost(UNCHANGED, UNCHANGED), [-1, -1]);
  const theirs: [number | undefined, number | undefined][] = [
    [1000, undefined],
    [undefined, 33],
    [NOBODY, NOBODY],
  ];
  for (const ids of theirs)
    assert.throws(
      () => owners.toHost(...ids),
      (error) => error instanceof Refusal && error.code === 'EPERM',
    );
});

test("where the host's root runs it, owners are the same on both sides", () => {
  const owners = new Owners(0, 0);
  assert.ok(owners.isHostRoot);
  for (const id of [0, 33, 1000, NOBODY]) {
    assert.equal(owners.uidToGuest(id), id);
    assert.equal(owners.gidToGuest(id), id);
    assert.deepEqual(owners.toHost(id, undefined), [id, -1]);
  }
});
