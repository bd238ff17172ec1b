/** Functions of boards, through the machine's fabric, to their partitions' interrupt controllers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import { Board } from '../board.ts';
import { type BoardOptions, boardConfig, partitionConfig } from '../board-config.ts';
import type { BoardPorts } from '../board-shape.ts';
import { boardStats } from '../board-stats.ts';
import { Commons } from '../commons.ts';
import { forkBoard, prepareFork } from '../fork.ts';
import { bareSlot, slotLayout } from '../slots.ts';
import { restoreBoard, saveBoard } from '../snapshot/board-state.ts';
import { VIRT } from '../virt-map.ts';

const MiB = 2 ** 20;
const DEVICE = 5;
const FUNCTIONS = 3;
/** Functions of one device, all with INTA: they share a line, in each partition. */
const pci = {
  ports: [],
  functions: Array.from({ length: FUNCTIONS }, (_, func) => ({
    id: `r${func}`,
    kind: 'rng' as const,
    device: DEVICE,
    func,
  })),
};
const SOURCE = VIRT.pcieEcam.irq + (DEVICE % 4);

const now = 0n;
const ports: BoardPorts = { clock: { ticks: () => now, wallMs: () => 0 }, slotLayout, slot: bareSlot };

function twoBoards({ relay = true, ...more }: BoardOptions): [Board, Board] {
  const own = { memoryBytes: 2 * MiB, network: false, pci, ...more };
  const config = boardConfig({ ...own, relay, room: { partitions: 3, memoryBytes: 16 * MiB } });
  const first = Board.create(config, ports);
  const second = Board.join(first.commons, partitionConfig(own, config), ports);
  for (const board of [first, second]) board.schedule();
  return [first, second];
}

const funcOf = (board: Board, index: number) => must(must(board.pci).functions[index]).func;

/** Whether the PLIC has the line's request; and the claim that takes it, or none. */
function pending(board: Board, source = SOURCE): boolean {
  const word = Number(board.mmio.read(VIRT.plic.base + 0x1000 + 4 * (source >> 5), 4));
  return ((word >>> (source & 31)) & 1) === 1;
}

/** The guest's part: enables the source for the first hart's supervisor mode, claims, completes. */
function enable(board: Board): void {
  board.mmio.write(VIRT.plic.base + 4 * SOURCE, 4, 1n);
  board.mmio.write(VIRT.plic.base + 0x2080 + 4 * (SOURCE >> 5), 4, BigInt((1 << (SOURCE & 31)) >>> 0));
}
const claim = (board: Board): number => Number(board.mmio.read(VIRT.plic.base + 0x20_1004, 4));
const complete = (board: Board): void => void board.mmio.write(VIRT.plic.base + 0x20_1004, 4, BigInt(SOURCE));

