/**
 * Where the checkpoints of a guest here go: to its hot standby on another host, asked of that host's daemon. A machine sends to one
 * standby at a time. While a loss is not settled the guest stands still (`onLoss: 'wait'`), so losses are looked for often.
 *
 *     none --asked, connected--> protected --the connection is lost--> none, at once         (output was not held on record)
 *                                    |                            \--> lost --let go--> none (the director takes it off the record first)
 *                                    +--no duty any more--> leaving --let go--> none
 *
 * Held on record (`hold`) means: the director has, or is about to have, that standby on record as the one that may be promoted. From
 * then on nothing leaves without its acknowledgement until the director has said so (`letGo`), whatever becomes of the duty.
 */
import * as z from 'zod';
import { HostError } from '../../base/errors.ts';
import type { ReplicationReport } from '../../host/index.ts';
import type { GuestProcess } from './guest-process.ts';
import type { ReplicaRecord } from './guest-records.ts';
import type { PeerChannel } from './peer-channel.ts';

export interface HotReplicationParts {
  readonly guest: string;
  readonly generation: number;
  readonly process: GuestProcess;
  readonly channel: PeerChannel;
  readonly tlsFolder: string;
  nowMs(): number;
  /** Written down, for a daemon that comes back. */
  record(replica: ReplicaRecord | undefined): void;
  synced(host: string, isSynced: boolean): void;
  note(kind: string, detail: string): void;
}

const LOOK_MS = 200;
const AGAIN_MS = 1000;
const ANSWER_MS = 2000;
/** A standby's process may have to be started first. */
const ASKED_MS = 15_000;
/** All of a guest's memory goes over meanwhile. */
const SYNC_MS = 600_000;
/**
 * Without a new checkpoint for so long, what the guest says waits for its standby, its heart's beats too. A connection that is lost is
 * known soon; a machine that makes none for longer than that is to blame itself.
 */
const STALLED_MS = 500;
const HOPELESS_MS = 5000;
/** A daemon that came back is told its duties within so long. */
const DUTIES_MS = 10_000;
/** Another standby waits so long for the one in force to go; then it takes its place, and the guest has none meanwhile. */
const SWITCH_MS = 10_000;

export const standbyAnswer = z.object({ address: z.string().max(512) });

interface Wanted {
  everyMs: number;
  readonly sinceMs: number;
  retryAtMs: number;
}

interface Replica {
  readonly host: string;
  readonly address: string;
  isHeld: boolean;
  isLost: boolean;
  toldMs: number;
  /** The latest checkpoint that was acknowledged, and since when it is the latest. */
  epoch: number;
  movedMs: number;
}

export class HotReplication {
  readonly #parts: HotReplicationParts;
  readonly #wanted = new Map<string, Wanted>();
  #replica: Replica | undefined;
  /** Of a connection that is being made. */
  #connecting: { readonly host: string; readonly abort: AbortController } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dutiesByMs = 0;
  #isLooking = false;
  #released = (): void => {};
  #isClosed = false;
  /** The latest that was heard of it. */
  report: ReplicationReport | undefined;

  /** `found`: what was written down of a machine that runs. */
  constructor(parts: HotReplicationParts, found?: ReplicaRecord) {
    this.#parts = parts;
    if (found === undefined) return;
    this.#replica = { ...found, isLost: false, toldMs: 0, epoch: -1, movedMs: parts.nowMs() };
    this.#dutiesByMs = parts.nowMs() + DUTIES_MS;
    this.#later(0);
  }

  /** Whether a standby could go on with the guest as it is now. */
  get isProtected(): boolean {
    return this.#replica !== undefined && !this.#replica.isLost;
  }

  /** What the guest says waits for its standby: its silence does not mean that it has failed. */
  get holdsBack(): boolean {
    const replica = this.#replica;
    if (replica === undefined) return false;
    const stalledMs = this.#parts.nowMs() - replica.movedMs;
    return replica.isLost || (stalledMs > STALLED_MS && stalledMs < HOPELESS_MS);
  }

