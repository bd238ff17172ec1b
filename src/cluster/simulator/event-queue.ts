/** True time, which nobody in the simulated world knows, and what happens in it, in order: a binary heap of events. */
export interface Scheduled {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export class EventQueue {
  readonly #heap: Scheduled[] = [];
  #order = 0;
  nowMs = 0;
  events = 0;

  /** To be run so much later; `run` set to undefined cancels it. */
  after(delayMs: number, run: () => void): Scheduled {
    const event: Scheduled = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, run };
    this.#order += 1;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Scheduled;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
    return event;
  }

  /** Runs the next event; false when there is none until then. */
  step(untilMs: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > untilMs) return false;
    this.#pop();
    this.nowMs = next.atMs;
    if (next.run !== undefined) {
      this.events += 1;
      next.run();
    }
    return true;
  }

  runUntil(untilMs: number): void {
    while (this.step(untilMs));
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      const right = heap[down + 1];
      if (right !== undefined && isBefore(right, heap[down] as Scheduled)) down += 1;
      const child = heap[down] as Scheduled;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = down;
    }
    heap[at] = last;
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
