/**
 * Tables of one kind, each of a cluster's size, known by their number: L2 tables by their slot in the L1 table, refcount
 * blocks by theirs in the refcount table. Where a table lies in the file is not this file's business: a changed one gets
 * a new place when it is written. So many bytes are kept; tables that are changed or pinned stay whatever there is.
 */
import { assert } from '../../../base/assert.ts';

export interface Table {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  isDirty: boolean;
  pins: number;
}

const TABLES_MIN = 4;

export class TableCache {
  readonly #tableBytes: number;
  readonly #most: number;
  readonly #load: (index: number, into: Uint8Array) => Promise<void>;
  /** The one used longest ago first. */
  readonly #tables = new Map<number, Table>();
  readonly #loading = new Map<number, Promise<void>>();
  readonly #dirty = new Set<Table>();

  constructor(tableBytes: number, capacityBytes: number, load: (index: number, into: Uint8Array) => Promise<void>) {
    this.#tableBytes = tableBytes;
    this.#most = Math.max(TABLES_MIN, Math.floor(capacityBytes / tableBytes));
    this.#load = load;
  }

  /** Changed tables. */
  get dirty(): ReadonlySet<Table> {
    return this.#dirty;
  }

  /** Half of the room is taken by changed tables: time to write them. */
  get isFull(): boolean {
    return this.#dirty.size * 2 >= this.#most;
  }

  /** A table that is there already and stays so until the caller's next await. */
  peek(index: number): Table | undefined {
    const table = this.#tables.get(index);
    if (table === undefined) return undefined;
    this.#tables.delete(index);
    this.#tables.set(index, table);
    return table;
  }

  /** The table, which stays until it is unpinned. */
  async pin(index: number): Promise<Table> {
    for (;;) {
      const table = this.peek(index);
      if (table !== undefined) {
        table.pins++;
        return table;
      }
      await (this.#loading.get(index) ?? this.#fetch(index));
    }
  }

  unpin(table: Table): void {
    assert(table.pins > 0, 'a table is unpinned too often');
    table.pins--;
  }

  /** The table was changed. It must be pinned, or have been peeked at right now. */
  markDirty(table: Table): void {
    table.isDirty = true;
    this.#dirty.add(table);
  }

  markClean(table: Table): void {
    table.isDirty = false;
    this.#dirty.delete(table);
  }

  async #fetch(index: number): Promise<void> {
    const bytes = new Uint8Array(this.#tableBytes);
    const loading = this.#load(index, bytes).then(() => {
      const view = new DataView(bytes.buffer);
      this.#tables.set(index, { index, bytes, view, isDirty: false, pins: 0 });
      this.#evict(index);
    });
    this.#loading.set(index, loading);
    try {
      await loading;
    } finally {
      this.#loading.delete(index);
    }
  }

  #evict(newest: number): void {
    if (this.#tables.size <= this.#most) return;
    for (const table of this.#tables.values()) {
      if (table.isDirty || table.pins > 0 || table.index === newest) continue;
      this.#tables.delete(table.index);
      if (this.#tables.size <= this.#most) return;
    }
  }
}
