/** Random programs end alike in QEMU and on the engine; test/long/qemu-random.ts runs millions of instructions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { compareWithQemu } from './qemu-comparison.testing.ts';
import { randomProgram } from './random-blocks.testing.ts';

for (const seed of [1, 2, 3]) {
  test(`random program ${seed}: all registers agree with QEMU after each block`, requires('qemu'), async () => {
    const { difference, instructions } = await compareWithQemu(
      programPath('qemu-system-riscv64'),
      randomProgram(seed, 1000),
    );
    assert.equal(difference, undefined);
    assert.ok(instructions > 100_000, `${instructions} instructions`);
  });
}
