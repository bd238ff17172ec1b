/** What goes wrong again and again (a peer that is gone, a disk that is full) is told once a minute, and when it changes. */
export type Tell = (kind: string, guest: string, detail: string) => void;

const AGAIN_MS = 60_000;

export class Notes {
  readonly #tell: Tell;
  readonly #nowMs: () => number;
  readonly #told = new Map<string, { readonly detail: string; readonly atMs: number }>();

  constructor(tell: Tell, nowMs: () => number = () => performance.now()) {
    this.#tell = tell;
    this.#nowMs = nowMs;
  }

  readonly add: Tell = (kind, guest, detail) => {
    const key = `${kind} ${guest}`;
    const before = this.#told.get(key);
    const atMs = this.#nowMs();
    if (before?.detail === detail && atMs - before.atMs < AGAIN_MS) return;
    this.#told.set(key, { detail, atMs });
    this.#tell(kind, guest, detail);
  };

  /** The guest is not here any more. */
  forget(guest: string): void {
    for (const key of this.#told.keys()) if (key.endsWith(` ${guest}`)) this.#told.delete(key);
  }
}
