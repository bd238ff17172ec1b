import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedLock } from '../base/lock.ts';
import { readDevice, writeDevice } from './access.ts';
import type { AccessBytes, Device, Route } from './device.ts';

const freeLock = (): SharedLock => new SharedLock(new Int32Array(new SharedArrayBuffer(4)), 0);

/** Says what is done to it; offset 16 is posted. */
function recorder(name: string, seen: string[]) {
  return {
    ...{ name, sizeBytes: 64, layout: {} as Device['layout'], state: {}, reset: () => undefined },
    read: (offset: number, bytes: AccessBytes) => {
      seen.push(`${name} read ${offset} ${bytes}`);
      return offset + 1;
    },
    write: (offset: number, bytes: AccessBytes, value: number) => {
      seen.push(`${name} write ${offset} ${bytes} ${value}`);
    },
    isPosted: (offset: number) => offset === 16,
  };
}

test('an access has the lock, but for posted registers', () => {
  const seen: string[] = [];
  const place = { device: recorder('d', seen), lock: freeLock() };
  assert.equal(readDevice(place, 4, 2), 5n);
  assert.equal(writeDevice(place, 4, 1, 7n), 'done');
  place.lock.with(() => {
    const isOff = () => true;
    assert.equal(readDevice(place, 4, 2, isOff), 'busy');
    assert.equal(writeDevice(place, 4, 2, 1n, isOff), 'busy');
    assert.equal(readDevice(place, 16, 4, isOff), 17n);
    assert.equal(writeDevice(place, 16, 4, 1n, isOff), 'done');
    assert.equal(readDevice(place, 16, 8, isOff), 'busy', '8 bytes are two accesses, and not posted');
  });
  assert.deepEqual(seen, ['d read 4 2', 'd write 4 1 7', 'd read 16 4', 'd write 16 4 1']);
});

test('8 bytes are two accesses, low half first, unless the device is wide', () => {
  const seen: string[] = [];
  const place = { device: recorder('d', seen), lock: freeLock() };
  assert.equal(readDevice(place, 8, 8), 9n | (13n << 32n));
  writeDevice(place, 8, 8, (5n << 32n) | 6n);
  assert.deepEqual(seen, ['d read 8 4', 'd read 12 4', 'd write 8 4 6', 'd write 12 4 5']);
  const wide = { read: () => 1n << 63n, write: () => undefined };
  assert.equal(readDevice({ ...place, device: { ...place.device, wide } }, 8, 8), 1n << 63n);
});

/** A window that leads to `routes` in turn, the last one for ever. */
function windowTo(routes: readonly (Route | undefined)[], seen: string[]): Device {
  let next = 0;
  return { ...recorder('window', seen), route: () => routes[Math.min(next++, routes.length - 1)] };
}

function routeTo(name: string, seen: string[], isCurrent: () => boolean): Route {
  const { read, write, isPosted } = recorder(name, seen);
  return { read, write, isPosted, lock: freeLock(), isCurrent };
}

test('through a window, the lock is that of who answers; nobody answers without one', () => {
  const seen: string[] = [];
  const route = routeTo('a', seen, () => true);
  const place = { device: windowTo([route], seen), lock: freeLock() };
  place.lock.with(() => assert.equal(readDevice(place, 4, 4), 5n, "the window's own lock is nobody's"));
  route.lock.with(() => {
    assert.equal(
      readDevice(place, 4, 4, () => true),
      'busy',
    );
    assert.equal(
      readDevice(place, 16, 4, () => true),
      17n,
    );
  });
  assert.equal(readDevice({ device: windowTo([undefined], seen), lock: freeLock() }, 8, 4), 9n);
  assert.deepEqual(seen, ['a read 4 4', 'a read 16 4', 'window read 8 4']);
});

test('who moved while its lock was waited for is looked up again, not for ever', () => {
  const seen: string[] = [];
  const [gone, now] = [routeTo('gone', seen, () => false), routeTo('now', seen, () => true)];
  writeDevice({ device: windowTo([gone, now], seen), lock: freeLock() }, 4, 4, 3n);
  writeDevice({ device: windowTo([gone], seen), lock: freeLock() }, 4, 4, 3n);
  assert.deepEqual(seen, ['now write 4 4 3', 'window write 4 4 3']);
  for (const { lock } of [gone, now])
    assert.ok(
      lock.acquireUnless(() => true),
      'no lock is left behind',
    );
});
