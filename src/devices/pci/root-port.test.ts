import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anyMemory, FakeMachine, type FakePlan } from './pci.testing.ts';

const PORT = '00:01.0';
const CARD = '01:00.0';
/** The slot's registers of the PCI Express capability at 0x54. */
const AT = {
  linkStatus: 0x54 + 18,
  slotCapabilities: 0x54 + 20,
  slotControl: 0x54 + 24,
  slotStatus: 0x54 + 26,
} as const;
const EVENT = { button: 1, presence: 8, command: 0x10, link: 0x100 } as const;
const CONTROL = { interrupt: 0x20, powerOff: 0x400, linkEnable: 0x1000, indicatorsOff: 0x3c0 } as const;

/** A port at 00:01.0 with a card of `functions` functions, bus number 1 given. */
function withCard(functions = 1, isPlugged = true, card: Partial<FakePlan> = {}): FakeMachine {
  const machine = new FakeMachine({
    ports: [{ id: 'rp0', device: 1, func: 0, slot: 5, isPlugged }],
    functions: Array.from({ length: functions }, (_, func) => ({
      ...{ id: `f${func}`, port: 'rp0', device: 0, func },
      ...card,
    })),
  });
  machine.setConfig(PORT, 0x18, 4, 0x0001_0100);
  return machine;
}

/** The card's BAR 2 at 0x40100000, forwarded, everything enabled. */
function forwarded(): FakeMachine {
  const machine = withCard();
  machine.setConfig(PORT, 0x20, 4, 0x4010_4010);
  machine.setConfig(PORT, 4, 2, 7);
  machine.setConfig(CARD, 0x18, 4, 0x4010_0000);
  machine.setConfig(CARD, 4, 2, 7);
  return machine;
}

test('7.5.1.3: a root port has a type 1 header, of QEMU its identity', () => {
  const machine = withCard();
  assert.equal(machine.config(PORT, 0, 4), 0x000c_1b36);
  assert.equal(machine.config(PORT, 8, 4), 0x0604_0000);
  assert.equal(machine.config(PORT, 0x0e, 1), 1);
});

test('7.3.1: configuration accesses follow the bus numbers that the guest gave', () => {
  const machine = withCard();
  assert.equal(machine.config(CARD, 0, 4), 0x1041_1af4);
  assert.equal(machine.config('01:01.0', 0, 4), 0xffff_ffff, 'a link leads to device 0 alone');
  machine.setConfig(PORT, 0x18, 4, 0x0042_4000);
  assert.equal(machine.config(CARD, 0, 4), 0xffff_ffff);
  assert.equal(machine.config('40:00.0', 0, 4), 0x1041_1af4);
  assert.equal(machine.config('41:00.0', 0, 4), 0xffff_ffff, 'behind the card is nothing');
  machine.setConfig(PORT, 0x18, 4, 0);
  for (const bdf of ['00:00.1', '01:00.0', '40:00.0']) assert.equal(machine.config(bdf, 0, 4), 0xffff_ffff, bdf);
  assert.equal(machine.config('00:00.0', 0, 4), 0x0008_1b36, 'bus 0 is the root bus whatever ports say');
});

test('7.5.1.3: memory reaches a card through the windows of its port', () => {
  const machine = forwarded();
  machine.write(0x4010_0004, 4, 9);
  assert.equal(machine.read(0x4010_0004, 4), 9);
  machine.setConfig(PORT, 4, 2, 5);
  assert.equal(machine.read(0x4010_0004, 4), 0xffff_ffff, 'Memory Space Enable of the port');
  machine.setConfig(PORT, 4, 2, 7);
  machine.setConfig(PORT, 0x20, 4, 0x4020_4020);
  assert.equal(machine.read(0x4010_0004, 4), 0xffff_ffff, 'another window');
  machine.setConfig(PORT, 0x20, 4, 0x4000_4020);
  assert.equal(machine.read(0x4010_0004, 4), 0xffff_ffff, 'base above limit: closed');
  machine.setConfig(PORT, 0x24, 4, 0x4010_4010);
  assert.equal(machine.read(0x4010_0004, 4), 9, 'the prefetchable window');
});

test('7.5.1.3: a BAR across the end of a window answers up to there', () => {
  const machine = forwarded();
  machine.setConfig(CARD, 0x20, 4, 0x4010_0000 + 0x10_0000 - 0x4000 + 0x2000);
  machine.setConfig(CARD, 0x20, 4, 0x401f_c000);
  machine.setConfig(CARD, 0x24, 4, 0);
  assert.equal(machine.read(0x401f_fffc, 4), 0);
  machine.setConfig(PORT, 0x20, 4, 0x4000_4010);
  assert.equal(machine.read(0x401f_fffc, 4), 0xffff_ffff);
});

