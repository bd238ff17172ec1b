/** Switches of mechanisms that can be thrown while a machine runs: for all of its guests, as the code they share is one. */
import { OperatorError } from '../base/errors.ts';
import { type PromotionMode, promotionMode, setPromotionMode } from '../translator/index.ts';
import type { Board } from './board.ts';

export const PROMOTION_MODES = ['off', 'auto', 'always'] as const satisfies readonly PromotionMode[];

/** Those that a machine has; promotion is the translator's, so that without translation there is none. */
export interface Switches {
  readonly promotion?: PromotionMode;
}

export function switchesOf({ memory, config }: Board): Switches {
  return config.translation === undefined ? {} : { promotion: promotionMode(memory, config.translation.promotion) };
}

/** What is said from now on is done soon, and guests cannot tell. Throws OperatorError where there is no such switch. */
export function throwSwitches({ memory, config }: Board, { promotion }: Switches): void {
  if (promotion === undefined) return;
  if (config.translation === undefined)
    throw new OperatorError(
      'translation-off',
      'the machine runs without translation, and so without promotion',
      'Start it without --translate off',
    );
  setPromotionMode(memory, promotion);
}
