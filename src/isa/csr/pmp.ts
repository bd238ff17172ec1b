/**
 * pmpcfg, pmpaddr and mseccfg: what writes leave behind ("Physical Memory Protection CSRs", "Locking and Privilege
 * Mode", and Smepmp's chapter). Sixteen entries are there; the others that the architecture names read zero.
 */
import { must } from '../../base/assert.ts';
import type { Machine } from '../machine.ts';
import { anyOf } from '../privileged/mstatus.ts';
import { MSECCFG, PMP, PMP_A, PMP_ADDRESS, PMP_ADDRESS_FIELDS, PMP_ENTRIES } from '../privileged/pmp.ts';
import type { StateField } from '../state.ts';
import { type Csr, constant, csr, register } from './csr.ts';

const ARCHITECTURAL_ENTRIES = 64;
const ENTRIES_PER_CONFIG = 8;
const LOCKS = 0x8080_8080_8080_8080n;
/**
 * Under MML, locked rules that let M-mode execute: RWX is one of --X, -W-, -WX, R-X (-W- is shared code). A set
 * bit's place is the value of the low three bits, X W R.
 */
const EXECUTABLE_IN_MACHINE = (1 << 0b100) | (1 << 0b010) | (1 << 0b110) | (1 << 0b101);

type ConfigField = Extract<StateField, `pmpcfg${number}`>;

/** Cached translations hold PMP's verdict. */
function protectionChanged<V, C>(m: Machine<V, C>): void {
  m.protectionChanged();
  m.contextChanged();
}

/** One entry's configuration byte as a write of `byte` leaves it. */
function legalise<V, C>(m: Machine<V, C>, old: V, byte: V, mml: C, rlb: C): V {
  const noReserved = m.select(
    m.eq(m.and(byte, m.const(PMP.R | PMP.W)), m.const(PMP.W)),
    m.and(byte, m.const(~PMP.W)),
    byte,
  );
  const isExecutable = anyOf(m, m.srl(m.const(EXECUTABLE_IN_MACHINE), m.and(byte, m.const(7))), 1n);
  const isRefused = m.both(mml, m.both(anyOf(m, byte, BigInt(PMP.L)), isExecutable));
  const isLocked = anyOf(m, old, BigInt(PMP.L));
  const isKept = m.both(m.either(isLocked, isRefused), m.negate(rlb));
  return m.select(isKept, old, m.select(mml, byte, noReserved));
}

function writeConfig<V, C>(m: Machine<V, C>, field: ConfigField, value: V): void {
  const old = m.let(m.state(field));
  const security = m.let(m.state('mseccfg'));
  const mml = anyOf(m, security, MSECCFG.MML);
  const rlb = anyOf(m, security, MSECCFG.RLB);
  let next = m.const(0);
  for (let entry = 0; entry < ENTRIES_PER_CONFIG; entry++) {
    const shift = m.const(8 * entry);
    const oldByte = m.let(m.and(m.srl(old, shift), m.const(0xff)));
    const newByte = m.let(m.and(m.srl(value, shift), m.const(PMP.L | PMP.A | PMP.X | PMP.W | PMP.R)));
    next = m.let(m.or(next, m.sll(legalise(m, oldByte, newByte, mml, rlb), shift)));
  }
  m.setState(field, next);
  protectionChanged(m);
}

function configOf<V, C>(m: Machine<V, C>, entry: number): V {
  const field: ConfigField = entry < ENTRIES_PER_CONFIG ? 'pmpcfg0' : 'pmpcfg2';
  return m.and(m.srl(m.state(field), m.const(8 * (entry % ENTRIES_PER_CONFIG))), m.const(0xff));
}

/** Ignored if the entry is locked, or if the next one is and takes this address as its bottom (TOR). */
function writeAddress<V, C>(m: Machine<V, C>, entry: number, value: V): void {
  let locked = anyOf(m, configOf(m, entry), BigInt(PMP.L));
  if (entry + 1 < PMP_ENTRIES) {
    const above = m.and(configOf(m, entry + 1), m.const(PMP.L | PMP.A));
    locked = m.either(locked, m.eq(above, m.const(PMP.L | PMP_A.tor)));
  }
  const bypass = anyOf(m, m.state('mseccfg'), MSECCFG.RLB);
  m.when(m.either(m.negate(locked), bypass), () => {
    m.setState(must(PMP_ADDRESS_FIELDS[entry]), m.and(value, m.const(PMP_ADDRESS)));
    protectionChanged(m);
  });
}

/** MML and MMWP stay set until reset; RLB cannot be set once any entry is locked, also one that is off. */
function writeSecurity<V, C>(m: Machine<V, C>, value: V): void {
  const old = m.let(m.state('mseccfg'));
  const sticky = m.and(m.or(old, value), m.const(MSECCFG.MML | MSECCFG.MMWP));
  const anyLocked = anyOf(m, m.or(m.state('pmpcfg0'), m.state('pmpcfg2')), LOCKS);
  const bypassFixed = m.both(anyLocked, m.negate(anyOf(m, old, MSECCFG.RLB)));
  const bypass = m.select(bypassFixed, m.const(0), m.and(value, m.const(MSECCFG.RLB)));
  m.setState('mseccfg', m.or(sticky, bypass));
  protectionChanged(m);
}

function configFields(first: number): string {
  return Array.from({ length: ENTRIES_PER_CONFIG }, (_, i) => {
    const low = 8 * i;
    return `L${first + i}[${low + 7}] A${first + i}[${low + 4}:${low + 3}] XWR${first + i}[${low + 2}:${low}]`;
  }).join(' ');
}

function configRow(index: number): Csr {
  const first = index * (ENTRIES_PER_CONFIG / 2);
  const name = `pmpcfg${index}`;
  const summary = `Configuration of PMP entries ${first} to ${first + ENTRIES_PER_CONFIG - 1}.`;
  if (name !== 'pmpcfg0' && name !== 'pmpcfg2')
    return constant(0x3a0 + index, name, 0n, 'Configuration of PMP entries that are not there.');
  return register(0x3a0 + index, name, configFields(first), summary, {
    write: (m, value) => writeConfig(m, name, value),
  });
}

function addressRow(entry: number): Csr {
  const summary = `Address of PMP entry ${entry}.`;
  if (entry >= PMP_ENTRIES)
    return constant(0x3b0 + entry, `pmpaddr${entry}`, 0n, 'Address of a PMP entry that is not there.');
  return csr(
    0x3b0 + entry,
    `pmpaddr${entry}`,
    'address[53:0]',
    summary,
    (m) => m.state(must(PMP_ADDRESS_FIELDS[entry])),
    {
      write: (m, value) => writeAddress(m, entry, value),
    },
  );
}

export const PMP_CSRS: readonly Csr[] = [
  // RV64 has the even-numbered configuration registers only.
  ...Array.from({ length: ARCHITECTURAL_ENTRIES / ENTRIES_PER_CONFIG }, (_, i) => configRow(2 * i)),
  ...Array.from({ length: ARCHITECTURAL_ENTRIES }, (_, entry) => addressRow(entry)),
  register(0x747, 'mseccfg', 'RLB[2] MMWP[1] MML[0]', 'Machine security: Smepmp.', {
    requires: 'smepmp',
    write: writeSecurity,
  }),
];
