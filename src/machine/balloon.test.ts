/** What a balloon's pages become, without a guest: board and map alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { RIGHT } from '../engine/index.ts';
import { DOMAIN } from '../hypervisor/index.ts';
import { balloonReport, setBalloon } from './balloon.ts';
import { Board } from './board.ts';
import { type BoardOptions, boardConfig, partitionConfig } from './board-config.ts';
import { bareSlot, slotLayout } from './slots.ts';

const MiB = 2 ** 20;
const PAGE = 4096;
const BASE = 0x8000_0000;
const FIRST = BASE / PAGE;
const ports = { clock: { ticks: () => 0n, wallMs: () => 0 }, slotLayout, slot: bareSlot };

function boards(options: BoardOptions = {}) {
  const config = boardConfig({ memoryBytes: 32 * MiB, room: { partitions: 2, memoryBytes: 64 * MiB }, ...options });
  const board = Board.create(config, ports);
  const slot = must(config.slots.find(({ kind }) => kind === 'balloon'));
  const other = Board.join(board.commons, partitionConfig({ memoryBytes: 2 * MiB }, config), ports);
  return { board, slot, other };
}

const filled = (byte: number): Uint8Array => new Uint8Array(PAGE).fill(byte);

function pageOf(board: Board, page: number): Uint8Array {
  const bytes = new Uint8Array(PAGE);
  assert.ok(board.guestMemory.read(BASE + page * PAGE, bytes));
  return bytes;
}

test('a page that was given back holds zeros, and its frame is the next one’s, as zeros', () => {
  const { board, slot, other } = boards();
  for (let page = 0; page < 4; page++) board.guestMemory.setUp(BASE + page * PAGE, filled(page + 1));
  const before = board.memory.framesUsed;
  const frames = [1, 2].map((page) => board.map.frame(FIRST + page));
  assert.equal(board.giveBack(slot, [{ first: FIRST + 1, count: 2 }]), 2);
  assert.equal(board.memory.framesUsed, before - 2);
  // What it had not touched, what is none of its memory, and what is only read, is passed over.
  const nothing = [FIRST + 1, FIRST + 2000, FIRST + 1_000_000, 0].map((first) => ({ first, count: 1 }));
  assert.equal(board.giveBack(slot, [...nothing, { first: FIRST + 3000, count: 2 ** 40 }]), 0);
  board.memory.header.frameNext = board.memory.header.frameLimit;
  for (const page of [0, 1]) {
    assert.ok(pageOf(other, page).every((byte) => byte === 0));
    assert.ok(frames.includes(other.map.frame(FIRST + page)), 'where all are in use, these are taken');
  }
  assert.deepEqual([pageOf(board, 0)[0], pageOf(board, 3)[0]], [1, 4]);
});

test('what the kernel or the device may not write is not given back, and the attempt is counted', () => {
  const { board, slot } = boards();
  const protection = must(board.protection);
  const device = DOMAIN.firstDevice + board.config.slots.indexOf(slot);
  for (let page = 0; page < 3; page++) board.guestMemory.setUp(BASE + page * PAGE, filled(0x77));
  const deny = (domain: number, page: number): void => {
    const change = { domains: [domain], rights: RIGHT.write, isAllowed: false };
    assert.ok(protection.tryChange(board, { ...change, first: FIRST + page, end: FIRST + page + 1 }) !== undefined);
  };
  deny(DOMAIN.kernel, 0);
  deny(device, 1);
  assert.equal(board.giveBack(slot, [{ first: FIRST, count: 3 }]), 1);
  assert.deepEqual(
    [0, 1, 2].map((page) => pageOf(board, page)[0]),
    [0x77, 0x77, 0],
  );
  for (const domain of [DOMAIN.kernel, device])
    assert.equal(
      protection.violations(domain).reduce((sum, count) => sum + count),
      1,
    );
});

test('a target is said to the driver; what cannot be is refused', () => {
  const { board } = boards();
  setBalloon(board, 20 * MiB);
  assert.deepEqual(balloonReport(board), {
    ...{ memoryBytes: 32 * MiB, targetBytes: 20 * MiB, balloonBytes: 0, touchedBytes: 0, inflatedBytes: 0 },
    ...{ reportedBytes: 0, hasDriver: false, guest: {} },
  });
  for (const bytes of [0, 15 * MiB, 33 * MiB, 20.5 * MiB + 0.5])
    assert.throws(() => setBalloon(board, bytes), { code: 'bad-memory' });
  const { board: without } = { board: Board.create(boardConfig({ memoryBytes: 2 * MiB }), ports) };
  assert.throws(() => setBalloon(without, 2 * MiB), { code: 'no-balloon' });
});
