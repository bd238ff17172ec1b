/**
 * Where the checkpoints of a guest here go: its machine writes them into a folder of this host (docs/replication.md, warm standby), and
 * the newest is sent to each host that keeps a standby, behind the whole one that it is an increment of. What could not be sent, because
 * the connection broke or a newer one was there sooner, is nobody's loss: the standby has what it had until the next is there.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ReplicationReport } from '../../host/index.ts';
import type { GuestProcess } from './guest-process.ts';
import type { PeerChannel } from './peer-channel.ts';

export interface WarmReplicationParts {
  readonly guest: string;
  readonly generation: number;
  readonly process: GuestProcess;
  readonly channel: PeerChannel;
  /** Of all guests' checkpoints. */
  readonly folder: string;
  nowMs(): number;
  measured(pausedMs: number, sizeBytes: number): void;
  note(kind: string, detail: string): void;
}

const LOOK_MS = 500;
const AGAIN_MS = 5000;
const ANSWER_MS = 2000;
/** The first is there then, of a large guest. */
const FIRST_MS = 600_000;

type WarmReport = NonNullable<ReplicationReport['warm']>;

interface Target {
  /** Files of this run that it has. */
  readonly has: Set<string>;
  isSending: boolean;
  retryAtMs: number;
}

export class WarmReplication {
  readonly #parts: WarmReplicationParts;
  readonly #targets = new Map<string, Target>();
  readonly #sending = new AbortController();
  #everyMs = 0;
  /** How often the machine was told. */
  #toldMs = 0;
  #retryAtMs = 0;
  #taken = 0;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #isClosed = false;

  constructor(parts: WarmReplicationParts) {
    this.#parts = parts;
  }

  want(host: string, everyMs: number): void {
    this.#everyMs = everyMs;
    if (!this.#targets.has(host)) this.#targets.set(host, { has: new Set(), isSending: false, retryAtMs: 0 });
    this.#later(0);
  }

  unwant(host: string): void {
    if (this.#targets.delete(host)) this.#later(0);
  }

  get wanted(): readonly (readonly [host: string, everyMs: number])[] {
    return [...this.#targets.keys()].map((host) => [host, this.#everyMs] as const);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#sending.abort(new Error('it is looked after no more'));
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => {
        if (this.#targets.size > 0 || this.#toldMs > 0) this.#later(LOOK_MS);
      });
    }, delayMs);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    try {
      const report = await this.#parts.process.ask((machine) => machine.replication(), ANSWER_MS);
      const { warm } = report;
      if (this.#targets.size === 0) await this.#stop(warm);
      else if (warm === undefined || (this.#toldMs > 0 && this.#toldMs !== this.#everyMs)) await this.#begin(warm);
      else this.#send(warm);
    } catch (error) {
      if (this.#isClosed || this.#parts.nowMs() < this.#retryAtMs) return;
      this.#retryAtMs = this.#parts.nowMs() + AGAIN_MS;
      this.#parts.note('checkpoint-failed', error instanceof Error ? error.message : String(error));
    } finally {
      this.#isLooking = false;
    }
  }

  async #begin(before: WarmReport | undefined): Promise<void> {
    const { guest, generation, process, folder, nowMs } = this.#parts;
    if (nowMs() < this.#retryAtMs) return;
    if (before !== undefined) await this.#stop(before);
    const everyMs = this.#everyMs;
    // Each run has files of its own: names begin anew, and increments name their base.
    const run = join(folder, guest, `${generation}-${Math.round(nowMs())}`);
    mkdirSync(run, { recursive: true, mode: 0o700 });
    for (const target of this.#targets.values()) target.has.clear();
    await process.ask(
      (machine) => machine.checkpoint({ folder: run, everyMs: Math.max(100, everyMs), keep: 1 }),
      FIRST_MS,
    );
    this.#toldMs = everyMs;
  }

  async #stop(warm: WarmReport | undefined): Promise<void> {
    if (warm !== undefined) {
      await this.#parts.process.ask((machine) => machine.endCheckpoints(), ANSWER_MS);
      rmSync(warm.folder, { recursive: true, force: true });
    }
    this.#toldMs = 0;
  }

  #send(warm: WarmReport): void {
    const { file, base, taken, pausedMs = 0, sizeBytes = 0 } = warm;
    if (file === undefined) return;
    if (taken !== this.#taken) this.#parts.measured(pausedMs, sizeBytes);
    this.#taken = taken;
    for (const [host, target] of this.#targets) {
      if (target.isSending || target.has.has(file) || this.#parts.nowMs() < target.retryAtMs) continue;
      target.isSending = true;
      void this.#sendTo(host, target, file, base)
        .catch((error: unknown) => {
          target.retryAtMs = this.#parts.nowMs() + LOOK_MS;
          if (!this.#isClosed)
            this.#parts.note(
              'checkpoint-not-sent',
              `${host}: ${error instanceof Error ? error.message : String(error)}`,
            );
        })
        .finally(() => {
          target.isSending = false;
        });
    }
  }

  async #sendTo(host: string, target: Target, file: string, base: string | undefined): Promise<void> {
    if (base !== undefined && !target.has.has(base)) await this.#sendOne(host, target, base, undefined, false);
    await this.#sendOne(host, target, file, base, true);
  }

  async #sendOne(
    host: string,
    target: Target,
    file: string,
    base: string | undefined,
    isLatest: boolean,
  ): Promise<void> {
    const { channel, guest, generation } = this.#parts;
    const names = { run: basename(dirname(file)), file: basename(file), ...(base && { base: basename(base) }) };
    await channel.send(host, 'checkpoint', guest, file, { generation, isLatest, ...names }, this.#sending.signal);
    target.has.add(file);
  }
}
