/**
 * The checkpoints of a guest of another host, in a folder of this one: the newest, and the whole one that it is an increment of. A file
 * has its name when all of it is on the medium, and `latest` names it, in one step, once what it needs is there.
 *
 *     STATE/cluster/standbys/web/latest -> 7-81234567/web-000003.kage
 *     STATE/cluster/standbys/web/7-81234567/web-000001.kage, web-000003.kage
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { HostError, OperatorError } from '../../base/errors.ts';
import { count } from '../schemas/words.ts';
import type { PeerAsk } from './peer-channel.ts';
import type { Standby, StandbyParts } from './standby.ts';

const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,100}\.kage$/);
const checkpointSent = z.strictObject({
  generation: count,
  /** The run of checkpoints that it is of: names are unique within one. */
  run: z.string().regex(/^[A-Za-z0-9-]{1,64}$/),
  file: fileName,
  base: fileName.exactOptional(),
  isLatest: z.boolean(),
});

/** More is no checkpoint of a machine (4 GiB of memory, and what it wrote to disks). */
const MOST_BYTES = 64 * 2 ** 30;
const LATEST = 'latest';

export class WarmStandby implements Standby {
  readonly method = 'warm';
  readonly guest: string;
  activeHost: string;
  readonly #folder: string;
  readonly #records: StandbyParts['records'];
  /** Files come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #generation = 0;
  #isOver = false;

  constructor(guest: string, activeHost: string, { stateFolder, records }: StandbyParts) {
    this.guest = guest;
    this.activeHost = activeHost;
    this.#folder = join(stateFolder, 'cluster', 'standbys', guest);
    this.#records = records;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    records.put(guest, { kind: 'standby', method: 'warm', activeHost });
  }

  get isReady(): boolean {
    return existsSync(join(this.#folder, LATEST));
  }

  /** The newest checkpoint. Throws OperatorError `no-standby` where none has come yet. */
  get latest(): string {
    if (this.isReady) return realpathSync(join(this.#folder, LATEST));
    throw new OperatorError('no-standby', `no checkpoint of ${this.guest} has come yet`, 'Start it cold');
  }

  moved(activeHost: string): void {
    this.activeHost = activeHost;
    this.#records.put(this.guest, { kind: 'standby', method: 'warm', activeHost });
  }

  /** A file of the active host. What does not come whole leaves nothing. */
  async take({ body, files }: PeerAsk): Promise<object> {
    const sent = checkpointSent.parse(body);
    if (files === undefined) throw new OperatorError('bad-request', 'there is no file', 'Send one');
    const mine = this.#turn.then(() => this.#take(sent, files));
    this.#turn = mine.catch(() => {});
    return await mine;
  }

  close(): void {
    this.#isOver = true;
  }

  async drop(): Promise<void> {
    this.#isOver = true;
    await this.#turn;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #take(sent: z.infer<typeof checkpointSent>, files: AsyncIterable<Uint8Array>): Promise<object> {
    // A host that was left behind by a takeover may send what it has yet.
    if (this.#isOver || sent.generation < this.#generation)
      throw new OperatorError('no-standby', `generation ${sent.generation} of ${this.guest} is over`, 'Stop sending');
    this.#generation = sent.generation;
    const folder = join(this.#folder, sent.run);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    await this.#write(join(folder, sent.file), files);
    if (!sent.isLatest) return {};
    if (sent.base !== undefined && !existsSync(join(folder, sent.base)))
      throw new OperatorError('no-base', `${sent.file} is an increment of what is not here`, 'Send that first');
    this.#name(join(sent.run, sent.file));
    this.#prune(sent.run, [sent.file, ...(sent.base === undefined ? [] : [sent.base])]);
    return {};
  }

  async #write(file: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const draft = `${file}.part`;
    let bytes = 0;
    try {
      const handle = await open(draft, 'w', 0o600);
      try {
        for await (const piece of pieces) {
          bytes += piece.length;
          if (bytes > MOST_BYTES || this.#isOver) throw new HostError('checkpoint-refused', 'it is not taken any more');
          await handle.writeFile(piece);
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      renameSync(draft, file);
    } catch (error) {
      rmSync(draft, { force: true });
      throw error;
    }
  }

  /** In one step: whoever looks finds the one or the other. */
  #name(target: string): void {
    const draft = join(this.#folder, `.${LATEST}`);
    rmSync(draft, { force: true });
    symlinkSync(target, draft);
    renameSync(draft, join(this.#folder, LATEST));
  }

  #prune(run: string, needed: readonly string[]): void {
    for (const name of readdirSync(this.#folder)) {
      if (name === LATEST) continue;
      const path = join(this.#folder, name);
      if (name !== run) rmSync(path, { recursive: true, force: true });
      else for (const file of readdirSync(path)) if (!needed.includes(file)) rmSync(join(path, file), { force: true });
    }
  }
}
