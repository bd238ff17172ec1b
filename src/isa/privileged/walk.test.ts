import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hartState, type StateField } from '../state.ts';
import {
  type Access,
  type AccessEngine,
  type Outcome,
  RAM_END,
  RAM_START,
  runAccessCase,
} from './cases/access-case.testing.ts';
import { GUEST_PTE_CASES, GUEST_WALK_CASES } from './cases/guest-walk-cases.testing.ts';
import { DEFAULTS, runHartCase } from './cases/hart-case.testing.ts';
import { PMP_ACCESS_CASES, PMP_CSR_CASES } from './cases/pmp-cases.testing.ts';
import { PTE_CASES, WALK_CASES } from './cases/walk-cases.testing.ts';
import { TestHart } from './test-hart.testing.ts';
import { type PageTableMemory, translate } from './walk.ts';

class WalkEngine implements AccessEngine {
  readonly hart = hartState.view(new ArrayBuffer(hartState.sizeBytes), 0);
  readonly ram = new Map<bigint, bigint>();
  /** Called before each update of an entry. */
  interfere = (_address: bigint) => {};

  set(field: StateField, value: bigint): void {
    this.hart[field] = value;
  }
  putDoubleword(address: bigint, value: bigint): void {
    this.ram.set(address, value);
  }
  doubleword(address: bigint): bigint {
    return this.ram.get(address) ?? 0n;
  }
  access(va: bigint, access: Access, sizeBytes: number, as?: 'guest' | 'guestExecutable'): Outcome {
    const memory: PageTableMemory = {
      readEntry: (address) => (address >= RAM_START && address < RAM_END ? this.doubleword(address) : undefined),
      replaceEntry: (address, old, value) => {
        this.interfere(address);
        if (this.doubleword(address) !== old) return false;
        this.ram.set(address, value);
        return true;
      },
    };
    const result = translate(this.hart, memory, va, access, sizeBytes, as);
    if (result.kind === 'fault') {
      const { kind: _, isGuest: __, ...fault } = result;
      return fault;
    }
    assert.equal(
      result.parts.reduce((sum, part) => sum + part.sizeBytes, 0),
      sizeBytes,
    );
    return { to: result.parts.map((part) => part.address) };
  }
}

describe('page walks', () => {
  for (const c of WALK_CASES) test(c.name, () => runAccessCase(new WalkEngine(), c));
});

test(`all ${PTE_CASES.length} combinations of a leaf's low bits, modes, SUM, MXR, ADUE and accesses`, () => {
  assert.equal(PTE_CASES.length, 256 * 2 * 4 * 2 * 3);
  for (const c of PTE_CASES) runAccessCase(new WalkEngine(), c);
});

describe('walks in two stages', () => {
  for (const c of GUEST_WALK_CASES) test(c.name, () => runAccessCase(new WalkEngine(), c));
});

test(`all ${GUEST_PTE_CASES.length} combinations of both leaves' rights, modes, SUM, MXR at both levels and accesses`, () => {
  assert.equal(GUEST_PTE_CASES.length, 8 * 2 * 8 * 2 * 2 * 8 * 4);
  for (const c of GUEST_PTE_CASES) runAccessCase(new WalkEngine(), c);
});

describe('PMP: writes of its CSRs', () => {
  for (const c of PMP_CSR_CASES) test(c.name, () => runHartCase(new TestHart(), c));
});

describe('PMP: accesses', () => {
  for (const c of PMP_ACCESS_CASES) test(c.name, () => runAccessCase(new WalkEngine(), c));
});

describe('an entry that another hart changes under the update of its A and D bits', () => {
  const ROOT = 0x8010_0000n;
  const GIGAPAGE = (0x8000_0000n >> 2n) | 0xfn;
  function engine(): WalkEngine {
    const walk = new WalkEngine();
    for (const [field, value] of Object.entries(DEFAULTS)) walk.set(field as StateField, value);
    walk.set('mode', 1n);
    walk.set('satp', (8n << 60n) | (ROOT >> 12n));
    walk.set('menvcfg', 1n << 61n);
    walk.putDoubleword(ROOT, GIGAPAGE);
    return walk;
  }

  test('is read again: what is valid no more faults', () => {
    const walk = engine();
    walk.interfere = (address) => walk.putDoubleword(address, 0n);
    assert.deepEqual(walk.access(0n, 'load', 8), { cause: 13, tval: 0n });
    assert.equal(walk.doubleword(ROOT), 0n);
  });

  test('is read again: what another hart has marked serves', () => {
    const walk = engine();
    walk.interfere = (address) => walk.putDoubleword(address, GIGAPAGE | 0xc0n);
    assert.deepEqual(walk.access(8n, 'store', 8), { to: [0x8000_0008n] });
    assert.equal(walk.doubleword(ROOT), GIGAPAGE | 0xc0n);
  });

  test('is not read for ever', () => {
    const walk = engine();
    let software = 0n;
    walk.interfere = (address) => {
      software ^= 0x100n;
      walk.putDoubleword(address, GIGAPAGE | software);
    };
    assert.deepEqual(walk.access(0n, 'load', 8), { cause: 13, tval: 0n });
  });
});
