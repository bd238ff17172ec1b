import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../../base/assert.ts';
import { FakeMemory } from '../virtio/fake-memory.testing.ts';
import { msix } from './capabilities.ts';
import { ConfigSpace } from './config-space.ts';
import { checkPlan } from './fabric.ts';
import { functionLayout, PciFunction } from './function.ts';
import { vectorsOf } from './function-description.ts';
import { FakeEndpoint, FakeMachine, type FakePlan } from './pci.testing.ts';

/** One function on the root bus, at 00:02.0. */
function alone(plan: Partial<FakePlan> = {}): FakeMachine {
  return new FakeMachine({ ports: [], functions: [{ id: 'a', device: 2, func: 0, ...plan }] });
}

const AT = '00:02.0';
const COMMAND = 4;
const ALL_ON = 0x507 & ~0x400;

/** Offset of a capability, as software finds it; 0: there is none. */
function find(machine: FakeMachine, bdf: string, id: number): number {
  let at = machine.config(bdf, 0x34, 1);
  for (let i = 0; at !== 0 && i < 48; i++) {
    if (machine.config(bdf, at, 1) === id) return at;
    at = machine.config(bdf, at + 1, 1);
  }
  return 0;
}

/** BARs at addresses in the windows, all enabled. */
function placed(machine = alone()): FakeMachine {
  machine.setConfig(AT, 0x10, 4, 0x1000);
  machine.setConfig(AT, 0x14, 4, 0x4000_0000);
  machine.setConfig(AT, 0x18, 4, 0x4001_0000);
  machine.setConfig(AT, 0x20, 4, 0x0000_4000);
  machine.setConfig(AT, 0x24, 4, 4);
  machine.setConfig(AT, COMMAND, 2, ALL_ON);
  return machine;
}

test('7.5.1.1: the header says who the function is; nobody else is there', () => {
  const machine = alone();
  assert.equal(machine.config('00:00.0', 0, 4), 0x0008_1b36);
  assert.equal(machine.config(AT, 0, 4), 0x1041_1af4);
  assert.equal(machine.config(AT, 8, 4), 0x0200_0001);
  assert.equal(machine.config(AT, 0x0e, 1), 0, 'type 0, one function');
  assert.equal(machine.config(AT, 0x3d, 1), 1, 'INTA');
  for (const bdf of ['00:01.0', '00:02.1', '01:00.0', 'ff:1f.7']) assert.equal(machine.config(bdf, 0, 4), 0xffff_ffff);
});

test('2.3.1: a conventional function has 256 bytes, behind them there is nobody', () => {
  const machine = alone();
  assert.equal(machine.config('00:00.0', 0xfc, 4), 0);
  assert.equal(machine.config('00:00.0', 0x100, 4), 0xffff_ffff);
  assert.equal(machine.config(AT, 0x100, 4), 0, 'no extended capability');
});

test('7.5.1.2.1: a BAR shows its size and kind, and keeps its base', () => {
  const machine = alone();
  const sizes: [number, number, number][] = [
    [0x10, 0xffff_ffe1, 1],
    [0x14, 0xffff_f000, 0],
    [0x18, 0xffff_0008, 8],
    [0x1c, 0, 0],
    [0x20, 0xffff_c00c, 0xc],
    [0x24, 0xffff_ffff, 0],
    [0x30, 0, 0],
  ];
  for (const [at, ones, zeros] of sizes) {
    machine.setConfig(AT, at, 4, 0xffff_ffff);
    assert.equal(machine.config(AT, at, 4), ones, at.toString(16));
    machine.setConfig(AT, at, 4, 0);
    assert.equal(machine.config(AT, at, 4), zeros);
  }
});

test('BARs answer where they lie, while Command enables them, and move', () => {
  const machine = placed();
  const { state } = machine.endpoint();
  machine.write(0x4000_0a00, 4, 0x1234_5678);
  assert.equal(machine.read(0x4000_0a00, 4), 0x1234_5678);
  assert.equal(machine.read(0x4000_0a02, 2), 0x1234);
  machine.write(2 ** 34 + 0x4000 + 8, 4, 7);
  assert.equal(state.words[4 * 64 + 2], 7);
  machine.write(0x300_1004, 1, 5);
  assert.equal(state.words[1], 5);

  machine.setConfig(AT, 0x20, 4, 0x8000);
  assert.equal(machine.read(2 ** 34 + 0x4000 + 8, 4), 0xffff_ffff);
  assert.equal(machine.read(2 ** 34 + 0x8000 + 8, 4), 7);

  machine.setConfig(AT, COMMAND, 2, 1);
  assert.equal(machine.read(0x4000_0a00, 4), 0xffff_ffff, 'memory is off');
  assert.equal(machine.read(0x300_1004, 1), 5);
  machine.setConfig(AT, COMMAND, 2, 2);
  assert.equal(machine.read(0x300_1004, 1), 0xff, 'I/O is off');
});

