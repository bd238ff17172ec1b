/**
 * Code that one hart writes and another executes, slice by slice: what a hart writes is seen by the others' next fetch,
 * unless it was not told yet that they execute it; then it is seen once that hart has come out of its slice, to which
 * another's fence.i brings it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { MARKS } from '../engine/index.ts';
import { assemble, createDecoder, featuresOf, parseCpu } from '../isa/index.ts';
import { translating } from '../translator/translation.testing.ts';
import { Harts } from './harts.testing.ts';

const BASE = 0x8000_0000;
/** Where hart 1's code is; hart 0's is at BASE. */
const OTHER = BASE + 0x1000;
/** The word that is rewritten, in a page of its own. */
const PATCHED = BASE + 0x2000;
const extensions = parseCpu('rv64');
const decoder = createDecoder(extensions);

/** x10 counts up by what the patched instruction adds; hart 1 runs that in a loop, hart 0 writes it. */
function machine(isTranslated: boolean, pages = 4): Harts {
  const harts = new Harts({
    ...{ harts: 2, threads: 'each', extensions, ramBase: BASE, ramBytes: pages * 4096, width: 32, codeBytes: 8 << 20 },
    translate: isTranslated ? translating()({ decoder }) : undefined,
  });
  load(harts, BASE, 'sw x11, 0(x12)\n 1: j 1b');
  load(harts, OTHER, `li x12, ${PATCHED}\n jr x12`);
  load(harts, PATCHED, 'addi x10, x10, 1\n 1: addi x10, x10, 1\n j 1b');
  for (const { id, state } of harts.vcpus) {
    state.features = featuresOf(extensions);
    state.mode = 3n;
    state.pc = BigInt(BASE + id * 0x1000);
    harts.changed(id);
  }
  return harts;
}

function load(harts: Harts, at: number, source: string): void {
  harts.write(at, assemble(source, BigInt(at)).bytes);
}

/** What hart 1 adds in a turn of so many steps of its loop. */
function added(harts: Harts, steps = 40): bigint {
  const { x } = must(harts.vcpus[1]).state;
  const before = must(x[10]);
  harts.run(1, steps, { lines: 0n, goesOn: false });
  return must(x[10]) - before;
}

/** addi x10, x10, 1 */
const ADD = 0x0015_0513n;

/** Hart 0 writes `addi x10, x10, by` to the loop. */
function writes(harts: Harts, by: number, goesOn: boolean): void {
  const { state } = must(harts.vcpus[0]);
  state.pc = BigInt(BASE);
  state.x[11] = ADD + BigInt((by - 1) * 0x10_0000);
  state.x[12] = BigInt(PATCHED + 4);
  harts.run(0, 1, { lines: 0n, goesOn });
}

/** Hart 0 writes to the page, where no code is. */
function writesData(harts: Harts): void {
  const { state } = must(harts.vcpus[0]);
  state.pc = BigInt(BASE);
  state.x[12] = BigInt(PATCHED + 0x800);
  harts.run(0, 1, { lines: 0n, goesOn: true });
}

/** Hart 0 begins another slice, in which it writes nothing. */
function comesOut(harts: Harts): void {
  harts.run(0, 2, { lines: 0n, goesOn: false });
}

