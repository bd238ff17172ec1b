/**
 * CSRs of a hart that executes a guest's guest, as a debugger reads and writes them: those of both levels, by their own
 * names, whatever the guest may see; and the hart is afterwards as it was.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { CSRS, FEATURE, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';

const RAM = 0x8000_0000;
const SV39 = 8n << 60n;
const [SPP, OFF, CLEAN, DIRTY, SUM, MXR] = [1n << 8n, 0n, 2n << 13n, 3n << 13n, 1n << 18n, 1n << 19n];
const UXL = 2n << 32n;
const SD = 1n << 63n;

let hart: BareHart;

const numberOf = (name: string): number => CSRS.find((row) => row.name === name)?.number ?? assert.fail(name);
const read = (name: string): bigint | undefined => hart.processor.readCsr(hart.at, hart.state, numberOf(name));
const write = (name: string, value: bigint): boolean =>
  hart.processor.writeCsr(hart.at, hart.state, numberOf(name), value);

/** In VS-mode; the guest's bits of status are in mstatus, the hypervisor's in sstatus. */
beforeEach(() => {
  hart = new BareHart({ extensions: parseCpu('rv64,h=on'), ramBase: RAM, ramBytes: 16 << 12 });
  const { state } = hart;
  Object.assign(state, {
    ...{ mode: 1n, virtual: 1n, mstatus: SPP | SUM | CLEAN, sstatus: MXR | DIRTY, vsstatus: CLEAN },
    ...{ satp: SV39 | 1n, vsatp: SV39 | 2n, hgatp: SV39 | 4n, sepc: 0x1000n, vsepc: 0x2000n },
    ...{ stvec: 0x10n, vstvec: 0x20n, hstatus: 0x80n, htval: 77n },
    // Nothing is allowed to the guest.
    ...{ hcounteren: 0n, mcounteren: 0n, scounteren: 0n, mstateen0: 0n, hstateen0: 0n },
  });
  state.features |= FEATURE.sstc;
  hart.processor.contextChanged(hart.at);
});

describe('while a guest of the guest executes', () => {
  const values: readonly (readonly [csr: string, value: bigint])[] = [
    ['sepc', 0x1000n],
    ['vsepc', 0x2000n],
    ['stvec', 0x10n],
    ['vstvec', 0x20n],
    ['satp', SV39 | 1n],
    ['vsatp', SV39 | 2n],
    ['hgatp', SV39 | 4n],
    ['hstatus', 0x80n | UXL],
    ['htval', 77n],
    ['sstatus', MXR | DIRTY | UXL | SD],
    ['vsstatus', SPP | SUM | CLEAN | UXL],
    ['mstatus', MXR | DIRTY | UXL | SD | (2n << 34n)],
    ['vsie', 0n],
    ['henvcfg', 0n],
  ];
  for (const [csr, value] of values) test(`${csr} is its level's own`, () => assert.equal(read(csr), value));

  test('every CSR of the hart can be read, and the hart is as it was', () => {
    const plain = new BareHart({ extensions: parseCpu('rv64,h=on'), ramBase: RAM, ramBytes: 16 << 12 });
    plain.state.features |= FEATURE.sstc;
    plain.state.mstatus = DIRTY;
    const before = hart.memory.u8.slice(hart.at, hart.at + 8192);
    for (const { name, number } of CSRS) {
      const isThere = plain.processor.readCsr(plain.at, plain.state, number) !== undefined;
      assert.equal(read(name) !== undefined, isThere, name);
    }
    assert.equal(read('vsatp'), SV39 | 2n);
    const changed = [...hart.memory.u8.slice(hart.at, hart.at + 8192).entries()].filter(([i, b]) => before[i] !== b);
    // What moves between mstatus and the areas' own words: vsstatus holds the guest's bits twice.
    assert.ok(changed.length <= 8, `${changed.length} bytes`);
    const { mode, virtual, mstatus, sstatus } = hart.state;
    assert.deepEqual([mode, virtual, mstatus, sstatus], [1n, 1n, SPP | SUM | CLEAN, MXR | DIRTY]);
  });

  test('what is written is of the level that is named', () => {
    assert.ok(write('sepc', 0x3000n) && write('vsepc', 0x4000n) && write('vsstatus', MXR | CLEAN));
    const { sepc, vsepc, mstatus, virtual } = hart.state;
    assert.deepEqual([sepc, vsepc, mstatus, virtual], [0x3000n, 0x4000n, MXR | CLEAN, 1n]);
    assert.ok(write('sstatus', OFF));
    assert.equal(hart.state.mstatus & DIRTY, OFF, 'floating point is off where the hypervisor has it off');
    assert.deepEqual([read('vsstatus'), read('sstatus')], [MXR | CLEAN | UXL, UXL]);
  });

  test('floating-point state that the guest dirtied is dirty at both levels', () => {
    hart.state.mstatus |= DIRTY;
    hart.state.sstatus = CLEAN;
    assert.deepEqual([read('vsstatus'), read('sstatus')], [SPP | SUM | DIRTY | UXL | SD, DIRTY | UXL | SD]);
    assert.equal(hart.state.mstatus & DIRTY, DIRTY);
  });
});
