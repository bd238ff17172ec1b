/** What the leader knows of a host beyond its record: written when it has changed enough, and not often. */
import type { Costs, Load } from '../ports.ts';
import { find, type HostStatus, keyOf, put, STATUS } from '../store/records.ts';
import type { Desk } from './desk.ts';
import type { LocalGuests } from './local-guests.ts';

const SOONEST_MS = 1000;
/** A figure has changed when it is off by a quarter. */
const CHANGED = 0.25;

export class StatusWriter {
  readonly #desk: Desk;
  readonly #load: Load;
  readonly #guests: LocalGuests;
  #written: HostStatus | undefined;
  #revision = 0;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;

  constructor(desk: Desk, load: Load, guests: LocalGuests) {
    this.#desk = desk;
    this.#load = load;
    this.#guests = guests;
  }

  look(): void {
    const nowMs = this.#desk.nowMs();
    if (this.#isBusy || nowMs - this.#sinceMs < SOONEST_MS) return;
    this.#sinceMs = nowMs;
    const status = this.#status();
    if (this.#written !== undefined && !hasChanged(this.#written, status)) return;
    this.#isBusy = true;
    const { host, settings } = this.#desk;
    const transaction = {
      compares: [{ key: keyOf(STATUS, host), revision: this.#revision }],
      puts: [put(STATUS, host, status)],
    };
    this.#desk.commit(transaction, settings.requestMs, (outcome) => {
      if (outcome.kind === 'committed') {
        this.#isBusy = false;
        this.#written = status;
        this.#revision = outcome.revision;
      } else this.#lookUp();
    });
  }

  /** Of an earlier life, or of a write whose answer was lost. */
  #lookUp(): void {
    const key = keyOf(STATUS, this.#desk.host);
    this.#desk.read({ keys: [key] }, this.#desk.settings.requestMs, (outcome) => {
      this.#isBusy = false;
      if (outcome.kind === 'read') {
        this.#revision = find(outcome.entries, STATUS, this.#desk.host).revision;
        this.#sinceMs = Number.NEGATIVE_INFINITY;
      }
    });
  }

  #status(): HostStatus {
    const costs: Record<string, Costs> = {};
    for (const { spec } of this.#guests.values()) costs[spec.name] = this.#load.costs(spec.name);
    return { usedCores: this.#load.usedCores(), costs, ready: [...this.#load.readyStandbys()].sort() };
  }
}

function hasChanged(a: HostStatus, b: HostStatus): boolean {
  if (a.ready.length !== b.ready.length || a.ready.some((guest, i) => guest !== b.ready[i])) return true;
  const guests = Object.keys(b.costs);
  if (guests.length !== Object.keys(a.costs).length) return true;
  return guests.some((guest) => {
    const [before, now] = [a.costs[guest], b.costs[guest]];
    if (before === undefined || now === undefined) return true;
    return (Object.keys(now) as (keyof Costs)[]).some((figure) => isFar(before[figure], now[figure]));
  });
}

function isFar(before: number, now: number): boolean {
  return Math.abs(now - before) > CHANGED * Math.max(before, 1);
}
