/**
 * Accesses against protection tables: every kind of access, in every mode, needs its right in the table of its domain
 * and in no other; PMP and the table both have to allow; what is denied is an access fault and changes nothing.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assemble, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { REACH } from './protection-code.ts';
import { ALL_RIGHTS, ProtectionTables, RIGHT } from './protection-tables.ts';
import { dropTranslations } from './shadows.ts';
import { FAULT, PROTECTION_LOG_WORDS, VIOLATION_KINDS } from './vcpu-state.ts';

const RAM = 0x8000_0000;
const DATA = RAM + 0x3000;
const TABLES = RAM + 0x8000;
const HANDLER = RAM + 0x1000;
const CODE = RAM + 0x2000;
const plan = { frames: 64 + 16, tables: 3 };
const MODES = [0, 1, 3] as const;
const OPEN = { pmpaddr0: (1n << 54n) - 1n, pmpcfg0: 0x1fn };

/** A hart whose three modes have a table each. */
class ProtectedHart {
  readonly hart: BareHart;
  readonly tables: ProtectionTables;
  readonly #own = new Map<number, number>();

  constructor(width: 32 | 64 = 32) {
    const blockBytes = ProtectionTables.sizeBytes(plan) + 64;
    const ram = { ramBase: RAM, ramBytes: 64 * FRAME_BYTES };
    this.hart = new BareHart({ extensions: DEFAULT_EXTENSIONS, ...ram, width, blockBytes });
    const { memory, state, map, processor } = this.hart;
    this.tables = new ProtectionTables(memory, memory.block(ProtectionTables.sizeBytes(plan)), plan);
    for (const mode of MODES) this.#own.set(mode, this.tables.create());
    for (let page = RAM / FRAME_BYTES; page < map.pages; page++) {
      map.host(page, 'setup');
      for (const mode of MODES) this.allow(mode, page * FRAME_BYTES, ALL_RIGHTS);
    }
    for (const [mode, table] of this.#own) state.protection[mode] = this.tables.pointer(table);
    Object.assign(state, OPEN);
    state.mtvec = BigInt(HANDLER);
    this.hart.write(HANDLER, assemble('1: j 1b', BigInt(HANDLER)).bytes);
    processor.contextChanged(this.hart.at);
  }

  allow(mode: number, gpa: number, rights: number): void {
    this.allowUntold(mode, gpa, rights);
    this.hart.processor.contextChanged(this.hart.at);
  }

  /** As `allow`, and nothing is dropped. */
  allowUntold(mode: number, gpa: number, rights: number): void {
    this.tables.set(this.hart.map.frame(gpa / FRAME_BYTES), [this.#own.get(mode) ?? assert.fail()], [rights]);
  }

  enter(mode: number, pc = CODE): void {
    const { state, processor, at } = this.hart;
    state.mode = BigInt(mode);
    state.pc = BigInt(pc);
    processor.contextChanged(at);
  }

  /** The cause of the fault of an access, undefined: there is none. */
  access(kind: 'fetch' | 'load' | 'store', va: number): number | undefined {
    const { state, processor, at } = this.hart;
    state.fault = 0;
    if (kind === 'load') processor.load(at, BigInt(va), 8);
    else if (kind === 'store') processor.store(at, BigInt(va), 8, 0x1234n);
    else {
      this.hart.write(va, assemble('nop', BigInt(va)).bytes);
      state.pc = BigInt(va);
      state.mcause = 99n;
      processor.run(at, state, 1);
      return state.mcause === 99n ? undefined : Number(state.mcause);
    }
    const fault = state.fault;
    state.fault = FAULT.none;
    return fault === FAULT.none ? undefined : Number(state.faultCause);
  }
}

const KINDS = [
  { kind: 'fetch', right: RIGHT.execute, cause: 1 },
  { kind: 'load', right: RIGHT.read, cause: 5 },
  { kind: 'store', right: RIGHT.write, cause: 7 },
] as const;

describe('a right of one mode', () => {
  for (const width of [32, 64] as const)
    for (const mode of MODES)
      for (const { kind, right, cause } of KINDS)
        test(`${kind} in mode ${mode} needs its right in the table of that mode alone (memory${width})`, () => {
          const own = new ProtectedHart(width);
          for (const each of MODES) own.allow(each, DATA, each === mode ? ALL_RIGHTS & ~right : ALL_RIGHTS);
          for (const each of MODES) {
            own.enter(each);
            assert.equal(own.access(kind, DATA), each === mode ? cause : undefined, `in mode ${each}`);
          }
          for (const each of MODES) own.allow(each, DATA, each === mode ? right : 0);
          for (const each of MODES) {
            own.enter(each);
            assert.equal(own.access(kind, DATA), each === mode ? undefined : cause, `in mode ${each}`);
          }
        });

  test('MPRV: loads and stores are those of the mode in MPP', () => {
    const own = new ProtectedHart();
    own.allow(1, DATA, 0);
    own.enter(3);
    own.hart.state.mstatus = (1n << 17n) | (1n << 11n);
    own.hart.processor.contextChanged(own.hart.at);
    assert.deepEqual([own.access('load', DATA), own.access('store', DATA)], [5, 7]);
    own.hart.state.mstatus = 1n << 17n;
    own.hart.processor.contextChanged(own.hart.at);
    assert.deepEqual([own.access('load', DATA), own.access('store', DATA)], [undefined, undefined]);
  });

  test('an access over two pages needs the rights of both, and writes neither', () => {
    const own = new ProtectedHart();
    own.enter(1);
    own.allow(1, DATA + FRAME_BYTES, RIGHT.read);
    assert.equal(own.access('load', DATA + FRAME_BYTES - 4), undefined);
    assert.equal(own.access('store', DATA + FRAME_BYTES - 4), 7);
    assert.deepEqual(own.hart.read(DATA + FRAME_BYTES - 4, 8), new Uint8Array(8));
    own.allow(1, DATA + FRAME_BYTES, 0);
    assert.equal(own.access('load', DATA + FRAME_BYTES - 4), 5);
  });
});

/** Each ends in mtval's frame as it was; `needs` is what it needs of the page of data. */
const INSTRUCTIONS = [
  { text: 'amoadd.d a1, a2, (a0)', needs: RIGHT.write, cause: 7 },
  { text: 'lr.d a1, (a0)', needs: RIGHT.read, cause: 5 },
  { text: 'sc.d a1, a2, (a0)', needs: RIGHT.write, cause: 7 },
  { text: 'cbo.zero (a0)', needs: RIGHT.write, cause: 7 },
  { text: 'cbo.flush (a0)', needs: RIGHT.read | RIGHT.write, cause: 7 },
  { text: 'fld f1, 0(a0)', needs: RIGHT.read, cause: 5 },
  { text: 'c.sd a2, 0(a0)', needs: RIGHT.write, cause: 7 },
] as const;

describe('instructions without their right', () => {
  for (const { text, needs, cause } of INSTRUCTIONS)
    test(text, () => {
      const own = new ProtectedHart();
      const { hart } = own;
      const { state, processor, at } = hart;
      const before = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
      hart.write(CODE, assemble(text, BigInt(CODE)).bytes);
      hart.write(DATA, before);
      own.allow(1, DATA, ALL_RIGHTS & ~needs);
      own.enter(1);
      Object.assign(state, { mstatus: 1n << 13n, menvcfg: 0xf0n, mcause: 99n });
      state.x[10] = BigInt(DATA);
      processor.contextChanged(at);
      hart.run(1);
      assert.deepEqual([state.mcause, state.mtval, state.mepc], [BigInt(cause), BigInt(DATA), BigInt(CODE)]);
      assert.deepEqual(hart.read(DATA, 64), before);
      own.allow(1, DATA, ALL_RIGHTS);
      own.enter(1);
      state.mcause = 99n;
      hart.run(1);
      assert.equal(state.mcause, 99n);
    });
});

const V = 1n;
const LEAF = 0xffn;
const pte = (gpa: number, flags: bigint): bigint => (BigInt(gpa) >> 2n) | flags;

/** Sv39 at TABLES: root, next, last; va 0 is DATA. The leaf has these flags. */
function mapped(flags: bigint): { own: ProtectedHart; entry: () => bigint } {
  const own = new ProtectedHart();
  const { hart } = own;
  const word = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer);
  hart.write(TABLES, word(pte(TABLES + FRAME_BYTES, V)));
  hart.write(TABLES + FRAME_BYTES, word(pte(TABLES + 2 * FRAME_BYTES, V)));
  hart.write(TABLES + 2 * FRAME_BYTES, word(pte(DATA, flags)));
  hart.state.satp = (8n << 60n) | BigInt(TABLES / FRAME_BYTES);
  hart.state.menvcfg = 1n << 61n;
  return { own, entry: () => new DataView(hart.read(TABLES + 2 * FRAME_BYTES, 8).buffer).getBigUint64(0, true) };
}

describe('page walks are the kernel’s', () => {
  for (let level = 0; level < 3; level++)
    for (const mode of [0, 1])
      test(`in mode ${mode}: the table of level ${2 - level} cannot be read`, () => {
        const { own } = mapped(mode === 0 ? LEAF : LEAF & ~16n);
        const table = TABLES + level * FRAME_BYTES;
        own.enter(mode);
        assert.equal(own.access('load', 8), undefined);
        own.allow(1, table, RIGHT.write | RIGHT.execute);
        assert.equal(own.access('load', 8), 5);
        assert.equal(own.access('store', 8), 7);
        assert.equal(own.hart.state.faultTval, 8n);
        own.allow(1, table, RIGHT.read);
        own.allow(0, table, 0);
        assert.equal(own.access('load', 8), undefined);
      });

  for (const { name, missing, kind, cause } of [
    { name: 'A', missing: 0x40n | 0x80n, kind: 'load', cause: 5 },
    { name: 'D', missing: 0x80n, kind: 'store', cause: 7 },
  ] as const)
    test(`${name} is set only where the table may be written`, () => {
      const { own, entry } = mapped(LEAF & ~missing);
      const before = entry();
      own.allow(1, TABLES + 2 * FRAME_BYTES, RIGHT.read);
      own.enter(0);
      assert.equal(own.access(kind, 8), cause);
      assert.equal(entry(), before);
      own.allow(1, TABLES + 2 * FRAME_BYTES, RIGHT.read | RIGHT.write);
      own.allow(0, TABLES + 2 * FRAME_BYTES, 0);
      assert.equal(own.access(kind, 8), undefined);
      assert.notEqual(entry(), before);
    });
});

describe('shadow tables hold no rights to frames', () => {
  // The buffers have 256 entries: the page after so many shares page 0's first place, and page 2 has its second.
  const FAR = 256 * FRAME_BYTES;
  const SECOND = 2 * FRAME_BYTES;

  for (const mode of [0, 1])
    test(`in mode ${mode}: what a shadow answers is checked as what a walk finds`, () => {
      const flags = mode === 0 ? LEAF : LEAF & ~16n;
      const { own } = mapped(flags);
      const { state } = own.hart;
      for (const page of [2, 256])
        own.hart.write(
          TABLES + 2 * FRAME_BYTES + page * 8,
          new Uint8Array(BigUint64Array.of(pte(DATA + FRAME_BYTES, flags)).buffer),
        );
      own.enter(mode);
      for (const kind of ['load', 'store'] as const) {
        for (const va of [8, FAR, SECOND]) assert.equal(own.access(kind, va), undefined);
        own.allowUntold(mode, DATA, 0);
        const walks = state.refillsWalk;
        const answers = state.refillsShadow;
        assert.equal(own.access(kind, 8), kind === 'load' ? 5 : 7);
        assert.deepEqual([state.refillsWalk, state.refillsShadow], [walks, answers + 1n], 'the shadow was asked');
        own.allowUntold(mode, DATA, ALL_RIGHTS);
        assert.equal(own.access(kind, 8), undefined);
      }
    });

  test('a change of protection drops what was read from page tables', () => {
    const { own } = mapped(LEAF & ~16n);
    const { state, processor, at } = own.hart;
    own.enter(1);
    assert.equal(own.access('load', 8), undefined);
    own.allowUntold(1, TABLES, 0);
    dropTranslations(state);
    processor.run(at, state, 0);
    assert.equal(own.access('load', 8), 5);
  });

  test('what a debugger finds on its way is not there for the guest', () => {
    const { own } = mapped(LEAF & ~16n);
    const { state, processor, at } = own.hart;
    own.enter(1);
    own.allow(1, TABLES, 0);
    assert.equal(processor.translate(at, state, 8n, 1), BigInt(DATA + 8));
    processor.run(at, state, 0);
    assert.equal(own.access('load', 8), 5);
  });
});

describe('PMP and the table', () => {
  for (const pmp of [false, true])
    for (const table of [false, true])
      for (const { kind, right, cause } of KINDS)
        test(`${kind}: PMP ${pmp ? 'allows' : 'denies'}, the table ${table ? 'allows' : 'denies'}`, () => {
          const own = new ProtectedHart();
          const { state } = own.hart;
          // Entry 0: the page of data (NAPOT), without the right or with it; entry 1: everything.
          state.pmpaddr0 = BigInt(DATA >>> 2) | 0x1ffn;
          Object.assign(state, { pmpaddr1: OPEN.pmpaddr0 });
          state.pmpcfg0 = BigInt((0x1f << 8) | 0x18 | (pmp ? 7 : 7 & ~right));
          own.allow(1, DATA, table ? ALL_RIGHTS : ALL_RIGHTS & ~right);
          own.enter(1);
          assert.equal(own.access(kind, DATA), pmp && table ? undefined : cause);
          if (kind !== 'fetch') assert.equal(state.violation !== 0, pmp && !table, 'noted as a violation');
          else assert.equal(state.protectionLogNext, pmp && !table ? 1 : 0);
        });
});

describe('violations', () => {
  test('are counted and logged once, when the trap is taken', () => {
    const own = new ProtectedHart();
    const { hart } = own;
    const { state } = hart;
    hart.write(CODE, assemble('sd a1, 16(a0)', BigInt(CODE)).bytes);
    own.allow(0, DATA, RIGHT.read);
    own.enter(0);
    state.x[10] = BigInt(DATA);
    hart.run(1);
    assert.equal(state.mcause, 7n);
    assert.equal(state.violations[0 * VIOLATION_KINDS + REACH.store], 1);
    assert.equal(
      state.violations.reduce((sum, count) => sum + count),
      1,
    );
    assert.equal(state.protectionLogNext, 1);
    const frame = BigInt(hart.map.frame(DATA / FRAME_BYTES));
    assert.deepEqual(
      [...state.protectionLog.subarray(0, PROTECTION_LOG_WORDS)],
      [BigInt(CODE), BigInt(DATA + 16), BigInt(DATA + 16), frame | (BigInt(REACH.store) << 32n)],
    );
    assert.equal(state.violation, 0);
  });

  test('other traps are none', () => {
    const own = new ProtectedHart();
    const { hart } = own;
    own.enter(0);
    hart.write(CODE, assemble('ecall\nld a0, 0(x0)', BigInt(CODE)).bytes);
    own.allow(0, DATA, 0);
    // Noted, but its trap is never taken.
    assert.equal(own.access('load', DATA), 5);
    hart.run(1);
    assert.equal(hart.state.mcause, 8n);
    own.enter(0, CODE + 4);
    hart.run(2);
    assert.equal(hart.state.mcause, 5n);
    assert.equal(hart.state.protectionLogNext, 0);
  });

  test('without tables nothing is checked', () => {
    const own = new ProtectedHart();
    for (const mode of MODES) own.allow(mode, DATA, 0);
    own.hart.state.protection.fill(0n);
    for (const mode of MODES) {
      own.enter(mode);
      for (const { kind } of KINDS) assert.equal(own.access(kind, DATA), undefined);
    }
  });
});