for (const isTranslated of [false, true]) {
  describe(`code of another hart, ${isTranslated ? 'translated' : 'interpreted'}`, () => {
    test('what is written is executed next', () => {
      const harts = machine(isTranslated);
      assert.equal(added(harts, 42), 20n);
      writes(harts, 3, false);
      assert.equal(added(harts), 60n);
      writes(harts, 5, false);
      assert.equal(added(harts), 100n);
    });

    test('what was written before the writer knew is executed once it has come out', () => {
      const harts = machine(isTranslated);
      writes(harts, 1, false);
      assert.equal(added(harts, 42), 20n);
      assert.ok(harts.isUnaware(0));
      writes(harts, 3, true);
      comesOut(harts);
      assert.equal(added(harts), 60n);
      assert.ok(!harts.isUnaware(0));
    });

    test('what is written to a page that was quiet is executed once the writer has come out', () => {
      const harts = machine(isTranslated);
      assert.equal(added(harts, 42), 20n);
      for (let i = 0; i < 100; i++) writesData(harts);
      // It is quiet: this is not noticed, and need not be.
      writes(harts, 3, true);
      assert.equal(added(harts), 60n);
      assert.ok(harts.isUnaware(0));
      writes(harts, 5, true);
      comesOut(harts);
      assert.equal(added(harts), 100n);
      writes(harts, 7, true);
      assert.equal(added(harts), 140n);
    });

    test("what was written before the writer knew is executed after the reader's fence.i", () => {
      const harts = machine(isTranslated);
      writes(harts, 1, false);
      assert.equal(added(harts, 42), 20n);
      writes(harts, 3, true);
      load(harts, OTHER, 'fence.i\n nop');
      const { state } = must(harts.vcpus[1]);
      const loop = state.pc;
      state.pc = BigInt(OTHER);
      harts.run(1, 1, { lines: 0n, goesOn: true });
      state.pc = loop;
      assert.equal(added(harts), 60n);
    });

    test("a writer that has left its slice keeps nobody's fence.i waiting, nor what it wrote before it knew", () => {
      const harts = machine(isTranslated);
      load(harts, BASE, 'j 2f\n 1: sw x13, 0(x12)\n j 3f\n 2: sw x11, 0(x12)\n j 1b\n 3: j 3b');
      const [writer, reader] = [must(harts.vcpus[0]).state, must(harts.vcpus[1]).state];
      writer.hotThreshold = 1;
      writer.x.set([ADD, BigInt(PATCHED + 4), ADD + 0x20_0000n], 11);
      let before = 0n;
      harts.slice(0, 4, ({ pc }) => {
        if (pc === BigInt(BASE + 4)) before = added(harts, 42);
      });
      assert.equal(before, 20n);
      assert.equal(harts.page(2)[4 + 2], 0x35, 'written');
      const loop = reader.pc;
      load(harts, OTHER, 'fence.i\n nop');
      reader.pc = BigInt(OTHER);
      harts.slice(1, 1);
      reader.pc = loop;
      assert.equal(added(harts), 60n);
    });

    test('a writer that missed more marks than are remembered forgets all code', () => {
      const pages = MARKS + 8;
      const harts = machine(isTranslated, pages);
      writes(harts, 1, false);
      assert.equal(added(harts, 42), 20n);
      const { state } = must(harts.vcpus[1]);
      const loop = state.pc;
      for (let page = 3; page < pages; page++)
        load(harts, BASE + page * 4096, `li t0, ${BASE + (page + 1) * 4096}\n jr t0`);
      state.pc = BigInt(BASE + 3 * 4096);
      harts.run(1, 2 * (pages - 4), { lines: 0n, goesOn: false });
      writes(harts, 3, true);
      comesOut(harts);
      state.pc = loop;
      assert.equal(added(harts), 60n);
    });

    test('a mark whose page is not written down yet makes the writer forget all code', () => {
      const harts = machine(isTranslated);
      writes(harts, 1, false);
      assert.equal(added(harts, 42), 20n);
      const { header } = harts.memory;
      // As the marking thread leaves it between its two writes.
      header.recentMarks[(header.marks - 1) & (MARKS - 1)] = 0n;
      writes(harts, 3, true);
      comesOut(harts);
      assert.equal(added(harts), 60n);
    });

    test('marks from before all code was dropped touch nothing', () => {
      const harts = machine(isTranslated);
      writes(harts, 1, false);
      added(harts, 42);
      assert.ok(harts.isUnaware(0));
      // By another, while hart 0 is outside: nobody tells it.
      harts.dropCode();
      // Where decoded pages were, there may be anything now: modules, other pages.
      const from = harts.memory.header.decodedFirst;
      harts.memory.u8.fill(0xa5, from, from + (1 << 17));
      must(harts.vcpus[0]).acknowledgeCodeMarks(harts.processor(0));
      assert.ok(harts.memory.u8.subarray(from, from + (1 << 17)).every((byte) => byte === 0xa5));
    });
  });
}

test('what is done for a hart outside the engine is done without what it knew of code that was dropped', () => {
  const harts = machine(false);
  comesOut(harts);
  const [vcpu] = harts.vcpus;
  const dropped = (): bigint => must(vcpu).withCode(() => must(vcpu).state.dropEpoch);
  const before = dropped();
  harts.memory.dropCode();
  const after = dropped();
  assert.ok(after > before);
  assert.equal(dropped(), after, 'once');
});
