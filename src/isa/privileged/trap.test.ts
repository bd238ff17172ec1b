import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { StateField } from '../state.ts';
import { AREA_BY_CAUSE, AREA_COUNTERS, type Area, type AreaRow } from './area-by-cause.ts';
import { GUEST_FAULT_CASES } from './cases/guest-fault-cases.testing.ts';
import { HS, HYPERVISOR, inMode, M, VS, VU } from './cases/guest-state.testing.ts';
import { GUEST_INTERRUPT_CASES, GUEST_TRAP_CASES } from './cases/guest-trap-cases.testing.ts';
import {
  DEFAULTS,
  ECALL,
  MRET,
  NOP,
  type Registers,
  runHartCase,
  SRET,
  sfenceVma,
  sinvalVma,
} from './cases/hart-case.testing.ts';
import { INTERRUPT_CASES, TRAP_CASES } from './cases/trap-cases.testing.ts';
import { TestHart } from './test-hart.testing.ts';

describe('traps, returns, permissions', () => {
  for (const c of TRAP_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('interrupts', () => {
  for (const c of INTERRUPT_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('traps, returns, permissions of guests', () => {
  for (const c of GUEST_TRAP_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('interrupts of guests', () => {
  for (const c of GUEST_INTERRUPT_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('what a hypervisor is told of faults', () => {
  for (const c of GUEST_FAULT_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('what the engine is told', () => {
  const cases: readonly { name: string; before?: Registers; word: number; notices: string[] }[] = [
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
    ...(
      [
        [0x22000073, 'guest all all'],
        [0x22008073, 'guest 4096 all'],
        [0x22200073, 'guest all 7'],
        [0x26208073, 'guest 4096 7'],
        [0x62000073, 'physical all all'],
        // The register holds the address without its two lowest bits.
        [0x62008073, 'physical 16384 all'],
        [0x62200073, 'physical all 7'],
        [0x66208073, 'physical 16384 7'],
      ] as const
    ).map(([word, notice]) => ({ name: word.toString(16), before: HYPERVISOR, word, notices: [`fence ${notice}`] })),
    {
      name: "sfence.vma in VS-mode is the guest's",
      before: { ...HYPERVISOR, ...inMode(VS) },
      word: sfenceVma(1, 2),
      notices: ['fence guest 4096 7'],
    },
  ];
  for (const c of cases) {
    test(c.name, () => {
      const hart = new TestHart();
      runHartCase(hart, {
        name: c.name,
        ...(c.before ? { before: c.before } : {}),
        x: { 1: 4096n, 2: 7n },
        program: [c.word],
        free: 'all',
      });
      assert.deepEqual(hart.notices, c.notices);
    });
  }
});

function stepOnce(hart: TestHart, before: Registers, word: number): void {
  const state = { ...DEFAULTS, ...before };
  for (const field of Object.keys(state) as StateField[]) hart.set(field, state[field] ?? 0n);
  hart.put(hart.get('pc'), word);
  hart.step();
}

describe('what a cause selects', () => {
  const rows = Object.values<AreaRow>(AREA_BY_CAUSE);

  test('every counter is of one cause', () => {
    const owners = rows.flatMap(({ name, counter, counters }) =>
      Array.from({ length: counters }, (_, i) => `${counter + i} ${name}`),
    );
    assert.deepEqual(
      owners.map((text) => Number(text.split(' ')[0])),
      Array.from({ length: AREA_COUNTERS }, (_, i) => i),
    );
  });

  /** What is counted, by number, and the area that is active behind it. */
  const cases: readonly [name: string, before: Registers, word: number, counter: number, selects: Area][] = [
    ['ecall to M', inMode(VS), ECALL, AREA_BY_CAUSE.trapToMachine.counter + 10, 'host'],
    ['ecall to HS', { ...inMode(VS), medeleg: 1n << 10n }, ECALL, AREA_BY_CAUSE.trapToHypervisor.counter + 10, 'host'],
    [
      'ecall to VS',
      { ...inMode(VU), medeleg: 256n, hedeleg: 256n },
      ECALL,
      AREA_BY_CAUSE.trapToGuest.counter + 8,
      'guest',
    ],
    [
      'an interrupt to HS',
      { ...inMode(VU), mie: 4n, mip: 4n },
      NOP,
      AREA_BY_CAUSE.trapToHypervisor.counter + 34,
      'host',
    ],
    [
      'an interrupt to VS',
      { ...inMode(VU), mie: 4n, mip: 4n, hideleg: 4n },
      NOP,
      AREA_BY_CAUSE.trapToGuest.counter + 34,
      'guest',
    ],
    ['sret with SPV', { ...inMode(HS), hstatus: 128n }, SRET, AREA_BY_CAUSE.sretToGuest.counter, 'guest'],
    ['mret with MPV', { ...inMode(M), mstatus: 1n << 39n }, MRET, AREA_BY_CAUSE.mretToGuest.counter, 'guest'],
    ['sret in VS', inMode(VS), SRET, AREA_BY_CAUSE.sretInGuest.counter, 'guest'],
  ];
  for (const [name, before, word, counter, selects] of cases) {
    test(name, () => {
      const hart = new TestHart();
      stepOnce(hart, { ...HYPERVISOR, ...before }, word);
      const { areaCounts, virtual } = hart.machine.registers;
      assert.deepEqual(
        Array.from(areaCounts, Number),
        Array.from({ length: AREA_COUNTERS }, (_, i) => (i === counter ? 1 : 0)),
      );
      assert.equal(virtual, selects === 'guest' ? 1n : 0n);
      const row = rows.find((r) => counter >= r.counter && counter < r.counter + r.counters);
      assert.equal(row?.selects, selects);
    });
  }

  test('a hart without guests counts nothing', () => {
    for (const word of [ECALL, SRET, MRET]) {
      const hart = new TestHart();
      stepOnce(hart, HYPERVISOR, word);
      assert.ok(hart.machine.registers.areaCounts.every((count) => count === 0n));
    }
  });
});
