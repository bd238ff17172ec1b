/**
 * Translations of several address spaces, and what fences drop: what they must ("Supervisor Memory-Management Fence
 * Instruction"), and no more. That a translation is kept shows by a load that goes where the page table led before.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { assemble, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import { HOST_SCOPE } from './fence-scope.ts';
import { DECODED_HEADER_BYTES, decodedHeader } from './memory-plan.ts';
import { DEFAULT_SHADOWS } from './shadow-layout.ts';
import { type ShadowOptions, shadowList, shadowStats } from './shadows.ts';
import { wroteTracked } from './tracked-frames.ts';
import { placesOf } from './translation-buffers.ts';
import { TLB_ENTRY_BYTES } from './vcpu-state.ts';

const RAM = 0x8000_0000;
const PAGE = 4096;
/** Pages of RAM: code, root tables of two address spaces, their tables, data. */
const [CODE, TABLES, DATA] = [RAM, RAM + 16 * PAGE, RAM + 32 * PAGE];
const MPRV_AS_USER = 1n << 17n;
const MPP = 3n << 11n;
const [VRWXU, AD] = [0x1fn, 0xc0n];
const SV39 = 8n;

let hart: BareHart;

const space = (number: number): number => TABLES + number * 4 * PAGE;
const satp = (number: number, asid: number): bigint =>
  (SV39 << 60n) | (BigInt(asid) << 44n) | BigInt(space(number) / PAGE);
const word = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer);
const pointer = (to: number): bigint => (BigInt(to / PAGE) << 10n) | 1n;
const leaf = (to: number): bigint => (BigInt(to / PAGE) << 10n) | VRWXU | AD;

/** Maps a page below 2 MiB of a space to page `data` of the data. */
function map(number: number, va: number, data: number): void {
  hart.write(space(number) + 2 * PAGE + (va / PAGE) * 8, word(leaf(DATA + data * PAGE)));
}

function execute(source: string, registers: Record<number, bigint> = {}): void {
  const { bytes } = assemble(source, BigInt(CODE));
  hart.write(CODE, bytes);
  for (const [index, value] of Object.entries(registers)) hart.state.x[Number(index)] = value;
  hart.state.pc = BigInt(CODE);
  hart.run(source.trim().split('\n').length);
}

/** What a load in user mode finds at `va`: the number of the data's page. */
function load(va: number): number {
  execute('ld a0, 0(a1)', { 11: BigInt(va) });
  return Number(hart.state.x[10]);
}

const [A, B] = [
  { number: 0, asid: 5 },
  { number: 1, asid: 6 },
];
const enter = ({ number, asid }: { number: number; asid: number }): void =>
  execute('csrw satp, a0', { 10: satp(number, asid) });
const [X, Y] = [0x4000, 0x7000];

beforeEach(() => start());

function start(shadows: ShadowOptions = {}): void {
  hart = new BareHart({ extensions: parseCpu('rv64'), ramBase: RAM, ramBytes: 64 * PAGE, shadows });
  for (const number of [0, 1]) {
    hart.write(space(number), word(pointer(space(number) + PAGE)));
    hart.write(space(number) + PAGE, word(pointer(space(number) + 2 * PAGE)));
    for (const va of [X, Y]) map(number, va, 1);
  }
  for (let page = 0; page < 8; page++) hart.write(DATA + page * PAGE, word(BigInt(page)));
  // PMP: user mode may do everything.
  hart.state.pmpaddr0 = (1n << 54n) - 1n;
  hart.state.pmpcfg0 = 0x1fn;
  hart.state.mstatus |= MPRV_AS_USER;
  hart.processor.contextChanged(hart.at);
  enter(A);
  assert.deepEqual([load(X), load(Y)], [1, 1]);
  // The page table leads elsewhere from now on; no fence has been executed.
  map(A.number, X, 2);
  map(A.number, Y, 2);
}

