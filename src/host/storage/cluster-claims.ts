/** Which clusters are being changed, and by whom: the change of a cluster's state belongs to one writer at a time. */
export class ClusterClaims {
  readonly #changing = new Map<number, Promise<void>>();

  has(cluster: number): boolean {
    return this.#changing.has(cluster);
  }

  /** Waits until nobody changes a cluster from `first` to `last`, then keeps others from them until the result is called. */
  async claim(first: number, last: number): Promise<() => void> {
    for (let cluster = first; cluster <= last; cluster++) {
      const busy = this.#changing.get(cluster);
      if (busy === undefined) continue;
      await busy;
      cluster = first - 1;
    }
    const { promise: over, resolve: done } = Promise.withResolvers<void>();
    for (let cluster = first; cluster <= last; cluster++) this.#changing.set(cluster, over);
    return () => {
      for (let cluster = first; cluster <= last; cluster++) this.#changing.delete(cluster);
      done();
    };
  }
}
