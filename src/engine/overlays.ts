/**
 * Overlays (mechanism 5): frames of the machine's memory, in no guest's map, that stand in for a guest's code frame
 * where instructions are fetched. This makes them, puts substitutes into them, and gives their places back; generated
 * code finds, executes and drops them (overlay-code.ts). Every thread of the machine may hold an object of its own:
 * what it knows lies in the memory, under a lock.
 *
 *   free -> making -> live -> dropping -> dropped -> unlinked -> free
 *             the frame's bytes are copied in between, so that a write meanwhile is either copied or drops it
 *
 * A place is used again only when no vCPU can still stand in it: it is unlinked first, the epoch advances, and each
 * vCPU forgets its fetch translations when it sees that. Overlays are bounded; where there is no place the caller
 * emulates by trap.
 */
import { assert } from '../base/assert.ts';
import { SharedLock } from '../base/lock.ts';
import type { View } from '../base/struct.ts';
import {
  DECODED_HEADER_BYTES,
  DECODED_STRIDE,
  decodedHeader,
  FRAME_BYTES,
  headerLayout,
  OVERLAY,
  PLAN,
  RECORD,
  OVERLAY_STATE as STATE,
  SUBSTITUTE,
  USE,
} from './memory-plan.ts';
import { dropRegions, emptyEntries } from './region-links.ts';

type Header = View<typeof decodedHeader.fields>;

/** One place for an overlay. */
interface Place {
  /** Address of the overlay's frame, and of its decoded entries. */
  readonly at: number;
  readonly entries: number;
  readonly header: Header;
}

/** An instruction that gets a substitute. */
export interface Offender {
  readonly partition: number;
  /** Linear address of the instruction. */
  readonly address: number;
  /** Its bits: 16 or 32. */
  readonly bits: number;
  /** A bit of USE, and for USE.policy the policy's number, counted from 1. */
  readonly use: number;
  readonly policy?: number;
}

export interface OverlayCounters {
  readonly frames: number;
  readonly limit: number;
  readonly substitutes: { readonly emulate: number; readonly breakpoint: number; readonly policy: number };
  readonly made: number;
  readonly droppedByWrites: number;
  readonly evicted: number;
  readonly refused: number;
}

/** A frame whose overlays are dropped again and again must trap twice as often each time before it gets another. */
const MOST_PATIENCE = 10;
/** With all places taken, a frame must trap so often before it gets the place of the oldest. */
const EVICTION_EXCEPTIONS = 64;

export class Overlays {
  readonly #buffer: ArrayBufferLike;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #u64: BigUint64Array;
  readonly #header: View<typeof headerLayout.fields>;
  readonly #lock: SharedLock;
  #made: readonly Place[] | undefined;

  constructor(buffer: ArrayBufferLike) {
    this.#buffer = buffer;
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#u64 = new BigUint64Array(buffer);
    const header = headerLayout.view(buffer, PLAN.header);
    this.#header = header;
    this.#lock = new SharedLock(new Int32Array(buffer), (PLAN.header + headerLayout.offset.overlayLock) / 4);
    assert(header.overlayFirst + header.overlayCount * OVERLAY.bytes < 2 ** 32, 'records have 32-bit addresses');
  }

