/**
 * A processor's access to a device: under the device's lock, unless the register is posted; through a window, under the
 * lock of who answers there. Who answers may change while the lock is waited for: then it is looked up again.
 */
import type { SharedLock } from '../base/lock.ts';
import type { AccessBytes, Device, Route } from './device.ts';

/** A device and its lock. */
export interface Place {
  readonly device: Device;
  readonly lock: SharedLock;
}

/** Naturally aligned; 8 bytes are two accesses, low half first, unless the device is `wide`. */
export type BusBytes = AccessBytes | 8;

/** So often a guest may move what is being accessed; then nobody is there. */
const MOST_LOOKS = 16;

type Target = Pick<Device, 'read' | 'write' | 'wide'>;

/** Who gives `isOff` does not wait for a lock any longer when that says so: 'busy' then, and nothing done. */
export function readDevice(place: Place, offset: number, bytes: BusBytes, isOff?: () => boolean): bigint | 'busy' {
  const { device } = place;
  if (device.route !== undefined) return readThrough(device, offset, bytes, isOff);
  if (isPosted(device, offset, bytes)) return readFrom(device, offset, bytes);
  if (!take(place.lock, isOff)) return 'busy';
  try {
    return readFrom(device, offset, bytes);
  } finally {
    place.lock.release();
  }
}

/** The same. `value` fits `bytes`. */
export function writeDevice(
  place: Place,
  offset: number,
  bytes: BusBytes,
  value: bigint,
  isOff?: () => boolean,
): 'done' | 'busy' {
  const { device } = place;
  if (device.route !== undefined) return writeThrough(device, offset, bytes, value, isOff);
  if (isPosted(device, offset, bytes)) return writeTo(device, offset, bytes, value);
  if (!take(place.lock, isOff)) return 'busy';
  try {
    return writeTo(device, offset, bytes, value);
  } finally {
    place.lock.release();
  }
}

function readThrough(window: Device, offset: number, bytes: BusBytes, isOff?: () => boolean): bigint | 'busy' {
  const route = claim(window, offset, bytes, isOff);
  if (route === 'busy') return 'busy';
  if (route === undefined) return readFrom(window, offset, bytes);
  if (isPosted(route, offset, bytes)) return readFrom(route, offset, bytes);
  try {
    return readFrom(route, offset, bytes);
  } finally {
    route.lock.release();
  }
}

function writeThrough(
  window: Device,
  offset: number,
  bytes: BusBytes,
  value: bigint,
  isOff?: () => boolean,
): 'done' | 'busy' {
  const route = claim(window, offset, bytes, isOff);
  if (route === 'busy') return 'busy';
  if (route === undefined) return writeTo(window, offset, bytes, value);
  if (isPosted(route, offset, bytes)) return writeTo(route, offset, bytes, value);
  try {
    return writeTo(route, offset, bytes, value);
  } finally {
    route.lock.release();
  }
}

/** Who answers, with its lock held where the access needs it; undefined: nobody, and no lock is held. */
function claim(
  window: Device,
  offset: number,
  bytes: BusBytes,
  isOff: (() => boolean) | undefined,
): Route | undefined | 'busy' {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const route = window.route?.(offset);
    if (route === undefined || isPosted(route, offset, bytes)) return route;
    if (!take(route.lock, isOff)) return 'busy';
    if (route.isCurrent()) return route;
    route.lock.release();
  }
  return undefined;
}

function isPosted(target: Pick<Device, 'isPosted'>, offset: number, bytes: BusBytes): boolean {
  return bytes < 8 && target.isPosted?.(offset) === true;
}

function take(lock: SharedLock, isOff: (() => boolean) | undefined): boolean {
  if (isOff !== undefined) return lock.acquireUnless(isOff);
  lock.acquire();
  return true;
}

function readFrom(target: Target, offset: number, bytes: BusBytes): bigint {
  if (bytes < 8) return BigInt(target.read(offset, bytes as AccessBytes));
  if (target.wide !== undefined) return target.wide.read(offset);
  return BigInt(target.read(offset, 4)) | (BigInt(target.read(offset + 4, 4)) << 32n);
}

function writeTo(target: Target, offset: number, bytes: BusBytes, value: bigint): 'done' {
  if (bytes < 8) target.write(offset, bytes as AccessBytes, Number(value));
  else if (target.wide !== undefined) target.wide.write(offset, value);
  else {
    target.write(offset, 4, Number(value & 0xffff_ffffn));
    target.write(offset + 4, 4, Number(value >> 32n));
  }
  return 'done';
}
