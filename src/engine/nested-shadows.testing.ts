/**
 * Combined shadows against a machine that walks both stages every time, for tests: a hypervisor and its guests as a random
 * row of writes to page tables of both stages (by the hypervisor, by the guest through its own translation, by a device),
 * fences of every kind at both levels, changes of vsatp and hgatp with ASIDs and VMIDs used again, and accesses of VS- and
 * VU-mode; with accesses and fences of the hypervisor's own space in between. What an access finds must be what a walk
 * finds that reads each PTE, of either stage, as it was at some time since this hart's last fence that covers it:
 *
 *   a guest's PTE         sfence.vma in VS-mode, hfence.vvma: of its VMID, by ASID and address
 *   the second stage's    hfence.gvma: by VMID and guest-physical address
 *
 * A guest's tables are at guest-physical addresses, which the second stage may lead elsewhere. Of a fault the cause must be
 * right, and the guest-physical address.
 */
import { assert, must } from '../base/assert.ts';
import { assemble, FEATURE } from '../isa/index.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import {
  ALL,
  ENTRIES,
  GUEST_CODE,
  GUEST_FENCES,
  GUEST_SLOTS,
  HOST_FENCES,
  HOST_LAST,
  HOST_ROOT,
  LASTS,
  MIB_2,
  MIDDLES,
  NESTED_TRIAL,
  pageOf,
  ROOTS,
  SLOTS,
  SPARE,
  STAGE_FENCES,
  STAGE_LASTS,
  STAGE_MIDDLES,
  STAGES,
  SV39,
  TABLES,
  UPPER,
  UPPER_LAST,
  USER_WINDOW,
  writeTables,
} from './nested-layout.testing.ts';
import {
  ADUE,
  guestFault,
  type Known,
  kindOf,
  type Outcome,
  PermittedWalks,
  page,
  type Use,
  vmidOf,
} from './nested-walks.testing.ts';
import { PTE } from './page-table.ts';
import { address, leaf, PteHistory, pointer, TRIAL_RAM as RAM, word } from './pte-history.testing.ts';
import type { Random } from './random.testing.ts';
import type { ShadowOptions } from './shadows.ts';
import { wroteTracked } from './tracked-frames.ts';
import { CODE_AT, DATA, DATA_PAGES, HartTurns, NUMBER_AT, type ShadowHarts, STORE_AT } from './trial-harts.testing.ts';
import type { VcpuState } from './vcpu-state.ts';

const MSTATUS = { mprv: 1n << 17n, sum: 1n << 18n, mxr: 1n << 19n, mpv: 1n << 39n } as const;
const SBI_RFENCE = 0x52464e43n;
const STEPS_IN_GUEST = 3;

/** A use that reached a page, and the roots by which it did. */
type Focus = { readonly use: Use } & Readonly<Pick<Known, 'vsatp' | 'hgatp'>>;

export class NestedShadowTrial {
  readonly harts: ShadowHarts;
  readonly #random: Random;
  readonly #asidMask: bigint;
  readonly #history: PteHistory;
  readonly #known: readonly Known[];
  readonly #turns: HartTurns;
  uses = 0;
  /** Of these, uses of what a walk would not find any more. */
  stale = 0;
  /** Fences that a hart asked others for. */
  remote = 0;
  readonly outcomes = new Map<string, number>();
  /** What much is about for a while: what is kept shows when it comes again. */
  #focus: Focus | undefined;

  constructor(random: Random, harts: ShadowHarts, options: ShadowOptions) {
    this.#random = random;
    this.#asidMask = (1n << BigInt(options.asidBits ?? 16)) - 1n;
    this.harts = harts;
    this.#history = new PteHistory(harts, TABLES, ENTRIES);
    this.#known = harts.states.map(() => ({ ...{ vsatp: 0n, hgatp: 0n, satp: 0n }, guest: [], stage: [], host: [] }));
    this.#turns = new HartTurns(random, harts, SLOTS);
    harts.write(address(GUEST_CODE), assemble(GUEST_SLOTS.map((line) => `${line}\necall`).join('\n'), 0n).bytes);
    writeTables(harts, random);
    const [menvcfg, henvcfg] = [random.chance(0.5) ? ADUE : 0n, random.chance(0.7) ? ADUE : 0n];
    this.#turns.start(NESTED_TRIAL.extensions, { menvcfg, henvcfg });
    this.#history.sync('start');
    for (this.#turns.turn = 0; this.#turns.turn < harts.states.length; this.#turns.turn++) {
      this.#setStage();
      this.#setRoot();
    }
    this.#turns.turn = 0;
  }

