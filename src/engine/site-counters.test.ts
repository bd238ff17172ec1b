/** When the host is told that a sensitive instruction was emulated often (profile.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';

const START = 0x8000_0000;

/** A hart in a loop of one CSR access; `turns` runs it, and returns how often the host was told, and of which address. */
function looping(): { hart: BareHart; turns(count: number): bigint[] } {
  const hart = new BareHart({ extensions: parseCpu('rv64'), ramBase: START, ramBytes: 16 << 12 });
  hart.write(START, assemble('loop: csrr a0, mscratch\nj loop', BigInt(START)).bytes);
  hart.state.pc = BigInt(START);
  const told: bigint[] = [];
  hart.processor.onSensitive = ({ sitePc }) => told.push(sitePc);
  return {
    hart,
    turns: (count) => {
      hart.run(count * 2);
      return told.splice(0);
    },
  };
}

test('each time that it was emulated as often as the threshold says', () => {
  const { hart, turns } = looping();
  hart.state.siteThreshold = 10;
  assert.deepEqual(turns(9), []);
  assert.deepEqual(turns(1), [BigInt(START)]);
  assert.equal(turns(35).length, 3);
});

test('at once where the threshold has come down below the count', () => {
  const { hart, turns } = looping();
  hart.state.siteThreshold = 100;
  assert.deepEqual(turns(50), []);
  hart.state.siteThreshold = 20;
  assert.equal(turns(1).length, 1);
});

test('never with a threshold of 0', () => {
  const { hart, turns } = looping();
  hart.state.siteThreshold = 0;
  assert.deepEqual(turns(70_000), []);
});
