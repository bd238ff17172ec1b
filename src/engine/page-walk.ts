/**
 * Page walks in generated Wasm: Sv39, Sv48, Sv57 and their guest stage's x4 forms, with Svnapot, Svpbmt, Svade, Svadu.
 * Privileged specification, "Supervisor-Level ISA" and "Two-Stage Address Translation". One description, three functions:
 *
 *   walk           va --satp--> physical address                     (V=0)
 *   walk_guest     guest-physical address --hgatp--> physical address
 *   walk_virtual   va --vsatp--> guest-physical address --walk_guest--> physical address; so is each of its page tables
 *
 * The reference machine's walk (isa/privileged/walk.ts) is written independently of this one.
 */
import { FEATURE } from '../isa/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, Label, Local, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { PTE } from './page-table.ts';
import { checkFrame, REACH } from './protection-code.ts';
import { RIGHT } from './protection-tables.ts';
import { PAGE_SHIFTS } from './shadow-layout.ts';
import { isVirtual } from './status-areas.ts';
import { TableCache } from './table-cache.ts';
import { vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const SUM = 1n << 18n;
const MXR = 1n << 19n;
const PBMTE = 1n << 62n;
const ADUE = 1n << 61n;
const PPN = (1n << 44n) - 1n;
/** Why a page table of the first stage is reached: the pseudoinstructions of htinst tell it. */
export const IMPLICIT = { none: 0, read: 1, write: 2 } as const;
/** Numbers of sizes: of a NAPOT range; beyond all others, of what is not translated. */
const NAPOT = PAGE_SHIFTS.indexOf(16);
const UNTRANSLATED = PAGE_SHIFTS.length;
/** Rights of what is not translated. */
const ALL_RIGHTS = PTE.v | PTE.r | PTE.w | PTE.x | PTE.u | PTE.a | PTE.d;

type Stage = 'supervisor' | 'virtual' | 'guest';

interface Functions {
  readonly fault: FunctionRef;
  readonly guestFault: FunctionRef;
  readonly ram: FunctionRef;
  readonly forbid: FunctionRef;
  readonly pmp: FunctionRef;
  readonly trackEntry: FunctionRef;
  readonly codeWritten: FunctionRef;
  readonly guest: FunctionRef;
}

/**
 * walk(vcpu, va, access, mode) -> physical address; mode: 0, 1 or 3.
 * walk_guest(vcpu, gpa, access, va, origin, implicit, isHlvx): `access` is what must be allowed; what faults is the access
 * `origin` to va, for which the guest-physical address is reached (IMPLICIT).
 * walk_virtual(vcpu, va, access, mode, isHlvx); mode: 0 or 1.
 * All give -1 with the fault recorded, and leave the leaf behind (leafPte, leafSize ...; walk_guest: guestPte, guestSize).
 */
export function definePageWalks(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const walk = library.get('walk');
  const guest = declare('walk_guest', [P, 'i64', 'i32', 'i64', 'i32', 'i32', 'i32'], ['i64']);
  const virtual = declare('walk_virtual', [P, 'i64', 'i32', 'i32', 'i32'], ['i64']);
  const functions: Functions = {
    fault: library.get('page_fault'),
    guestFault: library.get('guest_page_fault'),
    ram: library.get('ram'),
    forbid: library.get('forbid'),
    pmp: library.get('pmp'),
    trackEntry: library.get('track_entry'),
    codeWritten: library.get('code_written'),
    guest,
  };
  module.define(walk, (f) => new Walk(f, 'supervisor', functions).build());
  module.define(guest, (f) => new Walk(f, 'guest', functions).build());
  module.define(virtual, (f) => new Walk(f, 'virtual', functions).build());
}

class Walk {
  readonly #f: FunctionBuilder;
  readonly #stage: Stage;
  readonly #to: Functions;
  readonly #vcpu: Ptr;
  /** What is translated: of stage `guest` a guest-physical address. */
  readonly #address: I64;
  /** What must be allowed, and what faults if it is not: an access to that virtual address. */
  readonly #access: I32;
  readonly #origin: I32;
  readonly #va: I64;
  readonly #table: Local<I64>;
  readonly #level: Local<I64>;
  readonly #shift: Local<I64>;
  readonly #isGlobal: Local<I64>;
  readonly #pte: Local<I64>;
  readonly #pteAddress: Local<I64>;
  readonly #pteHost: Local<Ptr>;

  constructor(f: FunctionBuilder, stage: Stage, to: Functions) {
    this.#f = f;
    this.#stage = stage;
    this.#to = to;
    this.#vcpu = f.param<Ptr>(0).get;
    this.#address = f.param<I64>(1).get;
    this.#access = f.param<I32>(2).get;
    this.#va = stage === 'guest' ? f.param<I64>(3).get : this.#address;
    this.#origin = stage === 'guest' ? f.param<I32>(4).get : this.#access;
    this.#level = f.local('i64');
    this.#table = f.local('i64');
    this.#isGlobal = f.local('i64');
    this.#pte = f.local('i64');
    this.#shift = f.local('i64');
    this.#pteHost = f.pointerLocal();
    this.#pteAddress = f.local('i64');
  }

  build(): void {
    const f = this.#f;
    const { i32, i64 } = f;
    const root = f.let(this.#root());
    const kind = f.let(i64.shrU(root, i64.const(60)));
    this.#whenBare(kind);
    // MODE 8, 9, 10: 3, 4, 5 levels.
    f.set(this.#level, i64.sub(kind, i64.const(5)));
    this.#checkRange();
    const allows = this.#environment();
    f.set(this.#table, i64.shl(i64.and(root, i64.const(PPN)), i64.const(12)));
    f.set(this.#isGlobal, i64.const(0));
    // A guest's root is four times as large.
    const mask = this.#stage === 'guest' ? f.local('i64') : undefined;
    if (mask) f.set(mask, i64.const(4 * 4096 - 8));
    const cache = this.#cache();
    cache?.resume((table, isGlobal, level) => {
      f.set(this.#table, table);
      f.set(this.#isGlobal, isGlobal);
      f.set(this.#level, i64.const(level));
    });
    f.loop((descend) => {
      f.set(this.#level, i64.sub(this.#level.get, i64.const(1)));
      f.set(this.#shift, i64.add(i64.mul(this.#level.get, i64.const(9)), i64.const(12)));
      const index = i64.shl(i64.shrU(this.#address, this.#shift.get), i64.const(3));
      f.set(this.#pteAddress, i64.or(this.#table.get, i64.and(index, mask?.get ?? i64.const(4096 - 8))));
      const physical = cache?.reach(this.#pteAddress.get, this.#level.get, this.#isGlobal.get);
      this.#reach(physical ?? this.#pteAddress.get, 'read');
      f.loop((again) => {
        f.set(this.#pte, f.atomicLoad('i64', this.#pteHost.get, 0));
        this.#checkEntry(allows.pbmt);
        if (this.#stage === 'supervisor') this.#track(again);
        // A pointer's G holds for all below it.
        const global = i64.and(i64.shrU(this.#pte.get, i64.const(5)), i64.const(1));
        if (this.#stage !== 'guest') f.set(this.#isGlobal, i64.or(this.#isGlobal.get, global));
        f.if(i32.eqz(this.#has(PTE.r | PTE.x)), () => {
          // A pointer to the next level: A, D, U, N and PBMT are reserved in it.
          const isReserved = this.#has(PTE.a | PTE.d | PTE.u | PTE.n | PTE.pbmt);
          this.#failIf(i32.or(i64.eqz(this.#level.get), isReserved));
          f.set(this.#table, i64.and(i64.shl(this.#pte.get, i64.const(2)), i64.const(PPN << 12n)));
          if (mask) f.set(mask, i64.const(4096 - 8));
          cache?.found(this.#level.get, this.#table.get, this.#isGlobal.get);
          f.br(descend);
        });
        this.#leaf(allows.update, again);
      });
    });
    f.unreachable();
  }

  #u64(field: 'mstatus' | 'menvcfg' | 'henvcfg' | 'hgatp' | 'features'): I64 {
    return this.#f.i64.load(this.#vcpu, at[field]);
  }
  #bit(value: I64, mask: bigint): I32 {
    const { i64 } = this.#f;
    return i64.ne(i64.and(value, i64.const(mask)), i64.const(0));
  }
  #has(bits: bigint): I32 {
    return this.#bit(this.#pte.get, bits);
  }

  #fail(isAccessFault: boolean): void {
    const f = this.#f;
    if (this.#stage === 'guest' && !isAccessFault) {
      const implicit = f.param<I32>(5).get;
      f.call(this.#to.guestFault, this.#vcpu, this.#origin, this.#va, this.#address, implicit);
    } else f.call(this.#to.fault, this.#vcpu, this.#origin, this.#va, f.i32.const(isAccessFault ? 1 : 0));
    f.return(f.i64.const(-1));
  }
  #failIf(condition: I32): void {
    this.#f.if(condition, () => this.#fail(false), undefined, 'unlikely');
  }

  #root(): I64 {
    const f = this.#f;
    if (this.#stage === 'guest') return this.#u64('hgatp');
    return f.i64.load(this.#vcpu, this.#stage === 'virtual' ? at.vsatp : at.satp);
  }

  /** Without translation an address is its own, if there may be such a one. */
  #whenBare(kind: I64): void {
    const f = this.#f;
    const { i32, i64 } = f;
    if (this.#stage === 'virtual') {
      // The next stage's page is this one's, for whichever mode asks.
      const mode = f.param<I32>(3).get;
      const pte = f.select(mode, i64.const(ALL_RIGHTS & ~PTE.u), i64.const(ALL_RIGHTS));
      f.if(i64.eqz(kind), () => this.#throughGuest(this.#va, pte, i32.const(UNTRANSLATED)));
      return;
    }
    const isMachine = this.#stage === 'supervisor' ? i32.eq(f.param<I32>(3).get, i32.const(3)) : i32.const(0);
    f.if(i32.or(isMachine, i64.eqz(kind)), () => {
      const isFar = i64.ne(i64.shrU(this.#address, i64.const(56)), i64.const(0));
      f.if(isFar, () => this.#fail(true), undefined, 'unlikely');
      if (this.#stage === 'guest') this.#leaveGuestLeaf(i64.const(ALL_RIGHTS), i32.const(UNTRANSLATED));
      f.return(this.#address);
    });
  }

  /** Virtual addresses are sign-extended from bit 9 * levels + 11; guest-physical ones have two bits more, and zeros above. */
  #checkRange(): void {
    const f = this.#f;
    const { i64 } = f;
    const bits = i64.mul(this.#level.get, i64.const(9));
    if (this.#stage === 'guest') {
      this.#failIf(i64.ne(i64.shrU(this.#address, i64.add(bits, i64.const(14))), i64.const(0)));
      return;
    }
    const unused = f.let(i64.sub(i64.const(52), bits));
    this.#failIf(i64.ne(i64.shrS(i64.shl(this.#address, unused), unused), this.#address));
  }

  /** What menvcfg, and for a guest's own tables henvcfg too, let page tables say. */
  #environment(): { readonly pbmt: I32; readonly update: I32 } {
    const f = this.#f;
    const menvcfg = this.#u64('menvcfg');
    const environment = f.let(this.#stage === 'virtual' ? f.i64.and(menvcfg, this.#u64('henvcfg')) : menvcfg);
    return { pbmt: f.let(this.#bit(environment, PBMTE)), update: f.let(this.#bit(environment, ADUE)) };
  }

  #cache(): TableCache | undefined {
    const f = this.#f;
    if (this.#stage === 'guest') return undefined;
    if (this.#stage === 'supervisor') return new TableCache(f, this.#vcpu, this.#va);
    const isOn = f.i32.load(this.#vcpu, at.combinedShadows);
    return new TableCache(f, this.#vcpu, this.#va, {
      // Of the guest that runs: not of one that its hypervisor accesses.
      isKept: f.let(f.i32.and(isVirtual(f, this.#vcpu), f.i32.ne(isOn, f.i32.const(0)))),
      translate: (entry) => this.#guestAddress(entry, ACCESS.load, IMPLICIT.read),
    });
  }

  /** Where one of the guest's page tables is. */
  #guestAddress(gpa: I64, access: number, implicit: number): I64 {
    const f = this.#f;
    const [kind, why, none] = [f.i32.const(access), f.i32.const(implicit), f.i32.const(0)];
    const physical = f.let(f.call(this.#to.guest, this.#vcpu, gpa, kind, this.#va, this.#access, why, none) as I64);
    f.if(f.i64.eq(physical, f.i64.const(-1)), () => f.return(physical), undefined, 'unlikely');
    return physical;
  }

  /** The entry's host address. Page tables are the kernel's, whoever is translated for. */
  #reach(physical: I64, how: 'read' | 'write'): void {
    const f = this.#f;
    const { i32 } = f;
    const access = how === 'read' ? ACCESS.load : ACCESS.store;
    const kernel = i32.const(1);
    const allowed = f.call(this.#to.pmp, this.#vcpu, physical, i32.const(8), i32.const(access), kernel) as I32;
    f.if(i32.eqz(allowed), () => this.#fail(true), undefined, 'unlikely');
    // For writing perhaps another frame: the page's own.
    f.set(this.#pteHost, f.call(this.#to.ram, this.#vcpu, physical, i32.const(how === 'read' ? 0 : 1)) as Ptr);
    f.if(
      f.ptr.eqz(this.#pteHost.get),
      () => {
        f.if(i32.load(this.#vcpu, at.fault), () => f.return(f.i64.const(-1)));
        this.#fail(true);
      },
      undefined,
      'unlikely',
    );
    const [needed, reach] = how === 'read' ? [RIGHT.read, REACH.walk] : [RIGHT.write, REACH.update];
    const what = { vcpu: this.#vcpu, address: this.#pteHost.get, mode: kernel, needed: i32.const(needed) };
    checkFrame(f, what, () => {
      const [va, origin, host] = [this.#va, this.#origin, this.#pteHost.get];
      f.call(this.#to.forbid, this.#vcpu, physical, va, origin, kernel, i32.const(reach), host);
      f.return(f.i64.const(-1));
    });
  }

  #checkEntry(pbmt: I32): void {
    const { i32, i64 } = this.#f;
    const isWriteOnly = i64.eq(i64.and(this.#pte.get, i64.const(PTE.r | PTE.w)), i64.const(PTE.w));
    const isInvalid = i32.or(i32.eqz(this.#has(PTE.v)), isWriteOnly);
    this.#failIf(i32.or(isInvalid, this.#has(PTE.reserved)));
    const isReservedType = i64.eq(i64.and(this.#pte.get, i64.const(PTE.pbmt)), i64.const(PTE.pbmt));
    this.#failIf(i32.and(this.#has(PTE.pbmt), i32.or(i32.eqz(pbmt), isReservedType)));
  }

  /** Where writes to page tables are tracked: others may have written between the look at it and the beginning of notice. */
  #track(again: Label): void {
    const f = this.#f;
    f.if(
      f.i32.load(this.#vcpu, at.shadowModel),
      () => {
        const number = f.convert('i32_wrap_i64', this.#level.get);
        f.brIf(again, f.call(this.#to.trackEntry, this.#vcpu, this.#pteHost.get, this.#va, number) as I32);
      },
      undefined,
      'unlikely',
    );
  }

  /** A leaf: rights, alignment, A and D. */
  #leaf(update: I32, again: Label): void {
    const f = this.#f;
    const { i32, i64 } = f;
    this.#checkRights();
    const below = f.let(i64.sub(i64.shl(i64.const(1), i64.sub(this.#shift.get, i64.const(12))), i64.const(1)));
    const ppn = f.let(i64.and(i64.shrU(this.#pte.get, i64.const(10)), i64.const(PPN)));
    this.#failIf(i64.ne(i64.and(ppn, below), i64.const(0)));
    const napot = f.let(this.#has(PTE.n));
    const napotBad = i32.or(
      i32.or(i64.ne(this.#level.get, i64.const(0)), i32.eqz(this.#bit(this.#u64('features'), FEATURE.svnapot))),
      i64.ne(i64.and(ppn, i64.const(15)), i64.const(8)),
    );
    this.#failIf(i32.and(napot, napotBad));
    const isStore = i32.eq(this.#access, i32.const(ACCESS.store));
    const wanted = f.let(f.select(isStore, i64.const(PTE.a | PTE.d), i64.const(PTE.a)));
    const lacks = i64.ne(i64.and(this.#pte.get, wanted), wanted);
    f.if(lacks, () => this.#update(wanted, update, again), undefined, 'unlikely');
    const vpn = i64.shrU(this.#address, i64.const(12));
    const page = f.let(
      f.select(
        napot,
        i64.or(i64.and(ppn, i64.const(-16)), i64.and(vpn, i64.const(15))),
        i64.or(ppn, i64.and(vpn, below)),
      ),
    );
    const physical = i64.or(i64.shl(page, i64.const(12)), i64.and(this.#address, i64.const(0xfff)));
    const pte = f.let(i64.or(this.#pte.get, wanted));
    const level = f.convert('i32_wrap_i64', this.#level.get);
    if (this.#stage === 'guest') {
      this.#leaveGuestLeaf(pte, sizeNumber(f, level, napot));
      f.return(physical);
      return;
    }
    i32.store(this.#vcpu, at.leafGlobal, f.convert('i32_wrap_i64', this.#isGlobal.get));
    i64.store(this.#vcpu, at.leafAt, f.ptr.to64(this.#pteHost.get));
    if (this.#stage === 'virtual') {
      this.#throughGuest(f.let(physical), pte, f.let(sizeNumber(f, level, napot)));
      return;
    }
    // Of a NAPOT range, this page alone: the PTEs of the others are their own, and may differ.
    i32.store(this.#vcpu, at.leafSize, f.select(napot, i32.const(0), sizeNumber(f, level, i32.const(0))));
    i32.store(this.#vcpu, at.leafRange, f.select(napot, i32.const(NAPOT), i32.const(0)));
    const number = i64.shl(f.select(napot, page, ppn), i64.const(10));
    i64.store(this.#vcpu, at.leafPte, i64.or(number, i64.and(pte, i64.const(0x3ff))));
    f.return(physical);
  }

  #checkRights(): void {
    const f = this.#f;
    const { i32, i64 } = f;
    const isUserPage = f.let(this.#has(PTE.u));
    const { own, host } = this.#status();
    const denied = f.local('i32');
    if (this.#stage === 'guest') f.set(denied, i32.eqz(isUserPage));
    else
      f.if(
        f.param<I32>(3).get,
        () => f.set(denied, i32.and(isUserPage, i32.or(i32.eqz(this.#access), i32.eqz(this.#bit(own, SUM))))),
        () => f.set(denied, i32.eqz(isUserPage)),
      );
    const mxr = this.#bit(host === undefined ? own : i64.or(own, host), MXR);
    // Page tables are read as data, whatever the host has made readable for loads.
    const mayReadCode = this.#stage === 'guest' ? i32.and(mxr, i32.eqz(f.param<I32>(5).get)) : mxr;
    const readable = i32.or(this.#has(PTE.r), i32.and(this.#has(PTE.x), mayReadCode));
    const loadable = this.#isHlvx ? f.select(this.#isHlvx, this.#has(PTE.x), readable) : readable;
    const isStore = i32.eq(this.#access, i32.const(ACCESS.store));
    const permitted = f.select(isStore, this.#has(PTE.w), f.select(this.#access, loadable, this.#has(PTE.x)));
    this.#failIf(i32.or(denied.get, i32.eqz(permitted)));
  }

  /** Loads that need the right to execute in place of that to read. */
  get #isHlvx(): I32 | undefined {
    if (this.#stage === 'supervisor') return undefined;
    return this.#f.param<I32>(this.#stage === 'guest' ? 6 : 4).get;
  }

  /** Where SUM and MXR of this stage are; and the host's, whose MXR holds for the guest's pages, too. */
  #status(): { readonly own: I64; readonly host?: I64 } {
    const f = this.#f;
    const mstatus = this.#u64('mstatus');
    if (this.#stage === 'supervisor') return { own: f.let(mstatus) };
    const virtual = isVirtual(f, this.#vcpu);
    const host = f.let(f.select(virtual, f.i64.load(this.#vcpu, at.sstatus), mstatus));
    if (this.#stage === 'guest') return { own: host };
    return { own: f.let(f.select(virtual, mstatus, f.i64.load(this.#vcpu, at.vsstatus))), host };
  }

  /** Svadu updates A and D in place (ADUE), Svade faults. */
  #update(wanted: I64, isAllowed: I32, again: Label): void {
    const f = this.#f;
    f.if(f.i32.eqz(isAllowed), () => this.#fail(false));
    const address = this.#pteAddress.get;
    const isVirtual = this.#stage === 'virtual';
    this.#reach(isVirtual ? this.#guestAddress(address, ACCESS.store, IMPLICIT.write) : address, 'write');
    const found = f.atomicCompareExchange(this.#pteHost.get, 0, 8, this.#pte.get, f.i64.or(this.#pte.get, wanted));
    f.brIf(again, f.i64.ne(found, this.#pte.get));
    // Of translations, it makes none untrue.
    f.call(this.#to.codeWritten, this.#vcpu, this.#pteHost.get, f.i32.const(8));
  }

  #leaveGuestLeaf(pte: I64, size: I32): void {
    this.#f.i64.store(this.#vcpu, at.guestPte, pte);
    this.#f.i32.store(this.#vcpu, at.guestSize, size);
  }

  /**
   * Returns what the guest stage makes of a guest-physical address. The leaf left behind is of both stages: as large as
   * the smaller page, allowing what both allow; leafRange is the first stage's size where that is larger.
   */
  #throughGuest(gpa: I64, pte: I64, size: I32): void {
    const f = this.#f;
    const { i32, i64 } = f;
    const [vcpu, access, none] = [this.#vcpu, this.#access, i32.const(IMPLICIT.none)];
    const hlvx = f.param<I32>(4).get;
    const physical = f.let(f.call(this.#to.guest, vcpu, gpa, access, this.#va, access, none, hlvx) as I64);
    f.if(i64.eq(physical, i64.const(-1)), () => f.return(physical), undefined, 'unlikely');
    const both = i64.and(i64.and(pte, i64.load(vcpu, at.guestPte)), i64.const(PTE.v | PTE.r | PTE.w | PTE.x | PTE.d));
    const rights = i64.or(both, i64.or(i64.and(pte, i64.const(PTE.u)), i64.const(PTE.a)));
    i64.store(vcpu, at.leafPte, i64.or(i64.shl(i64.shrU(physical, i64.const(12)), i64.const(10)), rights));
    const guestSize = f.let(i32.load(vcpu, at.guestSize));
    const smaller = f.let(f.select(i32.ltU(size, guestSize), size, guestSize));
    const own = f.let(f.select(i32.eq(smaller, i32.const(NAPOT)), i32.const(0), smaller));
    i32.store(vcpu, at.leafSize, own);
    const isPart = i32.and(i32.ne(own, size), i32.ne(size, i32.const(UNTRANSLATED)));
    i32.store(vcpu, at.leafRange, f.select(isPart, size, i32.const(0)));
    f.return(physical);
  }
}

/** The number of a leaf's size: of a level's pages, or of a NAPOT range. */
function sizeNumber(f: FunctionBuilder, level: I32, napot: I32): I32 {
  const { i32 } = f;
  const numberOf = (shift: (typeof PAGE_SHIFTS)[number]): number => PAGE_SHIFTS.indexOf(shift);
  const larger = i32.add(level, i32.const(numberOf(21) - 1));
  return f.select(napot, i32.const(numberOf(16)), f.select(level, larger, i32.const(numberOf(12))));
}
