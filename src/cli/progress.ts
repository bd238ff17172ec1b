/** Draws progress on stderr: a bar that redraws itself on a terminal, a line for each step elsewhere. */
import type { Progress } from '../host/index.ts';
import type { TerminalOutput } from './io.ts';

const barColumns = 24;
const unknown = '';

export class ProgressDisplay {
  readonly #out: TerminalOutput;
  readonly #isQuiet: boolean;
  #step = '';
  #drawn = '';

  constructor(out: TerminalOutput, options: { quiet?: boolean } = {}) {
    this.#out = out;
    this.#isQuiet = options.quiet === true;
  }

  readonly show = (progress: Progress): void => {
    if (this.#isQuiet) return;
    if (this.#out.isTTY) this.#draw(progress);
    else if (progress.step !== this.#step) this.#out.write(`${progress.step}\n`);
    this.#step = progress.step;
  };

  /** Leaves the terminal's line free for what comes next. */
  finish(): void {
    if (this.#drawn !== '') this.#out.write('\r\x1b[K');
    this.#drawn = '';
  }

  #draw({ step, done, total }: Progress): void {
    const text = `${bar(done, total)} ${step}`.trimStart().slice(0, (this.#out.columns ?? 80) - 1);
    if (text === this.#drawn) return;
    this.#drawn = text;
    this.#out.write(`\r\x1b[K${text}`);
  }
}

/** `[######------]  50 %`, or nothing where the total is not known. */
export function bar(done: number, total: number): string {
  if (total <= 0) return unknown;
  const share = Math.min(1, Math.max(0, done / total));
  const full = Math.round(share * barColumns);
  return `[${'#'.repeat(full)}${'-'.repeat(barColumns - full)}] ${String(Math.round(share * 100)).padStart(3)} %`;
}
