/**
 * The MMU in generated Wasm: page walks (Sv39, Sv48, Sv57; Svnapot, Svpbmt, Svade, Svadu), the guest-physical map,
 * and the way from a virtual address to a host address, which fills the translation buffers. Privileged
 * specification, "Supervisor-Level ISA". The reference machine's walk (isa/privileged/walk.ts) is written
 * independently of this one.
 *
 *   va --TLB hit--> host address
 *    \--miss--> host_address: shadow's table, or walk -> pmp -> gpa map -> protection table -> host address, TLB filled
 *                                                                                             (or fault, or mmio)
 */
import { FEATURE } from '../isa/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { defineAtomics } from './atomics.ts';
import { defineFreshFrames } from './fresh-frames.ts';
import { defineLoad, defineStore } from './memory-access.ts';
import { ACCESS, GPA, PLAN } from './memory-plan.ts';
import { PTE } from './page-table.ts';
import { definePmp } from './pmp.ts';
import { checkFrame, defineForbid, neededRight, REACH } from './protection-code.ts';
import { RIGHT } from './protection-tables.ts';
import { isQuiet } from './quiet-code.ts';
import { PAGE_SHIFTS, shadowLayout } from './shadow-layout.ts';
import { defineShadowTable } from './shadow-table.ts';
import { defineTracking } from './shadow-tracking.ts';
import { beginWrite, whenTracked } from './tracked-frames.ts';
import { defineBuffers, firstPlace } from './translation-buffers.ts';
import { defineContext } from './translation-context.ts';
import { FAULT, STALE, vcpuState, WALK_CACHE_BYTES } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;

