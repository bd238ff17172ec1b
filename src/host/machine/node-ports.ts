/** Node as the host of a machine: its clock, its timers (which do not keep the process alive), its randomness. */
import { randomFillSync } from 'node:crypto';
import type { HostPorts } from '../../machine/index.ts';
import { seededBytes } from './boot-files.ts';
import { DiskWarnings } from './disk-warnings.ts';

const MOST_DELAY_MS = 2 ** 31 - 1;

/** With a seed, guests' random bytes follow from it and from how many are asked for at once. */
export function nodePorts(seed?: number): HostPorts {
  const warnings = new DiskWarnings(
    (text) => process.emitWarning(text, { code: 'KAGEMUSHA_DISK' }),
    () => performance.now(),
  );
  return {
    wallMs: () => Date.now(),
    diskFailed: (disk, operation, cause) => warnings.failed(disk, operation, cause),
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, Math.min(delayMs, MOST_DELAY_MS));
      timer.unref();
      return () => clearTimeout(timer);
    },
    defer: queueMicrotask,
    fillRandom: (into) => {
      if (seed === undefined) randomFillSync(into);
      else into.set(seededBytes(seed + into.length, into.length));
    },
  };
}

/** The same host, of which nothing comes any more to a partition that has left its machine. */
export function whileItLasts(host: HostPorts, isThere: () => boolean): HostPorts {
  const unlessGone = (act: () => void) => (): void => {
    if (isThere()) act();
  };
  return {
    ...host,
    after: (delayMs, callback) => host.after(delayMs, unlessGone(callback)),
    defer: (callback) => host.defer(unlessGone(callback)),
  };
}
