/** The balloon of a partition, for its operator: how much memory its guest is to make do with, and what came of that. */
import { OperatorError } from '../base/errors.ts';
import { VirtioBalloon } from '../devices/index.ts';
import { FRAME_BYTES } from '../engine/index.ts';
import type { Board } from './board.ts';

export interface BalloonReport {
  /** The partition's memory, and how much of it the guest was asked to make do with. */
  readonly memoryBytes: number;
  readonly targetBytes: number;
  /** What the guest has given back by inflating its balloon, at the moment. */
  readonly balloonBytes: number;
  /** Of the partition's memory, what has frames now. */
  readonly touchedBytes: number;
  /** Given back so far: by inflation, and as pages that were free at the moment (these may be in use again). */
  readonly inflatedBytes: number;
  readonly reportedBytes: number;
  /** Whether the guest's driver is there. */
  readonly hasDriver: boolean;
  /** What the guest said of its memory when it was last asked. Each report asks anew. */
  readonly guest: Readonly<Record<string, number>>;
}

/** A guest is left this much, for what it could not do without. */
const LEAST_BYTES = 16 << 20;

/** Throws OperatorError where the partition has no balloon. On the I/O thread. */
export function balloonReport(board: Board): BalloonReport {
  const device = balloonOf(board);
  return board.locked(device, () => {
    device.askStatistics();
    const { memoryBytes } = board.config;
    const { state } = device;
    return {
      memoryBytes,
      targetBytes: memoryBytes - device.target * FRAME_BYTES,
      balloonBytes: device.actual * FRAME_BYTES,
      touchedBytes: board.map.count().present * FRAME_BYTES,
      inflatedBytes: Number(state.inflatedPages) * FRAME_BYTES,
      reportedBytes: Number(state.reportedPages) * FRAME_BYTES,
      hasDriver: device.live,
      guest: device.statistics,
    };
  });
}

/** Asks the guest to make do with so much memory; its driver takes its time. As `balloonReport`. */
export function setBalloon(board: Board, memoryBytes: number): void {
  const device = balloonOf(board);
  const { memoryBytes: most } = board.config;
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < LEAST_BYTES || memoryBytes > most)
    throw new OperatorError(
      'bad-memory',
      `a guest with ${most >> 20} MiB cannot make do with ${memoryBytes} bytes`,
      `Give it from ${LEAST_BYTES >> 20}M to ${most >> 20}M.`,
    );
  board.locked(device, () => device.setTarget(Math.floor((most - memoryBytes) / FRAME_BYTES)));
}

function balloonOf(board: Board): VirtioBalloon {
  const device = board.virtioDevices.find((slot) => slot instanceof VirtioBalloon);
  if (device === undefined)
    throw new OperatorError('no-balloon', 'the guest was made without a balloon', 'Start it with --balloon on.');
  return device;
}
