import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BareHart } from '../engine/engine.testing.ts';
import { createDecoder, parseCpu } from '../isa/index.ts';
import { HOST_BYTES, ModuleLog } from './module-log.ts';
import { translating } from './translation.testing.ts';

const BASE = 0x8000_0000;
const PAGE_BYTES = 4096;
/** Each page: so many rounds of a loop that adds 1 to x5 so often. */
const TURNS = 4;
const BODY = 50;
const STEPS = 1 + TURNS * (BODY + 2) + 1;
const SLICE = 50;
const decoder = createDecoder(parseCpu('rv64'));

/** A hart with 1 MiB of code memory; its guest goes round `pages` pages, each with a loop of so many turns. */
function roundabout(pages: number, { turns = (_page: number): number => TURNS, threshold = 1 } = {}) {
  const hart = new BareHart({
    ...{ extensions: parseCpu('rv64'), ramBase: BASE, ramBytes: pages * PAGE_BYTES, codeBytes: 1 << 20 },
    translate: translating({ threshold })({ decoder }),
  });
  for (let page = 0; page < pages; page++) {
    const words = new Uint32Array(BODY + 4).fill(0x00128293); // addi x5, x5, 1
    words[0] = 0x00000313 | (turns(page) << 20); // addi x6, x0, turns
    words[BODY + 1] = 0xfff30313; // addi x6, x6, -1
    words[BODY + 2] = branch(-(BODY + 1) * 4);
    const next = page === pages - 1 ? -page * PAGE_BYTES : PAGE_BYTES;
    words[BODY + 3] = jump(next - (BODY + 3) * 4);
    hart.write(BASE + page * PAGE_BYTES, new Uint8Array(words.buffer));
  }
  hart.state.pc = BigInt(BASE);
  return { hart, memory: hart.memory };
}

/** jal x0. */
function jump(offset: number): number {
  const bits = [(offset >> 20) & 1, (offset >> 1) & 0x3ff, (offset >> 11) & 1, (offset >> 12) & 0xff] as const;
  return ((bits[0] << 31) | (bits[1] << 21) | (bits[2] << 20) | (bits[3] << 12) | 0x6f) >>> 0;
}

/** bne x6, x0. */
function branch(offset: number): number {
  const bits = [(offset >> 12) & 1, (offset >> 5) & 0x3f, (offset >> 1) & 15, (offset >> 11) & 1] as const;
  return ((bits[0] << 31) | (bits[1] << 25) | (6 << 15) | (1 << 12) | (bits[2] << 8) | (bits[3] << 7) | 0x63) >>> 0;
}

/** Runs so many steps, and makes room when the engine says that there is none for more code. */
function runWhole(hart: BareHart, steps: number): void {
  const end = hart.state.steps + BigInt(steps);
  while (hart.state.steps < end) {
    const exit = hart.run(Number(end - hart.state.steps));
    if (exit.kind === 'codeFull') hart.makeRoomForCode();
  }
}

describe('code memory that is too small', () => {
  test('is dropped and filled again, and the guest does not notice', () => {
    const pages = 200;
    const { hart, memory } = roundabout(pages);
    let collections = 0;
    hart.processor.collectGarbage = () => {
      collections++;
    };
    let rounds = 0;
    for (; rounds < 60 && collections === 0; rounds++) {
      runWhole(hart, pages * STEPS);
      assert(memory.codeBytes <= 1 << 20);
    }
    assert.equal(hart.state.x[5], BigInt(pages * TURNS * BODY * rounds));
    assert(memory.header.codeFlushes > rounds, `${memory.header.codeFlushes} times in ${rounds} rounds`);
    assert.equal(collections, 1, 'the host is asked to free what was dropped');
  });

  test('what is cold goes first, and what is hot stays translated', () => {
    const pages = 200;
    const turnsOf = (page: number): number => (page % 20 === 0 ? 30 : 1);
    const { hart, memory } = roundabout(pages, { turns: turnsOf, threshold: 20 });
    const turns = Array.from({ length: pages }, (_, page) => turnsOf(page)).reduce((sum, each) => sum + each, 0);
    const round = pages * 2 + turns * (BODY + 2);
    // In slices, so that what is hot is entered often.
    const runRounds = (rounds: number): void => {
      for (let done = 0; done < round * rounds; done += SLICE) runWhole(hart, Math.min(SLICE, round * rounds - done));
    };
    // Now the loops of 30 turns are hot: ten pages of two hundred, of which some fifty fit at a time.
    runRounds(20);
    const { regionsMade, pagesEvicted, codeFlushes } = memory.header;
    const { regions } = memory.regionsInUse;
    assert(regions >= 10, `${regions} regions`);
    runRounds(20);
    assert.equal(hart.state.x[5], BigInt(turns * BODY * 40));
    const after = memory.header;
    assert.deepEqual([after.codeFlushes, after.regionsMade], [codeFlushes, regionsMade]);
    assert.equal(memory.regionsInUse.regions, regions);
    assert(after.pagesEvicted > pagesEvicted + 1000, `${after.pagesEvicted} pages, ${pagesEvicted} before`);
    assert(memory.codeBytes <= 1 << 20);
  });

  test('counts what the host holds for a module, until it is dropped', () => {
    const { memory } = roundabout(1);
    const log = new ModuleLog(memory);
    const bytes = new Uint8Array(4096).fill(1);
    const before = memory.codeBytes;
    assert.equal(log.append(bytes, 7, 2), true);
    assert.equal(memory.codeBytes - before, 64 + bytes.length * (1 + HOST_BYTES));
    assert.equal(log.append(new Uint8Array(1 << 18), 9, 1), false);
    assert.equal(log.length, 1);
    memory.dropCode();
    assert.equal(memory.codeBytes, 0);
  });
});
