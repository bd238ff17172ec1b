/**
 * A hostile guest at the fabric: random accesses to configuration space, BARs anywhere, cards that come and go, functions
 * that interrupt meanwhile. Nothing crashes, rows keep their word, and whoever answers an address is who a plain reading
 * of the registers says.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import { restore, type Saved, save } from '../../base/struct.ts';
import type { AccessBytes } from '../device.ts';
import { Random } from '../virtio/random.testing.ts';
import { BusScan, ecamAccess } from './bus-scan.testing.ts';
import type { PciFunction } from './function.ts';
import { FakeMachine, type FakePlan, WINDOWS } from './pci.testing.ts';

const PLAN = {
  ports: [
    { id: 'rp0', device: 1, func: 0 },
    { id: 'rp1', device: 1, func: 1 },
    { id: 'rp2', device: 2, func: 0, isPlugged: false },
  ],
  functions: [
    { id: 'root', device: 3, func: 0 },
    { id: 'a0', port: 'rp0', device: 0, func: 0, vectors: 33 },
    { id: 'a1', port: 'rp0', device: 0, func: 1, useMsi: true, pin: 2 },
    { id: 'b', port: 'rp1', device: 0, func: 0, pin: 0 },
    { id: 'c', port: 'rp2', device: 0, func: 0, pin: 4 },
  ] as FakePlan[],
};

/** Bits that functions themselves set in registers that nobody can write: the interlock of a slot. */
const SET_BY_FUNCTION: Readonly<Record<string, number>> = { 'Slot Status': 0x80 };

const widths: readonly AccessBytes[] = [1, 2, 4];
const BUSES = 4;

function functionsOf(machine: FakeMachine): PciFunction[] {
  return [...machine.fabric.ports.map(({ func }) => func), ...machine.endpoints.map(({ func }) => func)];
}

/** Likely places: registers that decide, else any. */
function offsetOf(random: Random, bytes: AccessBytes): number {
  const decisive = [
    4,
    5,
    6,
    0x10,
    0x14,
    0x18,
    0x19,
    0x1a,
    0x1c,
    0x20,
    0x24,
    0x28,
    0x2c,
    0x3e,
    0x4a,
    0x54 + 24,
    0x54 + 26,
  ];
  const at = random.oneIn(3) ? random.below(4096) : random.oneIn(2) ? random.below(256) : random.pick(decisive);
  return at - (at % bytes);
}

/** Likely addresses: where a BAR lies, or a window, else any. */
function writtenTo(random: Random, bytes: AccessBytes): number {
  const values = [
    0,
    0xffff_ffff,
    7,
    0x0007_0001,
    0x4000_0000 + 0x10_0000 * random.below(4),
    0x4010_4000,
    0x0001_0100,
    4,
    0x2020,
  ];
  const value = random.oneIn(2) ? random.u32() : random.pick(values);
  return bytes === 4 ? value : value % 2 ** (8 * bytes);
}

function step(machine: FakeMachine, random: Random): void {
  const bytes = random.pick(widths);
  switch (random.below(12)) {
    case 0: {
      const { func } = random.pick(machine.endpoints);
      func.setInterrupt(random.oneIn(2));
      break;
    }
    case 1:
      random.pick(machine.endpoints).func.raise(random.below(40));
      break;
    case 2: {
      const { slot, func } = random.pick(machine.fabric.ports);
      func.lock.with(() => random.pick([() => slot.plug(), () => slot.remove(), () => slot.requestRemoval()])());
      break;
    }
    case 3:
    case 4:
    case 5: {
      const at = addressOf(machine, random, bytes);
      checkAnswer(machine, at, bytes, random);
      break;
    }
    default: {
      const bus = random.below(BUSES);
      const bdf = `${bus}:${random.oneIn(8) ? random.below(32).toString(16) : bus === 0 ? random.below(4) : 0}.${random.below(2)}`;
      const at = offsetOf(random, bytes);
      if (random.below(4) !== 0) {
        const value = machine.config(bdf, at, bytes);
        assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * bytes), `${value}`);
      } else machine.setConfig(bdf, at, bytes, writtenTo(random, bytes));
    }
  }
}