test('a BAR outside the windows, or at 0, answers nowhere', () => {
  const machine = placed();
  const before = machine.endpoint().state.accesses;
  machine.setConfig(AT, 0x14, 4, 0x8000_0000);
  assert.equal(machine.read(0x4000_0a00, 4), 0xffff_ffff);
  machine.setConfig(AT, 0x14, 4, 0);
  machine.setConfig(AT, 0x10, 4, 0);
  assert.equal(machine.read(0x300_0004, 4), 0xffff_ffff);
  assert.equal(machine.read(0x8000_0a00, 4), undefined, 'memory is not a window');
  machine.setConfig(AT, 0x24, 4, 0xffff_ffff);
  assert.equal(machine.read(2 ** 34 + 0x4000, 4), 0xffff_ffff);
  assert.equal(machine.endpoint().state.accesses, before);
});

test('an access beyond the end of a BAR reaches nobody', () => {
  const machine = placed();
  machine.write(0x300_101c, 4, 9);
  assert.equal(machine.read(0x300_101c, 4), 9);
  assert.equal(machine.read(0x300_1020, 4), 0xffff_ffff);
});

test('posted registers take no lock, others do', () => {
  const machine = placed();
  const endpoint = machine.endpoint();
  endpoint.func.lock.with(() => machine.write(0x4001_0100, 4, 1));
  assert.equal(endpoint.state.posts, 1);
});

test('6.1.1: INTx is a level: asserted and deasserted in turn, and not while Interrupt Disable is set', () => {
  const machine = alone();
  const { func } = machine.endpoint();
  func.setInterrupt(true);
  func.setInterrupt(true);
  assert.equal(machine.config(AT, 6, 2) & 8, 8, 'Interrupt Status');
  assert.deepEqual(machine.take(), ['0:10 assert INTA']);
  machine.setConfig(AT, COMMAND, 2, 0x400);
  assert.deepEqual(machine.take(), ['0:10 deassert INTA']);
  assert.equal(machine.config(AT, 6, 2) & 8, 8, 'shows the level all the same');
  machine.setConfig(AT, COMMAND, 2, 0);
  assert.deepEqual(machine.take(), ['0:10 assert INTA']);
  func.setInterrupt(false);
  func.setInterrupt(false);
  assert.deepEqual(machine.take(), ['0:10 deassert INTA']);
  assert.equal(machine.config(AT, 6, 2) & 8, 0);
});

test('a function without a pin asserts nothing; one with INTC asserts that', () => {
  const silent = alone({ pin: 0 });
  silent.endpoint().func.setInterrupt(true);
  assert.deepEqual(silent.take(), []);
  const third = alone({ pin: 3 });
  third.endpoint().func.setInterrupt(true);
  assert.deepEqual(third.take(), ['0:10 assert INTC']);
  assert.equal(third.config(AT, 0x3d, 1), 3);
});

/** With entries that write 0x28000000 + 0x1000 * n = n, unmasked as said. */
function withMsix(unmasked: readonly number[], vectors = 4): FakeMachine {
  const machine = placed(alone({ vectors }));
  for (let i = 0; i < vectors; i++) {
    const entry = 0x4000_0000 + 16 * i;
    machine.write(entry, 4, 0x2800_0003 + 0x1000 * i);
    machine.write(entry + 8, 4, i + 1);
    if (unmasked.includes(i)) machine.write(entry + 12, 4, 0);
  }
  return machine;
}

