/** How much of the processors' time a partition's harts may use at most, while they run. */
import { OperatorError } from '../base/errors.ts';
import type { Board } from './board.ts';
import { checkCap } from './board-config.ts';

/** `cap`: processors' worth of time, 0.01 to 32. Throws OperatorError `bad-cap`, `no-processors`. */
export function setCap(board: Board, cap: number): void {
  checkCap(cap);
  const { scheduler, partition } = board;
  if (scheduler === undefined)
    throw new OperatorError(
      'no-processors',
      'there are no processors to share: by the instruction clock harts take turns on one thread',
      'Leave out --clock instructions.',
    );
  board.share = { ...board.share, cap };
  scheduler.changeShare(partition, board.share);
}
