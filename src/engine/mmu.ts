/**
 * The MMU in generated Wasm: page walks (Sv39, Sv48, Sv57; Svnapot, Svpbmt, Svade, Svadu), physical memory
 * protection, the guest-physical map, and the slow paths of loads, stores and fetches that fill the translation
 * buffers. Privileged specification, chapters "Supervisor-Level ISA" (address translation) and "Machine-Level ISA"
 * (PMP). The reference machine's walk (isa/privileged/walk.ts) is written independently of this one.
 *
 *   va --TLB hit--> host address
 *    \--miss--> host_address: walk -> pmp -> gpa map -> host address, TLB filled      (or fault, or mmio)
 */

import { must } from '../base/assert.ts';
import { FEATURE, hartState } from '../isa/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { GPA, headerLayout, PLAN } from './memory-plan.ts';
import { BANKS, EXIT, FAULT, MMIO_ANSWER, TLB_BANK_BYTES, TLB_ENTRIES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

export const ACCESS = { fetch: 0, load: 1, store: 2 } as const;
/** Zicboz and Zicbom work on blocks of this size. */
const CACHE_BLOCK_BYTES = 64;
const at = vcpuState.offset;

/** PTE bits. */
const PTE = {
  v: 1n,
  r: 2n,
  w: 4n,
  x: 8n,
  u: 16n,
  a: 64n,
  d: 128n,
  n: 1n << 63n,
  pbmt: 3n << 61n,
  reserved: 0x7fn << 54n,
} as const;
const SUM = 1n << 18n;
const MXR = 1n << 19n;

/** Names of the functions defined here, all of which take the vCPU's block first. */
export function defineMmu(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = (
    name: string,
    params: readonly ('i32' | 'i64')[],
    results: readonly ('i32' | 'i64')[],
  ): FunctionRef => {
    const ref = module.declare(name, params, results);
    library.set(name, ref);
    return ref;
  };
  const fault = declare('page_fault', [P, 'i32', 'i64', 'i32'], []);
  const allocate = declare('allocate_page', [P, P], ['i32']);
  const ram = declare('ram', [P, 'i64', 'i32'], [P]);
  const pmp = declare('pmp', [P, 'i64', 'i32', 'i32', 'i32'], ['i32']);
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

  // allocate_page(vcpu, entry address): gives a RAM page its frame at first touch; 0 when memory is exhausted.
  module.define(allocate, (f) => {
    const entry = f.param<Ptr>(1).get;
    const header = f.ptr.const(PLAN.header);
    const old = f.atomicLoad('i32', entry, 0);
    const number = f.atomicRmw('add', header, headerLayout.offset.frameNext, 4, f.i32.const(1));
    f.if(
      f.i32.geU(number, f.i32.load(header, headerLayout.offset.frameLimit)),
      () => {
        f.atomicRmw('sub', header, headerLayout.offset.frameNext, 4, f.i32.const(1));
        f.return(f.i32.const(0));
      },
      undefined,
      'unlikely',
    );
    const fresh = f.let(
      f.i32.or(f.i32.shl(number, f.i32.const(8)), f.i32.or(f.i32.and(old, f.i32.const(255)), f.i32.const(GPA.present))),
    );
    const found = f.atomicCompareExchange(entry, 0, 4, old, fresh);
    // Another vCPU was faster: its frame stands, and ours is given up (a race this rare may cost a frame).
    f.return(f.select(f.i32.eq(found, old), fresh, found));
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
    f.if(i32.eqz(i32.and(value.get, i32.const(GPA.present))), () => {
      f.if(i32.eqz(i32.and(value.get, i32.const(GPA.ram))), () => f.return(f.ptr.const(0)));
      f.set(value, f.call(allocate, vcpu(f), entry) as I32);
      f.if(i32.eqz(value.get), () => {
        i32.store(vcpu(f), at.fault, i32.const(FAULT.leave));
        i32.store(vcpu(f), at.exitKind, i32.const(EXIT.memoryFull));
        f.return(f.ptr.const(0));
      });
    });
    f.if(i32.and(i32.ne(f.param<I32>(2).get, i32.const(0)), i32.and(value.get, i32.const(GPA.readOnly))), () =>
      f.return(f.ptr.const(0)),
    );
    const frame = f.ptr.op('shl', f.ptr.from32(i32.shrU(value.get, i32.const(8))), f.ptr.const(12));
    f.return(f.ptr.add(frame, f.ptr.from64(i64.and(gpa, i64.const(0xfff)))));
  });

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
    const pte = f.local('i64');
    const shift = f.local('i64');
    const pteHost = f.pointerLocal();
    const pteAddress = f.local('i64');
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
        f.if(i32.eqz(bit(f, pte.get, PTE.r | PTE.x)), () => {
          // A pointer to the next level: A, D, U, N and PBMT are reserved in it.
          f.if(
            i32.or(i64.eqz(level.get), bit(f, pte.get, PTE.a | PTE.d | PTE.u | PTE.n | PTE.pbmt)),
            () => fail(false),
            undefined,
            'unlikely',
          );
          f.set(table, i64.and(i64.shl(pte.get, i64.const(2)), i64.const(((1n << 44n) - 1n) << 12n)));
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
            f.if(f.ptr.eqz(f.call(ram, vcpu(f), pteAddress.get, i32.const(1)) as Ptr), () => fail(true));
            const found = f.atomicCompareExchange(pteHost.get, 0, 8, pte.get, i64.or(pte.get, wanted));
            f.brIf(again, i64.ne(found, pte.get));
            f.call(written, vcpu(f), pteHost.get, i32.const(8));
          },
          undefined,
          'unlikely',
        );
        const page = f.let(
          f.select(
            napot,
            i64.or(i64.and(ppn, i64.const(-16)), i64.and(i64.shrU(va, i64.const(12)), i64.const(15))),
            i64.or(ppn, i64.and(i64.shrU(va, i64.const(12)), below)),
          ),
        );
        f.return(i64.or(i64.shl(page, i64.const(12)), i64.and(va, i64.const(0xfff))));
      });
    });
    f.unreachable();
  });

  // host_address(vcpu, va, bytes, access): for an access within one page. 0: see `fault`; where that is none, the
  // address is a device's and exitGpa holds it. Fills the read or write buffer.
  module.define(host, (f) => {
    const { i32, i64 } = f;
    const va = f.param<I64>(1).get;
    const access = f.param<I32>(3).get;
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
    const gpa = f.let(f.call(walk, vcpu(f), va, access, mode.get) as I64);
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
    i32.store(vcpu(f), at.cacheable, i32.eq(right, i32.const(1)));
    const isStore = f.let(i32.eq(access, i32.const(ACCESS.store)));
    // A frame that holds decoded code keeps its writes on the slow path, where they are noticed.
    const frame = f.ptr.op('shl', f.ptr.op('shr_u', address, f.ptr.const(12)), f.ptr.const(2));
    const isCode = i32.and(isStore, i32.ne(i32.load(frame, PLAN.frameTable), i32.const(0)));
    f.if(
      i32.and(i32.and(i32.eq(right, i32.const(1)), i32.ne(access, i32.const(ACCESS.fetch))), i32.eqz(f.let(isCode))),
      () => {
        const bank = f.select(isStore, f.ptr.load(vcpu(f), at.writeBank), f.ptr.load(vcpu(f), at.readBank));
        const page = f.let(i64.and(va, i64.const(-4096)));
        const entry = f.let(
          f.ptr.add(bank, f.ptr.from64(i64.and(i64.shrU(va, i64.const(8)), i64.const((TLB_ENTRIES - 1) * 16)))),
        );
        i64.store(entry, 0, page);
        f.ptr.store(entry, 8, f.ptr.op('sub', f.ptr.op('and', address, f.ptr.const(-4096)), f.ptr.from64(page)));
      },
    );
    f.return(address);
  });

  const load = declare('load_slow', [P, 'i64', 'i32'], ['i64']);
  module.define(load, (f) => defineLoad(f, host, fault, load));
  const store = declare('store_slow', [P, 'i64', 'i32', 'i64'], []);
  module.define(store, (f) => defineStore(f, host, fault, written));
  defineContext(module, declare);
  defineAtomics(module, declare, { host, fault, written });
}

