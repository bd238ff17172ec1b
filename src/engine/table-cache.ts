/**
 * Pointers to page tables that walks found before: by 2 MiB to the last level's table, by 1 GiB to the one above (measured:
 * half the time of programs that touch many pages, bench/). They belong to an address space, like the buffers, and are
 * dropped by fences of more than a page (those of a page are of leaves alone): with the epoch of the shadow in use.
 */
import type { FunctionBuilder, I32, I64, Local, Ptr } from '../wasm/index.ts';
import { shadowLayout } from './shadow-layout.ts';
import { vcpuState, WALK_CACHE_BYTES } from './vcpu-state.ts';

const at = vcpuState.offset;

/** A pointer's place in the cache. */
interface Place {
  readonly slot: Ptr;
  readonly tag: I64;
}
/** Of a place: the physical address has G in bit 0; a guest's table has a guest-physical address, too. */
const PLACE = { tag: 0, address: 8, epoch: 16, guestAddress: 24 } as const;
const UNKNOWN = -1n;

/** Tables of a guest: whether any are kept now, and where its physical memory has an entry. */
interface GuestTables {
  readonly isKept: I32;
  translate(address: I64): I64;
}

export class TableCache {
  readonly #f: FunctionBuilder;
  readonly #last: Place;
  readonly #above: Place;
  readonly #epoch: I64;
  readonly #guest: GuestTables | undefined;
  /** Of a guest's table: where it is; UNKNOWN. */
  readonly #physical: Local<I64>;

  constructor(f: FunctionBuilder, vcpu: Ptr, va: I64, guest?: GuestTables) {
    this.#f = f;
    this.#guest = guest;
    const place = (shift: number, offset: number): Place => {
      const { i64 } = f;
      const index = i64.shl(i64.and(i64.shrU(va, i64.const(shift)), i64.const(63)), i64.const(5));
      const slot = f.let(f.ptr.add(f.ptr.load(vcpu, at.walkBank), f.ptr.from64(i64.add(i64.const(offset), index))));
      return { slot, tag: f.let(i64.shrU(va, i64.const(shift))) };
    };
    this.#last = place(21, 0);
    this.#above = place(30, WALK_CACHE_BYTES / 2);
    this.#epoch = f.let(f.i64.load(f.ptr.load(vcpu, at.shadow), shadowLayout.offset.epoch));
    this.#physical = f.local('i64');
    if (guest) f.set(this.#physical, f.i64.const(UNKNOWN));
  }

  /** `take(table, isGlobal, level)` for the lowest table that is known: the walk goes on below that level. */
  resume(take: (table: I64, isGlobal: I64, level: number) => void): void {
    const f = this.#f;
    const from = ({ slot }: Place, level: number): void => {
      const address = (): I64 => f.i64.and(f.i64.load(slot, PLACE.address), f.i64.const(-4096));
      if (this.#guest) f.set(this.#physical, address());
      const table = this.#guest ? f.i64.load(slot, PLACE.guestAddress) : address();
      take(table, f.i64.and(f.i64.load(slot, PLACE.address), f.i64.const(1)), level);
    };
    const search = (): void =>
      f.if(
        this.#isFound(this.#last),
        () => from(this.#last, 1),
        () => f.if(this.#isFound(this.#above), () => from(this.#above, 2)),
      );
    if (this.#guest) f.if(this.#guest.isKept, search);
    else search();
  }

  /** A pointer of that level leads to the table. Of a guest's: see `reach`. */
  found(level: I64, table: I64, isGlobal: I64): void {
    if (this.#guest) return;
    const f = this.#f;
    for (const [number, place] of [[1, this.#last] as const, [2, this.#above] as const])
      f.if(f.i64.eq(level, f.i64.const(number)), () => this.#keep(place, f.i64.or(table, isGlobal)));
  }

  /** Where an entry of a table of that level is. Of a guest's, only now it is known where the table is. */
  reach(entry: I64, level: I64, isGlobal: I64): I64 {
    const f = this.#f;
    const { i64 } = f;
    const guest = this.#guest;
    if (guest === undefined) return entry;
    const offset = i64.and(entry, i64.const(0xfff));
    const physical = f.local('i64');
    f.if(
      i64.eq(this.#physical.get, i64.const(UNKNOWN)),
      () => {
        f.set(physical, guest.translate(entry));
        f.if(guest.isKept, () => {
          const table = (address: I64): I64 => i64.and(address, i64.const(-4096));
          for (const [number, place] of [[0, this.#last] as const, [1, this.#above] as const])
            f.if(i64.eq(level, i64.const(number)), () => {
              this.#keep(place, i64.or(table(physical.get), isGlobal));
              i64.store(place.slot, PLACE.guestAddress, table(entry));
            });
        });
      },
      () => f.set(physical, i64.or(this.#physical.get, offset)),
    );
    f.set(this.#physical, i64.const(UNKNOWN));
    return physical.get;
  }

  #keep({ slot, tag }: Place, address: I64): void {
    const { i64 } = this.#f;
    i64.store(slot, PLACE.tag, tag);
    i64.store(slot, PLACE.address, address);
    i64.store(slot, PLACE.epoch, this.#epoch);
  }

  #isFound({ slot, tag }: Place): I32 {
    const { i32, i64 } = this.#f;
    return i32.and(i64.eq(i64.load(slot, PLACE.tag), tag), i64.eq(i64.load(slot, PLACE.epoch), this.#epoch));
  }
}
