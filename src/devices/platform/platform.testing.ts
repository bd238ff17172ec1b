/**
 * What the tests of register models share: fakes of a device's surroundings, and the suite that every model must
 * pass (reset values as its table says, save and restore inverse, no access of a hostile guest does harm).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, type Saved, save } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, DeviceClock, Doorbell, InterruptLine } from '../device.ts';
import type { RegisterModel, RegisterTable } from '../registers.ts';

/** Everything a device did to its surroundings, in order: `line 1`, `software 2 0`. */
export type Journal = string[];

export class FakeLine implements InterruptLine {
  level = false;
  readonly #journal: Journal;
  constructor(journal: Journal = []) {
    this.#journal = journal;
  }
  set(level: boolean): void {
    this.level = level;
    this.#journal.push(`line ${level ? 1 : 0}`);
  }
}

export class FakeDoorbell implements Doorbell {
  rings = 0;
  readonly #journal: Journal;
  constructor(journal: Journal = []) {
    this.#journal = journal;
  }
  ring(): void {
    this.rings++;
    this.#journal.push('ring');
  }
}

/** A clock that the test moves by hand. */
export class FakeClock implements DeviceClock {
  now = 0n;
  nowMs = 1_700_000_000_000;
  ticks(): bigint {
    return this.now;
  }
  wallMs(): number {
    return this.nowMs;
  }
}

/** A block of its own for a layout, in shared memory as in a machine. */
export function blockFor(layout: { readonly sizeBytes: number }): Block {
  return { buffer: new SharedArrayBuffer(layout.sizeBytes + 64), at: 64 };
}

/** A small seeded generator (xorshift32): the same seed gives the same test. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }
  /** 32 random bits. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }
  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }
  pick<T>(from: readonly T[]): T {
    const value = from[this.below(from.length)];
    if (value === undefined) throw new RangeError('pick from nothing');
    return value;
  }
}

export interface Subject<D extends Device & RegisterModel> {
  readonly device: D & { drive(): void };
  readonly registers: RegisterTable<D>;
  readonly clock: FakeClock;
  /** What else can happen to the device: input, lines, time. */
  disturb?(random: Random): void;
}

/** Makes a device over `block`; whatever it does to its surroundings goes into `journal`. */
export type Make<D extends Device & RegisterModel> = (journal: Journal, block?: Block) => Subject<D>;

