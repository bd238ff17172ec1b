/**
 * What guests cost, as this host has measured it: of starts, restores, checkpoints and writes that really were. Kept in a file, since the
 * next measurement may be an hour away; a guest that was never measured has careful figures (cluster/planner).
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { type Costs, UNKNOWN_COSTS } from '../../cluster/index.ts';

const figure = z.number().min(0).max(Number.MAX_SAFE_INTEGER).exactOptional();
const figures = z.strictObject({
  bootMs: figure,
  restoreMs: figure,
  checkpointMs: figure,
  checkpointBytes: figure,
  dirtyBytesPerS: figure,
  applicationRestartMs: figure,
  /** Of a hot standby's epochs: they stand for checkpoints as long as none was taken into a file. */
  epochMs: figure,
  epochBytes: figure,
});
export type Figures = { readonly [K in keyof Costs | 'epochMs' | 'epochBytes']?: number };
const file = z.strictObject({ version: z.literal(1), guests: z.record(z.string(), figures) });

/** How much of a figure is the latest measurement. */
const LATEST = 0.5;

export class GuestCosts {
  readonly #path: string;
  readonly #guests = new Map<string, { -readonly [K in keyof Figures]: Figures[K] }>();

  /** What cannot be read is measured anew. */
  constructor(stateFolder: string) {
    const folder = join(stateFolder, 'cluster');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#path = join(folder, 'costs.json');
    try {
      const { guests } = file.parse(JSON.parse(readFileSync(this.#path, 'utf8')));
      for (const [guest, known] of Object.entries(guests)) this.#guests.set(guest, known);
    } catch {
      // There is none yet, or it is damaged.
    }
  }

  of(guest: string): Costs {
    const { epochMs, epochBytes, ...known } = this.#guests.get(guest) ?? {};
    const epoch =
      epochMs === undefined || epochBytes === undefined ? {} : { checkpointMs: epochMs, checkpointBytes: epochBytes };
    return { ...UNKNOWN_COSTS, ...epoch, ...known };
  }

  /** Only those that were measured. */
  measured(guest: string): Figures {
    return { ...this.#guests.get(guest) };
  }

  took(guest: string, measured: Figures): void {
    const known = this.#guests.get(guest) ?? {};
    for (const [name, value] of Object.entries(measured) as [keyof Figures, number][]) {
      const before = known[name];
      known[name] = before === undefined ? value : before + LATEST * (value - before);
    }
    this.#guests.set(guest, known);
    this.#save();
  }

  forget(guest: string): void {
    if (this.#guests.delete(guest)) this.#save();
  }

  #save(): void {
    const draft = `${this.#path}.new`;
    try {
      writeFileSync(draft, JSON.stringify({ version: 1, guests: Object.fromEntries(this.#guests) }), { mode: 0o600 });
      renameSync(draft, this.#path);
    } catch {
      // The disk is full: what was measured is known as long as this process lives.
    }
  }
}
