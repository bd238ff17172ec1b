import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MRET, runHartCase, SRET, sfenceVma, sinvalVma } from './cases/hart-case.testing.ts';
import { INTERRUPT_CASES, TRAP_CASES } from './cases/trap-cases.testing.ts';
import { TestHart } from './test-hart.testing.ts';

describe('traps, returns, permissions', () => {
  for (const c of TRAP_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('interrupts', () => {
  for (const c of INTERRUPT_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('what the engine is told', () => {
  const cases: readonly { name: string; word: number; notices: string[] }[] = [
    { name: 'a return changes the context', word: MRET, notices: ['context'] },
    { name: "so does the supervisor's", word: SRET, notices: ['context'] },
    { name: 'sfence.vma x0, x0 forgets all', word: sfenceVma(0, 0), notices: ['fence all all'] },
    { name: 'sfence.vma rs1, x0 forgets an address', word: sfenceVma(1, 0), notices: ['fence 4096 all'] },
    { name: 'sfence.vma x0, rs2 forgets an address space', word: sfenceVma(0, 2), notices: ['fence all 7'] },
    {
      name: 'sinval.vma rs1, rs2 forgets an address in an address space',
      word: sinvalVma(1, 2),
      notices: ['fence 4096 7'],
    },
  ];
  for (const c of cases) {
    test(c.name, () => {
      const hart = new TestHart();
      runHartCase(hart, { name: c.name, x: { 1: 4096n, 2: 7n }, program: [c.word], free: 'all' });
      assert.deepEqual(hart.notices, c.notices);
    });
  }
});
