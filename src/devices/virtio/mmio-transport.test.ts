import assert from 'node:assert/strict';
import { test } from 'node:test';
import { registersAsMarkdown } from '../registers.ts';
import { deviceSuite, setUpEcho } from './device-suite.testing.ts';
import { mmioRegisters } from './mmio-registers.ts';
import { INTERRUPT } from './spec.ts';

deviceSuite('mmio');

const setUp = () => setUpEcho('mmio');

test('identification: magic, version 2, device type, vendor', () => {
  const { mmio } = setUp().bench;
  assert.equal(mmio.read(0x00, 4), 0x74726976);
  assert.equal(mmio.read(0x04, 4), 2);
  assert.equal(mmio.read(0x08, 4), 42);
  assert.equal(mmio.read(0x0c, 4), 0x4547414b);
});

test('registers read as their rows say after power-on', () => {
  const { mmio } = setUp().bench;
  for (const row of mmioRegisters.rows) {
    if (row.reset !== undefined) assert.equal(mmio.read(row.at, row.bytes), row.reset, row.name);
  }
  assert.match(registersAsMarkdown(mmioRegisters), /\| 0x70 \| 4 \| Status \| rw \| 0x0 \|/);
});

test('an acknowledgement clears only its own bits, and the line follows what is left', () => {
  const { bench, device, driver } = setUp();
  const { mmio } = bench;
  const [queue] = driver.start();
  queue?.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  queue?.kick();
  bench.serve(device);
  device.changeConfig(3);
  assert.equal(mmio.read(0x60, 4), 3);
  mmio.write(0x64, 4, INTERRUPT.USED_BUFFER);
  assert.equal(mmio.read(0x60, 4), INTERRUPT.CONFIG_CHANGE);
  assert.equal(bench.line, true);
  mmio.write(0x64, 4, INTERRUPT.CONFIG_CHANGE);
  assert.equal(bench.line, false);
});

test('what needs no lock: notifications, interrupt status and acknowledgement', () => {
  const { mmio } = setUp().bench;
  const posted = mmioRegisters.rows.filter((row) => mmio.isPosted(row.at)).map((row) => row.name);
  assert.deepEqual(posted, ['QueueNotify', 'InterruptStatus', 'InterruptACK']);
});