/** The suite. Registers tests; call it at the top level of a test file. */
export function checkRegisterModel<D extends Device & RegisterModel>(kind: string, make: Make<D>): void {
  test(`${kind}: after reset every register reads as its row says`, () => {
    const { device, registers, clock } = make([]);
    device.reset();
    // Without what other devices do: their lines outlive a reset.
    churn({ device, registers, clock }, new Random(1), 500);
    device.reset();
    for (const row of registers.rows) {
      if (row.reset === undefined || row.read === undefined || row.when?.holds(device) === false) continue;
      for (let i = 0; i < (row.array?.count ?? 1); i++) {
        const at = row.at + i * (row.array?.strideBytes ?? 0);
        assert.equal(device.read(at, row.bytes), row.reset, `${row.name}[${i}]`);
      }
    }
    assert.equal(device.state.unassignedReads, 0);
  });

  test(`${kind}: reset forgets what a guest did`, () => {
    const fresh = make([]);
    fresh.device.reset();
    const used = make([]);
    used.device.reset();
    const before = save(used.device.layout, used.device.state);
    assert.deepEqual(before, save(fresh.device.layout, fresh.device.state));
    for (let i = 0; i < 200; i++) access(used.device, used.registers, new Random(i + 1));
    used.device.reset();
    const after = save(used.device.layout, used.device.state);
    for (const [field, value] of Object.entries(before)) {
      if (kept.has(field)) continue;
      assert.deepEqual(after[field], value, `${kind}.${field} survived a reset`);
    }
  });

  test(`${kind}: saved, restored elsewhere and driven, it goes on as the same device`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const one = make([]);
      one.device.reset();
      churn(one, new Random(seed), 300);
      const saved = JSON.parse(JSON.stringify(save(one.device.layout, one.device.state))) as Saved;

      const journals: [Journal, Journal] = [[], []];
      const twins = journals.map((journal) => {
        const twin = make(journal);
        twin.clock.now = one.clock.now;
        twin.clock.nowMs = one.clock.nowMs;
        restore(twin.device.layout, twin.device.state, saved);
        assert.deepEqual(save(twin.device.layout, twin.device.state), saved, `seed ${seed}`);
        twin.device.drive();
        return churn(twin, new Random(seed * 31), 300);
      });
      assert.deepEqual(twins[0], twins[1], `seed ${seed}`);
      assert.deepEqual(journals[0], journals[1], `seed ${seed}`);

      // And the original, told to drive its outputs once more, does what the restored ones did.
      assert.deepEqual(churn(one, new Random(seed * 31), 300), twins[0], `seed ${seed}`);
    }
  });

  test(`${kind}: two threads over one block are one device`, () => {
    const block = blockFor(make([]).device.layout);
    const one = make([], block);
    const two = make([], block);
    one.device.reset();
    churn(one, new Random(5), 200);
    assert.deepEqual(save(two.device.layout, two.device.state), save(one.device.layout, one.device.state));
  });

  test(`${kind}: any access at any offset is answered with an unsigned value that fits`, () => {
    const subject = make([]);
    subject.device.reset();
    const random = new Random(77);
    for (let i = 0; i < 5000; i++) {
      const bytes = random.pick([1, 2, 4] as const);
      const offset = Math.floor(random.below(subject.device.sizeBytes) / bytes) * bytes;
      const value = subject.device.read(offset, bytes);
      assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * bytes), `${value} at ${offset}`);
      subject.device.write(offset, bytes, random.next() >>> (32 - 8 * bytes));
    }
  });

  test(`${kind}: state restored from a hostile file does no harm`, () => {
    for (let seed = 1; seed <= 30; seed++) {
      const block = blockFor(make([]).device.layout);
      const subject = make([], block);
      const random = new Random(seed);
      const bytes = new Uint8Array(block.buffer, block.at);
      for (let i = 0; i < bytes.length; i++) bytes[i] = random.next();
      subject.device.drive();
      churn(subject, random, 200);
    }
  });
}

/** State that outlives a reset by design: bytes on the wire, lines of other devices, the battery's clock. */
const kept = new Set(['output', 'outputHead', 'outputCount', 'level', 'pending', 'offsetNs']);

/** A random life: accesses that mostly hit registers, events, time. Returns what reads returned. */
function churn<D extends Device & RegisterModel>(subject: Subject<D>, random: Random, steps: number): string[] {
  const seen: string[] = [];
  for (let i = 0; i < steps; i++) {
    switch (random.below(6)) {
      case 0:
        subject.disturb?.(random);
        break;
      case 1:
        subject.clock.now += BigInt(random.below(1000));
        subject.clock.nowMs += random.below(100) / 8;
        break;
      default:
        seen.push(access(subject.device, subject.registers, random));
    }
  }
  return seen;
}

function access<D extends Device & RegisterModel>(device: D, registers: RegisterTable<D>, random: Random): string {
  const row = random.pick(registers.rows);
  const index = row.array === undefined ? 0 : random.below(row.array.count);
  const at = row.at + index * (row.array?.strideBytes ?? 0);
  if (device.wide !== undefined && at % 8 === 0 && random.below(3) === 0) {
    if (random.below(2) === 0) return `${row.name} ${device.wide.read(at)}`;
    device.wide.write(at, BigInt.asUintN(64, (BigInt(random.next()) << 32n) | BigInt(random.next())));
    return '';
  }
  const bytes: AccessBytes = random.below(8) === 0 ? random.pick([1, 2, 4] as const) : row.bytes;
  if (random.below(2) === 0) return `${row.name} ${device.read(at, bytes)}`;
  const small = random.below(2) === 0 ? random.below(128) : random.next();
  device.write(at, bytes, small >>> (32 - 8 * bytes) || small % 2 ** (8 * bytes));
  return '';
}
