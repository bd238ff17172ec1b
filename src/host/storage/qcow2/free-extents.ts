/** Runs of free clusters, so many at most: what does not fit is told, and found again by whoever looks through refcounts. */

export interface Extent {
  readonly first: number;
  readonly count: number;
}

export class FreeExtents {
  readonly #most: number;
  /** In rising order, apart from each other. */
  readonly #extents: { first: number; count: number }[] = [];

  constructor(most = 1 << 14) {
    this.#most = most;
  }

  /** Adds a run that is in no extent yet. False: there is no room for another. */
  add(first: number, count: number): boolean {
    const at = this.#firstFrom(first);
    const before = this.#extents[at - 1];
    const after = this.#extents[at];
    const joinsBefore = before !== undefined && before.first + before.count === first;
    const joinsAfter = after !== undefined && first + count === after.first;
    if (joinsBefore && joinsAfter) {
      before.count += count + after.count;
      this.#extents.splice(at, 1);
    } else if (joinsBefore) before.count += count;
    else if (joinsAfter) {
      after.first = first;
      after.count += count;
    } else if (this.#extents.length < this.#most) this.#extents.splice(at, 0, { first, count });
    else return false;
    return true;
  }

  /** Takes `count` clusters in a row out of the smallest extent that has them. */
  takeRun(count: number): Extent | undefined {
    let best = -1;
    for (const [i, extent] of this.#extents.entries()) {
      const now = this.#extents[best];
      if (extent.count >= count && (now === undefined || extent.count < now.count)) best = i;
    }
    return best < 0 ? undefined : this.#takeFrom(best, count);
  }

  /** Takes up to `count` clusters in a row, out of the largest extent. */
  takeSome(count: number): Extent | undefined {
    let best = 0;
    for (const [i, extent] of this.#extents.entries()) {
      if (extent.count > (this.#extents[best]?.count ?? 0)) best = i;
    }
    const extent = this.#extents[best];
    return extent === undefined ? undefined : this.#takeFrom(best, Math.min(count, extent.count));
  }

  #takeFrom(index: number, count: number): Extent {
    const extent = this.#extents[index] as { first: number; count: number };
    const taken = { first: extent.first, count };
    extent.first += count;
    extent.count -= count;
    if (extent.count === 0) this.#extents.splice(index, 1);
    return taken;
  }

  /** The index of the first extent that begins at `first` or later. */
  #firstFrom(first: number): number {
    let low = 0;
    let high = this.#extents.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#extents[middle]?.first ?? 0) < first) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
