/**
 * Combined shadows: what both stages of a guest's translation come to is kept, by vsatp and hgatp, and fences of both
 * levels drop what they must, and no more ("Hypervisor Memory-Management Fence Instructions"). That a translation is kept
 * shows by a load that goes where the page tables led before.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { assemble, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import { EVERY_GUEST, guestScope, HOST_SCOPE } from './fence-scope.ts';
import { type ShadowOptions, shadowList, shadowStats } from './shadows.ts';
import { STALE } from './vcpu-state.ts';

const RAM = 0x8000_0000;
const PAGE = 4096;
const PAGES = 64;
/** Pages of RAM: code, the guest's tables, the guest stage's root (16 KiB) and tables, data. */
const [CODE, TABLES, STAGE, DATA] = [RAM, RAM + 4 * PAGE, RAM + 16 * PAGE, RAM + 32 * PAGE];
const [VRWX, USER, AD] = [0xfn, 0x10n, 0xc0n];
const SV39 = 8n;
/** Two pages of the guest, and a page of 2 MiB. */
const [X, Y, LARGE] = [0x4000, 0x7000, 0x20_0000];
const [ASID, VMID] = [5n, 3n];
const VSATP = (SV39 << 60n) | (ASID << 44n) | BigInt(TABLES / PAGE);
const hgatpOf = (vmid: bigint): bigint => (SV39 << 60n) | (vmid << 44n) | BigInt(STAGE / PAGE);

let hart: BareHart;

const word = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer);
const pte = (to: number, bits: bigint): bigint => (BigInt(to / PAGE) << 10n) | bits;

/** The guest's own table: a page below 2 MiB leads to page `data` of the data; guest-physical addresses are RAM's. */
function map(va: number, data: number): void {
  hart.write(TABLES + 2 * PAGE + (va / PAGE) * 8, word(pte(DATA + data * PAGE, VRWX | AD)));
}

/** The guest stage: the data's page of that number is another one. */
function mapGuestPhysical(data: number, to: number): void {
  const page = (DATA - RAM) / PAGE + data;
  hart.write(STAGE + 5 * PAGE + page * 8, word(pte(DATA + to * PAGE, VRWX | USER | AD)));
}

function start(shadows: ShadowOptions = {}): void {
  hart = new BareHart({ extensions: parseCpu('rv64,h=on'), ramBase: RAM, ramBytes: PAGES * PAGE, shadows });
  const { state } = hart;
  // Sv39: the root's first entry leads to X, Y, LARGE; its third is a page of 1 GiB, for code.
  hart.write(TABLES, word(pte(TABLES + PAGE, 1n)));
  hart.write(TABLES + 2 * 8, word(pte(RAM, VRWX | AD)));
  hart.write(TABLES + PAGE, word(pte(TABLES + 2 * PAGE, 1n)));
  hart.write(TABLES + PAGE + 8, word(pte(RAM, VRWX | AD)));
  hart.write(STAGE + 2 * 8, word(pte(STAGE + 4 * PAGE, 1n)));
  hart.write(STAGE + 4 * PAGE, word(pte(STAGE + 5 * PAGE, 1n)));
  for (let page = 0; page < PAGES; page++)
    hart.write(STAGE + 5 * PAGE + page * 8, word(pte(RAM + page * PAGE, VRWX | USER | AD)));
  for (let page = 0; page < 8; page++) hart.write(DATA + page * PAGE, word(BigInt(page)));
  map(X, 1);
  map(Y, 2);
  state.pmpaddr0 = (1n << 54n) - 1n;
  state.pmpcfg0 = 0x1fn;
  state.vsatp = VSATP;
  state.hgatp = hgatpOf(VMID);
  hart.processor.contextChanged(hart.at);
}