/** Sixteen entries, lowest number first; the first that matches any byte decides. Smepmp's rules are in mseccfg. */
function definePmp(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const gpa = f.param<I64>(1).get;
  const bytes = f.param<I32>(2).get;
  const access = f.param<I32>(3).get;
  const mode = f.param<I32>(4).get;
  const end = f.let(i64.add(gpa, f.convert('i64_extend_i32_u', bytes)));
  const pageStart = f.let(i64.and(gpa, i64.const(-4096)));
  const pageEnd = f.let(i64.add(pageStart, i64.const(4096)));
  const uniform = f.local('i32');
  f.set(uniform, i32.const(1));
  const mseccfg = f.let(f.convert('i32_wrap_i64', i64.load(vcpu, at.mseccfg)));
  const isMachine = f.let(i32.eq(mode, i32.const(3)));
  const previous = f.local('i64');
  const index = f.local('i32');
  const cfgs = f.local('i64');
  f.set(cfgs, i64.load(vcpu, at.pmpcfg0));
  f.block((none) => {
    f.loop((nextEntry) => {
      const cfg = f.let(i32.and(f.convert('i32_wrap_i64', cfgs.get), i32.const(255)));
      const kind = f.let(i32.and(i32.shrU(cfg, i32.const(3)), i32.const(3)));
      const address = f.let(
        i64.load(f.ptr.add(vcpu, f.ptr.from32(i32.shl(index.get, i32.const(3)))), hartState.offset.pmpaddr0),
      );
      f.if(kind, () => {
        const low = f.local('i64');
        const high = f.local('i64');
        const scaled = f.let(i64.shl(address, i64.const(2)));
        f.if(
          i32.eq(kind, i32.const(1)),
          () => {
            f.set(low, i64.shl(previous.get, i64.const(2)));
            f.set(high, scaled);
          },
          () => {
            f.set(low, scaled);
            f.set(high, i64.add(scaled, i64.const(4)));
            f.if(i32.eq(kind, i32.const(3)), () => {
              // NAPOT: the trailing ones, and the zero above them, are the size.
              const mask = f.let(
                i64.or(i64.shl(i64.xor(address, i64.add(address, i64.const(1))), i64.const(2)), i64.const(3)),
              );
              f.set(low, i64.and(scaled, i64.xor(mask, i64.const(-1))));
              f.set(high, i64.add(i64.add(low.get, mask), i64.const(1)));
            });
          },
        );
        f.if(i32.and(i64.ltU(low.get, pageEnd), i64.ltU(pageStart, high.get)), () => {
          f.if(i32.or(i64.ltU(pageStart, low.get), i64.ltU(high.get, pageEnd)), () => f.set(uniform, i32.const(2)));
        });
        f.if(i32.and(i64.ltU(low.get, end), i64.ltU(gpa, high.get)), () => {
          f.if(i32.or(i64.ltU(gpa, low.get), i64.ltU(high.get, end)), () => f.return(i32.const(0)));
          const rights = f.let(pmpRights(f, cfg, mseccfg, isMachine));
          // Bits of rights: 1 read, 2 write, 4 execute, as in pmpcfg.
          const needed = f.select(
            i32.eq(access, i32.const(ACCESS.store)),
            i32.const(2),
            f.select(access, i32.const(1), i32.const(4)),
          );
          f.return(f.select(i32.and(rights, needed), uniform.get, i32.const(0)));
        });
      });
      f.set(previous, address);
      f.set(index, i32.add(index.get, i32.const(1)));
      f.brIf(none, i32.eq(index.get, i32.const(16)));
      f.set(
        cfgs,
        f.select(i32.eq(index.get, i32.const(8)), i64.load(vcpu, at.pmpcfg2), i64.shrU(cfgs.get, i64.const(8))),
      );
      f.br(nextEntry);
    });
  });
  // No entry matches: machine mode may, unless MMWP, and with MML only read and write; others may not.
  const mml = i32.and(mseccfg, i32.const(1));
  const mmwp = i32.and(i32.shrU(mseccfg, i32.const(1)), i32.const(1));
  const machineMay = i32.and(i32.eqz(mmwp), i32.or(i32.eqz(mml), i32.ne(access, i32.const(ACCESS.fetch))));
  f.return(f.select(i32.and(isMachine, machineMay), uniform.get, i32.const(0)));
}