test('7.7.2: MSI-X sends what its table says; a masked vector waits with its pending bit, and is sent once', () => {
  const machine = withMsix([0, 1]);
  const { func } = machine.endpoint();
  const at = find(machine, AT, 0x11);
  func.raise(0);
  assert.deepEqual(machine.take(), [], 'not enabled: no message, none remembered');
  machine.setConfig(AT, at + 2, 2, 0x8000);
  assert.deepEqual(machine.take(), []);
  func.raise(1);
  func.raise(0);
  assert.deepEqual(machine.take(), ['0:10 message 28001000=2', '0:10 message 28000000=1']);
  func.raise(2);
  func.raise(2);
  assert.equal(machine.read(0x4000_0800, 4), 4, 'pending bit 2');
  assert.deepEqual(machine.take(), []);
  machine.write(0x4000_002c, 4, 0);
  assert.deepEqual(machine.take(), ['0:10 message 28002000=3']);
  assert.equal(machine.read(0x4000_0800, 4), 0);
  machine.write(0x4000_0800, 4, 0xff);
  assert.equal(machine.read(0x4000_0800, 4), 0, 'pending bits are read only');
  func.raise(4);
  func.raise(-1);
  assert.deepEqual(machine.take(), [], 'there is no such vector');
});

test('7.7.2: the function mask holds all vectors back', () => {
  const machine = withMsix([0, 1, 2, 3]);
  const { func } = machine.endpoint();
  const at = find(machine, AT, 0x11);
  machine.setConfig(AT, at + 2, 2, 0xc000);
  for (const vector of [3, 1]) func.raise(vector);
  assert.equal(machine.read(0x4000_0800, 4), 0b1010);
  assert.deepEqual(machine.take(), []);
  machine.setConfig(AT, at + 2, 2, 0x8000);
  assert.deepEqual(machine.take(), ['0:10 message 28001000=2', '0:10 message 28003000=4']);
});

test('messages are writes of a bus master: they wait until it is one', () => {
  const machine = withMsix([0]);
  const { func } = machine.endpoint();
  machine.setConfig(AT, find(machine, AT, 0x11) + 2, 2, 0x8000);
  machine.setConfig(AT, COMMAND, 2, 3);
  func.raise(0);
  assert.deepEqual(machine.take(), []);
  machine.setConfig(AT, COMMAND, 2, 7);
  assert.deepEqual(machine.take(), ['0:10 message 28000000=1']);
});

test('with MSI-X enabled the pin is silent; with it disabled, vectors are', () => {
  const machine = withMsix([0]);
  const { func } = machine.endpoint();
  const control = find(machine, AT, 0x11) + 2;
  func.setInterrupt(true);
  machine.setConfig(AT, control, 2, 0x8000);
  assert.deepEqual(machine.take(), ['0:10 assert INTA', '0:10 deassert INTA']);
  machine.setConfig(AT, control, 2, 0);
  assert.deepEqual(machine.take(), ['0:10 assert INTA']);
});

test('7.7.2: the table has the mask bits set after reset; of an entry only some bits can be written', () => {
  const machine = placed(alone({ vectors: 40 }));
  for (let i = 0; i < 40; i++) assert.equal(machine.read(0x4000_000c + 16 * i, 4), 1);
  for (const at of [0, 4, 8, 12]) machine.write(0x4000_0000 + at, 4, 0xffff_ffff);
  assert.deepEqual(
    [0, 4, 8, 12].map((at) => machine.read(0x4000_0000 + at, 4)),
    [0xffff_fffc, 0xffff_ffff, 0xffff_ffff, 1],
  );
  machine.write(0x4000_0000, 2, 0);
  assert.equal(machine.read(0x4000_0000, 4), 0xffff_fffc, 'only whole dwords are written');
  assert.equal(machine.read(0x4000_0002, 1), 0xff);
  machine.setConfig(AT, find(machine, AT, 0x11) + 2, 2, 0x8000);
  machine.endpoint().func.raise(39);
  assert.equal(machine.read(0x4000_0804, 4), 1 << 7);
});

test('a message to an address that no bus has is lost, and counted', () => {
  const machine = withMsix([0]);
  machine.write(0x4000_0004, 4, 0xffff_ffff);
  machine.setConfig(AT, find(machine, AT, 0x11) + 2, 2, 0x8000);
  machine.endpoint().func.raise(0);
  assert.deepEqual(machine.take(), []);
  assert.equal(machine.endpoint().func.interrupts.state.lost, 1);
});

test('7.7.1: MSI puts the vector into the low bits of its data; masks hold back', () => {
  const machine = placed(alone({ useMsi: true }));
  const { func } = machine.endpoint();
  const at = find(machine, AT, 5);
  machine.setConfig(AT, at + 4, 4, 0x2800_0003);
  machine.setConfig(AT, at + 8, 4, 1);
  machine.setConfig(AT, at + 12, 2, 0x47);
  machine.setConfig(AT, at + 2, 2, 1 | (2 << 4));
  func.raise(2);
  func.raise(7);
  assert.deepEqual(machine.take(), ['0:10 message 128000000=46', '0:10 message 128000000=47'], '4 vectors: 7 shares 3');
  machine.setConfig(AT, at + 16, 4, 1);
  func.raise(0);
  assert.equal(machine.config(AT, at + 20, 4), 1);
  assert.deepEqual(machine.take(), []);
  machine.setConfig(AT, at + 16, 4, 0);
  assert.deepEqual(machine.take(), ['0:10 message 128000000=44']);
  assert.equal(machine.config(AT, at + 20, 4), 0);
});