/** Runs a line in machine mode, or as the guest's supervisor. */
function execute(source: string, registers: Record<number, bigint> = {}, virtual = 0n): void {
  hart.write(CODE, assemble(source, BigInt(CODE)).bytes);
  for (const [index, value] of Object.entries(registers)) hart.state.x[Number(index)] = value;
  inMode(virtual, () => {
    hart.state.pc = BigInt(CODE);
    hart.run(source.trim().split('\n').length);
    assert.equal(hart.state.mcause, 0n, source);
  });
}

/** Nothing is dropped by the change of mode. */
function inMode<T>(virtual: bigint, act: () => T): T {
  const { state } = hart;
  const settle = (mode: bigint, v: bigint): void => {
    Object.assign(state, { mode, virtual: v });
    state.contextStale |= STALE.epochs;
    hart.processor.settleContext(hart.at, state);
  };
  settle(virtual === 0n ? 3n : 1n, virtual);
  const result = act();
  settle(3n, 0n);
  return result;
}

/** What the guest finds at `va`: the number of the data's page. */
function look(va: number): number {
  return inMode(1n, () => {
    const value = Number(hart.processor.load(hart.at, BigInt(va), 8));
    assert.equal(hart.state.fault, 0);
    return value;
  });
}

interface Fence {
  readonly name: string;
  readonly source: string;
  readonly registers?: Record<number, bigint>;
  readonly virtual?: bigint;
  readonly drops: readonly number[];
}

const OTHER = VMID + 1n;
const fences: readonly Fence[] = [
  { name: "the host's of everything", source: 'sfence.vma', drops: [] },
  { name: "the host's of a page", source: 'sfence.vma a0', registers: { 10: BigInt(X) }, drops: [] },
  { name: "the host's of the ASID", source: 'sfence.vma x0, a0', registers: { 10: ASID }, drops: [] },
  { name: 'the VMID', source: 'hfence.vvma', drops: [X, Y] },
  { name: 'a page', source: 'hfence.vvma a0', registers: { 10: BigInt(X) }, drops: [X] },
  { name: 'the ASID', source: 'hfence.vvma x0, a0', registers: { 10: ASID }, drops: [X, Y] },
  { name: 'another ASID', source: 'hfence.vvma x0, a0', registers: { 10: ASID + 1n }, drops: [] },
  {
    name: 'a page of the ASID',
    source: 'hfence.vvma a0, a1',
    registers: { 10: BigInt(Y), 11: ASID },
    drops: [Y],
  },
  { name: 'a page of another', source: 'hfence.vvma a0, a1', registers: { 10: BigInt(Y), 11: 6n }, drops: [] },
  { name: 'hinval.vvma', source: 'hinval.vvma a0, x0', registers: { 10: BigInt(X) }, drops: [X] },
  {
    name: 'another VMID',
    source: 'csrrw a1, hgatp, a0\nhfence.vvma\ncsrw hgatp, a1',
    registers: { 10: hgatpOf(OTHER) },
    drops: [],
  },
  {
    name: 'the VMID, MODE Bare meanwhile',
    source: 'csrrw a1, hgatp, a0\nhfence.vvma\ncsrw hgatp, a1',
    registers: { 10: VMID << 44n },
    drops: [X, Y],
  },
  { name: 'all guests', source: 'hfence.gvma', drops: [X, Y] },
  { name: 'a guest by its VMID', source: 'hfence.gvma x0, a0', registers: { 10: VMID }, drops: [X, Y] },
  { name: 'another guest', source: 'hfence.gvma x0, a0', registers: { 10: OTHER }, drops: [] },
  { name: 'hinval.gvma', source: 'hinval.gvma x0, a0', registers: { 10: VMID }, drops: [X, Y] },
  { name: "the guest's own of everything", source: 'sfence.vma', virtual: 1n, drops: [X, Y] },
  { name: "the guest's own of a page", source: 'sfence.vma a0', registers: { 10: BigInt(X) }, virtual: 1n, drops: [X] },
  { name: "the guest's own of an ASID", source: 'sfence.vma x0, a0', registers: { 10: 6n }, virtual: 1n, drops: [] },
];

