/** Making regions while the code changes between finding and installing, as it may where another thread makes them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { BareHart } from '../engine/engine.testing.ts';
import { assemble, createDecoder, parseCpu } from '../isa/index.ts';
import { placeOf } from './code-source.ts';
import { ModuleTable } from './module-table.ts';
import { DEFAULT_TRANSLATION } from './options.ts';
import { RegionMaker } from './region-maker.ts';

const BASE = 0x8000_0000;
const extensions = parseCpu('rv64');
const decoder = createDecoder(extensions);
/** addi x10, x10, 1 and a jump, which the first region takes; behind it what only the larger one does. */
const LOOP = '1: addi x10, x10, 1\n j 2f\n 2: addi x11, x11, 1\n j 1b';
const TURN = 4;

/** A hart in the loop's head, all of it decoded; what finds and makes regions there. */
function bench() {
  let table: ModuleTable | undefined;
  let maker: RegionMaker | undefined;
  const hart = new BareHart({
    ...{ extensions, ramBase: BASE, ramBytes: 8192 },
    translate: ({ memory, processor, signatures }) => {
      const options = { ...DEFAULT_TRANSLATION, first: { ...DEFAULT_TRANSLATION.first, instructions: 2 } };
      maker = new RegionMaker(memory, { decoder, hasCompressed: true, signatures }, options);
      table = new ModuleTable(memory, processor);
      return { start: () => undefined, prepare: () => true };
    },
  });
  hart.write(BASE, assemble(LOOP, BigInt(BASE)).bytes);
  hart.state.pc = BigInt(BASE);
  hart.run(10 * TURN);
  hart.state.x.fill(0n);
  const found = () => {
    const hot = { ...must(placeOf(hart.memory, hart.state)), epoch: hart.memory.header.decodedEpoch };
    return must(must(maker).find({ ...hot, why: 'reached' }));
  };
  return { hart, found, make: (region: ReturnType<typeof found>) => must(maker).make([region], must(table)) };
}

/** Another instruction at that offset of the loop. */
function rewrite(hart: BareHart, offset: number, source: string): void {
  hart.write(BASE + offset, assemble(source, BigInt(BASE + offset)).bytes);
}

describe('code that changes while a region is made of it', () => {
  test('is not installed', () => {
    const { hart, found, make } = bench();
    const region = found();
    rewrite(hart, 0, 'addi x10, x10, 3');
    assert.ok(make(region));
    hart.run(TURN);
    assert.deepEqual([hart.state.x[10], hart.state.regionSteps, hart.memory.regionsInUse.regions], [3n, 0n, 0]);
  });

  test('what stands at its head stays, and is dropped when its own code is written', () => {
    const { hart, found, make } = bench();
    assert.ok(make(found()));
    hart.run(TURN);
    assert.deepEqual([hart.state.x[10], hart.state.regionSteps], [1n, 2n]);
    const larger = found();
    rewrite(hart, 8, 'addi x11, x11, 5');
    assert.ok(make(larger));
    hart.run(TURN);
    assert.deepEqual([hart.state.x[10], hart.state.x[11], hart.state.regionSteps], [2n, 6n, 4n]);
    rewrite(hart, 4, 'addi x12, x12, 7');
    hart.run(TURN);
    assert.deepEqual([hart.state.x[10], hart.state.x[12], hart.state.regionSteps], [3n, 7n, 4n]);
  });

  test('a larger one that is installed takes its place, and its instructions count', () => {
    const { hart, found, make } = bench();
    assert.ok(make(found()));
    assert.ok(make(found()));
    assert.deepEqual(hart.memory.regionsInUse, { regions: 1, instructions: TURN });
    hart.run(TURN);
    assert.deepEqual([hart.state.x[10], hart.state.regionSteps], [1n, BigInt(TURN)]);
  });
});
