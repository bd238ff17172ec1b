/** A cap that is changed while the harts run: the board and its scheduler alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Board } from './board.ts';
import { boardConfig } from './board-config.ts';
import { setCap } from './cap.ts';
import { bareSlot, slotLayout } from './slots.ts';

const ports = { clock: { ticks: () => 0n, wallMs: () => 0 }, slotLayout, slot: bareSlot };

test('a cap is in force at once, beside weight and pins; what makes no sense changes nothing', () => {
  const board = Board.create(boardConfig({ cpus: 2, processors: 2, weight: 7, pin: [1], memoryBytes: 2 << 20 }), ports);
  board.schedule();
  const changes: object[] = [];
  const { scheduler } = board;
  assert.ok(scheduler !== undefined);
  const { changeShare } = scheduler;
  scheduler.changeShare = (share, options) => {
    changes.push({ share, ...options });
    changeShare.call(scheduler, share, options);
  };
  setCap(board, 0.5);
  for (const cap of [0, -1, 33, Number.NaN]) assert.throws(() => setCap(board, cap), { code: 'bad-cap' });
  assert.deepEqual(changes, [{ share: 0, weight: 7, pins: 2, cap: 0.5 }]);
  assert.deepEqual(board.share, { weight: 7, pins: 2, cap: 0.5 });
  const alone = Board.create(boardConfig({ clock: 'instructions', memoryBytes: 2 << 20 }), ports);
  assert.throws(() => setCap(alone, 0.5), { code: 'no-processors' });
});
