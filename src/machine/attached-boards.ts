/** The boards of a machine's partitions as one of its threads has them: attached when first needed, forgotten when gone. */
import type { Board } from './board.ts';
import type { Commons } from './commons.ts';

export class AttachedBoards<T extends { readonly board: Board }> {
  readonly #commons: Commons;
  readonly #thread: number;
  readonly #attach: (partition: number) => T;
  readonly #forget: (gone: T) => void;
  readonly #held = new Map<number, { readonly generation: number; readonly item: T }>();
  #seen = 0;

  /** `attach` makes what the thread has of a partition; `forget` is told when that is gone. */
  constructor(commons: Commons, thread: number, attach: (partition: number) => T, forget: (gone: T) => void) {
    this.#commons = commons;
    this.#thread = thread;
    this.#attach = attach;
    this.#forget = forget;
  }

  /**
   * If partitions came or went since the last time: forgets those that are gone, has `changed` do what else is to be done,
   * and says that this thread knows.
   */
  refresh(changed: () => void = () => {}): void {
    const { changes } = this.#commons;
    if (changes === this.#seen) return;
    for (const [partition, { generation, item }] of this.#held) {
      if (this.#commons.generation(partition) === generation) continue;
      this.#held.delete(partition);
      this.#forget(item);
    }
    this.#seen = changes;
    changed();
    this.#commons.saw(this.#thread, changes);
  }

  /** A partition that is there. */
  of(partition: number): T {
    const held = this.#held.get(partition);
    const generation = this.#commons.generation(partition) ?? 0;
    if (held?.generation === generation) return held.item;
    if (held) this.#forget(held.item);
    const item = this.#attach(partition);
    this.#held.set(partition, { generation, item });
    return item;
  }
}
