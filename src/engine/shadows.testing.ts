/**
 * Harts with shadows against a machine that walks every time, for tests. A program is a random row of writes to page
 * tables (by a hart, through an alias of its own, by a device), fences of every kind, changes of root, and accesses in
 * all modes, each by one of the harts; the page that an access reaches, or its fault, must be one that the architecture
 * permits: what a walk finds that reads each PTE as it was at some time since this hart's last fence that covers it.
 * Harts ask each other for fences by the SBI, where there are several.
 *
 * Three roots share the upper half, whose leaves are global; the lower half is each one's own.
 */
import { assert, must } from '../base/assert.ts';
import { FEATURE } from '../isa/index.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { PTE } from './page-table.ts';
import { address, isPointer, leaf, NOW, PteHistory, pointer, TRIAL_RAM, word } from './pte-history.testing.ts';
import type { Random } from './random.testing.ts';
import type { ShadowOptions } from './shadows.ts';
import { wroteTracked } from './tracked-frames.ts';
import {
  CODE_AT,
  DATA,
  DATA_PAGES,
  HartTurns,
  NUMBER_AT,
  type ShadowHarts,
  STORE_AT,
  TRIAL,
} from './trial-harts.testing.ts';
import type { VcpuState } from './vcpu-state.ts';

const RAM = TRIAL_RAM;
const SV39 = 8n;
const TABLES = 8;
/** Page numbers: roots, their tables by 2 MiB and by 4 KiB, the upper half's. */
const ROOTS = [TABLES, TABLES + 1, TABLES + 2] as const;
const MIDDLE = [TABLES + 3, TABLES + 4, TABLES + 5] as const;
const LAST = [TABLES + 6, TABLES + 7, TABLES + 8] as const;
const [UPPER_MIDDLE, UPPER_LAST, SPARE] = [TABLES + 9, TABLES + 10, TABLES + 11];
const TABLE_NUMBERS = Array.from({ length: 12 }, (_, i) => TABLES + i);
const UPPER = -(1n << 38n);
const LARGE = 0x20_0000n;
/** Numbers of the PTEs that programs use, in any table. */
const ENTRIES = [...Array.from({ length: 32 }, (_, i) => i), ...Array.from({ length: 6 }, (_, i) => 256 + i)];
/** One that they do not use, and more writes to it than the write-tracked model bears. */
const [UNUSED_ENTRY, FLOOD] = [100, 260];
const MSTATUS = { mprv: 1n << 17n, sum: 1n << 18n, mxr: 1n << 19n } as const;
const ADUE = 1n << 61n;
const SBI_RFENCE = 0x52464e43n;
/** Instructions at the start of memory, one for each thing that a program does. */
const SLOTS = [
  'sd a0, 0(a1)',
  'ld a0, 0(a1)',
  'csrw satp, a0',
  'csrw mstatus, a0',
  'sfence.vma',
  'sfence.vma a0, x0',
  'sfence.vma x0, a1',
  'sfence.vma a0, a1',
  'mret',
  'csrr a0, satp',
  // In supervisor mode: a call of the SBI, and back, as what follows is not allowed there.
  'ecall',
  'csrw mscratch, a0',
] as const;

type Access = 'load' | 'store' | 'fetch';
interface Fence {
  readonly time: number;
  readonly va: bigint | undefined;
  readonly asid: bigint | undefined;
}
/** The data page that an access reached; undefined: a page fault. */
type Outcome = number | undefined;

/** What a trial knows of a hart: its root, and its fences since the last that covered everything. */
interface Known {
  satp: bigint;
  fences: Fence[];
}

export class ShadowTrial {
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

