/**
 * A process here that has all of a guest of another host, and does not run it. It is started when it is to be kept, and again when it
 * ends. The active host's daemon asks where it listens, each time before its machine connects: a process that has had a guest is
 * replaced then, since what it has is not wanted any more. (Who asks does so only while no record names this standby.)
 */
import { OperatorError } from '../../base/errors.ts';
import type { ReplicationReport } from '../../host/index.ts';
import type { DriveFile } from './gated-drives.ts';
import { GuestProcess } from './guest-process.ts';
import type { Standby, StandbyAsk, StandbyParts } from './standby.ts';
import { hotStandby, type Lease } from './starting.ts';

const LOOK_MS = 500;
const AGAIN_MS = 1000;
const ANSWER_MS = 2000;
/** A daemon that comes back has no time to lose. */
const ADOPTED_MS = 500;
const PROMOTED_MS = 15_000;

export class HotStandby implements Standby {
  readonly method = 'hot';
  readonly guest: string;
  activeHost: string;
  readonly #parts: StandbyParts;
  readonly #ending = new AbortController();
  #process: GuestProcess | undefined;
  /** Starts and ends of its process, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #report: ReplicationReport | undefined;
  #lastAsk: StandbyAsk = { generation: -1, atMs: 0 };
  #timer: NodeJS.Timeout | undefined;

  /** `process`: one that was found. Resolves when that has said how it is. */
  static async keep(
    guest: string,
    activeHost: string,
    parts: StandbyParts,
    process?: GuestProcess,
  ): Promise<HotStandby> {
    const standby = new HotStandby(guest, activeHost, parts, process);
    if (process !== undefined) await standby.#heard(ADOPTED_MS);
    standby.#later(0);
    return standby;
  }

  private constructor(guest: string, activeHost: string, parts: StandbyParts, process: GuestProcess | undefined) {
    this.guest = guest;
    this.activeHost = activeHost;
    this.#parts = parts;
    this.#process = process;
  }

  get isReady(): boolean {
    const state = this.#report?.state;
    return state === 'ready' || state === 'orphaned';
  }

  moved(activeHost: string): void {
    this.activeHost = activeHost;
    if (this.#process !== undefined) this.#record(this.#process);
  }

  /** Rejects with OperatorError `no-standby`: ask again. */
  async answer(ask: StandbyAsk): Promise<object> {
    return await this.#inTurn(async () => {
      const { generation, atMs } = this.#lastAsk;
      // One that was on its way for long must not take from the guest what it was given since.
      if (ask.generation < generation || (ask.generation === generation && ask.atMs <= atMs))
        throw noStandby(this.guest, 'what is asked was asked before');
      this.#lastAsk = ask;
      const before = await this.#heard();
      if (before !== undefined && before.state !== 'waiting') await this.#endProcess();
      if (this.#process === undefined) await this.#start();
      const { address } = (await this.#heard()) ?? {};
      if (address === undefined) throw noStandby(this.guest, 'it does not answer');
      return { address };
    });
  }

  /** The guest runs here from now on: its process, which is this standby's no more. */
  async promote(lease: Lease, files: readonly DriveFile[]): Promise<GuestProcess> {
    return await this.#inTurn(async () => {
      const process = this.#process;
      if (process === undefined) throw noStandby(this.guest, 'its process has ended');
      try {
        await process.ask((machine) => machine.promote({ lease, files }), PROMOTED_MS);
      } catch (error) {
        // It may do it yet.
        await process.end({ kind: 'killed' });
        throw error;
      }
      this.#process = undefined;
      this.close();
      return process;
    });
  }

  close(): void {
    this.#ending.abort(new Error('it is kept no more'));
    clearTimeout(this.#timer);
    this.#process?.close();
  }

  async drop(): Promise<void> {
    this.#ending.abort(new Error('it is kept no more'));
    clearTimeout(this.#timer);
    await this.#inTurn(() => this.#endProcess());
  }

  #later(delayMs: number): void {
    if (this.#ending.signal.aborted) return;
    this.#timer = setTimeout(() => {
      void this.#tend().then(
        () => this.#later(LOOK_MS),
        (error: unknown) => {
          if (this.#ending.signal.aborted) return;
          this.#parts.note('standby-failed', this.guest, error instanceof Error ? error.message : String(error));
          this.#later(AGAIN_MS);
        },
      );
    }, delayMs);
  }

  async #tend(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#ending.signal.aborted) return;
      if (this.#process?.isThere === false) await this.#endProcess();
      if (this.#process === undefined) await this.#start();
    });
    await this.#heard();
  }

  /** Undefined: it does not answer, and is as it was. */
  async #heard(withinMs = ANSWER_MS): Promise<ReplicationReport | undefined> {
    const process = this.#process;
    if (process === undefined) return undefined;
    const report = await process.ask((machine) => machine.replication(), withinMs).catch(() => undefined);
    if (report !== undefined && this.#process === process) this.#report = report;
    return report;
  }

  async #start(): Promise<void> {
    const { partitions, folder, listenHost, tlsFolder } = this.#parts;
    const { guest } = this;
    const { signal } = this.#ending;
    signal.throwIfAborted();
    const spec = await this.#parts.guest(guest);
    // Its image is here then, also for when it takes over.
    await partitions.plan(guest, spec, signal);
    const listen = `tls:${listenHost.includes(':') ? `[${listenHost}]` : listenHost}:0`;
    const pid = await partitions.runApart(guest, hotStandby(guest, spec, listen, tlsFolder), signal);
    const process = GuestProcess.of(guest, pid, folder);
    this.#process = process;
    this.#record(process);
  }

  #record({ id }: GuestProcess): void {
    const { guest, activeHost } = this;
    this.#parts.records.put(guest, { kind: 'standby', method: 'hot', activeHost, process: id });
  }

  async #endProcess(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    this.#report = undefined;
    await process?.end({ kind: 'killed' });
  }

  async #inTurn<T>(body: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(body, body);
    this.#turn = mine.catch(() => {});
    return await mine;
  }
}

function noStandby(guest: string, why: string): OperatorError {
  return new OperatorError('no-standby', `nothing stands by for ${guest} here: ${why}`, 'Ask again');
}
