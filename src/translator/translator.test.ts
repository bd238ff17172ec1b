/**
 * Translated code against the reference machine: the directed cases of every row, and random programs in lockstep,
 * with everything translated at its first jump. test/long/lockstep.ts runs as long as one likes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ELSEWHERE, engineMachine } from '../engine/case-hart.testing.ts';
import { Prison } from '../engine/hostile.testing.ts';
import { PLAN, REGION_BYTES } from '../engine/index.ts';
import { Lockstep } from '../engine/lockstep.testing.ts';
import { casesOf, compressedCases } from '../isa/cases/generate.testing.ts';
import type { InstructionCase } from '../isa/cases/instruction-case.testing.ts';
import { referenceMachine } from '../isa/cases/reference-machine.testing.ts';
import { createDecoder, parseCpu } from '../isa/index.ts';
import { translating } from './translation.testing.ts';

const decoder = createDecoder(parseCpu('rv64'));
/** A region costs a module: so many cases of each row. */
const CASES_PER_ROW = 12;

for (const width of [32, 64] as const) {
  test(`directed cases of every row agree with the reference machine when translated (memory${width})`, () => {
    const engine = engineMachine(width, translating({ followsCold: true })({ decoder }));
    const reference = referenceMachine();
    const { memory } = engine.hart;
    let [cases, entered] = [0, 0];
    const check = (c: InstructionCase): void => {
      const before = memory.header.regionsMade;
      assert.deepEqual(engine.run(c), reference.run(c), `${c.name} ${c.bits.toString(16)}`);
      cases++;
      const newest = memory.header.regionNext - 1;
      const hits = memory.u32[(PLAN.regions + newest * REGION_BYTES) / 4 + 1] ?? 0;
      if (memory.header.regionsMade > before && hits > 0) entered++;
    };
    const some = (all: Iterable<InstructionCase>): void => {
      const list = [...all];
      const step = Math.max(1, Math.floor(list.length / (width === 32 ? CASES_PER_ROW : 2)));
      for (let i = 0; i < list.length; i += step) check(list[i] as InstructionCase);
    };
    for (const code of decoder.rows) if (!ELSEWHERE.has(code.row.kind)) some(casesOf(code));
    some(compressedCases(decoder));
    // What faults at once, or is left to the interpreter, enters nothing.
    assert.ok(entered > cases * 0.7, `${entered} of ${cases} cases were translated`);
  });
}

for (const { name, options, width, cpu, programs } of [
  { name: 'at first sight', options: {}, width: 32, cpu: 'rv64', programs: 60 },
  { name: 'with code never executed', options: { followsCold: true }, width: 32, cpu: 'rv64', programs: 40 },
  { name: 'twice', options: { threshold: 2, secondThreshold: 4, batch: 3 }, width: 32, cpu: 'rv64', programs: 40 },
  { name: 'in memory64', options: {}, width: 64, cpu: 'rv64', programs: 30 },
  { name: 'with promotion', options: { promotion: 'always' }, width: 32, cpu: 'rv64', programs: 80 },
  {
    name: 'with promotion, twice',
    options: { promotion: 'always', threshold: 2, secondThreshold: 4 },
    width: 64,
    cpu: 'rv64',
    programs: 30,
  },
  {
    name: 'with guests',
    options: { promotion: 'always' },
    width: 32,
    cpu: 'rv64,h=on,smstateen=on',
    programs: 60,
  },
  { name: 'without C', options: {}, width: 32, cpu: 'rv64,c=off', programs: 30 },
] as const) {
  test(`random programs, translated ${name}, end as on the reference machine`, () => {
    const lockstep = new Lockstep({ width, cpu, translate: translating(options) });
    for (let seed = 1; seed <= programs; seed++) assert.equal(lockstep.run(seed * width), undefined);
    const { steps, givenUp } = lockstep.progress;
    assert.ok(steps > programs * 1000, `${steps} steps`);
    assert.ok(givenUp < programs / 3, `${givenUp} programs given up`);
    assert.ok(lockstep.regionsMade > programs, `${lockstep.regionsMade} regions`);
  });
}

for (const width of [32, 64] as const) {
  test(`hostile guests stay in their frames when translated (memory${width})`, () => {
    const prison = new Prison(width, translating({ followsCold: true, batch: 2 })({ decoder }));
    for (let seed = 1; seed <= 30; seed++) prison.run(seed * width);
    assert.ok(prison.regionsMade > 30, `${prison.regionsMade} regions`);
  });
}