/** What entry `cfg` lets the mode do: bits R 1, W 2, X 4. Smepmp, table 1, where mseccfg.MML is set. */
function pmpRights(f: FunctionBuilder, cfg: I32, mseccfg: I32, isMachine: I32): I32 {
  const { i32 } = f;
  const locked = f.let(i32.shrU(cfg, i32.const(7)));
  const rwx = f.let(i32.and(cfg, i32.const(7)));
  const out = f.local('i32');
  f.if(
    i32.eqz(i32.and(mseccfg, i32.const(1))),
    () => f.set(out, f.select(i32.and(isMachine, i32.eqz(locked)), i32.const(7), rwx)),
    () => {
      const isShared = i32.eq(i32.and(rwx, i32.const(3)), i32.const(2));
      f.if(
        isShared,
        () => {
          const hasX = i32.shrU(rwx, i32.const(2));
          // Unlocked W: M read-write, S/U read (or read-write with X). Locked W: execute for both; with X M reads too.
          const unlocked = f.select(i32.or(isMachine, hasX), i32.const(3), i32.const(1));
          const lockedRights = f.select(i32.and(isMachine, hasX), i32.const(5), i32.const(4));
          f.set(out, f.select(locked, lockedRights, unlocked));
        },
        () => {
          // Locked entries are machine mode's alone, the others are not machine mode's; locked RWX is read-only for both.
          const own = f.select(i32.eq(locked, isMachine), rwx, i32.const(0));
          f.set(out, f.select(i32.and(locked, i32.eq(rwx, i32.const(7))), i32.const(1), own));
        },
      );
    },
  );
  return out.get;
}

