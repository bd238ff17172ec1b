/** What a picture of a mechanism is: something that is shown anew after each poll of the counters. */
import type { Poll } from '../recorder.ts';

export interface Picture {
  readonly element: HTMLElement;
  show(poll: Poll): void;
}