  /** Most threads never need them. */
  get #places(): readonly Place[] {
    const { overlayFirst, overlayCount } = this.#header;
    this.#made ??= Array.from({ length: overlayCount }, (_, i) => {
      const at = overlayFirst + i * OVERLAY.bytes;
      return { at, entries: at + OVERLAY.entries, header: decodedHeader.view(this.#buffer, at + FRAME_BYTES) };
    });
    return this.#made;
  }

  /**
   * Puts a substitute in the place of an instruction, in the partition's overlay of its frame, which is made if need
   * be. `isForgotten(epoch)`: every vCPU of the partition that may run has seen that epoch. False: refused, for now or for good; the
   * instruction is to be emulated by trap.
   */
  substitute(offender: Offender, isForgotten: (epoch: number) => boolean): boolean {
    return this.#lock.with(() => {
      const place = this.#find(offender.partition, offender.address) ?? this.#make(offender, isForgotten);
      const done = place !== undefined && this.#insert(place, offender);
      if (!done) this.#header.overlaysRefused++;
      return done;
    });
  }

  /** Makes the partition's overlay of the frame at `address` if there is none, without substitutes. False: no place. */
  provide(partition: number, address: number, isForgotten: (epoch: number) => boolean): boolean {
    return this.#lock.with(
      () =>
        this.#find(partition, address) !== undefined ||
        this.#make({ partition, address, use: USE.breakpoint }, isForgotten) !== undefined,
    );
  }

  /** Takes a use from a substitute; the last one restores the instruction. No vCPU of the partition may be running. */
  withdraw(partition: number, address: number, use: number): void {
    this.#lock.with(() => {
      const place = this.#find(partition, address);
      const record = place && this.#recordAt(place, address % FRAME_BYTES);
      if (place === undefined || record === undefined) return;
      const uses = (this.#u8[record + RECORD.uses] ?? 0) & ~use;
      this.#u8[record + RECORD.uses] = uses;
      if (uses === 0) this.#u16[(place.at + (address % FRAME_BYTES)) / 2] = this.#u16[record / 2] ?? 0;
      this.#empty(place, address % FRAME_BYTES);
    });
  }

  /** Puts breakpoints into the overlays that there are; no vCPU may be running. Those to be made have them anyway. */
  addBreakpoints(list: readonly { address: number; partition: number }[]): void {
    this.#lock.with(() => {
      for (const { address, partition } of list) {
        const place = this.#find(partition, address);
        if (place) this.#insert(place, { address, bits: this.#bitsAt(place, address), use: USE.breakpoint });
      }
    });
  }

  /**
   * Drops the overlays of a frame, whose bytes were or will be written; `entries` are those of its decoded page.
   * Generated code does the same (drop_overlays).
   */
  drop(entries: number, reason: 'write' | 'mark' = 'write'): void {
    // Places change hands under the lock alone, so the list that is walked stays this frame's.
    this.#lock.with(() => {
      const own = this.#headerOf(entries);
      for (let at = own.overlays; at !== 0; ) {
        const header = this.#headerOf(at);
        this.#end(at, header, () => {
          if (reason !== 'write') return;
          Atomics.add(this.#u32, (PLAN.header + headerLayout.offset.overlaysDropped) / 4, 1);
          own.drops++;
        });
        at = header.next;
      }
    });
  }

  /** Forgets all overlays; no vCPU may be running, and all forget their fetch translations. */
  reset(): void {
    this.#lock.with(() => {
      // Free ones are only read: writing would take memory for places that were never used.
      for (const { header } of this.#places) if (header.state !== STATE.free) header.state = STATE.free;
      this.#header.overlayEpoch++;
    });
  }

  get counters(): OverlayCounters {
    const live = this.#places.filter(({ header }) => header.state === STATE.live);
    const substitutes = { emulate: 0, breakpoint: 0, policy: 0 };
    for (const place of live) {
      for (let i = 0; i < place.header.used; i++) {
        const uses = this.#u8[place.at + OVERLAY.records + i * OVERLAY.recordBytes + RECORD.uses] ?? 0;
        for (const name of ['emulate', 'breakpoint', 'policy'] as const)
          if ((uses & USE[name]) !== 0) substitutes[name]++;
      }
    }
    const header = this.#header;
    return {
      frames: live.length,
      limit: header.overlayCount,
      substitutes,
      made: header.overlaysMade,
      droppedByWrites: header.overlaysDropped,
      evicted: header.overlaysEvicted,
      refused: header.overlaysRefused,
    };
  }

  /** Overlays that are in force, oldest first: for inspection. */
  list(): { partition: number; frame: number; version: number; at: number }[] {
    return this.#places
      .filter(({ header }) => header.state === STATE.live)
      .map(({ at, header }) => ({
        ...{ partition: header.partition, frame: header.home * FRAME_BYTES, version: header.version, at },
      }))
      .sort((a, b) => a.version - b.version);
  }

  #find(partition: number, address: number): Place | undefined {
    const home = Math.floor(address / FRAME_BYTES);
    return this.#places.find(
      ({ header }) => header.state === STATE.live && header.home === home && header.partition === partition,
    );
  }

  #make(wish: Pick<Offender, 'partition' | 'address' | 'use'>, isForgotten: (epoch: number) => boolean) {
    const home = Math.floor(wish.address / FRAME_BYTES);
    const plain = this.#u32[PLAN.frameTable / 4 + home] ?? 0;
    // Not executed, or decoded code was just dropped: writes would not be noticed.
    if (plain === 0) return undefined;
    const own = this.#headerOf(plain);
    this.#tend(wish.partition, isForgotten);
    const free = this.#places.find(({ header }) => header.state === STATE.free);
    if (wish.use !== USE.breakpoint) {
      own.exceptions++;
      const patience = 2 ** Math.min(own.drops, MOST_PATIENCE);
      if (own.exceptions < (free ? patience : Math.max(patience, EVICTION_EXCEPTIONS))) return undefined;
    }
    if (free === undefined) {
      this.#evict(wish.partition);
      this.#tend(wish.partition, isForgotten);
    }
    const place = free ?? this.#places.find(({ header }) => header.state === STATE.free);
    if (place === undefined) return undefined;
    own.exceptions = 0;
    const { header } = place;
    const records = place.at + OVERLAY.records;
    this.#u8.fill(0, records, records + OVERLAY.mostRecords * OVERLAY.recordBytes);
    header.home = home;
    header.partition = wish.partition;
    header.frame = BigInt(place.at);
    header.records = BigInt(records);
    header.links = header.overlays = header.wanted = header.used = 0;
    header.version = ++this.#header.overlaysMade;
    header.next = own.overlays;
    this.#u8.fill(0, place.entries, place.entries + DECODED_STRIDE - DECODED_HEADER_BYTES);
    this.#sentinels(place.entries, plain);
    Atomics.store(this.#u32, this.#stateIndex(place.entries), STATE.making);
    // From here on a write drops it; so what is copied now is the frame as it is, or is dropped.
    Atomics.store(this.#u32, (plain - DECODED_HEADER_BYTES + decodedHeader.offset.overlays) / 4, place.entries);
    this.#u8.copyWithin(place.at, home * FRAME_BYTES, (home + 1) * FRAME_BYTES);
    this.#writeBreakpoints(place);
    const state = Atomics.compareExchange(this.#u32, this.#stateIndex(place.entries), STATE.making, STATE.live);
    return state === STATE.making ? place : undefined;
  }

  /** The partition's breakpoints in the frame: a fresh overlay has them from the start. */
  #writeBreakpoints(place: Place): void {
    const { breakpoints, breakpointPartitions, breakpointCount, breakpointsInOverlays } = this.#header;
    if (breakpointsInOverlays === 0) return;
    for (let i = 0; i < breakpointCount; i++) {
      const address = breakpoints[i] ?? 0;
      if (Math.floor(address / FRAME_BYTES) !== place.header.home) continue;
      if (breakpointPartitions[i] !== place.header.partition) continue;
      this.#insert(place, { address, bits: this.#bitsAt(place, address), use: USE.breakpoint });
    }
  }

  /** The bits of the instruction there, as the guest has them; a straddling instruction's lower half. */
  #bitsAt(place: Place, address: number): number {
    const offset = address % FRAME_BYTES;
    const half = (at: number): number => {
      const record = this.#recordAt(place, at);
      return this.#u16[(record === undefined ? place.at + at : record + RECORD.bits) / 2] ?? 0;
    };
    const low = half(offset);
    if ((low & 3) !== 3 || offset === FRAME_BYTES - 2) return low;
    return (low | (half(offset + 2) << 16)) >>> 0;
  }

  #insert(place: Place, { address, bits, use, policy }: Omit<Offender, 'partition'>): boolean {
    const offset = address % FRAME_BYTES;
    const half = (place.at + offset) / 2;
    let record = this.#recordAt(place, offset);
    if (record === undefined) {
      // The guest may have written another instruction since it trapped.
      if (this.#u16[half] !== (bits & 0xffff)) return false;
      const number = this.#freeRecord(place);
      if (number === undefined) return false;
      record = place.at + OVERLAY.records + number * OVERLAY.recordBytes;
      this.#u32[(record + RECORD.bits) / 4] = bits;
      this.#u16[(record + RECORD.offset) / 2] = offset;
      this.#u8[record + RECORD.uses] = use;
      this.#u8[record + RECORD.policy] = policy ?? 0;
      // Whoever sees the substitute sees its record.
      Atomics.store(this.#u16, half, SUBSTITUTE.match | (number << SUBSTITUTE.shift));
    } else {
      // Of a straddling instruction under a breakpoint only the lower half was known.
      if (use !== USE.breakpoint) this.#u32[(record + RECORD.bits) / 4] = bits;
      if (policy !== undefined) this.#u8[record + RECORD.policy] = policy;
      this.#u8[record + RECORD.uses] = (this.#u8[record + RECORD.uses] ?? 0) | use;
    }
    this.#empty(place, offset);
    return true;
  }

  /** A record that was never used, or one that was given up. */
  #freeRecord(place: Place): number | undefined {
    const { header } = place;
    if (header.used < OVERLAY.mostRecords) return header.used++;
    for (let i = 0; i < OVERLAY.mostRecords; i++) {
      if (this.#u8[place.at + OVERLAY.records + i * OVERLAY.recordBytes + RECORD.uses] === 0) return i;
    }
    return undefined;
  }

  /** As record_at of generated code. */
  #recordAt(place: Place, offset: number): number | undefined {
    const half = this.#u16[(place.at + offset) / 2] ?? 0;
    if ((half & SUBSTITUTE.mask) !== SUBSTITUTE.match) return undefined;
    const number = (half >> SUBSTITUTE.shift) & (OVERLAY.mostRecords - 1);
    const record = place.at + OVERLAY.records + number * OVERLAY.recordBytes;
    const isHere = this.#u16[(record + RECORD.offset) / 2] === offset && this.#u8[record + RECORD.uses] !== 0;
    return isHere ? record : undefined;
  }

  #empty(place: Place, offset: number): void {
    emptyEntries({ u64: this.#u64 }, place.entries + offset * 4, place.entries + offset * 4 + 8);
    this.#dropRegions(place.entries);
  }

  /** Unlinks what was dropped, and frees what was unlinked and nobody can still stand in: who asks knows of its own partition's vCPUs. */
  #tend(partition: number, isForgotten: (epoch: number) => boolean): void {
    for (const { header, entries } of this.#places) {
      if (header.partition !== partition) continue;
      if (header.state === STATE.unlinked && isForgotten(header.epoch)) header.state = STATE.free;
      if (header.state !== STATE.dropped) continue;
      this.#unlink(header.home, entries, header.next);
      header.epoch = Atomics.add(this.#u32, (PLAN.header + headerLayout.offset.overlayEpoch) / 4, 1) + 1;
      header.state = isForgotten(header.epoch) ? STATE.free : STATE.unlinked;
    }
  }

  #unlink(home: number, entries: number, next: number): void {
    const plain = this.#u32[PLAN.frameTable / 4 + home] ?? 0;
    if (plain === 0) return;
    const own = this.#headerOf(plain);
    if (own.overlays === entries) own.overlays = next;
    for (let at = own.overlays; at !== 0; at = this.#headerOf(at).next) {
      const header = this.#headerOf(at);
      if (header.next === entries) header.next = next;
    }
  }

  /** Drops the partition's oldest overlay in which no breakpoint stands. */
  #evict(partition: number): void {
    const [oldest] = this.#places
      .filter(({ header }) => header.state === STATE.live && header.partition === partition)
      .filter((place) => !this.#hasBreakpoint(place))
      .sort((a, b) => a.header.version - b.header.version);
    if (oldest === undefined) return;
    this.#end(oldest.entries, oldest.header, () => this.#header.overlaysEvicted++);
  }

  #hasBreakpoint(place: Place): boolean {
    for (let i = 0; i < place.header.used; i++) {
      const uses = this.#u8[place.at + OVERLAY.records + i * OVERLAY.recordBytes + RECORD.uses] ?? 0;
      if ((uses & USE.breakpoint) !== 0) return true;
    }
    return false;
  }

  /** From live (or making) to dropped, with generated code doing the same at the same time, perhaps. */
  #end(entries: number, header: Header, act: () => void): void {
    const index = this.#stateIndex(entries);
    const state = Atomics.load(this.#u32, index);
    if (state === STATE.free || state >= STATE.dropped) return;
    if (state !== STATE.dropping && Atomics.compareExchange(this.#u32, index, state, STATE.dropping) === state) act();
    emptyEntries({ u64: this.#u64 }, entries, entries + 2048 * 8);
    this.#dropRegions(entries);
    if (header.state === STATE.dropping) Atomics.store(this.#u32, index, STATE.dropped);
  }

  #dropRegions(entries: number): void {
    dropRegions({ u8: this.#u8, u32: this.#u32, u64: this.#u64 }, entries);
  }

  #sentinels(entries: number, plain: number): void {
    this.#u8.copyWithin(entries + 2048 * 8, plain + 2048 * 8, plain + 2050 * 8);
  }

  #stateIndex(entries: number): number {
    return (entries - DECODED_HEADER_BYTES + decodedHeader.offset.state) / 4;
  }

  #headerOf(entries: number): Header {
    return decodedHeader.view(this.#buffer, entries - DECODED_HEADER_BYTES);
  }
}
