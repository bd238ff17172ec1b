/** What happened to paths, and why: numbered, the latest of them kept, for people and for `kage net events`. */
export const PATH_EVENTS = [
  'uplink-added',
  'uplink-removed',
  'carrier-lost',
  'carrier-regained',
  'path-silent',
  'path-answers',
  'path-well',
  'mapped',
  'switched',
  'all-paths-lost',
  'paths-regained',
  'address-moved',
  'storm',
  'failover-on',
  'failover-off',
] as const;

export type PathEventKind = (typeof PATH_EVENTS)[number];

export interface PathEvent {
  /** From 1 on; never given twice. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
  readonly kind: PathEventKind;
  /** The uplink or the interface that it happened to. */
  readonly subject: string;
  /** Of a switch. */
  readonly from?: string;
  readonly to?: string;
  readonly cause: string;
}

export const MOST_EVENTS = 1024;

export class PathEvents {
  readonly #wallMs: () => number;
  readonly #events: PathEvent[] = [];
  readonly #counts = new Map<PathEventKind, number>();
  #sequence = 0;

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  add(kind: PathEventKind, subject: string, cause: string, ends: { from?: string; to?: string } = {}): void {
    this.#sequence += 1;
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    this.#events.push({ sequence: this.#sequence, wallMs: this.#wallMs(), kind, subject, ...ends, cause });
    if (this.#events.length > MOST_EVENTS) this.#events.shift();
  }

  /** Those behind `sequence`, oldest first. */
  since(sequence: number): PathEvent[] {
    return this.#events.filter((event) => event.sequence > sequence);
  }

  counts(): Partial<Record<PathEventKind, number>> {
    return Object.fromEntries(this.#counts);
  }
}
