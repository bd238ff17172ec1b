import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Imsic, type Message } from './imsic.ts';
import { blockFor, checkRegisterModel, FakeClock } from './platform.testing.ts';

function imsic(harts: number, files: number) {
  const messages: Message[] = [];
  const device = new Imsic('imsic', blockFor(Imsic.layout), { harts, files }, (message) => messages.push(message));
  device.reset();
  return { device, messages };
}

checkRegisterModel('imsic', (journal, block = blockFor(Imsic.layout)) => {
  const device = new Imsic('imsic', block, { harts: 3, files: 3 }, ({ hart, file, identity }) =>
    journal.push(`${hart} ${file} ${identity}`),
  );
  return { device, registers: device.registers, clock: new FakeClock() };
});

test('a page for each file; what is written is a message for it', () => {
  const { device, messages } = imsic(2, 1);
  assert.equal(device.sizeBytes, 0x2000);
  device.write(0, 4, 255);
  device.write(0x1000, 4, 0xffff_ffff);
  assert.deepEqual(messages, [
    { hart: 0, file: 0, identity: 255 },
    { hart: 1, file: 0, identity: 0xffff_ffff },
  ]);
  assert.equal(device.read(0x1000, 4), 0);
});

test('the files of a hart fill a power of two of pages; those that are not there take nothing', () => {
  const { device, messages } = imsic(3, 6);
  assert.equal(device.sizeBytes, 3 * 8 * 0x1000);
  for (let page = 0; page < 24; page++) device.write(page * 0x1000, 4, page + 1);
  assert.deepEqual(
    messages.map(({ hart, file, identity }) => [hart, file, identity]),
    [0, 1, 2].flatMap((hart) => [0, 1, 2, 3, 4, 5].map((file) => [hart, file, hart * 8 + file + 1])),
  );
});

test('the big-endian register is ignored; so are other places and sizes', () => {
  const { device, messages } = imsic(1, 1);
  device.write(4, 4, 0x0100_0000);
  device.write(8, 4, 1);
  device.write(0, 1, 1);
  device.write(0, 2, 1);
  assert.deepEqual(messages, []);
  assert.equal(device.state.unassignedWrites, 3);
});

test('a message needs no lock', () => {
  const { device } = imsic(2, 1);
  assert.deepEqual(
    [0, 4, 0x1000, 0x1008].map((offset) => device.isPosted(offset)),
    [true, false, true, false],
  );
});
