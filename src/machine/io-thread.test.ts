import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { must } from '../base/assert.ts';
import { Board } from './board.ts';
import { boardConfig } from './board-config.ts';
import { IoSlots } from './io-slots.ts';
import { IoThread } from './io-thread.ts';
import { slotLayout } from './slots.ts';

const SLOT = 1;

interface Running {
  readonly board: Board;
  readonly io: IoThread;
  readonly ended: Promise<void>;
  /** Services of the device so far. */
  readonly services: () => number;
}

/** An I/O thread that waits for its bell; `serve` in place of what the device of SLOT does. */
async function start(
  t: TestContext,
  serve: (running: { ring(): void }) => void = () => undefined,
  mayServe?: () => boolean,
): Promise<Running> {
  const host = {
    ...{ wallMs: () => 0, after: () => () => undefined },
    ...{ defer: queueMicrotask, fillRandom: (into: Uint8Array) => void into.fill(1) },
  };
  const clock = { ticks: () => 0n, wallMs: () => 0 };
  const slots = new IoSlots({ board: () => board, backends: [], network: undefined, host });
  const board: Board = Board.create(boardConfig({ memoryBytes: 4 << 20, network: false }, true, 1), {
    ...{ clock, slotLayout },
    slot: (slot, wiring) => slots.make(slot, wiring, clock),
  });
  const io = new IoThread(board, host, mayServe);
  const ended = io.run();
  ended.catch(() => undefined);
  await turns(3);
  const service = t.mock.method(must(board.slots[SLOT]), 'service', () =>
    serve({ ring: () => board.world.ring(SLOT) }),
  );
  return { board, io, ended, services: () => service.mock.callCount() };
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('what this thread rings itself is served before its next turn, once, and wakes nobody', async (t) => {
  const { board, io, ended, services } = await start(t);
  const { ioBell } = board.world;
  board.world.ring(SLOT);
  board.world.ring(SLOT);
  assert.equal(services(), 0, 'not within what rings');
  await null;
  assert.equal(services(), 1);
  board.world.ring(SLOT);
  await null;
  assert.deepEqual([services(), board.world.ioBell], [2, ioBell]);
  io.close();
  await ended;
});

test('a service that rings for another one lets the host have its turn', async (t) => {
  let left = 5;
  const { board, io, ended, services } = await start(t, ({ ring }) => {
    if (left-- > 0) ring();
  });
  board.world.ring(SLOT);
  for (let i = 0; i < 20; i++) await null;
  assert.equal(services(), 1);
  while (services() < 6) await turns(1);
  await turns(3);
  assert.equal(services(), 6);
  io.close();
  await ended;
});

test('while it is held nothing is served, and what rang meanwhile is, when it is let go', async (t) => {
  const { board, io, ended, services } = await start(t);
  io.hold();
  board.world.ring(SLOT);
  await turns(3);
  assert.equal(services(), 0);
  io.release();
  while (services() < 1) await turns(1);
  io.close();
  await ended;
});

test('what fails in a service that this thread rang for ends it', async (t) => {
  const { board, ended } = await start(t, () => {
    throw new Error('the device is broken');
  });
  board.world.ring(SLOT);
  await assert.rejects(ended, /the device is broken/);
});

test('what may not be served stays at the door, and is served when it is rung for again', async (t) => {
  let mayServe = false;
  const { board, io, ended, services } = await start(
    t,
    () => undefined,
    () => mayServe,
  );
  board.world.ring(SLOT);
  await turns(3);
  assert.equal(services(), 0);
  mayServe = true;
  board.world.ringIo();
  await turns(3);
  assert.equal(services(), 1);
  io.close();
  await ended;
});