describe('a fence drops what it names', () => {
  const fences: readonly { name: string; source: string; registers?: Record<number, bigint>; drops: number[] }[] = [
    { name: 'everything', source: 'sfence.vma', drops: [X, Y] },
    { name: 'a page', source: 'sfence.vma a0', registers: { 10: BigInt(X) }, drops: [X] },
    { name: 'a page, by any address in it', source: 'sfence.vma a0', registers: { 10: BigInt(Y + 4095) }, drops: [Y] },
    { name: 'an ASID', source: 'sfence.vma x0, a0', registers: { 10: 5n }, drops: [X, Y] },
    {
      name: 'an ASID: bits above the sixteen do not count',
      source: 'sfence.vma x0, a0',
      registers: { 10: 0xff_0005n },
      drops: [X, Y],
    },
    { name: 'another ASID', source: 'sfence.vma x0, a0', registers: { 10: 6n }, drops: [] },
    { name: 'a page of the ASID', source: 'sfence.vma a0, a1', registers: { 10: BigInt(X), 11: 5n }, drops: [X] },
    { name: 'a page of another ASID', source: 'sfence.vma a0, a1', registers: { 10: BigInt(X), 11: 6n }, drops: [] },
    { name: 'sinval.vma of a page', source: 'sinval.vma a0, x0', registers: { 10: BigInt(X) }, drops: [X] },
  ];
  for (const { name, source, registers, drops } of fences) {
    test(name, () => {
      execute(source, registers);
      assert.deepEqual([load(X), load(Y)], [drops.includes(X) ? 2 : 1, drops.includes(Y) ? 2 : 1]);
    });
    test(`${name}, from the second of its places, too`, () => {
      for (const va of [X, Y]) {
        map(A.number, va + 256 * PAGE, 3);
        assert.equal(load(va + 256 * PAGE), 3);
      }
      execute(source, registers);
      assert.deepEqual([load(X), load(Y)], [drops.includes(X) ? 2 : 1, drops.includes(Y) ? 2 : 1]);
    });
  }

  test('a page that is part of a larger one drops the larger one', () => {
    // One leaf of 2 MiB in place of the table: 4 MiB of addresses below RAM's lie there.
    hart.write(space(0) + PAGE + 8, word(leaf(RAM)));
    const large = 0x20_0000;
    assert.equal(load(large + (DATA - RAM) + 3 * PAGE), 3);
    assert.equal(load(large + (DATA - RAM) + 4 * PAGE), 4);
    hart.write(space(0) + PAGE + 8, word(0n));
    hart.state.mtvec = BigInt(CODE + 64);
    execute('sfence.vma a0', { 10: BigInt(large) });
    execute('ld a0, 0(a1)', { 11: BigInt(large + (DATA - RAM) + 4 * PAGE) });
    assert.equal(hart.state.mcause, 13n, 'a load page fault');
  });

  test('a larger page that had to make room in the table is dropped with all its parts', () => {
    const large = 0x20_0000;
    const part = large + (DATA - RAM) + 3 * PAGE;
    hart.write(space(0) + PAGE + 8, word(leaf(RAM)));
    // Pages of the same set: of the table, and of the table at other places.
    map(A.number, PAGE, 1);
    map(A.number, 257 * PAGE, 1);
    for (let i = 2; i < 6; i++) hart.write(space(0) + PAGE + i * 8, word(pointer(space(0) + 2 * PAGE)));
    assert.equal(load(part), 3);
    const before = hart.state.tableEvictions;
    for (let i = 0; i < 6; i++)
      if (i !== 1) for (const page of [1, 257]) assert.equal(load(i * large + page * PAGE), 1);
    assert.ok(hart.state.tableEvictions - before >= 4, 'each of its ways had to make room');
    hart.state.mtvec = BigInt(CODE + 64);
    hart.write(space(0) + PAGE + 8, word(0n));
    // Another of its parts is named.
    execute('sfence.vma a0', { 10: BigInt(large) });
    execute('ld a0, 0(a1)', { 11: BigInt(part) });
    assert.equal(hart.state.mcause, 13n, 'a load page fault');
  });
});