  get #state(): VcpuState {
    return this.#turns.state;
  }
  get #own(): Known {
    return must(this.#known[this.#turns.turn]);
  }
  /** As that hart's fences let it walk. */
  get #walks(): PermittedWalks {
    return new PermittedWalks(this.#history, this.#own, this.#state);
  }
  get #isTranslated(): boolean {
    return this.#own.vsatp >> 60n !== 0n;
  }

  /** Does so many things; returns what was not permitted, as text. */
  run(steps: number): string | undefined {
    const random = this.#random;
    const count = this.harts.states.length;
    for (let step = 0; step < steps; step++) {
      const dice = random.below(100);
      if (random.chance(0.4)) this.#turns.turn = random.below(count);
      if (dice < 12) this.#writeGuest();
      else if (dice < 20) this.#writeStage();
      else if (dice < 22) this.#writeHost();
      else if (dice < 31) {
        if (count > 1 && random.chance(0.4)) this.#remoteFence();
        else this.#fence();
      } else if (dice < 36) this.#setRoot();
      else if (dice < 39) this.#setStage();
      else {
        const wrong = dice < 43 ? this.#useHost() : this.#use();
        if (wrong !== undefined) return `${this.#turns.trail.slice(-30).join('\n')}\n${wrong}`;
      }
    }
    return undefined;
  }

  /** The guest executes from `pc` on, until it traps into machine mode. */
  #enter(pc: bigint, use: Pick<Use, 'mode' | 'sum' | 'mxr' | 'hostMxr'>, registers = {}): void {
    this.#turns.execute('csrw vsstatus, a0', { a0: (use.sum ? MSTATUS.sum : 0n) | (use.mxr ? MSTATUS.mxr : 0n) });
    const previous = MSTATUS.mpv | (BigInt(use.mode) << 11n) | (use.hostMxr ? MSTATUS.mxr : 0n);
    this.#turns.execute('csrw mstatus, a0', { a0: previous });
    this.#state.mepc = BigInt.asUintN(64, pc);
    this.#turns.execute('mret', registers, STEPS_IN_GUEST);
    assert(this.#state.mode === 3n && this.#state.virtual === 0n, 'every trap of the guest is machine mode’s');
  }

  /** A line of GUEST_SLOTS. */
  #inGuest(slot: string, use: Pick<Use, 'mode' | 'sum' | 'mxr' | 'hostMxr'>, registers = {}): void {
    const index = GUEST_SLOTS.indexOf(slot);
    assert(index >= 0, slot);
    const window = use.mode === 0 && this.#isTranslated ? USER_WINDOW : BigInt(RAM);
    this.#enter(window + BigInt(GUEST_CODE * FRAME_BYTES + index * 8), use, registers);
  }

  /** In VS-mode, without a fault. */
  #guestDoes(slot: string, registers: { readonly a0?: bigint; readonly a1?: bigint } = {}): void {
    this.#inGuest(slot, { mode: 1, sum: false, mxr: false, hostMxr: false }, registers);
    assert(this.#state.mcause === 10n, `${slot}: cause ${this.#state.mcause}`);
  }

  #flags(extra: bigint): bigint {
    const some = this.#random.chance(0.8) ? ALL : BigInt(this.#random.below(256)) | 1n;
    return (some & ~(PTE.u | PTE.g)) | extra;
  }

  /** A page of data as the guest's tables name it: guest-physical, also 2 MiB behind. */
  #guestPage(): number {
    return DATA + this.#random.below(DATA_PAGES) + (this.#random.chance(0.15) ? 512 : 0);
  }

  #writeGuest(): void {
    const random = this.#random;
    const inForce = ROOTS.findIndex((root) => pageOf(root) === (this.#own.vsatp & ((1n << 44n) - 1n)));
    const space = inForce >= 0 && random.chance(0.7) ? inForce : random.below(3);
    const isUpper = random.chance(0.25);
    const last = isUpper ? UPPER_LAST : must(LASTS[space]);
    const page = this.#page();
    const flags = (): bigint => this.#flags(isUpper ? PTE.g : random.chance(0.7) ? PTE.u : 0n);
    const dice = this.#isLargeFocus && random.chance(0.4) ? 14 : random.below(20);
    if (dice < 12) this.#store(last, page, leaf(this.#guestPage(), flags()));
    else if (dice < 14) this.#store(last, page, 0n);
    else if (dice < 16 && !isUpper)
      this.#store(must(MIDDLES[space]), 1, random.chance(0.6) ? leaf(0, ALL | PTE.u) : pointer(last));
    else if (dice < 17 && !isUpper)
      this.#store(must(MIDDLES[space]), 0, pointer(random.chance(0.6) ? last : must(LASTS[random.below(3)])));
    else if (dice < 18 && !isUpper) this.#store(must(MIDDLES[space]), 0, pointer(SPARE));
    else if (dice < 19) this.#store(SPARE, page, leaf(this.#guestPage(), ALL | PTE.u));
    else {
      const all = flags();
      for (let i = 0; i < 16; i++) this.#store(last, 16 + i, leaf(DATA + 8, all) | PTE.n);
    }
    this.#history.sync('write');
  }

  #writeStage(): void {
    const random = this.#random;
    const stage = random.below(2);
    const [middle, last] = [must(STAGE_MIDDLES[stage]), must(STAGE_LASTS[stage])];
    const data = DATA + random.below(DATA_PAGES);
    const dice = random.below(20);
    if (dice < 12) this.#store(last, data, leaf(DATA + random.below(DATA_PAGES), this.#flags(PTE.u)));
    else if (dice < 13) this.#store(last, data, random.chance(0.5) ? 0n : leaf(data, ALL));
    else if (dice < 15) this.#store(middle, 1, random.chance(0.7) ? leaf(0, ALL | PTE.u) : pointer(last));
    else if (dice < 18) {
      // One of the guest's tables is somewhere else, or may not be written, or is back.
      const table = random.pick(LASTS);
      const rights = random.chance(0.3) ? ALL & ~PTE.w : ALL;
      this.#store(last, table, leaf(random.chance(0.5) ? table : random.pick(LASTS), rights | PTE.u));
    } else {
      const all = this.#flags(PTE.u);
      for (let i = 0; i < 16; i++) this.#store(last, DATA + i, leaf(DATA + 8, all) | PTE.n);
    }
    this.#history.sync('write');
  }

  #writeHost(): void {
    const page = this.#random.below(6);
    this.#store(HOST_LAST, page, leaf(DATA + this.#random.below(DATA_PAGES), this.#random.chance(0.8) ? ALL : 0n));
    this.#history.sync('write');
  }

  /** By the hypervisor, by a device, or where it surely reaches that page by the guest through its window. */
  #store(table: number, index: number, value: bigint): void {
    const at = address(table) + index * 8;
    const { harts } = this;
    this.#turns.note(`[${table}: ${index}] = ${value.toString(16)}`);
    const dice = this.#random.below(10);
    if (dice === 0) {
      const host = harts.map.host(Math.floor(at / FRAME_BYTES), 'write');
      harts.memory.u8.set(word(value), host + (at % FRAME_BYTES));
      wroteTracked(harts.memory, host);
    } else if (dice < 5 && this.#walks.surely(BigInt(at), 'store')) {
      this.#guestDoes('sd a0, 0(a1)', { a0: value, a1: BigInt(at) });
    } else {
      this.#turns.execute('csrw mstatus, a0', { a0: 0n });
      this.#turns.execute('sd a0, 0(a1)', { a0: value, a1: BigInt(at) });
    }
    this.#history.sync('write');
  }

  #fence(): void {
    const random = this.#random;
    const va = this.#address();
    const gpa = BigInt(address(this.#guestPage()));
    const focus = this.#focus !== undefined && random.chance(0.5) ? this.#focus : undefined;
    const asid = focus ? (focus.vsatp >> 44n) & 0xffffn : BigInt(random.below(4));
    const vmid = focus ? vmidOf(focus.hgatp) : BigInt(random.below(3));
    const high = random.chance(0.1) ? 0xff_0000n : 0n;
    const dice = random.below(10);
    this.#turns.execute('csrw mstatus, a0', { a0: 0n });
    const kinds = dice < 1 ? HOST_FENCES : dice < 6 ? GUEST_FENCES : STAGE_FENCES;
    const kind = random.pick(kinds);
    const isOfStage = dice >= 6;
    // hfence.gvma takes a guest-physical address without its lowest two bits.
    const registers = { a0: isOfStage ? gpa >> 2n : va, a1: (isOfStage ? vmid : asid) | high };
    const isByGuest = dice >= 1 && dice < 6 && random.chance(0.5);
    if (isByGuest) this.#guestDoes(must(HOST_FENCES[GUEST_FENCES.indexOf(kind)]), registers);
    else this.#turns.execute(kind, registers);
    this.#turns.note(`${isByGuest ? 'guest: ' : ''}${kind} ${registers.a0.toString(16)} ${registers.a1.toString(16)}`);
    const time = ++this.#history.time;
    const own = this.#own;
    const hasAddress = kind.includes('a0');
    const hasSpace = kind.includes('a1');
    if (isOfStage) own.stage.push({ time, ...(hasAddress ? { address: gpa } : {}), ...(hasSpace ? { vmid } : {}) });
    else {
      const space = {
        ...(hasAddress ? { address: page(va) } : {}),
        ...(hasSpace ? { asid: asid & this.#asidMask } : {}),
      };
      if (dice < 1) own.host.push({ time, ...space });
      else own.guest.push({ time, vmid: vmidOf(own.hgatp), ...space });
    }
  }

  /** Some harts, this one perhaps among them, are asked for a fence by a call of the SBI, from HS-mode. */
  #remoteFence(): void {
    const random = this.#random;
    const state = this.#state;
    const count = this.harts.states.length;
    const mask = 1 + random.below((1 << count) - 1);
    const isAll = random.chance(0.3);
    const isOfStage = random.chance(0.4);
    const hasSpace = random.chance(0.5);
    const space = BigInt(random.below(isOfStage ? 3 : 4));
    const from = isOfStage ? BigInt(address(this.#guestPage())) : page(this.#address());
    const pages = random.chance(0.7) ? 1 : 1 + random.below(70);
    this.#turns.execute('csrw mstatus, a0', { a0: 1n << 11n });
    state.mepc = BigInt(this.#turns.addressOf('ecall'));
    state.features |= FEATURE.sbi;
    state.x[11] = 0n;
    state.x[12] = isAll ? 0n : BigInt.asUintN(64, from);
    state.x[13] = isAll ? (1n << 64n) - 1n : BigInt(pages * FRAME_BYTES);
    state.x[14] = hasSpace ? space : 0n;
    // HFENCE.GVMA.VMID, HFENCE.GVMA, HFENCE.VVMA.ASID, HFENCE.VVMA.
    state.x[16] = (isOfStage ? 3n : 5n) + (hasSpace ? 0n : 1n);
    state.x[17] = SBI_RFENCE;
    this.#turns.execute('mret', { a0: BigInt(mask) }, 3);
    state.features &= ~FEATURE.sbi;
    assert(state.mcause === 2n && state.x[10] === 0n, 'it was called, and it is done');
    const what = `${isOfStage ? 'hfence.gvma' : 'hfence.vvma'} ${isAll ? 'all' : `${from.toString(16)}, ${pages}`}`;
    this.#turns.note(`asks ${mask.toString(2)} for ${what}${hasSpace ? ` of ${space}` : ''}`);
    const time = ++this.#history.time;
    this.remote++;
    const vmid = vmidOf(this.#own.hgatp);
    for (const [hart, known] of this.#known.entries()) {
      if ((mask & (1 << hart)) === 0) continue;
      for (let i = 0; i < (isAll ? 1 : pages); i++) {
        const where = isAll ? {} : { address: from + BigInt(i * FRAME_BYTES) };
        if (isOfStage) known.stage.push({ time, ...where, ...(hasSpace ? { vmid: space } : {}) });
        else known.guest.push({ time, vmid, ...where, ...(hasSpace ? { asid: space & this.#asidMask } : {}) });
      }
    }
  }

  #setRoot(): void {
    const random = this.#random;
    const own = this.#own;
    if (random.chance(0.15)) {
      own.satp = random.chance(0.3) ? 0n : (SV39 << 60n) | (BigInt(random.below(2)) << 44n) | pageOf(HOST_ROOT);
      own.satp &= ~((0xffffn & ~this.#asidMask) << 44n);
      this.#turns.execute('csrw mstatus, a0', { a0: 0n });
      this.#turns.execute('csrw satp, a0', { a0: own.satp });
      return;
    }
    const asid = BigInt(random.below(4));
    const other = random.chance(0.1) ? 0n : (SV39 << 60n) | (asid << 44n) | pageOf(must(ROOTS[random.below(3)]));
    const vsatp = this.#focus !== undefined && random.chance(0.5) ? this.#focus.vsatp : other;
    if (random.chance(0.5)) this.#guestDoes('csrw satp, a0', { a0: vsatp });
    else {
      this.#turns.execute('csrw mstatus, a0', { a0: 0n });
      this.#turns.execute('csrw vsatp, a0', { a0: vsatp });
    }
    this.#turns.execute('csrr a0, vsatp');
    own.vsatp = must(this.#state.x[10]);
    const kept = (vsatp & ~(0xffffn << 44n)) | (vsatp & (this.#asidMask << 44n));
    assert(own.vsatp === kept, 'vsatp keeps the bits that it has');
    this.#turns.note(`vsatp = ${vsatp.toString(16)}`);
  }

  #setStage(): void {
    const random = this.#random;
    const vmid = BigInt(random.below(3));
    const bare = vmid << 44n;
    const other = random.chance(0.08) ? bare : (SV39 << 60n) | bare | pageOf(must(STAGES[random.below(2)]));
    const hgatp = this.#focus !== undefined && random.chance(0.5) ? this.#focus.hgatp : other;
    this.#turns.execute('csrw mstatus, a0', { a0: 0n });
    this.#turns.execute('csrw hgatp, a0', { a0: hgatp });
    this.#own.hgatp = hgatp;
    this.#turns.note(`hgatp = ${hgatp.toString(16)}`);
  }

  /** Pages of which two have the same place in the buffers (translation-buffers.ts). */
  #page(): number {
    const focus = Number(((this.#focus?.use.va ?? 0n) >> 12n) & 511n);
    if (this.#focus !== undefined && this.#random.chance(0.5) && ENTRIES.includes(focus)) return focus;
    return this.#random.below(4) + (this.#random.chance(0.5) ? 256 : 0);
  }

  /** It is a small piece of a large page of the guest. */
  get #isLargeFocus(): boolean {
    const { va = 0n } = this.#focus?.use ?? {};
    return va >> 21n === 1n;
  }

  /** Of a page of the guest. */
  #address(): bigint {
    const random = this.#random;
    const data = BigInt((DATA + random.below(DATA_PAGES)) * FRAME_BYTES);
    if (this.#isLargeFocus && random.chance(0.4)) return MIB_2 + data;
    if (this.#focus !== undefined && random.chance(0.5)) return page(BigInt.asIntN(64, this.#focus.use.va));
    const dice = random.below(10);
    if (dice === 0) return MIB_2 + data;
    if (dice === 1) return BigInt(RAM) + data + (random.chance(0.3) ? MIB_2 : 0n);
    if (dice === 2) return USER_WINDOW + data;
    const base = random.chance(0.3) ? UPPER : 0n;
    if (dice === 3) return base + BigInt((16 + random.below(16)) * FRAME_BYTES);
    return base + BigInt(this.#page() * FRAME_BYTES);
  }

  #someUse(): Use {
    const random = this.#random;
    const access = random.pick(['load', 'load', 'store', 'fetch'] as const);
    const offset = { load: NUMBER_AT, store: STORE_AT, fetch: CODE_AT }[access];
    return {
      va: BigInt.asUintN(64, this.#address() + BigInt(offset)),
      ...{ access, mode: random.below(2), sum: random.chance(0.5) },
      ...{ mxr: random.chance(0.2), hostMxr: random.chance(0.1) },
    };
  }

  #use(): string | undefined {
    const random = this.#random;
    const use = this.#focus !== undefined && random.chance(0.6) ? this.#focus.use : this.#someUse();
    const expected = this.#walks.permitted(use);
    const outcome = this.#outcomeOf(use);
    const { vsatp, hgatp } = this.#own;
    if (kindOf(outcome) === 'page' && random.chance(0.1)) this.#focus = { use, vsatp, hgatp };
    const { va, access, mode, sum, mxr, hostMxr } = use;
    const bits = `${sum ? ' SUM' : ''}${mxr ? ' MXR' : ''}${hostMxr ? ' host MXR' : ''}`;
    const how = `${access} ${va.toString(16)} ${mode === 0 ? 'VU' : 'VS'}${bits}`;
    this.#turns.note(`${how} -> ${outcome}`);
    this.uses++;
    this.outcomes.set(kindOf(outcome), (this.outcomes.get(kindOf(outcome)) ?? 0) + 1);
    if (!this.#walks.now(use).has(outcome)) this.stale++;
    this.#history.sync('walk');
    if (expected.has(outcome)) return undefined;
    const roots = `vsatp ${vsatp.toString(16)}, hgatp ${hgatp.toString(16)}`;
    return `hart ${this.#turns.turn}: ${how}: ${outcome}, not one of ${[...expected].join(', ')}; ${roots}`;
  }

  /** Has the guest do it. */
  #outcomeOf(use: Use): Outcome {
    const state = this.#state;
    const stamp = this.#turns.stamp();
    if (use.access === 'fetch') this.#enter(use.va, use);
    else {
      const slot = use.access === 'load' ? 'ld a0, 0(a1)' : 'sd a0, 0(a1)';
      this.#inGuest(slot, use, { a0: stamp, a1: use.va });
    }
    const at = { fetch: 12n, load: 13n, store: 15n }[use.access];
    switch (state.mcause) {
      case use.mode === 0 ? 8n : 10n:
        return `page ${use.access === 'store' ? this.#turns.whereIs(stamp) : state.x[10]}`;
      case at:
        return 'page fault';
      case at + 8n:
        return guestFault(state.mtval2 << 2n);
      case at - (use.access === 'fetch' ? 11n : 8n):
        return 'access fault';
      default:
        return `cause ${state.mcause}`;
    }
  }

  /** The hypervisor's own space, of which guests' fences are none. */
  #useHost(): string | undefined {
    const { satp } = this.#own;
    if (satp >> 60n === 0n) return undefined;
    const va = BigInt(this.#random.below(6) * FRAME_BYTES);
    this.#turns.execute('csrw mstatus, a0', { a0: MSTATUS.mprv | (1n << 11n) });
    this.#turns.execute('ld a0, 0(a1)', { a1: va });
    const outcome = this.#state.mcause === 0n ? `page ${this.#state.x[10]}` : 'page fault';
    const expected = this.#walks.ofHost(va, address(HOST_LAST) + Number(va >> 12n) * 8);
    this.#turns.note(`host ${va.toString(16)} -> ${outcome}`);
    this.#history.sync('walk');
    return expected.includes(outcome) ? undefined : `the host's ${va.toString(16)}: ${outcome}, not one of ${expected}`;
  }
}