for (const model of ['fence', 'tracked'] as const)
  describe(`a fence drops what it names (${model})`, () => {
    for (const { name, source, registers, virtual, drops } of fences)
      test(name, () => {
        start({ model });
        assert.deepEqual([look(X), look(Y)], [1, 2]);
        map(X, 3);
        map(Y, 3);
        assert.deepEqual([look(X), look(Y)], [1, 2], 'kept until then');
        execute(source, registers, virtual);
        assert.deepEqual([look(X), look(Y)], [drops.includes(X) ? 3 : 1, drops.includes(Y) ? 3 : 2]);
      });
  });

describe('guests', () => {
  beforeEach(() => start());

  test('the second stage is kept until hfence.gvma', () => {
    assert.equal(look(X), 1);
    mapGuestPhysical(1, 4);
    assert.equal(look(X), 1);
    execute('hfence.gvma');
    assert.equal(look(X), 4);
  });

  test('the same vsatp of another VMID is another space, and both are kept', () => {
    assert.equal(look(X), 1);
    map(X, 3);
    hart.state.hgatp = hgatpOf(OTHER);
    assert.equal(look(X), 3);
    hart.state.hgatp = hgatpOf(VMID);
    assert.equal(look(X), 1);
    execute('hfence.gvma x0, a0', { 10: OTHER });
    assert.equal(look(X), 1);
    const roots = shadowList(hart.memory, hart.state).map(({ satp, hgatp }) => [satp, hgatp]);
    assert.deepEqual(roots.sort(), [
      [`0x${VSATP.toString(16)}`, `0x${hgatpOf(VMID).toString(16)}`],
      [`0x${VSATP.toString(16)}`, `0x${hgatpOf(OTHER).toString(16)}`],
    ]);
  });

  test('a larger page in small pieces is fenced by any of its addresses, and leaves others', () => {
    const [first, other] = [LARGE + DATA - RAM, LARGE + DATA - RAM + 5 * PAGE];
    assert.deepEqual([look(X), look(first)], [1, 0]);
    // From now on it is one of small pages.
    hart.write(TABLES + 3 * PAGE + ((DATA - RAM) / PAGE) * 8, word(pte(DATA + 6 * PAGE, VRWX | AD)));
    hart.write(TABLES + PAGE + 8, word(pte(TABLES + 3 * PAGE, 1n)));
    map(X, 3);
    execute('hfence.vvma a0', { 10: BigInt(Y) });
    assert.deepEqual([look(X), look(first)], [1, 0], 'a fence of something else');
    execute('hfence.vvma a0', { 10: BigInt(X) });
    assert.deepEqual([look(X), look(first)], [3, 0]);
    execute('hfence.vvma a0', { 10: BigInt(other) });
    assert.equal(look(first), 6);
  });

  test('a fence that another hart asks for', () => {
    const fence = (scope: bigint, va = 0n, bytes = 0n): void =>
      hart.processor.fence(hart.at, hart.state, { va, bytes, asid: -1n, scope });
    assert.equal(look(X), 1);
    map(X, 3);
    for (const scope of [HOST_SCOPE, guestScope(OTHER)]) {
      fence(scope);
      fence(scope, BigInt(X), 4096n);
      assert.equal(look(X), 1, `scope ${scope}`);
    }
    fence(guestScope(VMID), BigInt(X), 4096n);
    assert.equal(look(X), 3);
    map(X, 4);
    fence(EVERY_GUEST);
    assert.equal(look(X), 4);
  });

  test('entry and exit register what is there and write no entry', () => {
    assert.equal(look(X), 1);
    const before = shadowStats(hart.state);
    for (let i = 0; i < 10; i++) assert.equal(look(X), 1);
    const { entriesWritten, misses, hits, refillsByWalk } = shadowStats(hart.state);
    assert.deepEqual(
      [entriesWritten, misses, refillsByWalk],
      [before.entriesWritten, before.misses, before.refillsByWalk],
    );
    assert.ok(hits >= before.hits + 10);
  });

  test('hlv walks anew, whatever is kept', () => {
    assert.equal(look(X), 1);
    map(X, 3);
    hart.state.hstatus = 1n << 8n;
    execute('hlv.d a0, (a1)', { 11: BigInt(X) });
    assert.equal(hart.state.x[10], 3n);
    assert.equal(look(X), 1);
  });

  test('a page that is written only once both stages allow it', () => {
    const put = (): number =>
      inMode(1n, () => {
        hart.processor.store(hart.at, BigInt(X), 8, 9n);
        const { fault, faultCause } = hart.state;
        hart.state.fault = 0;
        return fault === 0 ? 0 : Number(faultCause);
      });
    const page = (DATA - RAM) / PAGE + 1;
    const stage = (bits: bigint): void => hart.write(STAGE + 5 * PAGE + page * 8, word(pte(DATA + PAGE, bits)));
    stage(VRWX | USER | 0x40n);
    execute('hfence.gvma');
    assert.equal(look(X), 1);
    assert.equal(put(), 23, 'D is clear in the second stage');
    assert.equal(hart.state.faultGpa, BigInt(DATA + PAGE));
    stage(VRWX | USER | AD);
    assert.equal(put(), 0, 'what was not allowed is not kept');
    assert.equal(look(X), 9);
  });
});