function defineLoad(f: FunctionBuilder, host: FunctionRef, fault: FunctionRef, self: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const bytes = f.param<I32>(2).get;
  const offset = f.let(i32.and(f.convert('i32_wrap_i64', va), i32.const(0xfff)));
  f.if(
    i32.gtU(i32.add(offset, bytes), i32.const(4096)),
    () => {
      // Two pages: byte by byte. A device there is a fault: no device is split in half.
      const out = f.local('i64');
      const i = f.local('i32');
      f.while(
        () => i32.ltU(i.get, bytes),
        () => {
          const wide = f.convert('i64_extend_i32_u', i.get);
          const byte = f.let(f.call(self, vcpu, i64.add(va, wide), i32.const(1)) as I64);
          f.if(i32.load(vcpu, at.fault), () => {
            f.if(i32.eq(i32.load(vcpu, at.exitKind), i32.const(EXIT.mmio)), () => {
              f.if(i32.eq(i32.load(vcpu, at.fault), i32.const(FAULT.leave)), () =>
                f.call(fault, vcpu, i32.const(ACCESS.load), i64.add(va, wide), i32.const(1)),
              );
            });
            f.return(i64.const(0));
          });
          f.set(out, i64.or(out.get, i64.shl(byte, i64.shl(wide, i64.const(3)))));
          f.set(i, i32.add(i.get, i32.const(1)));
        },
      );
      f.return(out.get);
    },
    undefined,
    'unlikely',
  );
  const address = f.let(f.call(host, vcpu, va, bytes, i32.const(ACCESS.load)) as Ptr);
  f.if(i32.eqz(f.ptr.eqz(address)), () => {
    f.if(i32.eq(bytes, i32.const(8)), () => f.return(i64.load(address)));
    f.if(i32.eq(bytes, i32.const(4)), () => f.return(i64.loadSized(address, 0, 4, false)));
    f.if(i32.eq(bytes, i32.const(2)), () => f.return(i64.loadSized(address, 0, 2, false)));
    f.return(i64.loadSized(address, 0, 1, false));
  });
  f.if(i32.load(vcpu, at.fault), () => f.return(i64.const(0)));
  // A device. The answer to an earlier exit of this instruction is consumed, else the engine is left.
  f.if(i32.and(offset, i32.sub(bytes, i32.const(1))), () => {
    f.call(fault, vcpu, i32.const(ACCESS.load), va, i32.const(1));
    f.return(i64.const(0));
  });
  f.if(i32.eq(i32.load(vcpu, at.mmioAnswer), i32.const(MMIO_ANSWER.read)), () => {
    i32.store(vcpu, at.mmioAnswer, i32.const(MMIO_ANSWER.none));
    f.return(i64.load(vcpu, at.exitValue));
  });
  leaveForDevice(f, vcpu, bytes, false);
  f.return(i64.const(0));
}