test('7.5.1.3: the prefetchable window has 64 bits', () => {
  const machine = forwarded();
  machine.setConfig(PORT, 0x24, 4, 0x0010_0010);
  machine.setConfig(PORT, 0x28, 4, 4);
  machine.setConfig(PORT, 0x2c, 4, 4);
  machine.setConfig(CARD, 0x20, 4, 0x0010_4000);
  machine.setConfig(CARD, 0x24, 4, 4);
  machine.write(2 ** 34 + 0x10_4000, 4, 77);
  assert.equal(machine.read(2 ** 34 + 0x10_4000, 4), 77);
  machine.setConfig(PORT, 0x2c, 4, 0xffff_ffff);
  assert.equal(machine.read(2 ** 34 + 0x10_4000, 4), 0xffff_ffff, 'a limit beyond all addresses is none');
});

test('7.5.1.3: I/O ports reach a card through the window, less what ISA Enable takes', () => {
  const machine = forwarded();
  machine.setConfig(PORT, 0x1c, 2, 0x2020);
  machine.setConfig(PORT, 4, 2, 7);
  machine.setConfig(CARD, 0x10, 4, 0x2100);
  machine.setConfig(CARD, 4, 2, 7);
  machine.write(0x300_2100, 4, 3);
  assert.equal(machine.read(0x300_2100, 4), 3);
  machine.setConfig(PORT, 0x3e, 2, 4);
  assert.equal(machine.read(0x300_2100, 4), 0xffff_ffff);
  machine.setConfig(CARD, 0x10, 4, 0x2480);
  assert.equal(machine.read(0x300_2480, 4), 3);
});

test('7.5.1.1.3: requests of a card pass while its port is a bus master; INTx always', () => {
  const machine = forwarded();
  const { func } = machine.endpoint();
  const memory = func.memory(anyMemory);
  assert.equal(memory.write(0x8000_0000, new Uint8Array(4)), true);
  machine.setConfig(PORT, 4, 2, 3);
  assert.equal(memory.write(0x8000_0000, new Uint8Array(4)), false);
  func.setInterrupt(true);
  assert.deepEqual(machine.take(), ['1:100 assert INTA']);
});

test('a message that the port holds back is sent when it may pass', () => {
  const machine = forwarded();
  const { func } = machine.endpoint();
  machine.setConfig(PORT, 4, 2, 3);
  machine.setConfig(CARD, 0x14, 4, 0x4011_0000);
  machine.write(0x4011_0000, 4, 0x2800_0000);
  machine.write(0x4011_0008, 4, 1);
  machine.write(0x4011_000c, 4, 0);
  machine.setConfig(CARD, 0x48 + 2, 2, 0x8000);
  func.raise(0);
  assert.deepEqual(machine.take(), []);
  machine.setConfig(PORT, 4, 2, 7);
  assert.deepEqual(machine.take(), ['1:100 message 28000000=1']);
});

test('2.2.8.1: pins go round by the device number of the port', () => {
  const ports = Array.from({ length: 5 }, (_, i) => ({ id: `rp${i}`, device: i + 1, func: 0 }));
  const machine = new FakeMachine({
    ports,
    functions: ports.map(({ id }, i) => ({ id: `f${i}`, port: id, device: 0, func: 0, pin: (i % 4) + 1 })),
  });
  const lines = machine.endpoints.map(({ func }, i) => machine.fabric.lineOf(func.requester, (i % 4) + 1));
  assert.deepEqual(lines, [1, 3, 1, 3, 1]);
  assert.equal(machine.fabric.lineOf(machine.port(2).func.requester, 1), 3);
});

test('6.7: the slot says what it is and what is in it', () => {
  const machine = withCard();
  const capabilities = machine.config(PORT, AT.slotCapabilities, 4);
  assert.equal(capabilities >>> 19, 5, 'physical slot number');
  assert.equal(capabilities & 0x7f, 0x7b, 'button, power, two indicators, surprise, hot-plug; no latch');
  assert.equal(machine.config(PORT, AT.slotStatus, 2), 0x40);
  assert.equal(machine.config(PORT, AT.linkStatus, 2), 0x2011);
  const empty = withCard(1, false);
  assert.equal(empty.config(PORT, AT.slotStatus, 2), 0);
  assert.equal(empty.config(PORT, AT.linkStatus, 2), 0x204);
  assert.equal(empty.config(CARD, 0, 4), 0xffff_ffff);
});

