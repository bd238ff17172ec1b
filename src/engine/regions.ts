/**
 * What the engine knows of regions of translated code: how to drop those whose instructions were written. The
 * translator makes them (src/translator); the interpreter enters them where a decoded entry names one.
 *
 *   decoded page --links--> (region, next) --> (region, next) ...      region's record --> entry that is its head
 *   decoded page: cover, a bit for each two bytes that a region was made of
 *
 * A write to a covered byte drops every region of the page: their heads become undecoded, so nobody enters them any
 * more; the region that runs, if it is one of them, is left after the instruction that wrote.
 */
import type { FunctionBuilder, FunctionRef, I32, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { DECODED_COVER, DECODED_HEADER_BYTES, DECODED_LINKS, headerLayout, PLAN, REGION_BYTES } from './memory-plan.ts';
import { SPECIAL } from './operations.ts';
import { vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;

/** drop_regions(vcpu, decoded page): drops every region that has instructions of the page. */
export function defineRegions(module: ModuleBuilder, library: Library): FunctionRef {
  const P = module.pointerType;
  const ref = module.function('drop_regions', [P, P], [], (f) => {
    const { i32 } = f;
    const page = f.param<Ptr>(1).get;
    const header = f.ptr.const(PLAN.header);
    takeLock(f);
    const links = f.let(f.ptr.op('sub', page, f.ptr.const(DECODED_HEADER_BYTES - DECODED_LINKS)));
    const link = f.local('i32');
    f.set(link, i32.load(links));
    i32.store(links, 0, i32.const(0));
    f.memoryFill(f.ptr.add(page, f.ptr.const(DECODED_COVER)), i32.const(0), f.ptr.const(256));
    f.while(
      () => link.get,
      () => {
        const pair = f.let(f.ptr.from32(i32.shl(link.get, i32.const(3))));
        const region = f.let(i32.load(pair, PLAN.regionLinks));
        const record = f.let(f.ptr.from32(i32.mul(region, i32.const(REGION_BYTES))));
        const head = f.let(f.ptr.from32(i32.load(record, PLAN.regions)));
        f.if(i32.eqz(f.ptr.eqz(head)), () => {
          i32.store(record, PLAN.regions, i32.const(0));
          // The head may have been written and decoded anew meanwhile.
          const entry = f.let(f.i64.load(head));
          const isHead = f.i64.eq(entry, headOf(f, region));
          f.if(isHead, () => f.i64.store(head, 0, f.i64.const(SPECIAL.undecoded)));
          const dropped = i32.load(header, headerLayout.offset.regionsDropped);
          i32.store(header, headerLayout.offset.regionsDropped, i32.add(dropped, i32.const(1)));
        });
        f.set(link, i32.load(pair, PLAN.regionLinks + 4));
      },
    );
    i32.store(f.param<Ptr>(0).get, at.dropped, i32.const(1));
    f.atomicStore(header, headerLayout.offset.regionLock, i32.const(0));
  });
  library.set('drop_regions', ref);
  return ref;
}

/** region_missing(vcpu, budget): stands in the table for regions that this thread has no code for. Does nothing. */
export function defineMissing(module: ModuleBuilder): FunctionRef {
  return module.function('region_missing', [module.pointerType, 'i32'], ['i32'], (f) => {
    f.i32.store(f.param<Ptr>(0).get, at.regionsMissing, f.i32.const(1));
    f.return(f.param<I32>(1).get);
  });
}

function headOf(f: FunctionBuilder, region: I32) {
  const wide = f.i64.shl(f.convert('i64_extend_i32_u', region), f.i64.const(32));
  return f.i64.or(wide, f.i64.const(SPECIAL.region));
}

function takeLock(f: FunctionBuilder): void {
  const header = f.ptr.const(PLAN.header);
  f.loop((again) => {
    const before = f.atomicCompareExchange(header, headerLayout.offset.regionLock, 4, f.i32.const(0), f.i32.const(1));
    f.brIf(again, before, 'unlikely');
  });
}