  constructor(random: Random, harts: ShadowHarts, options: ShadowOptions) {
    this.#random = random;
    this.#asidMask = (1n << BigInt(options.asidBits ?? 16)) - 1n;
    this.harts = harts;
    this.#history = new PteHistory(harts, TABLE_NUMBERS, ENTRIES);
    this.#known = harts.states.map(() => ({ satp: 0n, fences: [] }));
    this.#turns = new HartTurns(random, harts, SLOTS);
    for (let space = 0; space < 3; space++) {
      const [root, middle, last] = [must(ROOTS[space]), must(MIDDLE[space]), must(LAST[space])];
      harts.write(address(root), word(pointer(middle)));
      harts.write(address(root) + 256 * 8, word(pointer(UPPER_MIDDLE)));
      harts.write(address(middle), word(pointer(last)));
    }
    harts.write(address(UPPER_MIDDLE), word(pointer(UPPER_LAST)));
    // All of RAM once more, global, for supervisor mode.
    harts.write(address(UPPER_MIDDLE) + 8, word(leaf(0, 0xefn)));
    const menvcfg = random.chance(0.5) ? ADUE : 0n;
    this.#turns.start(TRIAL.extensions, { menvcfg });
    this.#history.sync('start');
    for (this.#turns.turn = 0; this.#turns.turn < harts.states.length; this.#turns.turn++) this.#setRoot();
    this.#turns.turn = 0;
  }

  get #state(): VcpuState {
    return this.#turns.state;
  }
  get #satp(): bigint {
    return must(this.#known[this.#turns.turn]).satp;
  }

  /** Does so many things; returns what was not permitted, as text. */
  run(steps: number): string | undefined {
    const random = this.#random;
    const count = this.harts.states.length;
    for (let step = 0; step < steps; step++) {
      const dice = random.below(100);
      if (random.chance(0.4)) this.#turns.turn = random.below(count);
      if (dice < 25) this.#write();
      else if (dice < 38) {
        if (count > 1 && random.chance(0.4)) this.#remoteFence();
        else this.#fence();
      } else if (dice < 50) this.#setRoot();
      else {
        const wrong = this.#use();
        if (wrong !== undefined) return `${this.#turns.trail.slice(-25).join('\n')}\n${wrong}`;
      }
    }
    return undefined;
  }

