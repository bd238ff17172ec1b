import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { Board } from './board.ts';
import { type BoardOptions, boardConfig } from './board-config.ts';
import { type PciOptions, planPci } from './pci-plan.ts';
import { changeSlot, pciReport } from './pci-report.ts';
import { protectionReport, rightsChange } from './protection-report.ts';
import { bareSlot, slotLayout, slotsOf } from './slots.ts';
import { restoreBoard, saveBoard } from './snapshot/index.ts';
import { highPcieWindow, VIRT } from './virt-map.ts';

const ports = { clock: { ticks: () => 0n, wallMs: () => 0 }, slotLayout, slot: bareSlot };
const MiB = 2 ** 20;

function boardWith(options: BoardOptions): Board {
  return Board.create(boardConfig({ memoryBytes: 16 * MiB, ...options }), ports);
}

const MIXED: PciOptions = {
  ports: [
    { id: 'rp0', device: 1, func: 0 },
    { id: 'spare', device: 2, func: 0, isPlugged: false },
  ],
  functions: [
    { id: 'net0', port: 'rp0', device: 0, func: 0 },
    { id: 'disk0', port: 'rp0', device: 0, func: 1 },
    { id: 'rng1', kind: 'rng', port: 'spare', device: 0, func: 0 },
    { id: 'rng2', kind: 'rng', device: 3, func: 0 },
  ],
};

function ecam(bus: number, device: number, func: number, at = 0): number {
  return VIRT.pcieEcam.base + bus * MiB + device * 2 ** 15 + func * 4096 + at;
}

const read = (board: Board, gpa: number, bytes = 4): number | undefined => {
  const value = board.mmio.read(gpa, bytes);
  return typeof value === 'bigint' ? Number(value) : undefined;
};
const write = (board: Board, gpa: number, bytes: number, value: number): void => {
  board.mmio.write(gpa, bytes, BigInt(value));
};

test('a board without PCI Express has nothing of it', () => {
  const board = boardWith({});
  assert.equal(board.pci, undefined);
  for (const { base } of [VIRT.pcieEcam, VIRT.pciePio, VIRT.pcieMmio]) assert.equal(read(board, base), undefined);
  assert.ok(board.devices.every(({ name }) => !/pci/.test(name)));
  assert.deepEqual(boardConfig({}), boardConfig({ pci: false }));
  assert.throws(() => pciReport(board), /no PCI Express/);
});

test('with it, devices are functions behind root ports of their own, and no slot is filled', () => {
  const board = boardWith({ pci: true, drives: [{}, {}] });
  const { ports: list } = pciReport(board);
  assert.deepEqual(
    list.map(({ place, slot, functions }) => [place, slot, ...functions.map(({ id, kind }) => `${id} ${kind}`)]),
    [
      ['01.0', 1, 'console0 virtio-serial-pci'],
      ['02.0', 2, 'rng0 virtio-rng-pci'],
      ['03.0', 3, 'net0 virtio-net-pci'],
      ['04.0', 4, 'disk0 virtio-blk-pci'],
      ['05.0', 5, 'disk1 virtio-blk-pci'],
    ],
  );
  assert.equal(board.slots.length, 0);
  assert.equal(read(board, VIRT.virtio.base), 0x7472_6976, 'empty slots are there as ever');
  assert.equal(board.virtioDevices.length, 5);
});

test('configuration space and windows lie where the memory map says', () => {
  const board = boardWith({ pci: MIXED, drives: [{}] });
  assert.equal(read(board, ecam(0, 0, 0)), 0x0008_1b36);
  assert.equal(read(board, ecam(0, 3, 0)), 0x1044_1af4);
  write(board, ecam(0, 1, 0, 0x18), 4, 0x0001_0100);
  assert.deepEqual([read(board, ecam(1, 0, 0)), read(board, ecam(1, 0, 1))], [0x1041_1af4, 0x1042_1af4]);
  assert.equal(board.mmio.read(ecam(1, 0, 0), 8), 0x0010_0000_1041_1af4n);
  const high = highPcieWindow(16 * MiB).base;
  for (const base of [VIRT.pciePio.base, VIRT.pcieMmio.base, high]) assert.equal(read(board, base), 0xffff_ffff);
  write(board, ecam(0, 3, 0, 0x24), 4, high / 2 ** 32);
  write(board, ecam(0, 3, 0, 0x20), 4, high % 2 ** 32);
  write(board, ecam(0, 3, 0, 0x04), 2, 6);
  write(board, high + 0x14, 1, 1);
  assert.equal(read(board, high + 0x14, 1), 1, 'device_status of its common configuration');
});

