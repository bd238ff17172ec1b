/**
 * What each method would give a guest, and cost, from what was measured of it. All times are from a host's death to the guest's answer;
 * nobody may act before the lease has expired, so that part is the same for all.
 */
import type { GuestSpec, Method } from '../model.ts';
import type { Costs } from '../ports.ts';
import { detectionMs, type Settings } from '../settings.ts';

/** Plan, claim, fence at the storage: requests one after the other. */
const ORDER_MS = 250;
const PROMOTE_MS = 150;
/** A checkpoint may take at most this part of a guest's time. */
export const MOST_STANDING = 0.3;
/** Epochs of a hot standby, and the fewest and most milliseconds between a warm one's checkpoints. */
export const HOT_EPOCH_MS = 50;
const LEAST_EVERY_MS = 1000;
const MOST_EVERY_MS = 60_000;
/** The first costs of a guest that nobody has measured: of a Debian boot, on the careful side. */
export const UNKNOWN_COSTS: Costs = {
  bootMs: 20_000,
  restoreMs: 2000,
  checkpointMs: 50,
  checkpointBytes: 32 << 20,
  dirtyBytesPerS: 16 << 20,
  applicationRestartMs: 2000,
};

export interface Estimate {
  readonly method: Method;
  readonly recoveryMs: number;
  /** Undefined: its memory. */
  readonly lossMs: number | undefined;
  /** The part of its speed that is left while nothing fails. */
  readonly speed: number;
  /** Between checkpoints. */
  readonly everyMs: number;
  /** Bytes of memory and disk held on the target, cores there and here, and bytes per second between hosts. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly cores: number;
  readonly bytesPerS: number;
}

export function estimate(method: Method, spec: GuestSpec, costs: Costs, settings: Settings): Estimate {
  const beforeMs = detectionMs(settings) + ORDER_MS;
  const nothing = { memoryBytes: 0, diskBytes: 0, cores: 0, bytesPerS: 0, everyMs: 0, speed: 1 };
  switch (method) {
    case 'cold':
      return { ...nothing, method, recoveryMs: beforeMs + costs.bootMs, lossMs: undefined };
    case 'warm': {
      const everyMs = checkpointEveryMs(spec, costs);
      const bytesPerS = Math.min(costs.dirtyBytesPerS, (costs.checkpointBytes * 1000) / everyMs);
      const standing = costs.checkpointMs / (everyMs + costs.checkpointMs);
      return {
        ...nothing,
        method,
        recoveryMs: beforeMs + costs.restoreMs,
        lossMs: everyMs + costs.checkpointMs,
        speed: 1 - standing,
        everyMs,
        diskBytes: spec.memoryBytes,
        cores: standing * spec.cores,
        bytesPerS,
      };
    }
    case 'hot': {
      // An epoch dirties less than a whole checkpoint's worth; it stands still for its part, at least a millisecond.
      const part = Math.min(1, (costs.dirtyBytesPerS * HOT_EPOCH_MS) / 1000 / Math.max(1, costs.checkpointBytes));
      const standingMs = Math.max(1, costs.checkpointMs * part);
      const standing = standingMs / (HOT_EPOCH_MS + standingMs);
      return {
        ...nothing,
        method,
        recoveryMs: beforeMs + PROMOTE_MS,
        lossMs: 0,
        speed: 1 - standing,
        everyMs: HOT_EPOCH_MS,
        memoryBytes: spec.memoryBytes,
        cores: 2 * standing * spec.cores,
        bytesPerS: costs.dirtyBytesPerS,
      };
    }
    case 'pair':
      return {
        ...nothing,
        method,
        recoveryMs: beforeMs,
        lossMs: 0,
        memoryBytes: spec.memoryBytes,
        diskBytes: spec.diskBytes,
        cores: spec.cores * spec.requirements.performanceFloor,
      };
  }
}

/** As seldom as the loss that is allowed permits. */
function checkpointEveryMs({ requirements: { dataLossMs } }: GuestSpec, costs: Costs): number {
  const allowed = dataLossMs === undefined ? MOST_EVERY_MS : dataLossMs - costs.checkpointMs;
  return Math.min(MOST_EVERY_MS, Math.max(LEAST_EVERY_MS, Math.floor(allowed)));
}

/** One number to compare what methods take, in "cores": a GiB of memory as one, of disk a hundredth, 100 MB/s as one. */
export function price({ memoryBytes, diskBytes, cores, bytesPerS }: Estimate): number {
  return memoryBytes / 2 ** 30 + diskBytes / 2 ** 30 / 100 + cores + bytesPerS / 1e8;
}

/** What a method misses of the guest's requirements, in words. */
export function misses(one: Estimate, { requirements }: GuestSpec): string[] {
  const { recoveryTimeMs, dataLossMs, performanceFloor } = requirements;
  const missed: string[] = [];
  if (one.recoveryMs > recoveryTimeMs)
    missed.push(`${one.method} takes ${seconds(one.recoveryMs)}, recoveryTime is ${seconds(recoveryTimeMs)}`);
  if (dataLossMs !== undefined && (one.lossMs === undefined || one.lossMs > dataLossMs))
    missed.push(
      `${one.method} may lose ${one.lossMs === undefined ? 'its memory' : seconds(one.lossMs)}, dataLoss is ${seconds(dataLossMs)}`,
    );
  const least = Math.max(performanceFloor, 1 - MOST_STANDING);
  if (one.speed < least)
    missed.push(`${one.method} leaves ${percent(one.speed)} of its speed, ${percent(least)} are wanted`);
  return missed;
}

export function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}