  /** A duty from now on. Once more: with other intervals, or since a daemon that came back was told of it. */
  want(host: string, everyMs: number): void {
    const before = this.#wanted.get(host);
    if (before !== undefined) before.everyMs = everyMs;
    else this.#wanted.set(host, { everyMs, sinceMs: this.#parts.nowMs(), retryAtMs: 0 });
    // One that was found connected has everything already.
    if (this.#replica?.host === host && !this.#replica.isLost) this.#parts.synced(host, true);
    this.#later(0);
  }

  unwant(host: string): void {
    if (!this.#wanted.delete(host)) return;
    if (this.#connecting?.host === host)
      this.#connecting.abort.abort(new HostError('unwanted', 'it is no duty any more'));
    this.#later(0);
  }

  /** Nothing leaves without that standby from now on; false: it has not everything. */
  async hold(host: string): Promise<boolean> {
    const replica = this.#replica;
    if (replica === undefined || replica.host !== host || replica.isLost) return false;
    replica.isHeld = true; // a loss from here on waits for the director
    const isKnown = this.#record();
    const report = await this.#ask();
    const isSafe = isKnown && this.#replica === replica && !replica.isLost && report?.state === 'protected';
    if (!isSafe) {
      replica.isHeld = false;
      this.#record();
      this.#later(0);
    }
    return isSafe;
  }

  /** Output need not wait for anybody. */
  async letGo(): Promise<void> {
    const replica = this.#replica;
    if (replica !== undefined) {
      replica.isHeld = false;
      this.#record();
      if (replica.isLost) await this.#drop(replica);
    }
    this.#released();
    this.#later(0);
  }

  /** The machine is gone and another takes its place under the same generation: resolves when nothing is on record any more. */
  async abandon(signal: AbortSignal): Promise<void> {
    const replica = this.#replica;
    if (replica === undefined) return;
    this.#lose(replica, 'the guest starts again');
    if (!replica.isHeld) return;
    const released = Promise.withResolvers<void>();
    this.#released = released.resolve;
    const stopped = (): void => released.reject(signal.reason as Error);
    signal.addEventListener('abort', stopped, { once: true });
    if (signal.aborted) stopped();
    await released.promise.finally(() => signal.removeEventListener('abort', stopped));
  }

  /** The hosts that it is a duty for, to be taken over by another machine's. */
  get wanted(): readonly (readonly [host: string, everyMs: number])[] {
    return [...this.#wanted].map(([host, { everyMs }]) => [host, everyMs] as const);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#connecting?.abort.abort(new HostError('closed', 'it is looked after no more'));
    this.#released();
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => {
        if (this.#replica !== undefined || this.#wanted.size > 0) this.#later(LOOK_MS);
      });
    }, delayMs);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    try {
      if (this.#replica !== undefined) await this.#lookAfter(this.#replica);
      if (this.#replica === undefined) await this.#connect();
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookAfter(replica: Replica): Promise<void> {
    if (replica.isLost) {
      await this.#settle(replica);
      return;
    }
    const report = await this.#ask();
    if (report === undefined || this.#replica !== replica) return;
    this.report = report;
    if (report.epoch !== replica.epoch) {
      replica.epoch = report.epoch;
      replica.movedMs = this.#parts.nowMs();
    }
    if (report.state !== 'protected' || report.peer !== replica.address) this.#lose(replica, whyOf(report));
    else if (this.#isUnwanted(replica.host)) this.#lose(replica, 'another standby takes its place, or none');
    if (replica.isLost && !replica.isHeld) await this.#drop(replica);
  }

  /** No duty any more; or another has waited long enough for this one to go. */
  #isUnwanted(host: string): boolean {
    const mine = this.#wanted.get(host);
    const nowMs = this.#parts.nowMs();
    if (mine === undefined) return nowMs > this.#dutiesByMs;
    return [...this.#wanted.values()].some(({ sinceMs }) => sinceMs > mine.sinceMs && nowMs - sinceMs > SWITCH_MS);
  }

  #lose(replica: Replica, why: string): void {
    if (replica.isLost) return;
    replica.isLost = true;
    replica.toldMs = this.#parts.nowMs();
    this.#parts.note('standby-lost', `${replica.host}: ${why}`);
    this.#parts.synced(replica.host, false);
  }

  /** Until the director has let go: who was not there when it was told, or had not held it in this life, hears both again. */
  async #settle(replica: Replica): Promise<void> {
    if (!replica.isHeld) {
      await this.#drop(replica);
      return;
    }
    const nowMs = this.#parts.nowMs();
    if (nowMs - replica.toldMs < AGAIN_MS) return;
    replica.toldMs = nowMs;
    this.#parts.synced(replica.host, true);
    this.#parts.synced(replica.host, false);
  }

  /** It goes on alone. */
  async #drop(replica: Replica): Promise<void> {
    if (this.#replica !== replica) return;
    // One that is lost already is none: it goes on by itself.
    await this.#parts.process.ask((machine) => machine.unreplicate(), ANSWER_MS).catch(() => {});
    if (this.#replica !== replica) return;
    this.#replica = undefined;
    this.#record();
    const wanted = this.#wanted.get(replica.host);
    if (wanted !== undefined) wanted.retryAtMs = this.#parts.nowMs() + AGAIN_MS;
  }

  async #connect(): Promise<void> {
    const nowMs = this.#parts.nowMs();
    // The latest duty first: it is there to replace the others.
    const due = [...this.#wanted]
      .filter(([, one]) => one.retryAtMs <= nowMs)
      .sort(([, a], [, b]) => b.sinceMs - a.sinceMs);
    const [first] = due;
    if (first === undefined) return;
    const [host, wanted] = first;
    const abort = new AbortController();
    this.#connecting = { host, abort };
    try {
      const address = await this.#addressOf(host, nowMs, abort.signal);
      await this.#replicate(address, wanted.everyMs, abort.signal);
      if (abort.signal.aborted || this.#isClosed) return;
      const movedMs = this.#parts.nowMs();
      this.#replica = { host, address, isHeld: false, isLost: false, toldMs: 0, epoch: -1, movedMs };
      // What a daemon that comes back does not know of cannot be held on record.
      if (this.#record()) this.#parts.synced(host, true);
      else await this.#drop(this.#replica);
    } catch (error) {
      wanted.retryAtMs = this.#parts.nowMs() + AGAIN_MS;
      if (!abort.signal.aborted)
        this.#parts.note('replication-failed', `${host}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.#connecting = undefined;
    }
  }

  async #addressOf(host: string, atMs: number, signal: AbortSignal): Promise<string> {
    const { channel, guest, generation } = this.#parts;
    const all = AbortSignal.any([signal, AbortSignal.timeout(ASKED_MS)]);
    return standbyAnswer.parse(await channel.ask(host, 'standby', guest, { generation, atMs }, all)).address;
  }

  async #replicate(to: string, everyMs: number, signal: AbortSignal): Promise<void> {
    const { process, tlsFolder } = this.#parts;
    const stop = (): void => void process.ask((machine) => machine.unreplicate(), ANSWER_MS).catch(() => {});
    signal.throwIfAborted();
    signal.addEventListener('abort', stop, { once: true });
    const options = { to, epochMs: Math.max(1, Math.round(everyMs)), onLoss: 'wait', tls: tlsFolder } as const;
    try {
      await process.ask((machine) => machine.replicate(options), SYNC_MS);
    } catch (error) {
      // It may be under way all the same.
      stop();
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #ask(): Promise<ReplicationReport | undefined> {
    return await this.#parts.process.ask((machine) => machine.replication(), ANSWER_MS).catch(() => undefined);
  }

  /** False: it could not be written down. */
  #record(): boolean {
    if (this.#isClosed) return false;
    const { host, address, isHeld } = this.#replica ?? {};
    const known = host === undefined || address === undefined ? undefined : { host, address, isHeld: isHeld === true };
    try {
      this.#parts.record(known);
      return true;
    } catch (error) {
      this.#parts.note('record-failed', error instanceof Error ? error.message : String(error));
      return false;
    }
  }
}

function whyOf({ state, events }: ReplicationReport): string {
  return `${state}: ${events[0]?.why ?? ''}`;
}
