/**
 * A second guest of the same declaration, which runs here while the first runs on another host; its application takes over when it is
 * told to. Until then its lease is this host's own, under generation 0, which no storage takes: a pair keeps nothing on disks of both.
 */
import { OperatorError } from '../../base/errors.ts';
import { Beats } from './beats.ts';
import { isGated } from './gated-drives.ts';
import { Grants } from './grants.ts';
import { GuestProcess } from './guest-process.ts';
import type { Standby, StandbyParts } from './standby.ts';
import { coldStart } from './starting.ts';

const AGAIN_MS = 1000;
const LOOK_MS = 500;
/** One that has not beaten for so long could not take over. */
const FRESH_MS = 3000;

interface Second {
  readonly process: GuestProcess;
  readonly grants: Grants;
  readonly beats: Beats;
}

export class PairStandby implements Standby {
  readonly method = 'pair';
  readonly guest: string;
  activeHost: string;
  readonly #parts: StandbyParts;
  readonly #ending = new AbortController();
  #second: Second | undefined;
  #granted: { readonly incarnation: number; readonly deadlineMs: number } | undefined;
  #beatenMs = Number.NEGATIVE_INFINITY;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  /** `process`: one that was found, which runs under that incarnation. */
  constructor(
    guest: string,
    activeHost: string,
    parts: StandbyParts,
    found?: { readonly process: GuestProcess; readonly incarnation: number },
  ) {
    this.guest = guest;
    this.activeHost = activeHost;
    this.#parts = parts;
    if (found !== undefined) this.#attend(found.process, found.incarnation, 0);
    this.#later(0);
  }

  get isReady(): boolean {
    return performance.now() - this.#beatenMs < FRESH_MS;
  }

  moved(activeHost: string): void {
    this.activeHost = activeHost;
    if (this.#second !== undefined) this.#record(this.#second.process);
  }

  /** It runs as long as this host may. */
  grant(incarnation: number, deadlineMs: number): void {
    this.#granted = { incarnation, deadlineMs };
    if (this.#second?.grants.incarnation === incarnation) this.#second.grants.grant(deadlineMs);
  }

  /** It is the guest from now on: its process, which is this standby's no more. Throws OperatorError `no-standby`. */
  async takeOver(incarnation: number): Promise<GuestProcess> {
    return await this.#inTurn(async () => {
      const second = this.#second;
      if (second === undefined || !second.process.isThere || second.grants.incarnation !== incarnation)
        throw new OperatorError('no-standby', `the second ${this.guest} does not run here`, 'Start it cold');
      second.beats.end();
      this.#second = undefined;
      this.close();
      return second.process;
    });
  }

  close(): void {
    this.#ending.abort(new Error('it is kept no more'));
    clearTimeout(this.#timer);
    this.#second?.beats.end();
    this.#second?.process.close();
  }

  async drop(): Promise<void> {
    this.#ending.abort(new Error('it is kept no more'));
    clearTimeout(this.#timer);
    await this.#inTurn(() => this.#endProcess());
  }

  #later(delayMs: number): void {
    if (this.#ending.signal.aborted) return;
    this.#timer = setTimeout(() => {
      void this.#inTurn(() => this.#tend()).then(
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
    if (this.#ending.signal.aborted) return;
    if (this.#second?.process.isThere === false) await this.#endProcess();
    // Before this host's lease is known there is no deadline that it could have.
    if (this.#second === undefined && this.#granted !== undefined) await this.#start(this.#granted);
  }

  async #start({ incarnation, deadlineMs }: { incarnation: number; deadlineMs: number }): Promise<void> {
    const { partitions, folder } = this.#parts;
    const { guest } = this;
    const { signal } = this.#ending;
    const spec = await this.#parts.guest(guest);
    if (spec.drives?.some(isGated) === true)
      throw new OperatorError(
        'pair-disk',
        `${guest} writes to a disk that both of a pair would have`,
        'Give the disk ",snapshot=on", or the guest another method',
      );
    const planned = await partitions.plan(guest, spec, signal);
    const lease = { incarnation, generation: 0, deadlineMs: this.#granted?.deadlineMs ?? deadlineMs };
    const pid = await partitions.runApart(guest, coldStart(planned, lease, spec.cpus ?? 1), signal);
    const process = GuestProcess.of(guest, pid, folder);
    this.#attend(process, incarnation, lease.deadlineMs);
    this.#record(process);
  }

  #attend(process: GuestProcess, incarnation: number, deadlineMs: number): void {
    const beats = new Beats(process, ({ isApplicationWell }) => {
      if (isApplicationWell) this.#beatenMs = performance.now();
    });
    this.#second = { process, beats, grants: new Grants(process, incarnation, deadlineMs) };
    if (this.#granted?.incarnation === incarnation) this.#second.grants.grant(this.#granted.deadlineMs);
  }

  #record({ id }: GuestProcess): void {
    const { guest, activeHost } = this;
    this.#parts.records.put(guest, { kind: 'standby', method: 'pair', activeHost, process: id });
  }

  async #endProcess(): Promise<void> {
    const second = this.#second;
    this.#second = undefined;
    this.#beatenMs = Number.NEGATIVE_INFINITY;
    second?.beats.end();
    await second?.process.end({ kind: 'told' });
  }

  async #inTurn<T>(body: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(body, body);
    this.#turn = mine.catch(() => {});
    return await mine;
  }
}