test('6.6.2: a function-level reset forgets everything and is over at once', () => {
  const machine = withMsix([0, 1]);
  const { func, state } = machine.endpoint();
  machine.setConfig(AT, find(machine, AT, 0x11) + 2, 2, 0x8000);
  machine.write(0x4000_0010 + 12, 4, 1);
  func.raise(1);
  func.setInterrupt(true);
  machine.take();
  const before = state.resets;
  const express = find(machine, AT, 0x10);
  assert.equal((machine.config(AT, express + 4, 4) >>> 28) & 1, 1, 'capable');
  machine.setConfig(AT, express + 8, 2, 0x8000);
  assert.equal(machine.config(AT, express + 8, 2), 0);
  assert.equal(state.resets, before + 1);
  assert.equal(machine.config(AT, COMMAND, 2), 0);
  assert.equal(machine.config(AT, 0x14, 4), 0);
  assert.equal(machine.config(AT, find(machine, AT, 0x11) + 2, 2), 3);
  assert.equal(machine.read(0x4000_0a00, 4), 0xffff_ffff);
  placed(machine);
  assert.equal(machine.read(0x4000_0800, 4), 0, 'nothing is pending');
  assert.equal(machine.read(0x4000_000c, 4), 1, 'everything is masked');
  machine.setConfig(AT, express + 9, 1, 0);
  assert.equal(state.resets, before + 1, 'the bit was not kept');
});

test('6.6.2: a function that asserts INTx deasserts it with the reset', () => {
  const machine = alone();
  machine.endpoint().func.setInterrupt(true);
  machine.take();
  machine.setConfig(AT, find(machine, AT, 0x10) + 8, 2, 0x8000);
  assert.deepEqual(machine.take(), ['0:10 deassert INTA']);
});

test('7.5.2: in D3hot there is configuration space alone', () => {
  const machine = withMsix([0]);
  const { func } = machine.endpoint();
  machine.setConfig(AT, find(machine, AT, 0x11) + 2, 2, 0x8000);
  const memory = func.memory(new FakeMemory());
  const control = find(machine, AT, 1) + 4;
  machine.setConfig(AT, control, 2, 3);
  assert.equal(machine.config(AT, 0, 4), 0x1041_1af4);
  assert.equal(machine.read(0x4000_0000, 4), 0xffff_ffff);
  assert.equal(memory.write(0x8000_0000, new Uint8Array(4)), false);
  func.raise(0);
  assert.deepEqual(machine.take(), []);
  machine.setConfig(AT, control, 2, 0);
  assert.deepEqual(machine.take(), ['0:10 message 28000000=1'], 'registers survive');
  assert.equal(memory.write(0x8000_0000, new Uint8Array(4)), true);
});

test('7.5.2: without No_Soft_Reset, a function that wakes is as after a reset', () => {
  const machine = placed(alone({ losesState: true }));
  const { state } = machine.endpoint();
  const before = state.resets;
  const control = find(machine, AT, 1) + 4;
  assert.equal(machine.config(AT, control, 2), 0);
  machine.setConfig(AT, control, 2, 3);
  machine.setConfig(AT, control, 2, 3);
  assert.equal(state.resets, before);
  machine.setConfig(AT, control, 2, 0);
  assert.equal(state.resets, before + 1);
  assert.equal(machine.config(AT, COMMAND, 2), 0);
  assert.equal(machine.config(AT, 0x14, 4), 0);
});

test('7.5.1.1.3: memory is reached while Bus Master Enable is set', () => {
  const machine = alone();
  const { func } = machine.endpoint();
  const real = new FakeMemory();
  const memory = func.memory(real);
  const bytes = Uint8Array.of(1, 2, 3, 4);
  assert.equal(memory.write(real.base, bytes), false);
  assert.equal(memory.read(real.base, bytes), false);
  assert.equal(memory.spans(real.base, 4, 'write'), null);
  assert.equal(func.state.refused, 3);
  machine.setConfig(AT, COMMAND, 2, 4);
  assert.equal(memory.write(real.base, bytes), true);
  const back = new Uint8Array(4);
  assert.equal(memory.read(real.base, back), true);
  assert.deepEqual(back, bytes);
  assert.equal(memory.spans(real.base, 4, 'read')?.length, 1);
});