test('a device reaches memory as a bus master, and by the rights of its own domain', () => {
  const board = boardWith({ pci: MIXED, drives: [{}] });
  const rng = must(board.config.pci?.functions.find(({ id }) => id === 'rng2'));
  const memory = board.dmaMemory(rng, board.deviceMemory(rng));
  const bytes = Uint8Array.of(1, 2, 3, 4);
  assert.equal(memory.write(VIRT.ram.base, bytes), false);
  write(board, ecam(0, 3, 0, 0x04), 2, 4);
  assert.equal(memory.write(VIRT.ram.base, bytes), true);
  const { domains } = protectionReport(board);
  assert.deepEqual(
    domains.map(({ name }) => name).filter((name) => name.startsWith('device:')),
    ['device:console0', 'device:rng0', 'device:net0', 'device:disk0', 'device:rng1', 'device:rng2'],
  );
  const page = { start: VIRT.ram.base, end: VIRT.ram.base + 4096 };
  const change = rightsChange(board, { action: 'deny', domains: ['device:rng2'], ...page, rights: 'w' });
  assert.notEqual(must(board.protection).tryChange(board, change), undefined);
  assert.equal(memory.write(VIRT.ram.base, bytes), false);
  const disk = must(board.config.pci?.functions.find(({ id }) => id === 'disk0'));
  assert.equal(board.deviceMemory(disk).write(VIRT.ram.base, bytes), true, 'others have their own');
});

test('those that are not named stay in virtio-mmio slots', () => {
  const { slots, pci } = planPci(slotsOf({ drives: [{}] }), MIXED);
  assert.deepEqual(
    slots.map(({ id }) => id),
    ['console0', 'rng0'],
  );
  assert.deepEqual(
    pci?.functions.map(({ id, kind }) => `${id} ${kind}`),
    ['net0 net', 'disk0 block', 'rng1 rng', 'rng2 rng'],
  );
});

test('what cannot be is refused', () => {
  const plan = (functions: PciOptions['functions']) => () =>
    boardConfig({ pci: { ports: [{ id: 'rp0', device: 1, func: 0 }], functions } });
  const place = { port: 'rp0', device: 0, func: 0 };
  assert.throws(plan([{ id: 'disk0', ...place }]), /no device disk0.*/);
  assert.throws(plan([{ id: 'net0', kind: 'rng', ...place }]), /net0 is no rng/);
  assert.throws(plan([{ id: 'net0', ...place, queues: 16 }]), /cannot have 16 queues/);
  assert.throws(plan([{ id: 'net0', ...place, port: 'rp1' }]), /no root port rp1/);
  const many = Array.from({ length: 65 }, (_, i) => ({ id: `r${i}`, kind: 'rng' as const, device: 2, func: 0 }));
  assert.throws(plan(many), /room for 31 root ports and 64 functions/);
});

test('slots are changed by the name of their port', () => {
  const board = boardWith({ pci: MIXED, drives: [{}] });
  const cards = () => pciReport(board).ports.map(({ id, card, power }) => `${id} ${card} ${power}`);
  assert.deepEqual(cards(), ['rp0 in on', 'spare out off']);
  changeSlot(board, 'spare', 'plug');
  changeSlot(board, 'rp0', 'unplug');
  assert.deepEqual(cards(), ['rp0 leaving on', 'spare in off']);
  changeSlot(board, 'rp0', 'pull');
  assert.throws(() => changeSlot(board, 'rp0', 'unplug'), /no card in rp0/);
  assert.throws(() => changeSlot(board, 'spare', 'plug'), /card of spare is in/);
  assert.throws(() => changeSlot(board, 'rp7', 'plug'), /no root port rp7/);
  const empty = boardWith({ pci: { ports: [{ id: 'e', device: 1, func: 0 }], functions: [] } });
  assert.throws(() => changeSlot(empty, 'e', 'plug'), /no card for e/);
});

test('a board that is saved and restored has its cards, buses and BARs where they were', () => {
  const options = { pci: MIXED, drives: [{}] };
  const board = boardWith(options);
  write(board, ecam(0, 1, 0, 0x18), 4, 0x0001_0100);
  write(board, ecam(0, 1, 0, 0x20), 4, 0x4000_4000);
  write(board, ecam(0, 1, 0, 0x04), 2, 7);
  write(board, ecam(1, 0, 0, 0x14), 4, 0x4000_0000);
  write(board, ecam(1, 0, 0, 0x04), 2, 6);
  write(board, 0x4000_0000, 4, 0x2800_0000);
  changeSlot(board, 'spare', 'plug');
  const saved = JSON.parse(JSON.stringify(saveBoard(board))) as ReturnType<typeof saveBoard>;
  const other = boardWith(options);
  restoreBoard(other, saved, 'test');
  // What resumeBoard does; devices whose I/O nobody serves take nothing up.
  must(other.pci).drive();
  assert.equal(read(other, 0x4000_0000), 0x2800_0000);
  assert.deepEqual(pciReport(other), pciReport(board));
  assert.equal(read(other, ecam(1, 0, 0)), 0x1041_1af4);
});