test('6.7: plugging a card in brings presence, button, link and an interrupt, by INTx', () => {
  const machine = withCard(1, false);
  const { slot } = machine.port();
  machine.setConfig(PORT, AT.slotControl, 2, 0x3c0 | CONTROL.interrupt | CONTROL.linkEnable | EVENT.button);
  machine.setConfig(PORT, AT.slotStatus, 2, 0x1ff);
  machine.take();
  assert.equal(slot.plug(), true);
  assert.equal(slot.plug(), false, 'there is one');
  assert.equal(machine.config(PORT, AT.slotStatus, 2), 0x40 | EVENT.presence | EVENT.button | EVENT.link);
  assert.deepEqual(machine.take(), ['0:8 assert INTA']);
  assert.equal(machine.config(CARD, 0, 4), 0x1041_1af4);
  machine.setConfig(PORT, AT.slotStatus, 2, EVENT.button);
  assert.deepEqual(machine.take(), [], 'the link has changed, too');
  machine.setConfig(PORT, AT.slotStatus, 2, 0xffff);
  assert.equal(machine.config(PORT, AT.slotStatus, 2), 0x40);
  assert.deepEqual(machine.take(), ['0:8 deassert INTA']);
});

test('6.7.3.4: by MSI-X an interrupt is sent when the first enabled event comes, not for further ones', () => {
  const machine = withCard();
  const { slot } = machine.port();
  machine.setConfig(PORT, 0x10, 4, 0x4000_0000);
  machine.setConfig(PORT, 4, 2, 6);
  machine.write(0x4000_0000, 4, 0x2800_0000);
  machine.write(0x4000_0008, 4, 3);
  machine.write(0x4000_000c, 4, 0);
  machine.setConfig(PORT, 0x4a, 2, 0x8000);
  machine.setConfig(PORT, AT.slotControl, 2, 0x3c0 | CONTROL.interrupt | EVENT.button | EVENT.presence);
  machine.take();
  slot.requestRemoval();
  slot.requestRemoval();
  assert.deepEqual(machine.take(), ['0:8 message 28000000=3']);
  machine.setConfig(PORT, AT.slotStatus, 2, EVENT.button);
  slot.requestRemoval();
  assert.deepEqual(machine.take(), ['0:8 message 28000000=3']);
});

test('6.7.3.2: every write of Slot Control completes a command', () => {
  const machine = withCard();
  machine.setConfig(PORT, AT.slotStatus, 2, 0xffff);
  machine.setConfig(PORT, AT.slotControl, 2, 0x3c0);
  assert.equal(machine.config(PORT, AT.slotStatus, 2) & EVENT.command, EVENT.command);
  machine.setConfig(PORT, AT.slotStatus, 2, EVENT.command);
  machine.setConfig(PORT, AT.slotControl + 1, 1, 1);
  assert.equal(machine.config(PORT, AT.slotStatus, 2) & EVENT.command, EVENT.command);
  const { slot } = machine.port();
  assert.deepEqual([slot.powerIndicator, slot.attentionIndicator], ['on', 'off']);
});

test('6.7: a requested removal ends when the guest switches power off', () => {
  const machine = forwarded();
  const { slot } = machine.port();
  const { func, state } = machine.endpoint();
  func.setInterrupt(true);
  machine.take();
  assert.equal(slot.requestRemoval(), true);
  assert.equal(slot.isPresent, true);
  machine.setConfig(PORT, AT.slotControl, 2, CONTROL.powerOff | CONTROL.indicatorsOff);
  assert.equal(slot.isPresent, false);
  assert.deepEqual(machine.take(), ['1:100 deassert INTA'], 'the wire that it held falls');
  assert.deepEqual(machine.rung, [0], 'the device behind is told');
  assert.equal(func.memory(anyMemory).write(0x8000_0000, new Uint8Array(1)), false);
  func.setInterrupt(true);
  func.raise(0);
  assert.deepEqual(machine.take(), [], 'nothing comes from a card that is out');
  const before = state.resets;
  func.lock.with(() => func.settle());
  func.lock.with(() => func.settle());
  assert.equal(state.resets, before + 1);
  assert.equal(machine.config(PORT, AT.slotStatus, 2) & 0x48, EVENT.presence);
  assert.equal(slot.requestRemoval(), false, 'nothing is there');
});

