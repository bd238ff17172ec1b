/**
 * Counters: Zicntr, Zihpm, "Hardware Performance Monitor", "Counter-Enable", "Counter-Inhibit" and Sstc's stimecmp.
 * A cycle is an instruction here. The hpm counters count nothing: they and their events are read-only zero.
 *
 * mcycle and minstret are m.instret() plus an offset while they run, and the offset alone while mcountinhibit stops
 * them. A CSR write takes effect behind its instruction: minstret reads the written value in the next one, which is
 * why offsets are taken against instret() + 1.
 */
import type { Machine } from '../machine.ts';
import { ENVCFG } from '../privileged/envcfg.ts';
import { anyOf, hasFeature, ifFeature, inMode, isGuest, MODE } from '../privileged/mstatus.ts';
import { FEATURE, type StateField } from '../state.ts';
import { areaRegister, type Csr, constant, csr, type Guard, register } from './csr.ts';

const CYCLE = 0;
const TIME = 1;
const INSTRET = 2;
const FIRST_HPM = 3;
const LAST_HPM = 31;
const HPM_NUMBERS = Array.from({ length: LAST_HPM - FIRST_HPM + 1 }, (_, i) => FIRST_HPM + i);

/** Below M, mcounteren must allow the counter; for a guest hcounteren; in U-mode scounteren, too. */
function counterEnabled(bit: number): Guard {
  const mask = 1n << BigInt(bit);
  return (m) => {
    const mode = m.let(m.mode());
    m.require(m.either(m.eq(mode, m.const(MODE.machine)), anyOf(m, m.state('mcounteren'), mask)));
    m.when(isGuest(m), () => m.requireVirtual(anyOf(m, m.state('hcounteren'), mask)));
    const needsSupervisor = m.both(m.eq(mode, m.const(MODE.user)), hasFeature(m, FEATURE.supervisor));
    m.requireVirtual(m.either(m.negate(needsSupervisor), anyOf(m, m.state('scounteren'), mask)));
  };
}

type Offset = 'mcycleOffset' | 'minstretOffset';

function readCounter<V, C>(m: Machine<V, C>, offset: Offset, bit: number): V {
  const stopped = anyOf(m, m.state('mcountinhibit'), 1n << BigInt(bit));
  return m.add(m.state(offset), m.select(stopped, m.const(0), m.instret()));
}

function writeCounter<V, C>(m: Machine<V, C>, offset: Offset, bit: number, value: V): void {
  const stopped = anyOf(m, m.state('mcountinhibit'), 1n << BigInt(bit));
  m.setState(offset, m.sub(value, m.select(stopped, m.const(0), m.add(m.instret(), m.const(1)))));
}

/** Stopping and starting: the count at the end of this instruction stays what it is. */
function writeInhibit<V, C>(m: Machine<V, C>, value: V): void {
  const old = m.let(m.state('mcountinhibit'));
  const next = m.let(m.and(value, m.const((1n << BigInt(CYCLE)) | (1n << BigInt(INSTRET)))));
  const now = m.let(m.add(m.instret(), m.const(1)));
  const counters: readonly (readonly [Offset, number])[] = [
    ['mcycleOffset', CYCLE],
    ['minstretOffset', INSTRET],
  ];
  for (const [offset, bit] of counters) {
    const mask = 1n << BigInt(bit);
    const stops = m.select(anyOf(m, m.and(next, m.not(old)), mask), now, m.const(0));
    const starts = m.select(anyOf(m, m.and(old, m.not(next)), mask), now, m.const(0));
    m.setState(offset, m.sub(m.add(m.state(offset), stops), starts));
  }
  m.setState('mcountinhibit', next);
}

const ENABLE_NEEDS = { mcounteren: {}, scounteren: { requires: 'supervisor' }, hcounteren: { requires: 'h' } } as const;

function counterEnable(number: number, name: keyof typeof ENABLE_NEEDS & StateField, summary: string): Csr {
  return register(number, name, 'HPM[31:3] IR[2] TM[1] CY[0]', summary, {
    write: (m, value) => {
      const bits = m.or(ifFeature(m, FEATURE.zicntr, 7n), ifFeature(m, FEATURE.zihpm, 0xffff_fff8n));
      m.setState(name, m.and(value, bits));
    },
    ...ENABLE_NEEDS[name],
  });
}