/** Often in or beside a BAR, else anywhere in a window. */
function addressOf(machine: FakeMachine, random: Random, bytes: AccessBytes): number {
  if (random.oneIn(4)) {
    const { at, sizeBytes } = random.pick([WINDOWS.io, WINDOWS.memory, WINDOWS.high]);
    return aligned(at + (random.u32() % sizeBytes), bytes);
  }
  const { func } = random.pick(machine.endpoints);
  const { index, kind, sizeBytes } = random.pick(func.description.bars);
  const low = func.config.get(0x10 + 4 * index, 4);
  const high = kind === 'memory64' ? func.config.get(0x14 + 4 * index, 4) : 0;
  const base = high * 2 ** 32 + low - (low % (kind === 'io' ? 4 : 16));
  const at = base + random.below(sizeBytes) + (random.oneIn(8) ? sizeBytes : 0);
  const gpa = kind === 'io' ? WINDOWS.io.at + at : at;
  const isInside = [WINDOWS.io, WINDOWS.memory, WINDOWS.high].some(
    (one) => gpa >= one.at && gpa + 4 <= one.at + one.sizeBytes,
  );
  return isInside ? aligned(gpa, bytes) : WINDOWS.memory.at;
}

function aligned(at: number, bytes: AccessBytes): number {
  return at - (at % bytes);
}

/** What a guest's kernel leaves: everything placed and enabled, messages too. */
function setUp(machine: FakeMachine): void {
  const scan = new BusScan(ecamAccess(WINDOWS.ecam.at, machine));
  scan.assign({ io: 0x1000, memory: WINDOWS.memory.at, prefetchable: WINDOWS.high.at });
  for (const { func } of machine.endpoints) {
    const at = func.capabilityAt(0x11);
    if (at !== undefined && func.requester % 2 === 0) func.write(at + 2, 2, 0x8000);
    for (let entry = 0; entry < func.interrupts.state.table.length / 4; entry++) {
      func.interrupts.writeTable(16 * entry, 4, 0x2800_0000);
      func.interrupts.writeTable(16 * entry + 12, 4, 0);
    }
  }
}

/** An access reaches whom the registers say, and nobody else. */
function checkAnswer(machine: FakeMachine, at: number, bytes: AccessBytes, random: Random): void {
  const answer = answerOf(machine, at);
  const expected = answer?.part === 'region' ? answer.func : undefined;
  const before = machine.endpoints.map(({ state }) => state.accesses);
  if (random.oneIn(2)) machine.write(at, bytes, random.u32() % 2 ** (8 * bytes));
  else {
    const value = must(machine.read(at, bytes));
    assert.ok(value >= 0 && value < 2 ** (8 * bytes));
    if (answer === undefined) assert.equal(value, 2 ** (8 * bytes) - 1, 'nobody answers with ones');
  }
  machine.endpoints.forEach((endpoint, i) => {
    const reached = endpoint.state.accesses !== must(before[i]);
    assert.equal(reached, expected === endpoint.func, `${endpoint.func.name} at ${at.toString(16)}`);
  });
}

interface Answer {
  readonly func: PciFunction;
  readonly part: 'region' | 'table';
}

/** Whose region that is, by a plain reading of registers: the first on the bus, a port before what is behind it. */
function answerOf(machine: FakeMachine, gpa: number): Answer | undefined {
  const window = must(
    [WINDOWS.io, WINDOWS.memory, WINDOWS.high].find((one) => gpa >= one.at && gpa < one.at + one.sizeBytes),
  );
  const isIo = window === WINDOWS.io;
  const address = gpa - window.at + window.busAddress;
  const onBus = [
    ...machine.fabric.ports.map(({ func }) => func),
    ...machine.endpoints.filter(({ func }) => func.requester < 256).map(({ func }) => func),
  ];
  for (const func of onBus.sort((a, b) => a.requester - b.requester)) {
    const own = holds(func, address, isIo);
    if (own !== 'no') return { func, part: own };
    const index = machine.fabric.ports.findIndex((port) => port.func === func);
    if (index < 0 || !machine.port(index).slot.isUp || !isForwarded(func, address, isIo)) continue;
    for (const { func: card } of machine.endpoints.filter((one) => one.func.requester >> 8 === index + 1)) {
      const found = holds(card, address, isIo);
      if (found !== 'no') return { func: card, part: found };
    }
  }
  return undefined;
}

