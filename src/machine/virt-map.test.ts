import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../base/assert.ts';
import { Aclint, Aplic, GenerationId, Imsic, Plic, Rtc, TestFinisher, Uart } from '../devices/index.ts';
import { highPcieWindow, type MapRow, VIRT, virtioSlot } from './virt-map.ts';

test('windows are in order and do not overlap, but for the APLIC that replaces the PLIC', () => {
  const rows: MapRow[] = Object.values<MapRow>(VIRT).filter((row) => row !== VIRT.aplicM);
  rows.forEach((row, i) => {
    const next = rows[i + 1];
    if (next !== undefined) assert.ok(row.base + row.sizeBytes <= next.base, `${row.name} runs into ${next.name}`);
  });
});

test('devices fill their windows', () => {
  const block = (layout: { sizeBytes: number }) => ({ buffer: new ArrayBuffer(layout.sizeBytes), at: 0 });
  const line = { set: () => {} };
  const clock = { ticks: () => 0n, wallMs: () => 0 };
  const out = { setSoftware: () => {}, setTimerDeadline: () => {}, setTimeOffset: () => {} };
  const aplic = { harts: 4, messages: true, guests: 0 };
  const sizes: [MapRow, { sizeBytes: number }][] = [
    [VIRT.uart, new Uart('u', block(Uart.layout), { line, doorbell: { ring: () => {} } })],
    [VIRT.plic, new Plic('p', block(Plic.layout(4)), 4, { setExternal: () => {} })],
    [VIRT.aplicS, new Aplic('a', block(Aplic.layout(4)), aplic, { setExternal: () => {}, send: () => true })],
    [VIRT.clint, new Aclint('c', block(Aclint.layout(4)), 4, { clock, out })],
    [VIRT.rtc, new Rtc('r', block(Rtc.layout), { clock, line, wakeAt: () => {} })],
    [VIRT.generation, new GenerationId('g', block(GenerationId.layout), line)],
    [VIRT.test, new TestFinisher('t', block(TestFinisher.layout), { finish: () => {} })],
  ];
  for (const [row, device] of sizes) assert.equal(device.sizeBytes, row.sizeBytes, row.name);
  // The most harts, with the most files.
  const imsic = new Imsic('i', block(Imsic.layout), { harts: 16, files: 8 }, () => {});
  assert.ok(imsic.sizeBytes <= VIRT.imsicS.sizeBytes);
});

test('virtio slots: 0x10001000 with source 1 to 0x10008000 with source 8', () => {
  assert.deepEqual(virtioSlot(0), { base: 0x1000_1000, irq: 1 });
  assert.deepEqual(virtioSlot(7), { base: 0x1000_8000, irq: 8 });
  for (const slot of [-1, 8, 0.5]) assert.throws(() => virtioSlot(slot), AssertionError);
});

test('the 64-bit PCIe window starts at the first multiple of 16 GiB behind RAM', () => {
  const GiB = 2 ** 30;
  assert.equal(highPcieWindow(GiB).base, 16 * GiB);
  assert.equal(highPcieWindow(14 * GiB).base, 16 * GiB);
  assert.equal(highPcieWindow(14 * GiB + 4096).base, 32 * GiB);
});
