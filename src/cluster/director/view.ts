/**
 * The leader's picture of the cluster: read whole at one revision, then kept by watches. It may lag; what is decided on it is
 * committed with compares, and what a claim or another leader did meanwhile makes that fail.
 */
import type { Duty, GuestSpec, HostRecord, Owner, Placement, TakeoverPlan } from '../model.ts';
import type { StoreEntry, Transaction, Watch } from '../store/cluster-store.ts';
import {
  DUTIES,
  decode,
  type Found,
  HOST,
  type HostDuties,
  type HostStatus,
  nameIn,
  OWNER,
  PLACEMENT,
  PLAN,
  type RecordKind,
  SPEC,
  STATUS,
} from '../store/records.ts';
import type { Desk } from './desk.ts';

/** Read whole again, whatever watches said. */
const REREAD_MS = 10_000;

export class View {
  readonly #desk: Desk;
  /** `isUrgent`: somebody may be without a host. */
  readonly #onChange: (isUrgent: boolean) => void;
  readonly hosts = new Map<string, Found<HostRecord>>();
  readonly status = new Map<string, Found<HostStatus>>();
  readonly duties = new Map<string, Found<HostDuties>>();
  readonly plans = new Map<string, Found<TakeoverPlan>>();
  readonly specs = new Map<string, Found<GuestSpec>>();
  readonly owners = new Map<string, Found<Owner>>();
  readonly placements = new Map<string, Found<Placement>>();
  readonly #tables: readonly [RecordKind<unknown>, Map<string, Found<unknown>>][];
  readonly #watches: Watch[] = [];
  isComplete = false;
  #isClosed = false;
  #isLoading = false;
  /** Of the last write of this leader's: nothing older is taken for the whole. */
  #ownRevision = 0;

  constructor(desk: Desk, onChange: (isUrgent: boolean) => void) {
    this.#desk = desk;
    this.#onChange = onChange;
    this.#tables = [
      [HOST, this.hosts],
      [STATUS, this.status],
      [DUTIES, this.duties],
      [PLAN, this.plans],
      [SPEC, this.specs],
      [OWNER, this.owners],
      [PLACEMENT, this.placements],
    ];
    this.#load();
  }

  close(): void {
    this.#isClosed = true;
    this.#unwatch();
  }

  /** What a host does for guests now, by the store. */
  dutiesOf(host: string): readonly Duty[] {
    return this.duties.get(host)?.value?.duties ?? [];
  }

  /** What this leader has just put, before the watches bring it. */
  wrote(transaction: Transaction, revision: number): void {
    this.#ownRevision = Math.max(this.#ownRevision, revision);
    for (const { key, value } of transaction.puts ?? []) this.#apply(key, value, revision);
    for (const key of transaction.deletes ?? []) this.#apply(key, undefined, revision);
  }

  /** Something in it is not as it is in the store. */
  doubt(): void {
    this.#load(false);
  }

  #load(again = true): void {
    if (this.#isClosed) return;
    const { requestMs } = this.#desk.settings;
    if (again) this.#desk.after(this.isComplete ? REREAD_MS : 2 * requestMs, () => this.#load());
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.#desk.read({ prefixes: this.#tables.map(([{ prefix }]) => prefix) }, 2 * requestMs, (outcome) => {
      this.#isLoading = false;
      if (this.#isClosed || outcome.kind === 'failed' || outcome.revision < this.#ownRevision) return;
      this.#take(outcome.entries, outcome.revision);
      this.isComplete = true;
      this.#onChange(true);
    });
  }

  #take(entries: readonly StoreEntry[], atRevision: number): void {
    this.#unwatch();
    for (const [kind, table] of this.#tables) {
      const before = new Map(table);
      table.clear();
      for (const { key, value, revision } of entries) {
        if (!key.startsWith(kind.prefix)) continue;
        const name = key.slice(kind.prefix.length);
        const known = before.get(name);
        table.set(name, known?.revision === revision ? known : { value: decode(kind, value), revision });
      }
      this.#watches.push(this.#watch(kind, atRevision));
    }
  }

  #watch({ prefix }: RecordKind<unknown>, revision: number): Watch {
    return this.#desk.watch(prefix, revision, (event) => {
      if (this.#isClosed) return;
      if (event.kind === 'lost') this.doubt();
      else if (this.#apply(event.key, event.value, event.revision)) this.#onChange(this.#isUrgent(event.key));
    });
  }

  #isUrgent(key: string): boolean {
    const guest = nameIn(OWNER, key);
    if (guest !== undefined) return this.owners.get(guest)?.value?.phase === 'released';
    return key.startsWith(HOST.prefix) || key.startsWith(SPEC.prefix);
  }

  /** False: it was known already. */
  #apply(key: string, value: string | undefined, revision: number): boolean {
    for (const [kind, table] of this.#tables) {
      if (!key.startsWith(kind.prefix)) continue;
      const name = key.slice(kind.prefix.length);
      if ((table.get(name)?.revision ?? 0) >= revision) return false;
      if (value === undefined) table.delete(name);
      else table.set(name, { value: decode(kind, value), revision });
      return true;
    }
    return false;
  }

  #unwatch(): void {
    for (const watch of this.#watches.splice(0)) watch.cancel();
  }
}
