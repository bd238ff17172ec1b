/**
 * What page tables in a machine's memory held and when, for trials of what translates (shadows.testing.ts,
 * nested-shadows.testing.ts): a walk may find each PTE as it was at some time since the last fence that covers it.
 */
import { assert, must } from '../base/assert.ts';
import type { GuestPhysicalMap } from './guest-physical-map.ts';
import type { MachineMemory } from './machine-memory.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { PTE } from './page-table.ts';

/** Where RAM begins in all trials. */
export const TRIAL_RAM = 0x8000_0000;

/** Behind every event: what was replaced is gone. */
export const NOW = Number.MAX_SAFE_INTEGER;

/** A value of a PTE; `end`: when it was replaced. */
export interface PteVersion {
  readonly value: bigint;
  readonly end: number;
}

export class PteHistory {
  /** Of the last event. */
  time = 0;
  readonly #memory: MachineMemory;
  readonly #map: GuestPhysicalMap;
  readonly #pages: readonly number[];
  readonly #entries: readonly number[];
  readonly #versions = new Map<number, { readonly time: number; readonly value: bigint }[]>();

  /** Of the PTEs with the numbers `entries` in the pages of those numbers. */
  constructor(
    where: { readonly memory: MachineMemory; readonly map: GuestPhysicalMap },
    pages: readonly number[],
    entries: readonly number[],
  ) {
    this.#memory = where.memory;
    this.#map = where.map;
    this.#pages = pages;
    this.#entries = entries;
  }

  /** The tables as they are now: what changed is a new version. */
  sync(by: 'start' | 'write' | 'walk'): void {
    this.time++;
    for (const page of this.#pages) {
      const host = this.#map.host(address(page) / FRAME_BYTES, 'read');
      for (const i of this.#entries) {
        const value = must(this.#memory.u64[host / 8 + i]);
        const at = address(page) + i * 8;
        const versions = this.#versions.get(at);
        const before = versions?.at(-1)?.value ?? 0n;
        if (value === before) continue;
        if (by === 'walk') assert((before | PTE.a | PTE.d) === (value | PTE.a | PTE.d), 'a walk sets A and D alone');
        if (versions) versions.push({ time: this.time, value });
        else this.#versions.set(at, [{ time: by === 'start' ? 0 : this.time, value }]);
      }
    }
  }

  /** All that was at `at` since the beginning, oldest first. */
  versions(at: number): readonly PteVersion[] {
    const versions = this.#versions.get(at) ?? [{ time: 0, value: 0n }];
    return versions.map(({ value }, i) => ({ value, end: versions[i + 1]?.time ?? Number.POSITIVE_INFINITY }));
  }
}

export function isPointer(value: bigint): boolean {
  return (value & PTE.v) !== 0n && (value & (PTE.r | PTE.x | PTE.w)) === 0n;
}
export function address(page: number): number {
  return TRIAL_RAM + page * FRAME_BYTES;
}
export function word(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}
export function pointer(page: number): bigint {
  return (BigInt(TRIAL_RAM / 4096 + page) << 10n) | PTE.v;
}
export function leaf(page: number, flags: bigint): bigint {
  return (BigInt(TRIAL_RAM / 4096 + page) << 10n) | flags;
}