function defineStore(f: FunctionBuilder, host: FunctionRef, fault: FunctionRef, written: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const bytes = f.param<I32>(2).get;
  const value = f.param<I64>(3).get;
  const offset = f.let(i32.and(f.convert('i32_wrap_i64', va), i32.const(0xfff)));
  f.if(
    i32.gtU(i32.add(offset, bytes), i32.const(4096)),
    () => {
      // Two pages: both are translated before a byte is written. A device there is a fault.
      const firstBytes = f.let(i32.sub(i32.const(4096), offset));
      const second = f.let(i64.and(i64.add(va, i64.const(7)), i64.const(-4096)));
      const one = f.let(f.call(host, vcpu, va, firstBytes, i32.const(ACCESS.store)) as Ptr);
      const check = (address: Ptr, part: I64): void =>
        f.if(f.ptr.eqz(address), () => {
          f.if(i32.eqz(i32.load(vcpu, at.fault)), () =>
            f.call(fault, vcpu, i32.const(ACCESS.store), part, i32.const(1)),
          );
          f.return();
        });
      check(one, va);
      const two = f.let(f.call(host, vcpu, second, i32.sub(bytes, firstBytes), i32.const(ACCESS.store)) as Ptr);
      check(two, second);
      const i = f.local('i32');
      f.while(
        () => i32.ltU(i.get, bytes),
        () => {
          const to = f.select(
            i32.ltU(i.get, firstBytes),
            f.ptr.add(one, f.ptr.from32(i.get)),
            f.ptr.add(two, f.ptr.from32(i32.sub(i.get, firstBytes))),
          );
          i64.storeSized(to, 0, 1, i64.shrU(value, f.convert('i64_extend_i32_u', i32.shl(i.get, i32.const(3)))));
          f.set(i, i32.add(i.get, i32.const(1)));
        },
      );
      f.call(written, vcpu, one, firstBytes);
      f.call(written, vcpu, two, i32.sub(bytes, firstBytes));
      f.return();
    },
    undefined,
    'unlikely',
  );
  const address = f.let(f.call(host, vcpu, va, bytes, i32.const(ACCESS.store)) as Ptr);
  f.if(i32.eqz(f.ptr.eqz(address)), () => {
    for (const size of [8, 4, 2, 1])
      f.if(i32.eq(bytes, i32.const(size)), () => i64.storeSized(address, 0, size, value));
    f.call(written, vcpu, address, bytes);
    f.return();
  });
  f.if(i32.load(vcpu, at.fault), () => f.return());
  f.if(i32.and(offset, i32.sub(bytes, i32.const(1))), () => {
    f.call(fault, vcpu, i32.const(ACCESS.store), va, i32.const(1));
    f.return();
  });
  f.if(i32.eq(i32.load(vcpu, at.mmioAnswer), i32.const(MMIO_ANSWER.written)), () => {
    i32.store(vcpu, at.mmioAnswer, i32.const(MMIO_ANSWER.none));
    f.return();
  });
  i64.store(vcpu, at.exitValue, value);
  leaveForDevice(f, vcpu, bytes, true);
}

function leaveForDevice(f: FunctionBuilder, vcpu: Ptr, bytes: I32, isWrite: boolean): void {
  const { i32 } = f;
  i32.store(vcpu, at.exitBytes, bytes);
  i32.store(vcpu, at.exitIsWrite, i32.const(isWrite ? 1 : 0));
  i32.store(vcpu, at.exitKind, i32.const(EXIT.mmio));
  i32.store(vcpu, at.fault, i32.const(FAULT.leave));
}

type Declare = (name: string, params: readonly ('i32' | 'i64')[], results: readonly ('i32' | 'i64')[]) => FunctionRef;

