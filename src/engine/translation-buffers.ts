/**
 * The second place of an entry of the translation buffers. Generated code looks into one place, which the page's number
 * chooses; pages that share it would drive each other out again and again (a kernel's locks and what they protect, a
 * function and its callee). So what has to make room moves to a second place, which other bits of the page's number
 * choose, and whoever misses looks there before it asks the shadow's table:
 *
 *   page --bits 0 to 7--> first place: looked at by all code
 *        \--bits 0 to 23, mixed--> second place: looked at after a miss; found there, the two change places
 *
 * A second place is never the first one, and never that of a page beside it: code takes an access for one within a page if
 * the place of its first byte has the page of its last one. Bit 0 stays, and bit 1 changes.
 *
 * Buffers are emptied as a whole, or of one page: then of both its places.
 */
import type { FunctionBuilder, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { TLB_ENTRIES, TLB_ENTRY_BYTES } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const NONE = -1n;
const LAST = TLB_ENTRIES - 1;

/** The places of a page in a bank, as offsets of their entries. */
export function firstPlace(f: FunctionBuilder, va: I64): Ptr {
  return f.ptr.from64(f.i64.and(f.i64.shrU(va, f.i64.const(8)), f.i64.const(LAST * TLB_ENTRY_BYTES)));
}

export function secondPlace(f: FunctionBuilder, va: I64): Ptr {
  const { i64 } = f;
  const above = i64.xor(i64.shrU(va, i64.const(20)), i64.shrU(va, i64.const(28)));
  const mixed = i64.xor(i64.shrU(va, i64.const(12)), i64.or(i64.and(above, i64.const(-2)), i64.const(2)));
  return f.ptr.from64(i64.shl(i64.and(mixed, i64.const(LAST)), i64.const(4)));
}

/** Offsets of both places in a bank, first the first one; of a page's address. */
export function placesOf(va: bigint): readonly [number, number] {
  const page = BigInt.asUintN(52, va >> 12n);
  const second = (page ^ ((((page >> 8n) ^ (page >> 16n)) & -2n) | 2n)) & BigInt(LAST);
  return [Number(page & BigInt(LAST)) * TLB_ENTRY_BYTES, Number(second) * TLB_ENTRY_BYTES];
}

/**
 * buffer_recall(bank, page) -> 1 if the page is in its first place now; buffer_place(bank, page, value): puts it there.
 * What stood there moves to its own second place.
 */
export function defineBuffers(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const place = declare('buffer_place', [P, 'i64', P], []);
  module.define(place, (f) => {
    const { i64 } = f;
    const bank = f.param<Ptr>(0).get;
    const page = f.param<I64>(1).get;
    const first = f.let(f.ptr.add(bank, firstPlace(f, page)));
    const before = f.let(i64.load(first));
    f.if(f.i32.and(i64.ne(before, i64.const(NONE)), i64.ne(before, page)), () => {
      const to = f.let(f.ptr.add(bank, secondPlace(f, before)));
      i64.store(to, 0, before);
      f.ptr.store(to, 8, f.ptr.load(first, 8));
    });
    i64.store(first, 0, page);
    f.ptr.store(first, 8, f.param<Ptr>(2).get);
  });
  module.define(declare('buffer_recall', [P, 'i64'], ['i32']), (f) => {
    const { i32, i64 } = f;
    const bank = f.param<Ptr>(0).get;
    const page = f.param<I64>(1).get;
    const second = f.let(f.ptr.add(bank, secondPlace(f, page)));
    f.if(i64.ne(i64.load(second), page), () => f.return(i32.const(0)));
    const value = f.let(f.ptr.load(second, 8));
    // One place at a time: a page is in the buffer once.
    i64.store(second, 0, i64.const(NONE));
    f.call(place, bank, page, value);
    f.return(i32.const(1));
  });
}
