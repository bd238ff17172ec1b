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
  return access(place, offset, bytes, isOff, (target) => readFrom(target, offset, bytes));
}

/** The same. `value` fits `bytes`. */
export function writeDevice(
  place: Place,
  offset: number,
  bytes: BusBytes,
  value: bigint,
  isOff?: () => boolean,
): 'done' | 'busy' {
  return access(place, offset, bytes, isOff, (target) => {
    writeTo(target, offset, bytes, value);
    return 'done';
  });
}

function access<T>(
  { device, lock }: Place,
  offset: number,
  bytes: BusBytes,
  isOff: (() => boolean) | undefined,
  act: (target: Target) => T,
): T | 'busy' {
  if (device.route !== undefined) return accessThrough(device, offset, bytes, isOff, act);
  if (bytes < 8 && device.isPosted?.(offset) === true) return act(device);
  if (!take(lock, isOff)) return 'busy';
  try {
    return act(device);
  } finally {
    lock.release();
  }
}

function accessThrough<T>(
  window: Device,
  offset: number,
  bytes: BusBytes,
  isOff: (() => boolean) | undefined,
  act: (target: Target) => T,
): T | 'busy' {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const route: Route | undefined = window.route?.(offset);
    if (route === undefined) break;
    if (bytes < 8 && route.isPosted(offset)) return act(route);
    if (!take(route.lock, isOff)) return 'busy';
    try {
      if (route.isCurrent()) return act(route);
    } finally {
      route.lock.release();
    }
  }
  return act(window);
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

function writeTo(target: Target, offset: number, bytes: BusBytes, value: bigint): void {
  if (bytes < 8) target.write(offset, bytes as AccessBytes, Number(value));
  else if (target.wide !== undefined) target.wide.write(offset, value);
  else {
    target.write(offset, 4, Number(value & 0xffff_ffffn));
    target.write(offset + 4, 4, Number(value >> 32n));
  }
}