describe('address spaces are kept', () => {
  test('a change to one that was in use lately drops nothing', () => {
    const before = hart.state.shadowHits;
    enter(B);
    assert.equal(load(X), 1);
    enter(A);
    assert.deepEqual([load(X), load(Y)], [1, 1]);
    assert.equal(hart.state.shadowHits, before + 1);
  });

  test('the same root with another ASID is another space', () => {
    enter({ number: A.number, asid: 9 });
    assert.deepEqual([load(X), load(Y)], [2, 2]);
  });

  for (const { name, source, registers, kept } of [
    { name: 'a fence of everything reaches those that are not in use', source: 'sfence.vma', kept: false },
    { name: 'a fence of their ASID, too', source: 'sfence.vma x0, a0', registers: { 10: 5n }, kept: false },
    {
      name: 'a fence of a page in all spaces, too',
      source: 'sfence.vma a0',
      registers: { 10: BigInt(X) },
      kept: false,
    },
    { name: 'a fence of the ASID in use leaves them', source: 'sfence.vma x0, a0', registers: { 10: 6n }, kept: true },
    { name: 'a change of MXR leaves them', source: 'li a0, 0x80000\ncsrs mstatus, a0\ncsrc mstatus, a0', kept: true },
  ] as { name: string; source: string; registers?: Record<number, bigint>; kept: boolean }[]) {
    test(name, () => {
      enter(B);
      execute(source, registers);
      enter(A);
      assert.equal(load(X), kept ? 1 : 2);
    });
  }

  test('more spaces than there is room for: each is right, and the oldest begins anew', () => {
    for (let asid = 10; asid < 11 + DEFAULT_SHADOWS; asid++) {
      enter({ number: B.number, asid });
      assert.equal(load(X), 1);
    }
    enter(A);
    assert.deepEqual([load(X), load(Y)], [2, 2]);
  });

  test('a frame that becomes code is written slowly from all of them', () => {
    const code = assemble('ebreak\nebreak', BigInt(DATA)).bytes;
    hart.write(DATA + 5 * PAGE, code);
    for (const each of [A, B]) map(each.number, X, 5);
    execute('sfence.vma');
    for (const each of [A, B]) {
      enter(each);
      execute('sd a2, 8(a1)', { 11: BigInt(X), 12: 7n });
    }
    // The frame is executed, in B; then A writes an instruction there that B executes.
    const nop = 0x13n;
    hart.state.mtvec = BigInt(CODE + 64);
    const run = (): bigint => {
      hart.state.mcause = 0n;
      hart.state.mstatus &= ~MPRV_AS_USER;
      hart.state.pc = BigInt(DATA + 5 * PAGE);
      hart.run(1);
      // The trap left MPP at machine mode.
      hart.state.mstatus = (hart.state.mstatus & ~MPP) | MPRV_AS_USER;
      return hart.state.mcause;
    };
    assert.equal(run(), 3n);
    enter(A);
    execute('sw a2, 0(a1)', { 11: BigInt(X), 12: nop });
    assert.equal(run(), 0n);
  });
});