for (const relay of [true, false]) {
  const mode = relay ? 'relay' : 'plain wire';

  test(`${mode}: functions of two partitions in one machine, on one line: each guest has its own interrupts`, () => {
    const [first, second] = twoBoards({ relay });
    for (const board of [first, second]) enable(board);
    funcOf(first, 0).setInterrupt(true);
    assert.deepEqual([pending(first), pending(second)], [true, false]);
    assert.equal(claim(first), SOURCE);
    assert.equal(claim(second), 0);
    funcOf(first, 1).setInterrupt(true);
    funcOf(second, 2).setInterrupt(true);
    assert.equal(claim(second), SOURCE);
    // The first guest's handler has dealt with one of its two: the line is high, it is asked again.
    funcOf(first, 0).setInterrupt(false);
    complete(first);
    assert.equal(claim(first), SOURCE);
    funcOf(first, 1).setInterrupt(false);
    complete(first);
    assert.equal(claim(first), 0);
    complete(second);
    assert.equal(claim(second), SOURCE, 'its own still holds it');
    const [one, two] = [boardStats(first).interrupts, boardStats(second).interrupts];
    assert.equal(one?.interrupts, 2);
    assert.equal(two?.interrupts, 1);
    assert.deepEqual(Object.keys(must(one).requesters), ['00:05.0', '00:05.1', '00:05.2']);
    assert.equal(must(one).polls === 0, relay);
    assert.equal(must(one).pollsAvoided > 0, relay);
  });

  test(`${mode}: a thread that does not know a partition yet delivers to it all the same`, () => {
    const [first, second] = twoBoards({ relay });
    const commons = Commons.attach(first.config, first.memory.memory, first.memory.shape);
    const other = Board.attach(commons, first.partition, ports);
    const asked: number[] = [];
    must(commons.interrupts).attach = (partition) => {
      asked.push(partition);
      if (asked.length === 1) Board.attach(commons, partition, ports);
    };
    // What the second partition's function sends is served by a thread that has only the first's board.
    const { fabric } = must(commons.interrupts);
    fabric.portOf(second.partition).send({ requester: DEVICE << 3, kind: 'assert', address: 0, data: 1 });
    assert.deepEqual(asked, [1]);
    assert.deepEqual([pending(other), pending(second)], [false, true]);
  });

  test(`${mode}: what a partition had is free when it ends, and what its functions send then reaches nobody`, () => {
    const [first, second] = twoBoards({ relay });
    const { fabric } = must(first.commons.interrupts);
    funcOf(second, 0).setInterrupt(true);
    second.leaveInterrupts();
    assert.equal(Object.keys(fabric.stats().requesters).length, FUNCTIONS);
    funcOf(second, 1).setInterrupt(true);
    assert.equal(fabric.stats().unknown, 1);
    assert.equal(pending(first), false);
  });

  test(`${mode}: a twin's functions go on with their own levels`, () => {
    const [first] = twoBoards({ relay });
    enable(first);
    const func = funcOf(first, 1);
    func.setInterrupt(true);
    const { room: _, ...config } = first.config;
    const twin = Board.join(first.commons, config, ports, { isTwin: true });
    prepareFork(first, twin);
    forkBoard(first, twin);
    twin.interrupts.drive();
    must(twin.pci).drive();
    func.setInterrupt(false);
    for (const board of [first, twin]) {
      assert.equal(claim(board), SOURCE);
      complete(board);
    }
    assert.deepEqual([claim(first), claim(twin)], [0, SOURCE]);
    funcOf(twin, 1).setInterrupt(false);
    complete(twin);
    assert.equal(claim(twin), 0);
  });

  test(`${mode}: levels and interrupts that waited are there after a restore`, () => {
    const options = { relay, memoryBytes: 2 * MiB, network: false, pci, aia: 'none' } as const;
    const board = Board.create(boardConfig(options), ports);
    enable(board);
    const func = funcOf(board, 0);
    // More than a window lets pass: the last is still held back when the board is saved.
    for (let i = 0; i < 301; i++) {
      func.setInterrupt(true);
      if (i < 300) func.setInterrupt(false);
    }
    assert.equal(claim(board), SOURCE);
    complete(board);
    assert.equal(claim(board), 0, 'it waits for the end of the window');
    assert.equal(must(must(boardStats(board).interrupts).requesters['00:05.0']).deferrals, 1);
    const saved = saveBoard(board);
    const restored = Board.create(boardConfig(options), ports);
    restoreBoard(restored, saved, 'x');
    assert.deepEqual(boardStats(restored).interrupts, boardStats(board).interrupts, 'its counters go on');
    assert.equal(must(boardStats(restored).interrupts).interrupts, 301);
    // As resumeBoard does, but for the devices, which know nothing of what this test did to their functions.
    restored.interrupts.drive();
    must(restored.pci).drive();
    assert.equal(claim(restored), SOURCE);
    complete(restored);
    assert.equal(claim(restored), SOURCE, 'the level is high');
    funcOf(restored, 0).setInterrupt(false);
    complete(restored);
    assert.equal(claim(restored), 0);
  });
}

test('as many functions as a plan may have interrupt, each with a domain of its own', () => {
  const functions = Array.from({ length: 64 }, (_, i) => ({
    ...{ id: `r${i}`, kind: 'rng' as const, device: 1 + (i >> 3), func: i & 7 },
  }));
  const options = { memoryBytes: 2 * MiB, network: false, pci: { ports: [], functions } };
  const board = Board.create(boardConfig(options), ports);
  for (const { func } of must(board.pci).functions) func.setInterrupt(true);
  const { interrupts, requesters } = must(boardStats(board).interrupts);
  assert.equal(interrupts, 64);
  assert.ok(Object.values(requesters).every(({ delivered }) => delivered === 1));
  assert.ok(must(board.protection).domains.some(({ name }) => name === 'device:r63'));
});

test('messages reach interrupt files of their own partition, and nothing else', () => {
  const [first, second] = twoBoards({ aia: 'aplic-imsic' });
  const { fabric } = must(first.commons.interrupts);
  const message = (address: number) => ({ requester: DEVICE << 3, kind: 'message', address, data: 9 }) as const;
  fabric.portOf(second.partition).send(message(VIRT.imsicS.base));
  fabric.portOf(second.partition).send(message(VIRT.ram.base));
  const of = (board: Board) => must(must(boardStats(board).interrupts).requesters['00:05.0']);
  assert.deepEqual([of(second).delivered, of(second).dropped], [1, 1]);
  assert.equal(of(first).interrupts, 0);
});