test('a card whose power the guest switches off stays, and starts anew with power', () => {
  const machine = forwarded();
  const { slot } = machine.port();
  machine.setConfig(PORT, AT.slotControl, 2, CONTROL.powerOff | CONTROL.indicatorsOff);
  assert.equal(slot.isPresent, true);
  assert.equal(slot.isPowered, false);
  assert.equal(machine.config(CARD, 0, 4), 0xffff_ffff);
  assert.equal(machine.config(PORT, AT.linkStatus, 2), 0x11);
  machine.setConfig(PORT, AT.slotControl, 2, CONTROL.indicatorsOff);
  assert.equal(machine.config(CARD, 4, 2), 0, 'Command as after power-on');
  assert.equal(machine.config(CARD, 0x18, 4), 8);
  machine.setConfig(PORT, AT.slotControl, 2, CONTROL.powerOff | CONTROL.indicatorsOff);
  assert.equal(slot.requestRemoval(), true, 'without power it goes at once');
  assert.equal(slot.isPresent, false);
});

test('6.7.2: a card that is pulled out is gone, link and all', () => {
  const machine = forwarded();
  const { slot } = machine.port();
  machine.setConfig(PORT, AT.slotControl, 2, 0x3c0 | CONTROL.interrupt | CONTROL.linkEnable);
  machine.setConfig(PORT, AT.slotStatus, 2, 0xffff);
  machine.take();
  assert.equal(slot.remove(), true);
  assert.equal(slot.remove(), false);
  assert.deepEqual(machine.take(), ['0:8 assert INTA']);
  assert.equal(machine.config(PORT, AT.slotStatus, 2), EVENT.presence | EVENT.link);
  assert.equal(machine.config(CARD, 0, 4), 0xffff_ffff);
  assert.equal(machine.read(0x4010_0004, 4), 0xffff_ffff);
});

test('7.5.1.3: Secondary Bus Reset holds the card in reset', () => {
  const machine = forwarded();
  const { state } = machine.endpoint();
  const before = state.resets;
  machine.setConfig(PORT, 0x3e, 2, 0x40);
  assert.equal(machine.config(CARD, 0, 4), 0xffff_ffff);
  machine.setConfig(PORT, 0x3e, 2, 0);
  assert.equal(machine.config(CARD, 0, 4), 0x1041_1af4);
  assert.equal(machine.config(CARD, 4, 2), 0);
  assert.equal(state.resets, before + 1);
  assert.equal(machine.config(PORT, 0x20, 4), 0x4010_4010, 'the port itself keeps its registers');
});

test('the interlock toggles when a one is written, and reads as zero', () => {
  const machine = withCard();
  const engaged = () => machine.config(PORT, AT.slotStatus, 2) & 0x80;
  machine.setConfig(PORT, AT.slotControl, 2, 0xbc0);
  assert.equal(machine.config(PORT, AT.slotControl, 2), 0x3c0);
  assert.equal(engaged(), 0x80);
  machine.setConfig(PORT, AT.slotControl, 2, 0x3c0);
  assert.equal(engaged(), 0x80);
  machine.setConfig(PORT, AT.slotControl, 2, 0xbc0);
  assert.equal(engaged(), 0);
});

test('a card of eight functions comes and goes as one', () => {
  const machine = withCard(8);
  for (let func = 0; func < 8; func++) assert.equal(machine.config(`01:00.${func}`, 0x0e, 1), 0x80);
  machine.port().slot.remove();
  for (let func = 0; func < 8; func++) assert.equal(machine.config(`01:00.${func}`, 0, 4), 0xffff_ffff);
});

test('another thread sees cards come and go', () => {
  const plan = {
    ports: [{ id: 'rp0', device: 1, func: 0 }],
    functions: [{ id: 'f', port: 'rp0', device: 0, func: 0 }],
  };
  const one = new FakeMachine(plan);
  const other = new FakeMachine(plan, one.buffer);
  one.setConfig(PORT, 0x18, 4, 0x0001_0100);
  one.setConfig(PORT, 0x20, 4, 0x4010_4010);
  one.setConfig(PORT, 4, 2, 7);
  one.setConfig(CARD, 0x18, 4, 0x4010_0000);
  one.setConfig(CARD, 4, 2, 7);
  other.write(0x4010_0000, 4, 5);
  assert.equal(one.read(0x4010_0000, 4), 5);
  one.setConfig(CARD, 0x18, 4, 0x4011_0000);
  assert.equal(other.read(0x4010_0000, 4), 0xffff_ffff);
  assert.equal(other.read(0x4011_0000, 4), 5);
  other.port().slot.remove();
  assert.equal(one.read(0x4011_0000, 4), 0xffff_ffff);
});