describe('shadows', () => {
  const stats = () => shadowStats(hart.state);
  const roots = () => shadowList(hart.memory, hart.state);
  const hex = (value: bigint): string => `0x${value.toString(16)}`;

  test('a hit registers what is there and writes no entry', () => {
    enter(B);
    assert.equal(load(X), 1);
    const before = stats();
    const shadow = hart.state.shadow;
    enter(A);
    assert.notEqual(hart.state.shadow, shadow);
    assert.deepEqual([load(X), load(Y)], [1, 1]);
    enter(B);
    assert.equal(hart.state.shadow, shadow, 'the same base is registered');
    assert.equal(load(X), 1);
    const after = stats();
    assert.deepEqual([after.hits - before.hits, after.misses - before.misses], [2, 0]);
    assert.equal(after.entriesWritten, before.entriesWritten);
    assert.equal(after.builds, before.builds);
    assert.equal(after.entriesWrittenByHits, 0);
    assert.deepEqual(
      [after.refillsByShadow - before.refillsByShadow, after.refillsByWalk - before.refillsByWalk],
      [0, 0],
      'its buffers are as they were',
    );
  });

  test('a miss allocates, records the root, builds, registers', () => {
    const before = stats();
    const known = roots().length;
    const shadow = hart.state.shadow;
    enter(B);
    const [first] = roots();
    assert.equal(roots().length, known + 1);
    assert.deepEqual([first?.satp, first?.asid, first?.inUse, first?.entries], [hex(satp(1, 6)), 6, true, 0]);
    assert.notEqual(hart.state.shadow, shadow);
    const missed = stats();
    assert.deepEqual([missed.misses - before.misses, missed.builds - before.builds], [1, 1]);
    assert.deepEqual([load(X), load(Y)], [1, 1]);
    const built = stats();
    assert.deepEqual([built.entriesWritten - missed.entriesWritten, roots()[0]?.entries], [2, 2]);
    assert.equal(built.refillsByWalk - missed.refillsByWalk, 2);
  });

  test('the one used least recently makes room', () => {
    for (let asid = 20; asid < 20 + DEFAULT_SHADOWS - 1; asid++) enter({ number: 1, asid });
    enter(A);
    const before = stats();
    enter({ number: 1, asid: 199 });
    assert.equal(stats().evictions - before.evictions, 1);
    const satps = roots().map((root) => root.satp);
    assert.equal(satps.length, DEFAULT_SHADOWS);
    assert.ok(
      satps.includes(hex(satp(0, 5))) && satps.includes(hex(satp(1, 199))) && !satps.includes(hex(satp(1, 20))),
    );
  });

  test('of pages that share a place in the buffers, two are in them, and more are found in the table', () => {
    const far = X + 256 * PAGE;
    map(A.number, far, 3);
    assert.equal(load(far), 3);
    const first = stats();
    for (let i = 0; i < 5; i++) assert.deepEqual([load(X), load(far)], [1, 3]);
    assert.deepEqual(stats(), first);
    // A page whose first place is the second of both.
    const [, second] = placesOf(BigInt(X));
    assert.equal(placesOf(BigInt(far))[1], second);
    const third = (second / TLB_ENTRY_BYTES) * PAGE;
    map(A.number, third, 4);
    assert.equal(load(third), 4);
    const before = stats();
    for (let i = 0; i < 5; i++) assert.deepEqual([load(X), load(far), load(third)], [1, 3, 4]);
    const after = stats();
    assert.ok(after.refillsByShadow - before.refillsByShadow >= 5, 'two places for three pages');
    assert.equal(after.refillsByWalk, before.refillsByWalk);
  });

  test('privilege, SUM and MXR drop nothing', () => {
    const before = stats();
    const [SUM, MXR] = [1n << 18n, 1n << 19n];
    for (const bits of [MPRV_AS_USER | MXR, MPRV_AS_USER | SUM | (1n << 11n), MPRV_AS_USER, MPRV_AS_USER | MXR]) {
      execute('csrw mstatus, a0', { 10: bits });
      assert.equal(load(X), 1);
    }
    assert.equal(stats().refillsByWalk, before.refillsByWalk);
  });

  test('global pages are found by all address spaces; fences of an ASID leave them, those of the page do not', () => {
    const high = -(1n << 38n);
    const upper = TABLES + 12 * PAGE;
    for (const number of [0, 1]) hart.write(space(number) + 256 * 8, word(pointer(upper)));
    hart.write(upper, word(pointer(upper + PAGE)));
    const put = (index: number, data: number): void =>
      hart.write(upper + PAGE + index * 8, word((leaf(DATA + data * PAGE) & ~0x10n) | 0x20n));
    put(0, 4);
    put(1, 5);
    execute('csrw mstatus, a0', { 10: MPRV_AS_USER | (1n << 11n) });
    const look = (index: number): number => {
      execute('ld a0, 0(a1)', { 11: BigInt.asUintN(64, high + BigInt(index * PAGE)) });
      return Number(hart.state.x[10]);
    };
    assert.deepEqual([look(0), look(1)], [4, 5]);
    const before = stats();
    enter(B);
    assert.deepEqual([look(0), look(1)], [4, 5]);
    execute('sfence.vma x0, a0', { 10: 6n });
    put(0, 6);
    put(1, 6);
    assert.deepEqual([look(0), look(1)], [4, 5]);
    assert.equal(stats().refillsByWalk, before.refillsByWalk, 'nobody walked');
    execute('sfence.vma a0, x0', { 10: BigInt.asUintN(64, high) });
    assert.deepEqual([look(0), look(1)], [6, 5], 'that page alone');
  });

  test('a fence that another hart asks for drops its range, of its ASID', () => {
    const fence = (va: number, bytes: bigint, asid: bigint): void =>
      hart.processor.fence(hart.at, hart.state, { va: BigInt(va), bytes, asid, scope: HOST_SCOPE });
    fence(X, 4096n, 6n);
    assert.deepEqual([load(X), load(Y)], [1, 1]);
    fence(X, 4096n, 5n);
    assert.deepEqual([load(X), load(Y)], [2, 1]);
    fence(Y - PAGE, 8192n, -1n);
    assert.equal(load(Y), 2);
    map(A.number, X, 3);
    fence(0, (1n << 64n) - 1n, 5n);
    assert.equal(load(X), 3);
  });
});

