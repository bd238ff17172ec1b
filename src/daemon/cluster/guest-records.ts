/**
 * What this host has of the cluster's guests, in a file for each, so that a daemon that comes back knows what it finds: a machine
 * under a generation, or a standby. A machine is written down before it is started.
 *
 *     STATE/cluster/guests/web.json   {kind: 'machine', generation, incarnation, method, process, replica}
 *                                     {kind: 'standby', method, activeHost, process}
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { count, nameText, text } from '../schemas/words.ts';

const method = z.enum(['cold', 'warm', 'hot', 'pair']);
const processId = z.strictObject({ pid: z.int().min(1), startedTicks: count });

const machineRecord = z.strictObject({
  kind: z.literal('machine'),
  generation: count,
  incarnation: count,
  method,
  /** Of a start that is under way it is not known. */
  process: processId.exactOptional(),
  /** Its hot standby; held: output waits for that one, on the director's word. */
  replica: z.strictObject({ host: text(255), address: text(512), isHeld: z.boolean() }).exactOptional(),
});
const standbyRecord = z.strictObject({
  kind: z.literal('standby'),
  method,
  activeHost: text(255),
  process: processId.exactOptional(),
});
const guestRecord = z.discriminatedUnion('kind', [machineRecord, standbyRecord]);

export type MachineRecord = z.infer<typeof machineRecord>;
export type StandbyRecord = z.infer<typeof standbyRecord>;
export type ReplicaRecord = NonNullable<MachineRecord['replica']>;
export type GuestRecord = z.infer<typeof guestRecord>;

const ENDING = '.json';

export class GuestRecords {
  readonly #folder: string;

  /** The folder is made where it is missing. */
  constructor(stateFolder: string) {
    this.#folder = join(stateFolder, 'cluster', 'guests');
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** One that cannot be read is as none. */
  all(): Map<string, GuestRecord> {
    const records = new Map<string, GuestRecord>();
    for (const file of readdirSync(this.#folder)) {
      const name = nameText.safeParse(file.endsWith(ENDING) ? file.slice(0, -ENDING.length) : '');
      const record = name.success ? this.#read(file) : undefined;
      if (name.success && record !== undefined) records.set(name.data, record);
    }
    return records;
  }

  put(guest: string, record: GuestRecord): void {
    const draft = this.#path(guest, '.new');
    writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
    renameSync(draft, this.#path(guest, ENDING));
  }

  remove(guest: string): void {
    rmSync(this.#path(guest, ENDING), { force: true });
  }

  #path(guest: string, ending: string): string {
    return join(this.#folder, `${guest}${ending}`);
  }

  #read(file: string): GuestRecord | undefined {
    try {
      return guestRecord.parse(JSON.parse(readFileSync(join(this.#folder, file), 'utf8')));
    } catch {
      return undefined;
    }
  }
}
