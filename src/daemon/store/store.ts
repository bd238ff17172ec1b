/**
 * What was declared and wanted of partitions, what became of them, and what happened. Declarations are kept as they were
 * given and checked again when they are read: an older kage may have written them, or a hand.
 */

import { join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { OwnDatabase } from '../../host/index.ts';
import {
  type EventKind,
  type ExitRecord,
  exitRecord,
  type HostEvent,
  hostEvent,
  type RestartPolicy,
  restartPolicy,
} from '../schemas/partition.ts';
import { type PartitionSpec, partitionSpec } from '../schemas/spec.ts';
import { openDatabase } from './database.ts';

export interface Definition {
  readonly name: string;
  readonly spec: PartitionSpec;
  readonly policy: RestartPolicy;
  readonly removeAtEnd: boolean;
  /** What its operator asked for last. */
  readonly wanted: 'running' | 'stopped';
  /** By its policy, since it was last started by hand; and how many of these in a row, none of which ran for long. */
  readonly restarts: number;
  readonly failures: number;
  readonly createdAt: string;
  /** Of the process that runs it, or ran it last. */
  readonly startedAt: string | undefined;
  /** While it runs, as far as is known. */
  readonly pid: number | undefined;
  readonly exit: ExitRecord | undefined;
}

type Change = Partial<Omit<Definition, 'name' | 'createdAt'>>;

const MOST_EVENTS = 10_000;
/** Old events go when so many have come. */
const TRIM_EVERY = 256;

const COLUMNS = {
  spec: ['spec', JSON.stringify],
  policy: ['policy', JSON.stringify],
  removeAtEnd: ['remove_at_end', (value: unknown) => (value === true ? 1 : 0)],
  wanted: ['wanted', String],
  restarts: ['restarts', Number],
  failures: ['failures', Number],
  startedAt: ['started_at', orNull],
  pid: ['pid', orNull],
  exit: ['exit', (value: unknown) => (value === undefined ? null : JSON.stringify(value))],
} as const satisfies Record<keyof Change, readonly [string, (value: unknown) => string | number | null]>;

export class Store implements Disposable {
  readonly #database: OwnDatabase;
  readonly #listeners = new Set<(event: HostEvent) => void>();
  #sinceTrim = 0;

  /** Errors: as openDatabase. */
  constructor(folder: string) {
    this.#database = openDatabase(join(folder, 'state.db'));
  }

  /** Errors: `name-in-use`. */
  create(given: Pick<Definition, 'name' | 'spec' | 'policy' | 'removeAtEnd'>): Definition {
    const { name, spec, policy, removeAtEnd } = given;
    const { changes } = this.#database.run(
      `INSERT INTO partitions (name, spec, policy, remove_at_end, wanted, created_at)
       VALUES (?, ?, ?, ?, 'stopped', ?) ON CONFLICT (name) DO NOTHING`,
      name,
      JSON.stringify(spec),
      JSON.stringify(policy),
      removeAtEnd ? 1 : 0,
      now(),
    );
    if (changes === 0)
      throw new OperatorError(
        'name-in-use',
        `there is a partition ${name} already`,
        `Choose another name, or remove it with "kage rm ${name}"`,
      );
    return this.get(name) as Definition;
  }

  get(name: string): Definition | undefined {
    const [row] = this.#database.all('SELECT * FROM partitions WHERE name = ?', name);
    return row === undefined ? undefined : this.#definition(row as unknown as Row);
  }

  list(): Definition[] {
    const rows = this.#database.all('SELECT * FROM partitions ORDER BY name');
    return rows.map((row) => this.#definition(row as unknown as Row));
  }

  update(name: string, change: Change): void {
    const entries = Object.entries(change) as [keyof Change, unknown][];
    const assignments = entries.map(([key]) => `${COLUMNS[key][0]} = ?`).join(', ');
    const values = entries.map(([key, value]) =>
      (COLUMNS[key][1] as (value: unknown) => string | number | null)(value),
    );
    this.#database.run(`UPDATE partitions SET ${assignments} WHERE name = ?`, ...values, name);
  }

  /** Whether it was there. */
  remove(name: string): boolean {
    return this.#database.run('DELETE FROM partitions WHERE name = ?', name).changes > 0;
  }

  /** Keeps an event and tells of it. */
  add(kind: EventKind, partition?: string, detail?: HostEvent['detail']): void {
    const at = now();
    const { lastRow } = this.#database.run(
      'INSERT INTO events (at, kind, partition, detail) VALUES (?, ?, ?, ?)',
      at,
      kind,
      partition ?? null,
      detail === undefined ? null : JSON.stringify(detail),
    );
    this.#sinceTrim += 1;
    if (this.#sinceTrim >= TRIM_EVERY) {
      this.#sinceTrim = 0;
      this.#database.run('DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?', MOST_EVENTS);
    }
    this.tell({ id: lastRow, at, kind, partition, detail });
  }

  /** Of what is not kept: its id is 0. */
  tell(
    event: {
      readonly [K in keyof HostEvent]: HostEvent[K] | undefined;
    },
  ): void {
    const whole = Object.fromEntries(Object.entries(event).filter(([, value]) => value !== undefined)) as HostEvent;
    for (const listener of this.#listeners) listener(whole);
  }

  /** Calls for each event from now on; returns its removal. */
  onEvent(listener: (event: HostEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Kept events behind that one, at most the latest `most` of them, the latest last. */
  events({
    since = 0,
    partition,
    kind: wanted,
    most = 100,
  }: {
    since?: number;
    partition?: string | undefined;
    kind?: EventKind;
    most?: number;
  }): HostEvent[] {
    const rows = this.#database.all(
      `SELECT * FROM events WHERE id > ? AND (? IS NULL OR partition = ?) AND (? IS NULL OR kind = ?)
       ORDER BY id DESC LIMIT ?`,
      ...[since, partition ?? null, partition ?? null, wanted ?? null, wanted ?? null, most],
    );
    return rows.reverse().flatMap((row) => {
      const { id, at, kind, partition: of, detail } = row as unknown as EventRow;
      const read = hostEvent.safeParse({
        ...{ id, at, kind },
        ...(of === null ? {} : { partition: of }),
        ...(detail === null ? {} : { detail: JSON.parse(detail) }),
      });
      return read.success ? [read.data] : [];
    });
  }

  /** One change of several, whole or not at all. */
  together<T>(body: () => T): T {
    return this.#database.together(body);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #definition(row: Row): Definition {
    try {
      return {
        name: row.name,
        spec: partitionSpec.parse(JSON.parse(row.spec)),
        policy: restartPolicy.parse(JSON.parse(row.policy)),
        removeAtEnd: row.remove_at_end !== 0,
        wanted: row.wanted,
        restarts: row.restarts,
        failures: row.failures,
        createdAt: row.created_at,
        startedAt: row.started_at ?? undefined,
        pid: row.pid ?? undefined,
        exit: row.exit === null ? undefined : exitRecord.parse(JSON.parse(row.exit)),
      };
    } catch (cause) {
      throw new HostError('state', `${this.#database.file} holds a declaration of ${row.name} that cannot be read`, {
        cause,
      });
    }
  }
}

interface Row {
  readonly name: string;
  readonly spec: string;
  readonly policy: string;
  readonly remove_at_end: number;
  readonly wanted: Definition['wanted'];
  readonly restarts: number;
  readonly failures: number;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly pid: number | null;
  readonly exit: string | null;
}

interface EventRow {
  readonly id: number;
  readonly at: string;
  readonly kind: string;
  readonly partition: string | null;
  readonly detail: string | null;
}

function orNull(value: unknown): string | number | null {
  return typeof value === 'string' || typeof value === 'number' ? value : null;
}

function now(): string {
  return new Date().toISOString();
}
