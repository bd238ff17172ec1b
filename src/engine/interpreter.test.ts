/** The interpreter on the directed cases of every row. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { casesOf, compressedCases } from '../isa/cases/generate.testing.ts';
import type { InstructionCase } from '../isa/cases/instruction-case.testing.ts';
import { referenceMachine } from '../isa/cases/reference-machine.testing.ts';
import { createDecoder, parseCpu } from '../isa/index.ts';
import { ELSEWHERE, engineMachine } from './case-hart.testing.ts';

const extensions = parseCpu('rv64');

for (const width of [32, 64] as const) {
  test(`every row's directed cases agree with the reference machine (memory${width})`, () => {
    const engine = engineMachine(width);
    const reference = referenceMachine();
    const decoder = createDecoder(extensions);
    let count = 0;
    const check = (c: InstructionCase): void => {
      // One in eight is enough for the second width: the rows' code is the same.
      if (width === 64 && count % 8 !== 0) {
        count++;
        return;
      }
      assert.deepEqual(engine.run(c), reference.run(c), `${c.name} ${c.bits.toString(16)}`);
      count++;
    };
    for (const code of decoder.rows) if (!ELSEWHERE.has(code.row.kind)) for (const c of casesOf(code)) check(c);
    for (const c of compressedCases(decoder)) check(c);
    assert.ok(count > 1000, `${must(count)} cases`);
  });
}
