/**
 * Base address registers (PCI Express Base 6.0, section 7.5.1.2.1): what a function has behind them, and their rows. A
 * BAR's size shows in the bits that cannot be written; where it lies is the guest's choice.
 */
import { assert } from '../../base/assert.ts';
import type { AccessBytes } from '../device.ts';
import type { ConfigRow } from './config-space.ts';

/** What answers behind a BAR. Offsets are from the BAR's base; accesses are naturally aligned. */
export interface BarRegion {
  /** Unsigned. */
  read(offset: number, bytes: AccessBytes): number;
  /** `value` is unsigned and fits `bytes`. */
  write(offset: number, bytes: AccessBytes, value: number): void;
  /** Whether an access there needs no lock: it is atomic by itself. Otherwise the function's lock is held. */
  isPosted?(offset: number): boolean;
}

export type BarKind = 'memory32' | 'memory64' | 'io';

export interface BarDescription {
  /** 0 to 5; a `memory64` takes the next one too. */
  readonly index: number;
  /** A power of two, at least 16, of I/O at least 4. */
  readonly sizeBytes: number;
  readonly kind: BarKind;
  readonly prefetchable?: boolean;
  readonly region: BarRegion;
}

export const FIRST_BAR_AT = 0x10;
/** Low bits of a BAR that say what it is. */
const BAR = { io: 1, memory64: 4, prefetchable: 8 } as const;
/** A memory BAR is never smaller than a page here, so that guests can give it away: as QEMU's devices. */
const MOST_BAR_BYTES = 2 ** 40;

/** Address bits that can be written, low and high half. */
export function barMasks({ sizeBytes }: BarDescription): { low: number; high: number } {
  const mask = (1n << 64n) - BigInt(sizeBytes);
  return { low: Number(mask & 0xffff_ffffn), high: Number(mask >> 32n) };
}

/** The rows of `count` BARs (6 of an endpoint, 2 of a bridge). `moved` is called when one was written. */
export function barRows(bars: readonly BarDescription[], count: number, moved: () => void): ConfigRow[] {
  checkBars(bars, count);
  return bars.flatMap((bar) => {
    const at = FIRST_BAR_AT + 4 * bar.index;
    const { low, high } = barMasks(bar);
    const flags =
      bar.kind === 'io'
        ? BAR.io
        : (bar.kind === 'memory64' ? BAR.memory64 : 0) | (bar.prefetchable === true ? BAR.prefetchable : 0);
    const size = sizeName(bar.sizeBytes);
    const kind = bar.kind === 'io' ? 'I/O ports' : `memory${bar.prefetchable === true ? ', prefetchable' : ''}`;
    const row: ConfigRow = {
      ...{ at, bytes: 4, name: `BAR${bar.index}`, reset: flags, writable: low, wrote: moved },
      does: `base of ${size} of ${kind}`,
    };
    if (bar.kind !== 'memory64') return [row];
    const upper: ConfigRow = {
      ...{ at: at + 4, bytes: 4, name: `BAR${bar.index + 1}`, writable: high, wrote: moved },
      does: `upper half of BAR${bar.index}`,
    };
    return [row, upper];
  });
}

function checkBars(bars: readonly BarDescription[], count: number): void {
  const taken = new Set<number>();
  for (const { index, sizeBytes, kind } of bars) {
    const isPowerOfTwo = Number.isSafeInteger(sizeBytes) && 2 ** Math.round(Math.log2(sizeBytes)) === sizeBytes;
    const most = kind === 'memory64' ? MOST_BAR_BYTES : kind === 'memory32' ? 2 ** 31 : 2 ** 16;
    assert(isPowerOfTwo && sizeBytes >= (kind === 'io' ? 4 : 16) && sizeBytes <= most, `BAR${index}: bad size`);
    for (const place of kind === 'memory64' ? [index, index + 1] : [index]) {
      assert(place >= 0 && place < count && !taken.has(place), `there is no place for BAR${place}`);
      taken.add(place);
    }
  }
}

function sizeName(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${bytes} ${units[unit]}`;
}
