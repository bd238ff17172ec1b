/** Frames that held code and are written as data: they become quiet, and are noticed again when they are executed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { BareHart } from '../engine/engine.testing.ts';
import { DECODED_HEADER_BYTES, decodedHeader, PLAN } from '../engine/index.ts';
import { Random } from '../engine/random.testing.ts';
import { assemble, createDecoder, parseCpu } from '../isa/index.ts';
import { translating } from './translation.testing.ts';

const BASE = 0x8000_0000;
/** The page of functions; each of FUNCTIONS is `addi x10, x0, N; jr x1`, eight bytes. Data lies behind them. */
const CODE = BASE + 0x1000;
const FUNCTIONS = 16;
const DATA = 1024;
/** `sd x11, 0(x12)` so many times in a loop of x13; calls x14; stands still. */
const STORE = '1: sd x11, 0(x12)\n addi x13, x13, -1\n bnez x13, 1b\n 2: j 2b';
const CALL = '1: jalr x1, 0(x14)\n 2: j 2b';
const CALL_AT = 0x100;
const extensions = parseCpu('rv64');

/** addi x10, x0, n; jalr x0, 0(x1). */
const functionOf = (n: number): bigint => (0x0000_8067n << 32n) | BigInt(((n << 20) | 0x0000_0513) >>> 0);

function machine(isTranslated: boolean) {
  const hart = new BareHart({
    ...{ extensions, ramBase: BASE, ramBytes: 0x4000, codeBytes: 8 << 20 },
    translate: isTranslated ? translating()({ decoder: createDecoder(extensions) }) : undefined,
  });
  hart.write(BASE, assemble(STORE, BigInt(BASE)).bytes);
  hart.write(BASE + CALL_AT, assemble(CALL, BigInt(BASE + CALL_AT)).bytes);
  const { state } = hart;
  return {
    hart,
    /** Stores the doubleword, `times` times. */
    store(offset: number, value: bigint, times = 1): void {
      state.pc = BigInt(BASE);
      state.x[11] = value;
      state.x[12] = BigInt(CODE + offset);
      state.x[13] = BigInt(times);
      hart.run(3 * times + 1);
    },
    call(number: number): bigint {
      state.pc = BigInt(BASE + CALL_AT);
      state.x[14] = BigInt(CODE + 8 * number);
      hart.run(4);
      return must(state.x[10]);
    },
    field(name: 'quiet' | 'quieted'): number {
      const { u32 } = hart.memory;
      const entries = must(u32[PLAN.frameTable / 4 + hart.map.host(CODE / 4096, 'read') / 4096]);
      return must(u32[(entries - DECODED_HEADER_BYTES + decodedHeader.offset[name]) / 4]);
    },
  };
}

for (const isTranslated of [false, true])
  describe(isTranslated ? 'translated' : 'interpreted', () => {
    test('a frame that is only written becomes quiet, and is noticed again when it is executed', () => {
      const { store, call, field } = machine(isTranslated);
      store(0, functionOf(5));
      for (let i = 0; i < 20; i++) assert.equal(call(0), 5n);
      store(DATA, 0n, 20);
      assert.equal(field('quiet'), 0, 'twenty writes are borne');
      store(DATA, 0n, 40);
      assert.equal(field('quiet'), 1);
      store(0, functionOf(6));
      assert.equal(call(0), 6n);
      assert.equal(field('quiet'), 0);
      store(0, functionOf(7));
      assert.equal(call(0), 7n);
    });

    test('data beside hot code is borne longer each time', () => {
      const { store, call, field } = machine(isTranslated);
      store(0, functionOf(5));
      for (let turn = 0; turn < 200; turn++) {
        assert.equal(call(0), 5n);
        store(DATA, BigInt(turn), 50);
      }
      assert.ok(field('quieted') >= 1 && field('quieted') <= 9, `${field('quieted')} times quiet`);
    });

    test('whatever is written and called, in any order, the newest code is executed', () => {
      for (let seed = 1; seed <= 20; seed++) {
        const random = new Random(seed);
        const { store, call } = machine(isTranslated);
        const values = Array.from({ length: FUNCTIONS }, (_, i) => i);
        values.forEach((value, i) => {
          store(8 * i, functionOf(value));
        });
        for (let turn = 0; turn < 300; turn++) {
          const i = random.below(FUNCTIONS);
          const kind = random.below(8);
          if (kind === 0) store(DATA + 8 * i, BigInt(turn), 1 + random.below(200));
          else if (kind < 4) {
            values[i] = random.below(2000);
            store(8 * i, functionOf(must(values[i])), 1 + random.below(60));
          } else assert.equal(call(i), BigInt(must(values[i])), `seed ${seed}, turn ${turn}`);
        }
      }
    });
  });