/** context: chooses the banks for the mode and drops what satp, MXR or PMP changes made stale. flush_*: drop it. */
function defineContext(module: ModuleBuilder, declare: Declare): void {
  const P = module.pointerType;
  const flush = declare('flush_translation', [P], []);
  module.define(flush, (f) => {
    const vcpu = f.param<Ptr>(0).get;
    for (const tlb of ['readTlb', 'writeTlb', 'fetchTlb'] as const)
      f.memoryFill(f.ptr.add(vcpu, f.ptr.const(at[tlb])), f.i32.const(0xff), f.ptr.const(BANKS * TLB_BANK_BYTES));
  });
  module.define(declare('context', [P], []), (f) => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const mstatus = f.let(i64.load(vcpu, at.mstatus));
    const mode = f.let(f.convert('i32_wrap_i64', i64.load(vcpu, at.mode)));
    const satp = f.let(i64.load(vcpu, at.satp));
    const mxr = f.let(i64.and(mstatus, i64.const(MXR)));
    f.if(i32.or(i64.ne(satp, i64.load(vcpu, at.seenSatp)), i64.ne(mxr, i64.load(vcpu, at.seenMxr))), () => {
      i64.store(vcpu, at.seenSatp, satp);
      i64.store(vcpu, at.seenMxr, mxr);
      f.call(flush, vcpu);
    });
    const isMprv = i32.and(i32.eq(mode, i32.const(3)), i64.ne(i64.and(mstatus, i64.const(1n << 17n)), i64.const(0)));
    const mpp = i32.and(f.convert('i32_wrap_i64', i64.shrU(mstatus, i64.const(11))), i32.const(3));
    const data = f.let(f.select(isMprv, mpp, mode));
    const sum = i64.ne(i64.and(mstatus, i64.const(SUM)), i64.const(0));
    const bank = f.let(
      f.ptr.from32(
        i32.mul(f.select(i32.eq(data, i32.const(1)), i32.add(i32.const(1), sum), data), i32.const(TLB_BANK_BYTES)),
      ),
    );
    f.ptr.store(vcpu, at.readBank, f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.readTlb)), bank));
    f.ptr.store(vcpu, at.writeBank, f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.writeTlb)), bank));
    f.ptr.store(
      vcpu,
      at.fetchBank,
      f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.fetchTlb)), f.ptr.from32(i32.mul(mode, i32.const(TLB_BANK_BYTES)))),
    );
  });
}