/** `table`: the function answers, by MSI-X's table or pending bits, or it is a port. */
function holds(func: PciFunction, address: number, isIo: boolean): 'no' | 'region' | 'table' {
  const { config, description } = func;
  const isCut = func.state.cutOff !== 0;
  const powerAt = func.capabilityAt(1);
  const isAsleep = powerAt !== undefined && (config.get(powerAt + 4, 2) & 3) !== 0;
  if (isCut || isAsleep || (config.get(4, 2) & (isIo ? 1 : 2)) === 0) return 'no';
  for (const bar of description.bars) {
    if ((bar.kind === 'io') !== isIo) continue;
    const low = config.get(0x10 + 4 * bar.index, 4);
    const high = bar.kind === 'memory64' ? config.get(0x14 + 4 * bar.index, 4) : 0;
    const base = high * 2 ** 32 + low - (low % (isIo ? 4 : 16));
    if (base === 0 || address < base || address >= base + bar.sizeBytes) continue;
    if (description.kind === 'pcie-root-port') return 'table';
    const vectors = func.interrupts.state.table.length / 4;
    const offset = address - base;
    const hasTable = func.capabilityAt(0x11) !== undefined && bar.index === 1;
    const inTable = offset < 16 * vectors || (offset >= 0x800 && offset < 0x800 + 8 * Math.ceil(vectors / 64));
    return hasTable && inTable ? 'table' : 'region';
  }
  return 'no';
}

function isForwarded({ config }: PciFunction, address: number, isIo: boolean): boolean {
  if ((config.get(4, 2) & (isIo ? 1 : 2)) === 0) return false;
  if (isIo) {
    const isInWindow = address >> 12 >= config.get(0x1c, 1) >> 4 && address >> 12 <= config.get(0x1d, 1) >> 4;
    return isInWindow && ((config.get(0x3e, 2) & 4) === 0 || (address & 0x300) === 0);
  }
  const mib = BigInt(Math.floor(address / 2 ** 20));
  const field = (at: number) => BigInt(config.get(at, 2) >> 4);
  const upper = (at: number) => BigInt(config.get(at, 4)) << 12n;
  const plain = mib >= field(0x20) && mib <= field(0x22);
  // A limit beyond what a number holds is none.
  const limit = upper(0x2c) + field(0x26);
  return plain || (mib >= upper(0x28) + field(0x24) && mib <= limit && limit < 2n ** 33n - 1n);
}

/** What holds whatever the guest has done. */
function checkInvariants(machine: FakeMachine): void {
  for (const func of functionsOf(machine)) {
    for (const { at, bytes, name, reset = 0, writable = 0, clears = 0 } of func.config.rows) {
      const fixed = ~(writable | clears | (SET_BY_FUNCTION[name] ?? 0));
      const stored = func.config.get(at, bytes);
      assert.equal((stored & fixed) >>> 0, (reset & fixed) >>> 0, `${func.name} ${name}: a bit that cannot be written`);
    }
  }
}

/** Transactions come in order: of each pin, assertions and deassertions in turn. */
function checkTransactions(machine: FakeMachine): void {
  const asserted = new Set<number>();
  for (const { requester, kind, data, address } of machine.sent) {
    if (kind === 'message') assert.ok(address % 4 === 0 && Number.isSafeInteger(address) && data >= 0);
    else {
      assert.ok(data >= 1 && data <= 4);
      assert.equal(asserted.has(requester), kind === 'deassert', `${requester.toString(16)} ${kind}`);
      if (kind === 'assert') asserted.add(requester);
      else asserted.delete(requester);
    }
  }
}