test('8-byte accesses are two, also through windows', () => {
  const machine = placed();
  machine.write(2 ** 34 + 0x4000, 4, 0x1111_2222);
  machine.write(2 ** 34 + 0x4004, 4, 0x3333_4444);
  assert.equal(machine.config(AT, 0, 4), 0x1041_1af4);
  assert.equal(machine.read(2 ** 34 + 0x4004, 4), 0x3333_4444);
});

test('7.5.1.1.9: functions of one device say so', () => {
  const functions = [0, 1, 7].map((func) => ({ id: `f${func}`, device: 3, func }));
  const machine = new FakeMachine({ ports: [], functions });
  for (const func of [0, 1, 7]) {
    assert.equal(machine.config(`00:03.${func}`, 0, 4), 0x1041_1af4);
    assert.equal(machine.config(`00:03.${func}`, 0x0e, 1), 0x80);
  }
  assert.equal(machine.config('00:03.2', 0, 4), 0xffff_ffff);
});

test('what cannot be is refused with what to do', () => {
  const port = { id: 'rp0', device: 1, func: 0 };
  const plans: [FakePlan[], RegExp][] = [
    [[{ id: 'a', device: 0, func: 0 }], /host bridge is in its place/],
    [[{ id: 'a', device: 1, func: 0 }], /rp0 is in its place/],
    [[{ id: 'a', device: 2, func: 1 }], /no function 0/],
    [[{ id: 'a', device: 32, func: 0 }], /no place 32\.0/],
    [[{ id: 'a', device: 2, func: 8 }], /no place 2\.8/],
    [[{ id: 'a', device: 0.5, func: 0 }], /no place/],
    [[{ id: 'a', port: 'rp1', device: 0, func: 0 }], /no root port rp1/],
    [[{ id: 'a', port: 'rp0', device: 1, func: 0 }], /behind a root port there is no device 1/],
    [[{ id: 'rp0', device: 2, func: 0 }], /two devices called rp0/],
  ];
  for (const [functions, message] of plans) assert.throws(() => checkPlan({ ports: [port], functions }), message);
  assert.throws(() => checkPlan({ ports: [{ ...port, slot: 8192 }], functions: [] }), /no slot has number 8192/);
  const ports = [
    { ...port, slot: 2 },
    { id: 'rp1', device: 3, func: 0 },
  ];
  assert.throws(() => checkPlan({ ports, functions: [] }), /rp1 and rp0 have both slot number 2/);
  checkPlan({ ports: [port], functions: [{ id: 'a', port: 'rp0', device: 0, func: 0 }] });
});

test('ill-formed rows and descriptions are bugs', () => {
  const space = (...rows: object[]) => new ConfigSpace(rows as never, new Uint8Array(4096));
  const row = { at: 0, bytes: 4, name: 'A', does: '' };
  assert.throws(() => space(row, { ...row, at: 2, bytes: 2 }), AssertionError);
  assert.throws(() => space({ ...row, at: 2 }), AssertionError);
  assert.throws(() => space({ ...row, writable: 1, clears: 1 }), AssertionError);
  assert.throws(() => space({ ...row, bytes: 1, reset: 256 }), AssertionError);
  const place = { bar: 3, offset: 0 };
  const capabilities = [msix({ vectors: 1, table: place, pending: place })];
  const bars = FakeEndpoint.bars(() => ({ read: () => 0, write: () => {} }));
  const identity = { vendor: 0, device: 0, revision: 0, classCode: 0 };
  const buffer = new SharedArrayBuffer(functionLayout(1).sizeBytes);
  const wiring = { ...({} as ConstructorParameters<typeof PciFunction>[1]), block: { buffer, at: 0 } };
  const make = (description: object) => () =>
    new PciFunction({ kind: 'k', identity, bars: [], capabilities: [], ...description }, wiring);
  assert.throws(make({ bars, capabilities }), /which there is not/);
  assert.throws(make({ bars: bars.map((bar) => ({ ...bar, sizeBytes: 48 })) }), /bad size/);
  assert.throws(make({ bars: bars.map((bar) => ({ ...bar, index: 5 })) }), /no place for BAR/);
  assert.equal(vectorsOf({ capabilities }), 1);
});
