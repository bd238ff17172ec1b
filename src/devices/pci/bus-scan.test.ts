import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusScan, type ConfigAccess, ecamAccess } from './bus-scan.testing.ts';
import { FakeMachine, type FakePlan, WINDOWS } from './pci.testing.ts';

const PLAN = {
  ports: [
    { id: 'rp0', device: 1, func: 0 },
    { id: 'rp1', device: 1, func: 1 },
    { id: 'rp2', device: 2, func: 0 },
    { id: 'empty', device: 3, func: 0 },
  ],
  functions: [
    { id: 'root', device: 4, func: 0 },
    ...Array.from({ length: 8 }, (_, func) => ({ id: `a${func}`, port: 'rp0', device: 0, func })),
    { id: 'b', port: 'rp1', device: 0, func: 0, vectors: 64 },
    ...[0, 3].map((func) => ({ id: `c${func}`, port: 'rp2', device: 0, func, useMsi: true })),
  ] as FakePlan[],
};

const accessTo = (machine: FakeMachine): ConfigAccess => ecamAccess(WINDOWS.ecam.at, machine);

test('a scan finds every function once, where the plan has it', () => {
  const scan = new BusScan(accessTo(new FakeMachine(PLAN)));
  const name = (one: { bus: number; device: number; func: number }) => `${one.bus}:${one.device}.${one.func}`;
  const behind = [0, 1, 2, 3, 4, 5, 6, 7].map((func) => `1:0.${func}`);
  assert.deepEqual(scan.all.map(name), [
    ...['0:0.0', '0:1.0', ...behind, '0:1.1', '2:0.0', '0:2.0', '3:0.0', '3:0.3', '0:3.0', '0:4.0'],
  ]);
  const ids = new Set(scan.all.map(({ vendor, deviceId }) => `${vendor.toString(16)}:${deviceId.toString(16)}`));
  assert.deepEqual([...ids], ['1b36:8', '1b36:c', '1af4:1041']);
});

test('capabilities are found in their order, BARs by their sizes', () => {
  const scan = new BusScan(accessTo(new FakeMachine(PLAN)));
  const [host, port, , , card] = [0, 1, 2, 3, 4].map((i) => scan.all[i]);
  assert.deepEqual(host?.capabilities, []);
  assert.deepEqual(port?.capabilities, [0x10, 0x11, 0x0d]);
  assert.deepEqual(card?.capabilities, [9, 0x11, 1, 0x10]);
  assert.deepEqual(
    card?.bars.map(({ index, kind, sizeBytes }) => [index, kind, sizeBytes]),
    [
      [0, 'io', 32],
      [1, 'memory', 4096],
      [2, 'memory', 65536],
      [4, 'prefetchable', 16384],
    ],
  );
});

test('what a scan has placed answers there, each function its own', () => {
  const machine = new FakeMachine(PLAN);
  const scan = new BusScan(accessTo(machine));
  scan.assign({ io: 0x1000, memory: WINDOWS.memory.at, prefetchable: WINDOWS.high.at });
  const cards = scan.all.filter(({ vendor }) => vendor === 0x1af4);
  assert.equal(cards.length, machine.endpoints.length);
  const address = ({ kind, base }: { kind: string; base: number }) => (kind === 'io' ? WINDOWS.io.at + base : base);
  // Behind the table of MSI-X.
  const offset = ({ index }: { index: number }) => (index === 1 ? 0xf00 : 0x18);
  cards.forEach((card, i) => {
    for (const bar of card.bars) machine.write(address(bar) + offset(bar), 4, 1000 * i + bar.index + 1);
  });
  cards.forEach((card, i) => {
    for (const bar of card.bars)
      assert.equal(machine.read(address(bar) + offset(bar), 4), 1000 * i + bar.index + 1, `${i} BAR${bar.index}`);
  });
  for (const { state } of machine.endpoints) assert.equal(state.accesses, 8);
});