/** LR, SC, AMOs and cache-block operations, on host addresses. Misaligned ones trap (cause 4 or 6). */
function defineAtomics(
  module: ModuleBuilder,
  declare: Declare,
  fns: { host: FunctionRef; fault: FunctionRef; written: FunctionRef },
): void {
  const P = module.pointerType;
  /** The host address of an aligned, atomic access, or a return of 0 with the fault recorded. */
  const locate = (f: FunctionBuilder, size: number, access: number): Ptr => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const va = f.param<I64>(1).get;
    f.if(
      i64.ne(i64.and(va, i64.const(size - 1)), i64.const(0)),
      () => {
        i64.store(vcpu, at.faultCause, i64.const(access === ACCESS.load ? 4 : 6));
        i64.store(vcpu, at.faultTval, va);
        i32.store(vcpu, at.fault, i32.const(FAULT.trap));
        f.return(i64.const(0));
      },
      undefined,
      'unlikely',
    );
    const address = f.let(f.call(fns.host, vcpu, va, i32.const(size), i32.const(access)) as Ptr);
    f.if(
      f.ptr.eqz(address),
      () => {
        // Atomics reach memory only.
        f.if(i32.eqz(i32.load(vcpu, at.fault)), () => f.call(fns.fault, vcpu, i32.const(access), va, i32.const(1)));
        f.return(i64.const(0));
      },
      undefined,
      'unlikely',
    );
    return address;
  };
  const narrow = (f: FunctionBuilder, size: number, value: I64): I64 =>
    size === 8 ? value : (f.unary('i64', size === 4 ? 0xc4 : size === 2 ? 0xc3 : 0xc2, value) as I64);

  for (const size of [4, 8] as const) {
    module.define(declare(`lr${size}`, [P, 'i64'], ['i64']), (f) => {
      const vcpu = f.param<Ptr>(0).get;
      const address = locate(f, size, ACCESS.load);
      const value = f.let(
        size === 8 ? f.atomicLoad('i64', address, 0) : f.convert('i64_extend_i32_s', f.atomicLoad('i32', address, 0)),
      );
      f.i64.store(vcpu, at.reservationAddress, f.ptr.to64(address));
      f.i64.store(vcpu, at.reservationSize, f.i64.const(size));
      f.i64.store(vcpu, at.reservationValue, value);
      f.return(value);
    });
    module.define(declare(`sc${size}`, [P, 'i64', 'i64'], ['i64']), (f) => {
      const { i32, i64 } = f;
      const vcpu = f.param<Ptr>(0).get;
      const address = locate(f, size, ACCESS.store);
      const reserved = i32.and(
        i64.eq(i64.load(vcpu, at.reservationAddress), f.ptr.to64(address)),
        i64.eq(i64.load(vcpu, at.reservationSize), i64.const(size)),
      );
      f.if(
        f.let(reserved),
        () => {
          i64.store(vcpu, at.reservationSize, i64.const(0));
          const expected = i64.load(vcpu, at.reservationValue);
          const mask = i64.const(size === 8 ? -1 : 0xffffffff);
          const found = f.let(
            f.atomicCompareExchange(address, 0, size, i64.and(expected, mask), i64.and(f.param<I64>(2).get, mask)),
          );
          f.if(i64.eq(narrow(f, size, found), expected), () => {
            f.call(fns.written, vcpu, address, i32.const(size));
            f.return(i64.const(0));
          });
        },
        () => i64.store(vcpu, at.reservationSize, i64.const(0)),
      );
      f.return(i64.const(1));
    });
  }
  for (const size of [1, 2, 4, 8] as const) {
    for (const operation of ['swap', 'add', 'xor', 'and', 'or', 'min', 'max', 'minu', 'maxu'] as const) {
      module.define(declare(`amo_${operation}${size}`, [P, 'i64', 'i64'], ['i64']), (f) => {
        const { i32, i64 } = f;
        const vcpu = f.param<Ptr>(0).get;
        const value = f.param<I64>(2).get;
        const address = locate(f, size, ACCESS.store);
        const old = f.local('i64');
        if (
          operation === 'swap' ||
          operation === 'add' ||
          operation === 'xor' ||
          operation === 'and' ||
          operation === 'or'
        ) {
          f.set(old, f.atomicRmw(operation === 'swap' ? 'xchg' : operation, address, 0, size, value));
        } else {
          const signed = operation === 'min' || operation === 'max';
          const mask = (v: I64): I64 => (size === 8 ? v : i64.and(v, i64.const(2 ** (size * 8) - 1)));
          f.loop((again) => {
            f.set(old, i64.loadSized(address, 0, size, false));
            const a = f.let(signed ? narrow(f, size, old.get) : mask(old.get));
            const b = f.let(signed ? narrow(f, size, value) : mask(value));
            const less = signed ? i64.ltS(a, b) : i64.ltU(a, b);
            const chosen = operation.startsWith('min') ? f.select(less, a, b) : f.select(less, b, a);
            const found = f.atomicCompareExchange(address, 0, size, mask(old.get), mask(chosen));
            f.brIf(again, i64.ne(found, mask(old.get)));
          });
        }
        f.call(fns.written, vcpu, address, i32.const(size));
        f.return(narrow(f, size, old.get));
      });
    }
  }
  // cbo.zero: the block of 64 bytes; cbo.clean, flush, inval: only the access check (of a load or a store).
  module.define(declare('zero_block', [P, 'i64'], []), (f) => {
    const vcpu = f.param<Ptr>(0).get;
    const va = f.let(f.i64.and(f.param<I64>(1).get, f.i64.const(-CACHE_BLOCK_BYTES)));
    const address = f.let(f.call(fns.host, vcpu, va, f.i32.const(CACHE_BLOCK_BYTES), f.i32.const(ACCESS.store)) as Ptr);
    f.if(f.ptr.eqz(address), () => {
      f.if(f.i32.eqz(f.i32.load(vcpu, at.fault)), () =>
        f.call(fns.fault, vcpu, f.i32.const(ACCESS.store), f.param<I64>(1).get, f.i32.const(1)),
      );
      f.if(f.i32.eq(f.i32.load(vcpu, at.fault), f.i32.const(FAULT.trap)), () =>
        f.i64.store(vcpu, at.faultTval, f.param<I64>(1).get),
      );
      f.return();
    });
    f.memoryFill(address, f.i32.const(0), f.ptr.const(CACHE_BLOCK_BYTES));
    f.call(fns.written, vcpu, address, f.i32.const(CACHE_BLOCK_BYTES));
  });
  module.define(declare('touch_block', [P, 'i64'], []), (f) => {
    const { i32 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const va = f.param<I64>(1).get;
    // Permitted if a load or a store is; the fault, if any, is a store's (Zicbom).
    const address = f.let(f.call(fns.host, vcpu, va, i32.const(1), i32.const(ACCESS.load)) as Ptr);
    f.if(i32.and(f.ptr.eqz(address), i32.eq(i32.load(vcpu, at.fault), i32.const(FAULT.trap))), () => {
      i32.store(vcpu, at.fault, i32.const(FAULT.none));
      f.call(fns.host, vcpu, va, i32.const(1), i32.const(ACCESS.store));
    });
  });
}