const SUM = 1n << 18n;
const MXR = 1n << 19n;

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
  const walk = declare('walk', [P, 'i64', 'i32', 'i32'], ['i64']);
  const host = declare('host_address', [P, 'i64', 'i32', 'i32'], [P]);
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
    // First touch, or one by somebody else than the page's first user; a frame that others have too.
    f.if(i32.ne(i32.and(value.get, i32.const(GPA.present | GPA.fresh | GPA.shared)), i32.const(GPA.present)), () => {
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

  // walk(vcpu, va, access, mode): guest-physical address, or -1 with the fault recorded. mode: 0, 1 or 3.
  module.define(walk, (f) => {
    const { i32, i64 } = f;
    const va = f.param<I64>(1).get;
    const access = f.param<I32>(2).get;
    const mode = f.param<I32>(3).get;
    const satp = f.let(u64(f, 'satp'));
    const kind = f.let(i64.shrU(satp, i64.const(60)));
    const fail = (isAccessFault: boolean): void => {
      f.call(fault, vcpu(f), access, va, i32.const(isAccessFault ? 1 : 0));
      f.return(i64.const(-1));
    };
    f.if(i32.or(i32.eq(mode, i32.const(3)), i64.eqz(kind)), () => {
      f.if(i64.ne(i64.shrU(va, i64.const(56)), i64.const(0)), () => fail(true), undefined, 'unlikely');
      f.return(va);
    });
    // satp.MODE 8, 9, 10: 3, 4, 5 levels; the address is sign-extended from bit 9 * levels + 11.
    const level = f.local('i64');
    f.set(level, i64.sub(kind, i64.const(5)));
    const unused = f.let(i64.sub(i64.const(52), i64.mul(level.get, i64.const(9))));
    f.if(i64.ne(i64.shrS(i64.shl(va, unused), unused), va), () => fail(false), undefined, 'unlikely');
    const mstatus = f.let(u64(f, 'mstatus'));
    const menvcfg = f.let(u64(f, 'menvcfg'));
    const features = f.let(u64(f, 'features'));
    const pbmt = f.let(bit(f, menvcfg, 1n << 62n));
    const table = f.local('i64');
    f.set(table, i64.shl(i64.and(satp, i64.const((1n << 44n) - 1n)), i64.const(12)));
    // Pointers to tables found before: by 2 MiB to the last level's table, by 1 GiB to the one above (measured: half
    // the time of programs that touch many pages, bench/). They belong to an address space, like
    // the TLB, and are dropped by fences of more than a page (those of a page are of leaves alone).
    const cached = (shiftBy: number, offset: number): { slot: Ptr; tag: I64 } => {
      const index = i64.shl(i64.and(i64.shrU(va, i64.const(shiftBy)), i64.const(63)), i64.const(5));
      const slot = f.let(f.ptr.add(f.ptr.load(vcpu(f), at.walkBank), f.ptr.from64(i64.add(i64.const(offset), index))));
      return { slot, tag: f.let(i64.shrU(va, i64.const(shiftBy))) };
    };
    const last = cached(21, 0);
    const above = cached(30, WALK_CACHE_BYTES / 2);
    const epoch = f.let(i64.load(f.ptr.load(vcpu(f), at.shadow), shadowLayout.offset.epoch));
    const isGlobal = f.local('i64');
    f.set(isGlobal, i64.const(0));
    const isFound = ({ slot, tag }: { slot: Ptr; tag: I64 }): I32 =>
      i32.and(i64.eq(i64.load(slot), tag), i64.eq(i64.load(slot, 16), epoch));
    const resume = ({ slot }: { slot: Ptr }, at: number): void => {
      f.set(table, i64.and(i64.load(slot, 8), i64.const(-4096)));
      f.set(isGlobal, i64.and(i64.load(slot, 8), i64.const(1)));
      f.set(level, i64.const(at));
    };
    f.if(
      isFound(last),
      () => resume(last, 1),
      () => f.if(isFound(above), () => resume(above, 2)),
    );
    const pte = f.local('i64');
    const shift = f.local('i64');
    const pteHost = f.pointerLocal();
    const pteAddress = f.local('i64');
    // Page tables are the kernel's, whoever is translated for.
    const asKernel = (right: number, kind: number): void => {
      const [mode, needed] = [i32.const(1), i32.const(right)];
      checkFrame(f, { vcpu: vcpu(f), address: pteHost.get, mode, needed }, () => {
        f.call(forbid, vcpu(f), pteAddress.get, va, access, i32.const(1), i32.const(kind), pteHost.get);
        f.return(i64.const(-1));
      });
    };
    f.loop((descend) => {
      f.set(level, i64.sub(level.get, i64.const(1)));
      f.set(shift, i64.add(i64.mul(level.get, i64.const(9)), i64.const(12)));
      f.set(pteAddress, i64.or(table.get, i64.and(i64.shl(i64.shrU(va, shift.get), i64.const(3)), i64.const(0xff8))));
      f.if(
        i32.eqz(f.call(pmp, vcpu(f), pteAddress.get, i32.const(8), i32.const(ACCESS.load), i32.const(1)) as I32),
        () => fail(true),
        undefined,
        'unlikely',
      );
      f.set(pteHost, f.call(ram, vcpu(f), pteAddress.get, i32.const(0)) as Ptr);
      f.if(
        f.ptr.eqz(pteHost.get),
        () => {
          f.if(i32.load(vcpu(f), at.fault), () => f.return(i64.const(-1)));
          fail(true);
        },
        undefined,
        'unlikely',
      );
      asKernel(RIGHT.read, REACH.walk);
      f.loop((again) => {
        f.set(pte, f.atomicLoad('i64', pteHost.get, 0));
        const isInvalid = i32.or(
          i32.eqz(bit(f, pte.get, PTE.v)),
          i64.eq(i64.and(pte.get, i64.const(PTE.r | PTE.w)), i64.const(PTE.w)),
        );
        f.if(i32.or(isInvalid, bit(f, pte.get, PTE.reserved)), () => fail(false), undefined, 'unlikely');
        f.if(
          i32.and(
            bit(f, pte.get, PTE.pbmt),
            i32.or(i32.eqz(pbmt), i64.eq(i64.and(pte.get, i64.const(PTE.pbmt)), i64.const(PTE.pbmt))),
          ),
          () => fail(false),
          undefined,
          'unlikely',
        );
        f.if(
          i32.load(vcpu(f), at.shadowModel),
          () => {
            const number = f.convert('i32_wrap_i64', level.get);
            // Others may have written between the look at it and the beginning of notice.
            f.brIf(again, f.call(trackEntry, vcpu(f), pteHost.get, va, number) as I32);
          },
          undefined,
          'unlikely',
        );
        // A pointer's G holds for all below it.
        f.set(isGlobal, i64.or(isGlobal.get, i64.and(i64.shrU(pte.get, i64.const(5)), i64.const(1))));
        f.if(i32.eqz(bit(f, pte.get, PTE.r | PTE.x)), () => {
          // A pointer to the next level: A, D, U, N and PBMT are reserved in it.
          f.if(
            i32.or(i64.eqz(level.get), bit(f, pte.get, PTE.a | PTE.d | PTE.u | PTE.n | PTE.pbmt)),
            () => fail(false),
            undefined,
            'unlikely',
          );
          f.set(table, i64.and(i64.shl(pte.get, i64.const(2)), i64.const(((1n << 44n) - 1n) << 12n)));
          for (const [number, { slot, tag }] of [[1, last] as const, [2, above] as const]) {
            f.if(i64.eq(level.get, i64.const(number)), () => {
              i64.store(slot, 0, tag);
              i64.store(slot, 8, i64.or(table.get, isGlobal.get));
              i64.store(slot, 16, epoch);
            });
          }
          f.br(descend);
        });
        // A leaf: rights, alignment, A and D.
        const isUserPage = f.let(bit(f, pte.get, PTE.u));
        const denied = f.local('i32');
        f.if(
          mode,
          () => f.set(denied, i32.and(isUserPage, i32.or(i32.eqz(access), i32.eqz(bit(f, mstatus, SUM))))),
          () => f.set(denied, i32.eqz(isUserPage)),
        );
        const readable = i32.or(bit(f, pte.get, PTE.r), i32.and(bit(f, pte.get, PTE.x), bit(f, mstatus, MXR)));
        const permitted = f.select(
          i32.eq(access, i32.const(ACCESS.store)),
          bit(f, pte.get, PTE.w),
          f.select(access, readable, bit(f, pte.get, PTE.x)),
        );
        f.if(i32.or(denied.get, i32.eqz(permitted)), () => fail(false), undefined, 'unlikely');
        const below = f.let(i64.sub(i64.shl(i64.const(1), i64.sub(shift.get, i64.const(12))), i64.const(1)));
        const ppn = f.let(i64.and(i64.shrU(pte.get, i64.const(10)), i64.const((1n << 44n) - 1n)));
        f.if(i64.ne(i64.and(ppn, below), i64.const(0)), () => fail(false), undefined, 'unlikely');
        const napot = f.let(bit(f, pte.get, PTE.n));
        const napotBad = i32.or(
          i32.or(i64.ne(level.get, i64.const(0)), i32.eqz(bit(f, features, FEATURE.svnapot))),
          i64.ne(i64.and(ppn, i64.const(15)), i64.const(8)),
        );
        f.if(i32.and(napot, napotBad), () => fail(false), undefined, 'unlikely');
        const wanted = f.let(
          f.select(i32.eq(access, i32.const(ACCESS.store)), i64.const(PTE.a | PTE.d), i64.const(PTE.a)),
        );
        f.if(
          i64.ne(i64.and(pte.get, wanted), wanted),
          () => {
            // Svadu updates in place (menvcfg.ADUE), Svade faults.
            f.if(i32.eqz(bit(f, menvcfg, 1n << 61n)), () => fail(false));
            f.if(
              i32.eqz(f.call(pmp, vcpu(f), pteAddress.get, i32.const(8), i32.const(ACCESS.store), i32.const(1)) as I32),
              () => fail(true),
            );
            // Perhaps another frame now: the page's own.
            f.set(pteHost, f.call(ram, vcpu(f), pteAddress.get, i32.const(1)) as Ptr);
            f.if(f.ptr.eqz(pteHost.get), () => {
              f.if(i32.load(vcpu(f), at.fault), () => f.return(i64.const(-1)));
              fail(true);
            });
            asKernel(RIGHT.write, REACH.update);
            const found = f.atomicCompareExchange(pteHost.get, 0, 8, pte.get, i64.or(pte.get, wanted));
            f.brIf(again, i64.ne(found, pte.get));
            // Of translations, it makes none untrue.
            f.call(library.get('code_written'), vcpu(f), pteHost.get, i32.const(8));
          },
          undefined,
          'unlikely',
        );
        i32.store(vcpu(f), at.leafSize, sizeNumber(f, f.convert('i32_wrap_i64', level.get), napot));
        i32.store(vcpu(f), at.leafGlobal, f.convert('i32_wrap_i64', isGlobal.get));
        i64.store(vcpu(f), at.leafAt, f.ptr.to64(pteHost.get));
        const page = f.let(
          f.select(
            napot,
            i64.or(i64.and(ppn, i64.const(-16)), i64.and(i64.shrU(va, i64.const(12)), i64.const(15))),
            i64.or(ppn, i64.and(i64.shrU(va, i64.const(12)), below)),
          ),
        );
        // Of a NAPOT range, this page alone: the PTEs of the others are their own, and may differ.
        const number = i64.shl(f.select(napot, page, ppn), i64.const(10));
        const rights = i64.and(i64.or(pte.get, wanted), i64.const(0x3ffn));
        i64.store(vcpu(f), at.leafPte, i64.or(number, rights));
        f.return(i64.or(i64.shl(page, i64.const(12)), i64.and(va, i64.const(0xfff))));
      });
    });
    f.unreachable();
  });

  // host_address(vcpu, va, bytes, access): for an access within one page. 0: see `fault`; where that is none, the
  // address is a device's and exitGpa holds it. Fills the read or write buffer.
  defineBuffers(module, library);
  declare('set_banks', [P], []);
  defineShadowTable(module, library);
  module.define(host, (f) => {
    const { i32, i64 } = f;
    const va = f.param<I64>(1).get;
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
      i32.and(
        i32.and(i32.eq(mode.get, i32.const(3)), i32.ne(access, i32.const(ACCESS.fetch))),
        bit(f, mstatus, 1n << 17n),
      ),
      () => {
        f.set(mode, i32.and(f.convert('i32_wrap_i64', i64.shrU(mstatus, i64.const(11))), i32.const(3)));
      },
    );
    const gpa = f.let(f.call(library.get('shadow_translate'), vcpu(f), va, access, mode.get) as I64);
    f.if(i64.eq(gpa, i64.const(-1)), () => f.return(f.ptr.const(0)), undefined, 'unlikely');
    const right = f.let(f.call(pmp, vcpu(f), gpa, f.param<I32>(2).get, access, mode.get) as I32);
    f.if(
      i32.eqz(right),
      () => {
        f.call(fault, vcpu(f), access, va, i32.const(1));
        f.return(f.ptr.const(0));
      },
      undefined,
      'unlikely',
    );
    const address = f.let(f.call(ram, vcpu(f), gpa, i32.eq(access, i32.const(ACCESS.store))) as Ptr);
    f.if(
      f.ptr.eqz(address),
      () => {
        i64.store(vcpu(f), at.exitGpa, gpa);
        f.if(i32.and(i32.eqz(i32.load(vcpu(f), at.fault)), i32.eqz(access)), () => {
          f.call(fault, vcpu(f), access, va, i32.const(1));
        });
        f.return(f.ptr.const(0));
      },
      undefined,
      'unlikely',
    );
    checkFrame(f, { vcpu: vcpu(f), address, mode: mode.get, needed: neededRight(f, access) }, () => {
      f.call(forbid, vcpu(f), gpa, va, access, mode.get, access, address);
      f.return(f.ptr.const(0));
    });
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
    f.if(i32.and(i32.and(isCacheable, i32.ne(access, i32.const(ACCESS.fetch))), i32.eqz(isCode.get)), () => {
      const delta = f.ptr.op('sub', f.ptr.op('and', address, f.ptr.const(-4096)), f.ptr.from64(page));
      f.call(library.get('buffer_place'), bank(), page, delta);
    });
    f.return(address);
  });

  const load = declare('load_slow', [P, 'i64', 'i32'], ['i64']);
  module.define(load, (f) => defineLoad(f, host, fault, load));
  const store = declare('store_slow', [P, 'i64', 'i32', 'i64'], []);
  module.define(store, (f) => defineStore(f, host, fault, written));
  defineContext(module, library);
  defineTracking(module, library, trackEntry);
  defineAtomics(module, library, { host, fault, written });
}

/** The number of a leaf's size: of a level's pages, or of a NAPOT range. */
function sizeNumber(f: FunctionBuilder, level: I32, napot: I32): I32 {
  const { i32 } = f;
  const numberOf = (shift: (typeof PAGE_SHIFTS)[number]): number => PAGE_SHIFTS.indexOf(shift);
  const larger = i32.add(level, i32.const(numberOf(21) - 1));
  return f.select(napot, i32.const(numberOf(16)), f.select(level, larger, i32.const(numberOf(12))));
}