describe('with combined shadows off', () => {
  beforeEach(() => start({ combined: 'off' }));

  /** In the guest, without leaving it: what is at `va`, before and behind a change and a fence of its own. */
  function lookTwice(va: number, change: () => void, fence: string, a0: number): readonly [bigint, bigint] {
    const { state } = hart;
    hart.write(CODE, assemble(`ld a1, (a2)\n${fence}\nld a3, (a2)`, BigInt(CODE)).bytes);
    return inMode(1n, () => {
      state.pc = BigInt(CODE);
      state.x[10] = BigInt(a0);
      state.x[12] = BigInt(va);
      hart.run(1);
      change();
      hart.run(2);
      return [state.x[11] ?? 0n, state.x[13] ?? 0n];
    });
  }

  test('each entry of the guest begins with walks of both stages', () => {
    assert.deepEqual([look(X), look(Y)], [1, 2]);
    map(X, 3);
    mapGuestPhysical(2, 4);
    assert.deepEqual([look(X), look(Y)], [3, 4]);
  });

  test('no table knows anything, and walks are counted', () => {
    const before = shadowStats(hart.state).refillsByWalk;
    assert.deepEqual([look(X), look(X)], [1, 1]);
    const { entriesWritten, refillsByWalk, refillsByShadow } = shadowStats(hart.state);
    assert.deepEqual([entriesWritten, refillsByWalk - before, refillsByShadow], [0, 2, 0]);
    assert.deepEqual(
      shadowList(hart.memory, hart.state).map(({ entries }) => entries),
      [0],
    );
  });

  test('within its stay a guest keeps what it does not fence', () => {
    assert.deepEqual(
      lookTwice(X, () => map(X, 3), 'nop', 0),
      [1n, 1n],
    );
  });

  test('and has what it fenced', () => {
    assert.deepEqual(
      lookTwice(X, () => map(X, 3), 'sfence.vma a0', X),
      [1n, 3n],
    );
    assert.deepEqual(
      lookTwice(Y, () => map(Y, 4), 'sfence.vma', 0),
      [2n, 4n],
    );
  });

  test('a fence of a page drops all of the larger one that it is in', () => {
    const at = DATA - RAM + PAGE;
    const split = (): void => {
      map(at, 5);
      hart.write(TABLES + PAGE + 8, word(pte(TABLES + 2 * PAGE, 1n)));
    };
    assert.deepEqual(lookTwice(LARGE + at, split, 'sfence.vma a0', LARGE), [1n, 5n]);
  });
});
