/**
 * The MMU in generated Wasm: the guest-physical map, and the way from a virtual address to a host address, which fills
 * the translation buffers. Walks: page-walk.ts.
 *
 *   va --TLB hit--> host address
 *    \--miss--> host_address: shadow's table, or walk -> pmp -> gpa map -> protection table -> host address, TLB filled
 *                                                                                             (or fault, or mmio)
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { defineAtomics } from './atomics.ts';
import { defineFreshFrames } from './fresh-frames.ts';
import { defineGuestAccess } from './guest-access.ts';
import { defineLoad, defineStore } from './memory-access.ts';
import { ACCESS, GPA, PLAN } from './memory-plan.ts';
import { definePageWalks, IMPLICIT } from './page-walk.ts';
import { reachMemory } from './physical-reach.ts';
import { definePmp } from './pmp.ts';
import { defineForbid } from './protection-code.ts';
import { isQuiet } from './quiet-code.ts';
import { defineShadowTable } from './shadow-table.ts';
import { defineTracking } from './shadow-tracking.ts';
import { isVirtual } from './status-areas.ts';
import { beginWrite, whenTracked } from './tracked-frames.ts';
import { defineBuffers, firstPlace } from './translation-buffers.ts';
import { defineContext } from './translation-context.ts';
import { FAULT, STALE, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';
import { defineForgetWriters } from './write-buffers.ts';

const at = vcpuState.offset;

const MPRV = 1n << 17n;
const MPV = 1n << 39n;

/** Names of the functions defined here, all of which take the vCPU's block first. `handed`: see fresh-frames.ts. */
export function defineMmu(module: ModuleBuilder, library: Library, handed: FunctionRef): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  defineFreshFrames(module, library, handed);
  const settle = library.get('settle_page');
  const fault = declare('page_fault', [P, 'i32', 'i64', 'i32'], []);
  const ram = declare('ram', [P, 'i64', 'i32'], [P]);
  const forbid = declare('forbid', [P, 'i64', 'i64', 'i32', 'i32', 'i32', P], []);
  const pmp = declare('pmp', [P, 'i64', 'i32', 'i32', 'i32'], ['i32']);
  const trackEntry = declare('track_entry', [P, P, 'i64', 'i32'], ['i32']);
  declare('walk', [P, 'i64', 'i32', 'i32'], ['i64']);
  const host = declare('host_address', [P, 'i64', 'i32', 'i32'], [P]);
  const guest = declare('guest_address', [P, 'i64', 'i32', 'i32'], [P]);
  const guestFault = declare('guest_page_fault', [P, 'i32', 'i64', 'i64', 'i32'], []);
  const reach = { fault, forbid, pmp, ram };
  const written = library.get('written');

  const vcpu = (f: FunctionBuilder): Ptr => f.param<Ptr>(0).get;
  const u64 = (f: FunctionBuilder, field: keyof typeof at): I64 => f.i64.load(vcpu(f), at[field]);
  const bit = (f: FunctionBuilder, value: I64, mask: bigint): I32 =>
    f.i64.ne(f.i64.and(value, f.i64.const(mask)), f.i64.const(0));

  // page_fault(vcpu, access, va, isAccessFault): causes 12/13/15 for page faults, 1/5/7 for access faults.
  module.define(fault, (f) => {
    const access = f.param<I32>(1).get;
    const isAccess = f.param<I32>(3).get;
    const page = f.select(
      f.i32.eq(access, f.i32.const(2)),
      f.i64.const(15),
      f.select(access, f.i64.const(13), f.i64.const(12)),
    );
    const denied = f.select(
      f.i32.eq(access, f.i32.const(2)),
      f.i64.const(7),
      f.select(access, f.i64.const(5), f.i64.const(1)),
    );
    f.i64.store(vcpu(f), at.faultCause, f.select(isAccess, denied, page));
    f.i64.store(vcpu(f), at.faultTval, f.param<I64>(2).get);
    f.i32.store(vcpu(f), at.fault, f.i32.const(FAULT.trap));
  });

  // guest_page_fault(vcpu, access, va, gpa, implicit): causes 20/21/23.
  module.define(guestFault, (f) => {
    const { i32, i64 } = f;
    const access = f.param<I32>(1).get;
    const isStore = i32.eq(access, i32.const(ACCESS.store));
    const cause = f.select(isStore, i64.const(23), f.select(access, i64.const(21), i64.const(20)));
    i64.store(vcpu(f), at.faultCause, cause);
    i64.store(vcpu(f), at.faultTval, f.param<I64>(2).get);
    i64.store(vcpu(f), at.faultGpa, f.param<I64>(3).get);
    // The pseudoinstructions of 64-bit reads and writes of page tables.
    const implicit = f.param<I32>(4).get;
    const isWrite = i32.eq(implicit, i32.const(IMPLICIT.write));
    const pseudo = f.select(isWrite, i64.const(0x3020), f.select(implicit, i64.const(0x3000), i64.const(0)));
    i64.store(vcpu(f), at.faultPseudo, pseudo);
    i32.store(vcpu(f), at.fault, i32.const(FAULT.trap));
  });

  // ram(vcpu, gpa, isWrite): host address of a guest-physical address, 0 where there is no (writable) memory.
  module.define(ram, (f) => {
    const { i32, i64 } = f;
    const gpa = f.param<I64>(1).get;
    const page = f.let(i64.shrU(gpa, i64.const(12)));
    f.if(i64.geU(page, u64(f, 'gpaPages')), () => f.return(f.ptr.const(0)), undefined, 'unlikely');
    const map = f.ptr.load(vcpu(f), at.gpaMap);
    const entry = f.let(f.ptr.add(map, f.ptr.op('shl', f.ptr.from64(page), f.ptr.const(2))));
    const value = f.local('i32');
    f.set(value, i32.load(entry));
    // First touch, or one by somebody else than the page's first user; a frame that others have too; a first write.
    const isWrite = i32.ne(f.param<I32>(2).get, i32.const(0));
    const looked = i32.or(i32.const(GPA.present | GPA.fresh | GPA.shared), i32.mul(isWrite, i32.const(GPA.clean)));
    f.if(i32.ne(i32.and(value.get, looked), i32.const(GPA.present)), () => {
      f.set(value, f.call(settle, vcpu(f), entry, f.param<I32>(2).get) as I32);
      f.if(i32.eqz(value.get), () => f.return(f.ptr.const(0)));
    });
    const isReadOnly = i32.ne(i32.and(value.get, i32.const(GPA.readOnly)), i32.const(0));
    f.if(i32.and(i32.ne(f.param<I32>(2).get, i32.const(0)), isReadOnly), () => f.return(f.ptr.const(0)));
    const frame = f.ptr.op('shl', f.ptr.from32(i32.shrU(value.get, i32.const(8))), f.ptr.const(12));
    f.return(f.ptr.add(frame, f.ptr.from64(i64.and(gpa, i64.const(0xfff)))));
  });

  module.define(forbid, (f) => defineForbid(f, fault));

  // pmp(vcpu, gpa, bytes, access, mode): 0 denied; 1 allowed, and for the whole page alike; 2 allowed.
  module.define(pmp, (f) => definePmp(f));

  definePageWalks(module, library);

  // host_address(vcpu, va, bytes, access): for an access within one page. 0: see `fault`; where that is none, the
  // address is a device's and exitGpa holds it. Fills the read or write buffer.
  defineBuffers(module, library);
  declare('set_banks', [P], []);
  defineShadowTable(module, library);
  module.define(host, (f) => {
    const { i32, i64 } = f;
    const va = f.param<I64>(1).get;
    const bytes = f.param<I32>(2).get;
    const access = f.param<I32>(3).get;
    i32.store(vcpu(f), at.violation, i32.const(0));
    const isStore = f.let(i32.eq(access, i32.const(ACCESS.store)));
    const page = f.let(i64.and(va, i64.const(-4096)));
    const bank = (): Ptr =>
      f.let(f.select(isStore, f.ptr.load(vcpu(f), at.writeBank), f.ptr.load(vcpu(f), at.readBank)));
    f.if(access, () =>
      f.if(f.call(library.get('buffer_recall'), bank(), page) as I32, () => {
        const entry = f.ptr.add(bank(), firstPlace(f, va));
        f.return(f.ptr.add(f.ptr.from64(va), f.ptr.load(entry, 8)));
      }),
    );
    const mode = f.local('i32');
    f.set(mode, f.convert('i32_wrap_i64', u64(f, 'mode')));
    const mstatus = f.let(u64(f, 'mstatus'));
    // MPRV: loads and stores act with the mode in MPP.
    f.if(
      i32.and(i32.and(i32.eq(mode.get, i32.const(3)), i32.ne(access, i32.const(ACCESS.fetch))), bit(f, mstatus, MPRV)),
      () => {
        f.set(mode, i32.and(f.convert('i32_wrap_i64', i64.shrU(mstatus, i64.const(11))), i32.const(3)));
        const isGuests = i32.and(bit(f, mstatus, MPV), i32.ne(mode.get, i32.const(3)));
        f.if(isGuests, () => f.return(f.call(guest, vcpu(f), va, bytes, access) as Ptr), undefined, 'unlikely');
      },
    );
    const gpa = f.local('i64');
    f.if(
      isVirtual(f, vcpu(f)),
      () => f.set(gpa, f.call(library.get('combined_translate'), vcpu(f), va, access, mode.get) as I64),
      () => f.set(gpa, f.call(library.get('shadow_translate'), vcpu(f), va, access, mode.get) as I64),
      'unlikely',
    );
    f.if(i64.eq(gpa.get, i64.const(-1)), () => f.return(f.ptr.const(0)), undefined, 'unlikely');
    const { address, right } = reachMemory(f, reach, gpa.get, mode.get, access);
    // A page that must not get into these buffers gets into others when the context is looked at (shadow-table.ts).
    const isCacheable = f.let(
      i32.and(
        i32.eq(right, i32.const(1)),
        i32.eqz(i32.and(i32.load(vcpu(f), at.contextStale), i32.const(STALE.banks))),
      ),
    );
    i32.store(vcpu(f), at.cacheable, isCacheable);
    // A frame that holds decoded code keeps its writes on the slow path, where they are noticed.
    const frame = f.ptr.op('shl', f.ptr.op('shr_u', address, f.ptr.const(12)), f.ptr.const(2));
    const isCode = f.local('i32');
    f.set(isCode, i32.const(0));
    f.if(isStore, () => {
      const decoded = f.let(f.ptr.from32(i32.load(frame, PLAN.frameTable)));
      f.if(
        f.ptr.eqz(decoded),
        () => {},
        () => f.set(isCode, i32.eqz(isQuiet(f, decoded))),
        'likely',
      );
      // Nor is a page table written to without notice, be it quiet or not.
      whenTracked(f, vcpu(f), address, () => {
        f.set(isCode, i32.const(1));
        beginWrite(f, vcpu(f));
      });
    });
    const isKept = i32.and(isCacheable, i32.eqz(i32.load(vcpu(f), at.uncached)));
    f.if(i32.and(i32.and(isKept, i32.ne(access, i32.const(ACCESS.fetch))), i32.eqz(isCode.get)), () => {
      const delta = f.ptr.op('sub', f.ptr.op('and', address, f.ptr.const(-4096)), f.ptr.from64(page));
      f.call(library.get('buffer_place'), bank(), page, delta);
    });
    f.return(address);
  });

  const load = declare('load_slow', [P, 'i64', 'i32'], ['i64']);
  module.define(load, (f) => defineLoad(f, host, fault, load));
  const store = declare('store_slow', [P, 'i64', 'i32', 'i64'], []);
  module.define(store, (f) => defineStore(f, host, fault, written));
  defineGuestAccess(module, library, reach);
  defineContext(module, library);
  defineForgetWriters(module, library);
  defineTracking(module, library, trackEntry);
  defineAtomics(module, library, { host, fault, written });
}