test('random accesses: rows keep their word, addresses reach whom registers say', () => {
  let messages = 0;
  let asserts = 0;
  let reached = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const machine = new FakeMachine(PLAN);
    const random = new Random(seed);
    if (seed % 4 !== 0) setUp(machine);
    for (let i = 0; i < 400; i++) {
      step(machine, random);
      if (i % 40 === 0) checkInvariants(machine);
    }
    checkInvariants(machine);
    checkTransactions(machine);
    messages += machine.sent.filter(({ kind }) => kind === 'message').length;
    asserts += machine.sent.filter(({ kind }) => kind === 'assert').length;
    reached += machine.endpoints.reduce((sum, { state }) => sum + state.accesses, 0);
  }
  assert.ok(
    messages > 10 && asserts > 100 && reached > 10,
    `${messages} messages, ${asserts} asserts, ${reached} reached`,
  );
});

test('two threads over one block are one fabric', () => {
  for (let seed = 1; seed <= 8; seed++) {
    const one = new FakeMachine(PLAN);
    const other = new FakeMachine(PLAN, one.buffer);
    setUp(one);
    const random = new Random(seed);
    for (let i = 0; i < 300; i++) step(random.oneIn(2) ? one : other, random);
    for (let bus = 0; bus < BUSES; bus++)
      for (const place of ['00.0', '01.0', '01.1', '02.0', '03.0'])
        for (const at of [0, 4, 0x10, 0x18, 0x20, 0x3c])
          assert.equal(one.config(`${bus}:${place}`, at, 4), other.config(`${bus}:${place}`, at, 4));
  }
});

test('saved, restored elsewhere and driven, it goes on as the same fabric', () => {
  for (let seed = 1; seed <= 6; seed++) {
    const one = new FakeMachine(PLAN);
    const random = new Random(seed);
    setUp(one);
    for (let i = 0; i < 300; i++) step(one, random);
    const twin = new FakeMachine(PLAN);
    one.models.forEach((model, i) => {
      const { layout, state } = must(twin.models[i]);
      restore(layout, state, JSON.parse(JSON.stringify(save(model.layout, model.state))) as Saved);
    });
    twin.fabric.drive();
    one.sent.length = twin.sent.length = 0;
    const randoms = [new Random(seed * 7), new Random(seed * 7)] as const;
    for (let i = 0; i < 200; i++) {
      step(one, randoms[0]);
      step(twin, randoms[1]);
    }
    assert.deepEqual(twin.take(), one.take(), `seed ${seed}`);
    twin.models.forEach((model, i) => {
      if (model.name.startsWith('pcie-ecam')) return;
      const { layout, state } = must(one.models[i]);
      assert.deepEqual(save(model.layout, model.state), save(layout, state), `seed ${seed} ${model.name}`);
    });
  }
});

test('state restored from a hostile file does no harm', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const machine = new FakeMachine(PLAN);
    const random = new Random(seed);
    const bytes = new Uint8Array(machine.buffer);
    for (const { layout, state } of machine.models) scramble(layout, state, random);
    assert.ok(bytes.length > 0);
    machine.fabric.drive();
    machine.sent.length = 0;
    for (let i = 0; i < 200; i++) {
      const bytes = random.pick(widths);
      machine.config(
        `${random.below(256).toString(16)}:${random.below(32).toString(16)}.${random.below(8)}`,
        offsetOf(random, bytes),
        bytes,
      );
      machine.setConfig(`0:${random.below(4)}.0`, offsetOf(random, bytes), bytes, writtenTo(random, bytes));
      machine.read(addressOf(machine, random, bytes), bytes);
      machine.write(addressOf(machine, random, bytes), bytes, writtenTo(random, bytes));
      random.pick(machine.endpoints).func.raise(random.below(40));
    }
  }
});

/** Random values in every field, also of structs within. */
function scramble(layout: { fields: object }, state: object, random: Random): void {
  const view = state as Record<string, unknown>;
  for (const [name, field] of Object.entries(layout.fields) as [string, unknown][]) {
    const value = view[name];
    if (typeof value === 'number') view[name] = random.u32();
    else if (ArrayBuffer.isView(value))
      for (let i = 0; i < value.byteLength; i++) new Uint8Array(value.buffer, value.byteOffset)[i] = random.u32();
    else if (Array.isArray(value))
      for (const one of value) scramble((field as { of: { fields: object } }).of, one as object, random);
  }
}