describe('write-tracked shadows', () => {
  const stats = () => shadowStats(hart.state);
  const pteOf = (va: number): number => space(0) + 2 * PAGE + (va / PAGE) * 8;
  beforeEach(() => {
    start({ model: 'tracked', asidBits: 0 });
    assert.deepEqual([load(X), load(Y)], [2, 2], 'what was written is true at once');
  });

  test('a fence and a change of root keep what is still true', () => {
    const before = stats();
    for (const each of [B, A, B, A]) {
      enter(each);
      execute('sfence.vma');
      execute('sfence.vma x0, a0', { 10: 0n });
    }
    assert.deepEqual([load(X), load(Y)], [2, 2]);
    const after = stats();
    assert.equal(after.refillsByWalk, before.refillsByWalk);
    assert.equal(after.builds, before.builds + 1, 'the shadow of B');
  });

  test('a write drops the entry of its PTE, and of none that no walk used', () => {
    const before = stats();
    map(A.number, 0x9000, 3);
    assert.equal(stats().tracked.drops, before.tracked.drops);
    map(A.number, X, 4);
    assert.equal(stats().tracked.drops, before.tracked.drops + 1);
    assert.deepEqual([load(X), load(Y), load(0x9000)], [4, 2, 3]);
    assert.equal(stats().refillsByWalk, before.refillsByWalk + 2);
  });

  test('a page table in a frame of code that has become quiet is written with notice', () => {
    const table = space(0) + 2 * PAGE;
    const entries = (): number => hart.memory.decodedPage(hart.map.host(table / PAGE, 'write'));
    // An instruction at the end of the table is executed; then the frame is only written, until it is quiet.
    const code = table + PAGE - 8;
    hart.write(code, assemble('nop', BigInt(code)).bytes);
    hart.state.pc = BigInt(code);
    hart.run(1);
    const quiet = (): number =>
      hart.memory.u32[(entries() - DECODED_HEADER_BYTES + decodedHeader.offset.quiet) / 4] ?? 0;
    for (let write = 0; write < 100 && quiet() === 0; write++) {
      execute('csrrc x0, mstatus, a2\nsd a0, 0(a1)\ncsrrs x0, mstatus, a2', {
        10: leaf(DATA),
        11: BigInt(pteOf(0x9000)),
        12: MPRV_AS_USER,
      });
    }
    assert.deepEqual([entries() === 0, quiet()], [false, 1]);
    for (const data of [3, 4, 5]) {
      execute('csrrc x0, mstatus, a2\nsd a0, 0(a1)\ncsrrs x0, mstatus, a2', {
        10: leaf(DATA + data * PAGE),
        11: BigInt(pteOf(X)),
        12: MPRV_AS_USER,
      });
      assert.equal(load(X), data);
    }
  });

  test('what a device writes is true after the next fence', () => {
    const host = hart.map.host(Math.floor(pteOf(X) / PAGE), 'write');
    hart.memory.u8.set(word(leaf(DATA + 5 * PAGE)), host + (pteOf(X) % PAGE));
    wroteTracked(hart.memory, host);
    assert.equal(load(X), 2);
    execute('sfence.vma');
    assert.equal(load(X), 5);
  });

  test('a frame that is written all the time is given up, and in the end for good: fences drop then', () => {
    for (let round = 0; round < 12; round++) {
      for (let write = 0; write < 300; write++) map(A.number, 0x9000, write % 8);
      assert.deepEqual([load(X), load(Y), load(0x9000)], [2, 2, 299 % 8]);
    }
    assert.equal(stats().tracked.demotions, 1);
    map(A.number, X, 6);
    execute('sfence.vma');
    assert.equal(load(X), 6);
  });
});