/** Below M, stimecmp and vstimecmp need menvcfg.STCE and mcounteren.TM; a guest the same of henvcfg and hcounteren. */
const timerEnabled: Guard = (m) => {
  const enabled = m.both(
    anyOf(m, m.state('menvcfg'), ENVCFG.STCE),
    anyOf(m, m.state('mcounteren'), 1n << BigInt(TIME)),
  );
  m.require(m.either(inMode(m, MODE.machine), enabled));
  m.when(isGuest(m), () => {
    m.requireVirtual(anyOf(m, m.state('henvcfg'), ENVCFG.STCE));
    m.requireVirtual(anyOf(m, m.state('hcounteren'), 1n << BigInt(TIME)));
  });
};

/** A guest's time is shifted. */
function readTime<V, C>(m: Machine<V, C>): V {
  return m.add(m.time(), m.select(isGuest(m), m.state('htimedelta'), m.const(0)));
}

/** Whoever compares does so anew, before the next instruction. */
function compareAnew<V, C>(m: Machine<V, C>): void {
  m.timerChanged();
  m.contextChanged();
}

export const COUNTER_CSRS: readonly Csr[] = [
  csr(0xc00, 'cycle', 'value[63:0]=*', 'Cycles.', (m) => readCounter(m, 'mcycleOffset', CYCLE), {
    requires: 'zicntr',
    guard: counterEnabled(CYCLE),
  }),
  csr(0xc01, 'time', 'value[63:0]=*', 'Time, in ticks of the timebase.', readTime, {
    requires: 'zicntr',
    guard: counterEnabled(TIME),
  }),
  csr(0xc02, 'instret', 'value[63:0]=*', 'Instructions retired.', (m) => readCounter(m, 'minstretOffset', INSTRET), {
    requires: 'zicntr',
    guard: counterEnabled(INSTRET),
  }),
  ...HPM_NUMBERS.map((n) =>
    constant(0xc00 + n, `hpmcounter${n}`, 0n, 'Event counter; counts nothing.', {
      requires: 'zihpm',
      guard: counterEnabled(n),
    }),
  ),
  counterEnable(0x106, 'scounteren', 'Counters that U-mode may read.'),
  areaRegister(0x14d, 'stimecmp', 'value[63:0]', "Time of the supervisor's timer interrupt.", {
    requires: 'sstc',
    guard: timerEnabled,
    write: (m, value) => {
      m.setAreaState('stimecmp', value);
      compareAnew(m);
    },
  }),
  register(0x24d, 'vstimecmp', 'value[63:0]', "Time of VS-mode's timer interrupt.", {
    requires: 'h',
    guard: (m) => {
      m.require(hasFeature(m, FEATURE.sstc));
      timerEnabled(m);
    },
    write: (m, value) => {
      m.setState('vstimecmp', value);
      compareAnew(m);
    },
  }),
  counterEnable(0x606, 'hcounteren', 'Counters that guests may read.'),
  register(0x605, 'htimedelta', 'value[63:0]', 'What is added to time for guests.', {
    requires: 'h',
    write: (m, value) => {
      m.setState('htimedelta', value);
      compareAnew(m);
    },
  }),
  counterEnable(0x306, 'mcounteren', 'Counters that lower modes may read.'),
  register(0x320, 'mcountinhibit', 'IR[2] CY[0]', 'Counters that stand still.', { write: writeInhibit }),
  ...HPM_NUMBERS.map((n) => constant(0x320 + n, `mhpmevent${n}`, 0n, 'Event to count; none can be chosen.')),
  csr(0xb00, 'mcycle', 'value[63:0]', 'Cycles.', (m) => readCounter(m, 'mcycleOffset', CYCLE), {
    write: (m, value) => writeCounter(m, 'mcycleOffset', CYCLE, value),
  }),
  csr(0xb02, 'minstret', 'value[63:0]', 'Instructions retired.', (m) => readCounter(m, 'minstretOffset', INSTRET), {
    write: (m, value) => writeCounter(m, 'minstretOffset', INSTRET, value),
  }),
  ...HPM_NUMBERS.map((n) => constant(0xb00 + n, `mhpmcounter${n}`, 0n, 'Event counter; counts nothing.')),
];
