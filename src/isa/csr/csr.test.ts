import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CSR_CASES, LISTED_CSRS } from '../privileged/cases/csr-cases.testing.ts';
import { HYPERVISOR_FEATURES, runHartCase } from '../privileged/cases/hart-case.testing.ts';
import { HYPERVISOR_CSR_CASES, HYPERVISOR_CSRS_LISTED } from '../privileged/cases/hypervisor-csr-cases.testing.ts';
import { TestHart } from '../privileged/test-hart.testing.ts';
import { STATE_SCALARS, type StateField } from '../state.ts';
import { CSR_BY_NAME, CSRS, fieldMask, writableBits, writeCsr } from './index.ts';

describe('CSRs of the hypervisor extension', () => {
  for (const c of HYPERVISOR_CSR_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('CSRs', () => {
  for (const c of CSR_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

test('the table holds the CSRs of the manual that the hart has, and no other', () => {
  assert.deepEqual(
    CSRS.map(({ number, name }) => ({ number, name })),
    [...LISTED_CSRS, ...HYPERVISOR_CSRS_LISTED]
      .toSorted((a, b) => a.number - b.number)
      .map(({ number, name }) => ({ number, name })),
  );
});

test('fields are disjoint and lie within 64 bits', () => {
  for (const row of CSRS) {
    let seen = 0n;
    for (const field of row.fields) {
      assert.ok(field.high >= field.low && field.high < 64, `${row.name}.${field.name}`);
      assert.equal(seen & fieldMask(field), 0n, `${row.name}.${field.name}`);
      seen |= fieldMask(field);
    }
  }
});

function hartAtReset(): TestHart {
  const hart = new TestHart();
  hart.set('features', HYPERVISOR_FEATURES);
  hart.set('mode', 3n);
  return hart;
}

test('constant fields agree with what reads after reset', () => {
  for (const row of CSRS) {
    for (const field of row.fields) {
      if (typeof field.kind !== 'bigint') continue;
      assert.equal((row.reset & fieldMask(field)) >> BigInt(field.low), field.kind, `${row.name}.${field.name}`);
    }
  }
  assert.equal(CSR_BY_NAME.get('tinfo')?.fields.length, 1);
});

test('what reads after reset is what the table says', () => {
  for (const row of CSRS.filter((c) => c.name !== 'time'))
    assert.equal(row.read(hartAtReset().machine), row.reset, row.name);
});

test('a write changes writable bits only, and constants read as declared', () => {
  let seed = 0x9e37_79b9_7f4a_7c15n;
  const random = () => {
    seed = BigInt.asUintN(64, seed * 0x5851_f42d_4c95_7f2dn + 0x1405_7b7e_f767_814fn);
    return seed ^ (seed >> 29n);
  };
  for (const row of CSRS.filter((c) => c.write)) {
    // Derived bits follow other bits; everything else must stand still.
    const still = row.fields
      .filter((f) => f.kind === 'derived')
      .reduce((mask, f) => mask & ~fieldMask(f), ~writableBits(row.fields));
    for (let i = 0; i < 64; i++) {
      const hart = hartAtReset();
      hart.set('mideleg', 0x222n);
      hart.set('mstatus', 3n << 13n);
      const before = row.read(hart.machine);
      const value = i === 0 ? 0n : i === 1 ? (1n << 64n) - 1n : random();
      writeCsr(hart.machine, row, value, (1n << 64n) - 1n);
      assert.equal(
        BigInt.asUintN(64, (row.read(hart.machine) ^ before) & still),
        0n,
        `${row.name} written ${value.toString(16)}`,
      );
    }
  }
});

test('reading changes no state', () => {
  for (const row of CSRS) {
    const hart = hartAtReset();
    const fields = Object.keys(STATE_SCALARS) as StateField[];
    const before = fields.map((f) => hart.get(f));
    row.read(hart.machine);
    assert.deepEqual(
      fields.map((f) => hart.get(f)),
      before,
      row.name,
    );
    assert.deepEqual(hart.notices, []);
  }
});

describe('what the engine is told of writes', () => {
  const cases: readonly { csr: string; before?: [StateField, bigint]; write: bigint; notices: string[] }[] = [
    { csr: 'mstatus', write: 1n << 3n, notices: ['context'] },
    { csr: 'mstatus', before: ['mstatus', 1n << 3n], write: 0n, notices: [] },
    { csr: 'mstatus', write: 1n << 13n, notices: [] },
    { csr: 'mstatus', write: 1n << 17n, notices: ['context'] },
    { csr: 'sstatus', write: 1n << 1n, notices: ['context'] },
    { csr: 'sstatus', before: ['mstatus', 1n << 1n], write: 0n, notices: [] },
    { csr: 'sstatus', before: ['mstatus', 1n << 18n], write: 0n, notices: ['context'] },
    { csr: 'sstatus', write: 1n << 19n, notices: ['context'] },
    { csr: 'satp', write: 8n << 60n, notices: ['context'] },
    { csr: 'satp', write: 1n << 60n, notices: [] },
    { csr: 'mie', write: 8n, notices: ['context'] },
    { csr: 'mip', write: 2n, notices: ['context'] },
    { csr: 'sie', write: 2n, notices: ['context'] },
    { csr: 'sip', write: 2n, notices: ['context'] },
    { csr: 'mideleg', write: 2n, notices: ['context'] },
    { csr: 'stimecmp', write: 2n, notices: ['timer', 'context'] },
    { csr: 'menvcfg', write: 1n << 63n, notices: ['timer', 'context'] },
    { csr: 'menvcfg', write: 1n << 61n, notices: ['fence all all', 'context'] },
    { csr: 'menvcfg', write: 1n, notices: [] },
    { csr: 'pmpaddr3', write: 1n, notices: ['fence all all', 'context'] },
    { csr: 'pmpcfg0', write: 1n, notices: ['fence all all', 'context'] },
    { csr: 'mseccfg', write: 1n, notices: ['fence all all', 'context'] },
    { csr: 'sscratch', write: 1n, notices: [] },
    { csr: 'mstatus', write: 1n << 39n, notices: ['context'] },
    { csr: 'vsstatus', write: 2n, notices: [] },
    { csr: 'vsatp', write: 8n << 60n, notices: ['context'] },
    { csr: 'vsatp', write: 1n << 60n, notices: [] },
    { csr: 'hgatp', write: 8n << 60n, notices: ['context'] },
    { csr: 'hstatus', write: 0x7003c0n, notices: [] },
    { csr: 'hstatus', before: ['guestFiles', 3n], write: 1n << 12n, notices: ['context'] },
    { csr: 'hideleg', write: 4n, notices: ['context'] },
    { csr: 'hvip', write: 4n, notices: ['context'] },
    { csr: 'hip', write: 4n, notices: ['context'] },
    { csr: 'hie', write: 4n, notices: ['context'] },
    { csr: 'vsie', write: 4n, notices: ['context'] },
    { csr: 'vsip', write: 4n, notices: ['context'] },
    { csr: 'hgeie', write: 4n, notices: ['context'] },
    { csr: 'vstimecmp', write: 4n, notices: ['timer', 'context'] },
    { csr: 'htimedelta', write: 4n, notices: ['timer', 'context'] },
    { csr: 'henvcfg', before: ['menvcfg', 1n << 63n], write: 1n << 63n, notices: ['timer', 'context'] },
    { csr: 'henvcfg', before: ['menvcfg', 7n << 61n], write: 3n << 61n, notices: [] },
  ];
  for (const c of cases) {
    test(`${c.csr} written ${c.write.toString(16)}`, () => {
      const hart = hartAtReset();
      if (c.before) hart.set(...c.before);
      const row = CSR_BY_NAME.get(c.csr);
      assert.ok(row);
      writeCsr(hart.machine, row, c.write, -1n);
      assert.deepEqual(hart.notices, c.notices);
    });
  }
});