  #write(): void {
    const random = this.#random;
    const space = random.below(3);
    const isUpper = random.chance(0.25);
    const last = isUpper ? UPPER_LAST : must(LAST[space]);
    const page = this.#page();
    const flags = (): bigint => {
      const some = random.chance(0.6) ? 0xcfn : BigInt(random.below(256)) | 1n;
      const user = isUpper ? 0n : random.chance(0.7) ? PTE.u : 0n;
      return (some & ~(PTE.u | PTE.g)) | user | (isUpper ? PTE.g : 0n);
    };
    const dice = random.below(20);
    const put = (table: number, index: number, value: bigint): void => this.#store(address(table) + index * 8, value);
    // A frame that is written all the time is tracked no more, and stores to it are fast until a walk reads it again.
    if (random.chance(0.02)) {
      this.#turns.execute('csrw mstatus, a0', { a0: 0n });
      for (let i = 0; i < FLOOD; i++)
        this.#turns.execute('sd a0, 0(a1)', { a0: 0n, a1: BigInt(address(last) + UNUSED_ENTRY * 8) });
    }
    if (dice < 12) put(last, page, leaf(DATA + random.below(DATA_PAGES), flags()));
    else if (dice < 14) put(last, page, 0n);
    else if (dice < 16 && !isUpper) put(must(MIDDLE[space]), 1, random.chance(0.7) ? leaf(0, 0xdfn) : 0n);
    else if (dice < 17 && !isUpper)
      put(must(MIDDLE[space]), 0, pointer(random.chance(0.6) ? last : must(LAST[random.below(3)])));
    else if (dice < 18 && !isUpper) put(must(MIDDLE[space]), 0, pointer(SPARE));
    else if (dice < 19) put(SPARE, page, leaf(DATA + random.below(DATA_PAGES), 0xdfn));
    else {
      const all = flags();
      for (let i = 0; i < 16; i++) put(last, 16 + i, leaf(DATA + 8, all) | PTE.n);
    }
    this.#history.sync('write');
  }

  /** By the hart in machine mode, through the upper half's alias, or by a device. */
  #store(at: number, value: bigint): void {
    const { harts } = this;
    const random = this.#random;
    this.#turns.note(`[${at.toString(16)}] = ${value.toString(16)}`);
    const dice = random.below(10);
    if (dice === 0) {
      const host = harts.map.host(Math.floor(at / FRAME_BYTES), 'write');
      harts.memory.u8.set(word(value), host + (at % FRAME_BYTES));
      wroteTracked(harts.memory, host);
      return;
    }
    const isAlias = dice < 5 && this.#satp >> 60n !== 0n;
    this.#turns.execute('csrw mstatus, a0', { a0: isAlias ? MSTATUS.mprv | (1n << 11n) : 0n });
    this.#turns.execute('sd a0, 0(a1)', { a0: value, a1: isAlias ? UPPER + LARGE + BigInt(at - RAM) : BigInt(at) });
    assert(this.#state.mcause === 0n, 'the alias is always there');
  }

  #fence(): void {
    const random = this.#random;
    const va = this.#address();
    const asid = BigInt(random.below(4));
    const kind = random.pick(['sfence.vma', 'sfence.vma a0, x0', 'sfence.vma x0, a1', 'sfence.vma a0, a1'] as const);
    this.#turns.execute('csrw mstatus, a0', { a0: 0n });
    this.#turns.execute(kind, { a0: va, a1: asid | (random.chance(0.1) ? 0xff_0000n : 0n) });
    this.#turns.note(`${kind}  a0 ${va.toString(16)} a1 ${asid}`);
    this.#history.time++;
    this.#fenced(this.#turns.turn, {
      time: this.#history.time,
      va: kind.includes('a0') ? va & ~0xfffn : undefined,
      asid: kind.includes('a1') ? asid & this.#asidMask : undefined,
    });
  }

  #fenced(hart: number, fence: Fence): void {
    const known = must(this.#known[hart]);
    const isAll = fence.va === undefined && fence.asid === undefined;
    known.fences = isAll ? [fence] : [...known.fences, fence];
  }

  /** Some harts, this one perhaps among them, are asked for a fence by a call of the SBI, from supervisor mode. */
  #remoteFence(): void {
    const random = this.#random;
    const state = this.#state;
    const count = this.harts.states.length;
    const mask = 1 + random.below((1 << count) - 1);
    const isAll = random.chance(0.3);
    const asid = random.chance(0.5) ? BigInt(random.below(4)) : undefined;
    const va = this.#address() & ~0xfffn;
    const pages = random.chance(0.7) ? 1 : 1 + random.below(70);
    this.#turns.execute('csrw mstatus, a0', { a0: 1n << 11n });
    const entry = this.#satp >> 60n === 0n ? BigInt(RAM) : UPPER + LARGE;
    state.mepc = BigInt.asUintN(64, entry + BigInt(this.#turns.addressOf('ecall') - RAM));
    state.features |= FEATURE.sbi;
    state.x[11] = 0n;
    state.x[12] = isAll ? 0n : BigInt.asUintN(64, va);
    state.x[13] = isAll ? (1n << 64n) - 1n : BigInt(pages * FRAME_BYTES);
    state.x[14] = asid ?? 0n;
    state.x[16] = asid === undefined ? 1n : 2n;
    state.x[17] = SBI_RFENCE;
    this.#turns.execute('mret', { a0: BigInt(mask) }, 3);
    state.features &= ~FEATURE.sbi;
    assert(state.mcause === 2n && state.x[10] === 0n, 'it was called, and it is done');
    this.#turns.note(`fence of ${mask.toString(2)}: ${isAll ? 'all' : `${va.toString(16)}, ${pages}`} asid ${asid}`);
    this.#history.time++;
    this.remote++;
    for (let hart = 0; hart < count; hart++) {
      if ((mask & (1 << hart)) === 0) continue;
      for (let page = 0; page < (isAll ? 1 : pages); page++)
        this.#fenced(hart, {
          time: this.#history.time,
          va: isAll ? undefined : va + BigInt(page * FRAME_BYTES),
          asid: asid === undefined ? undefined : asid & this.#asidMask,
        });
    }
  }

  #setRoot(): void {
    const random = this.#random;
    const root = must(ROOTS[random.below(3)]);
    const satp = random.chance(0.05)
      ? 0n
      : (SV39 << 60n) | (BigInt(random.below(4)) << 44n) | BigInt(RAM / 4096 + root);
    this.#turns.execute('csrw mstatus, a0', { a0: 0n });
    this.#turns.execute('csrw satp, a0', { a0: satp });
    this.#turns.execute('csrr a0, satp');
    const known = must(this.#known[this.#turns.turn]);
    known.satp = must(this.#state.x[10]);
    const kept = (satp & ~(0xffffn << 44n)) | (satp & (this.#asidMask << 44n));
    assert(known.satp === kept, 'satp keeps the bits that it has');
    this.#turns.note(`satp = ${known.satp.toString(16)}`);
  }

  #address(): bigint {
    const random = this.#random;
    const base = random.chance(0.3) ? UPPER : 0n;
    const dice = random.below(8);
    if (dice === 0) return base + LARGE + BigInt((DATA + random.below(DATA_PAGES)) * FRAME_BYTES);
    if (dice === 1) return base + BigInt((16 + random.below(16)) * FRAME_BYTES);
    return base + BigInt(this.#page() * FRAME_BYTES);
  }

  /** Pages of which two have the same place in the buffers (translation-buffers.ts). */
  #page(): number {
    return this.#random.below(6) + (this.#random.chance(0.5) ? 256 : 0);
  }

  #use(): string | undefined {
    const random = this.#random;
    const va = this.#address();
    const access = random.pick(['load', 'load', 'store', 'fetch'] as const);
    const mode = random.below(2);
    const [sum, mxr] = [random.chance(0.5), random.chance(0.2)];
    const status = (sum ? MSTATUS.sum : 0n) | (mxr ? MSTATUS.mxr : 0n) | (BigInt(mode) << 11n);
    if (this.#satp >> 60n === 0n) return undefined;
    const expected = this.#outcomes({ va, access, mode, sum, mxr });
    const state = this.#state;
    let outcome: Outcome;
    if (access === 'fetch') {
      this.#turns.execute('csrw mstatus, a0', { a0: status });
      state.mepc = va + BigInt(CODE_AT);
      if (va < 0n) state.mepc = BigInt.asUintN(64, va + BigInt(CODE_AT));
      this.#turns.execute('mret', {}, 3);
      outcome = state.mcause === 12n ? undefined : Number(state.x[10]);
    } else {
      this.#turns.execute('csrw mstatus, a0', { a0: status | MSTATUS.mprv });
      const stamp = this.#turns.stamp();
      if (access === 'load') this.#turns.execute('ld a0, 0(a1)', { a1: va + BigInt(NUMBER_AT) });
      else this.#turns.execute('sd a0, 0(a1)', { a0: stamp, a1: va + BigInt(STORE_AT) });
      if (state.mcause !== 0n) outcome = undefined;
      else if (access === 'load') outcome = Number(state.x[10]);
      else outcome = this.#turns.whereIs(stamp);
    }
    const how = `${access} ${BigInt.asUintN(64, va).toString(16)} mode ${mode}${sum ? ' SUM' : ''}${mxr ? ' MXR' : ''}`;
    this.#turns.note(`${how} -> ${outcome}`);
    this.uses++;
    if (outcome !== this.#now({ va, access, mode, sum, mxr })) this.stale++;
    this.#history.sync('walk');
    if (expected.has(outcome)) return undefined;
    return `hart ${this.#turns.turn}: ${how}: ${outcome}, not one of ${[...expected].join(', ')}; satp ${this.#satp.toString(16)}`;
  }

  /** What a walk finds that reads all as it is now. */
  #now(use: Use): Outcome {
    const [only] = this.#walk(use, () => NOW);
    return only?.outcome;
  }

  /** All that is permitted. */
  #outcomes(use: Use): ReadonlySet<Outcome> {
    const asid = (this.#satp >> 44n) & 0xffffn;
    const page = use.va & ~0xfffn;
    const last = (covers: (fence: Fence) => boolean): number =>
      must(this.#known[this.#turns.turn]).fences.findLast(covers)?.time ?? 0;
    const all = last(({ va, asid: of }) => va === undefined && of === undefined);
    const space = last(({ va, asid: of }) => va === undefined && (of === undefined || of === asid));
    const leafOfSpace = last(({ va, asid: of }) => (va ?? page) === page && (of ?? asid) === asid);
    const leafOfAll = last(({ va, asid: of }) => (va ?? page) === page && of === undefined);
    const own = this.#walk(use, (isLeaf) => (isLeaf ? leafOfSpace : space));
    // Global translations may have been found in any space, and fences of one leave them.
    const global = this.#walk(use, (isLeaf) => (isLeaf ? leafOfAll : all)).filter(({ isGlobal }) => isGlobal);
    return new Set([...own, ...global].map(({ outcome }) => outcome));
  }

  /** Walks that read each PTE in a version of `since(leaf or not)` or later. */
  #walk(use: Use, since: (isLeaf: boolean) => number): { outcome: Outcome; isGlobal: boolean }[] {
    const found: { outcome: Outcome; isGlobal: boolean }[] = [];
    const descend = (table: number, level: number): void => {
      const at = table + Number((BigInt.asUintN(39, use.va) >> BigInt(12 + 9 * level)) & 511n) * 8;
      for (const { value, end } of this.#history.versions(at)) {
        const leads = isPointer(value);
        // What was replaced before the fence is gone.
        if (end <= since(!leads)) continue;
        if (!leads || level === 0)
          found.push({
            outcome: leafOutcome(use, value, level, this.#state.menvcfg),
            isGlobal: (value & PTE.g) !== 0n,
          });
        else descend(Number((value >> 10n) << 12n), level - 1);
      }
    };
    descend(Number((this.#satp & ((1n << 44n) - 1n)) << 12n), 2);
    return found;
  }
}

interface Use {
  readonly va: bigint;
  readonly access: Access;
  readonly mode: number;
  readonly sum: boolean;
  readonly mxr: boolean;
}

function leafOutcome({ va, access, mode, sum, mxr }: Use, pte: bigint, level: number, menvcfg: bigint): Outcome {
  const has = (bits: bigint): boolean => (pte & bits) !== 0n;
  if (!has(PTE.v) || (pte & (PTE.r | PTE.w)) === PTE.w || !has(PTE.r | PTE.x)) return undefined;
  if (mode === 0 ? !has(PTE.u) : has(PTE.u) && (access === 'fetch' || !sum)) return undefined;
  const isAllowed =
    access === 'store' ? has(PTE.w) : access === 'fetch' ? has(PTE.x) : has(PTE.r) || (mxr && has(PTE.x));
  if (!isAllowed) return undefined;
  if ((!has(PTE.a) || (access === 'store' && !has(PTE.d))) && (menvcfg & ADUE) === 0n) return undefined;
  const ppn = Number((pte >> 10n) & ((1n << 44n) - 1n)) - RAM / 4096;
  const index = Number((va >> 12n) & 511n);
  if (has(PTE.n)) return level === 0 ? (ppn & ~15) + (index & 15) : undefined;
  return level === 0 ? ppn : level === 1 ? ppn + index : undefined;
}
