/** A process of the simulated world: what comes for it waits while it is stopped (SIGSTOP), and is lost when it is dead. */
export class Process {
  #stops = 0;
  isDead = false;
  /** How often it was stopped: what was checked before, and is done after, may be stale. */
  stopped = 0;
  readonly #waiting: (() => void)[] = [];

  get isStopped(): boolean {
    return this.#stops > 0;
  }

  run(what: () => void): void {
    if (this.isDead) return;
    if (this.#stops > 0) this.#waiting.push(what);
    else what();
  }

  stop(): void {
    this.#stops += 1;
    this.stopped += 1;
  }

  resume(): void {
    this.#stops -= 1;
    if (this.#stops > 0) return;
    for (const what of this.#waiting.splice(0)) this.run(what);
  }

  kill(): void {
    this.isDead = true;
    this.#waiting.length = 0;
  }
}
