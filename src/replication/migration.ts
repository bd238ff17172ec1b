/**
 * Live migration, the source's side: the guest is copied while it runs, round by round; then it stands still for the last
 * round, and is handed over.
 *
 *   copying --little is left--> stopped --the target has all of it--> handing over --running--> gone: the source ends
 *      |                           |                                      |
 *      +---------------------------+--> stays: it goes on here            +--the connection is lost--> asking
 *                                                                              running -> gone    never -> stays
 *                                                                              nobody answers -> undecided: stands still
 *
 * Up to the handover the target runs nothing, so the source goes on whatever fails. From then on the guest may be the
 * target's: the source goes on only when the target has said that it never ran it and never will, or is proved to be gone.
 */
import { OperatorError } from '../base/errors.ts';
import type { DiskEpoch } from './journal-disk.ts';
import type { Peer } from './peer.ts';
import { decide, type PreCopyLimits, type Round } from './pre-copy.ts';
import type { Hold, ReplicationPorts, SourceGuest } from './source-guest.ts';
import { SourceRounds, sendLayers } from './source-rounds.ts';

export interface MigrationPorts extends ReplicationPorts {
  /** The disks that the target will open are flushed and given up here. Held. */
  letGo(): Promise<void>;
  /** They are this machine's again. Held. */
  takeBack(): Promise<void>;
  /**
   * Asks the target over another connection what became of the guest: `running`, `never` (and it never will), or `gone`:
   * there is proof that no such process is there. Resolves with undefined when it cannot be known now.
   */
  askOutcome(): Promise<'running' | 'never' | 'gone' | undefined>;
}

export interface MigrationResult {
  /** The guest stood still for so long. */
  readonly downtimeMs: number;
  readonly tookMs: number;
  readonly rounds: number;
  readonly pages: number;
  readonly bytes: number;
  /** How often it was slowed down. */
  readonly throttles: number;
  /** Why copying ended. */
  readonly why: string;
}

/** As long as it is tried to learn what became of the guest, and how often. */
const ASK_FOR_MS = 10_000;
const ASK_EVERY_MS = 100;

/** It stands still, and may run elsewhere: somebody who knows is to say which. */
export class Undecided extends OperatorError {}

export class Migration {
  readonly #guest: SourceGuest;
  readonly #peer: Peer;
  readonly #ports: MigrationPorts;
  readonly #limits: PreCopyLimits;
  readonly #rounds: SourceRounds;
  #throttles = 0;
  #pages = 0;
  #done: Round[] = [];
  #error: Error | undefined;

  constructor(guest: SourceGuest, peer: Peer, ports: MigrationPorts, limits: PreCopyLimits) {
    this.#guest = guest;
    this.#peer = peer;
    this.#ports = ports;
    this.#limits = limits;
    this.#rounds = new SourceRounds(peer, guest);
  }

  get rounds(): Pick<SourceRounds, 'message' | 'lost'> {
    return this.#rounds;
  }

  lost(error: Error): void {
    this.#error = error;
    this.#rounds.lost(error);
  }

  /**
   * Resolves when the guest runs at the target: it stands still here for good. Rejects when it stays here and goes on, and
   * with `Undecided` when it stands still here, as nobody knows whether it runs there.
   */
  async run(hello: unknown): Promise<MigrationResult> {
    const sinceMs = this.#ports.nowMs();
    let why = '';
    try {
      await this.#rounds.ask('hello', hello);
      why = await this.#copy();
    } catch (error) {
      this.#giveUp();
      throw error;
    }
    const hold = await this.#guest.hold();
    const heldMs = hold.sinceMs;
    this.#guest.throttle(undefined);
    let isLetGo = false;
    try {
      await this.#lastRound();
      isLetGo = true;
      await this.#ports.letGo();
      if (this.#error !== undefined) throw this.#error;
    } catch (error) {
      await this.#stay(isLetGo, hold);
      throw error;
    }
    await this.#handOver(hold);
    const endMs = this.#ports.nowMs();
    this.#peer.close();
    return {
      downtimeMs: endMs - heldMs,
      tookMs: endMs - sinceMs,
      rounds: this.#rounds.number,
      pages: this.#pages,
      bytes: this.#peer.writer.sentBytes,
      throttles: this.#throttles,
      why,
    };
  }

  async #copy(): Promise<string> {
    let pages = await this.#sweep({ isFirst: true });
    let messages = await sendLayers(this.#rounds, this.#guest);
    for (;;) {
      const sinceMs = this.#ports.nowMs();
      messages += await this.#rounds.sendDisks(this.#changes);
      await this.#rounds.sendPages(pages);
      await this.#rounds.end({ pages: pages.length, disks: messages });
      this.#pages += pages.length;
      messages = 0;
      const next = await this.#sweep({ isFirst: false });
      this.#done.push({ pages: pages.length, tookMs: this.#ports.nowMs() - sinceMs, left: next.length });
      pages = next;
      const decision = decide(this.#done, this.#throttles, {
        ...this.#limits,
        mostRounds: this.#limits.mostRounds - this.#rounds.number + this.#done.length,
      });
      if (decision.kind === 'stop') {
        this.#left = pages;
        return decision.why;
      }
      if (decision.kind === 'again') continue;
      this.#throttles++;
      this.#guest.throttle(decision.cap);
      // What was before says nothing of how it goes on.
      this.#done = [];
    }
  }

  /** Swept, and not sent. */
  #left: Uint32Array = new Uint32Array(0);
  #changes: (DiskEpoch | undefined)[] = [];

  async #sweep({ isFirst }: { readonly isFirst: boolean }): Promise<Uint32Array> {
    const hold = await this.#guest.hold();
    const layers = this.#guest.disks;
    if (isFirst) for (const { role, journal } of layers) if (role === 'layer') journal.setMode('recorded');
    const pages = this.#guest.sweep();
    this.#changes = layers.map(({ role, journal }) => (role === 'layer' ? journal.take() : undefined));
    hold.release();
    return pages;
  }

  /** All that is left, and all else. Held. */
  async #lastRound(): Promise<void> {
    const before = this.#changes;
    // From the sweep to the last copied page nothing is awaited: what comes in from outside is lost, as on any link.
    const pages = merged(this.#left, this.#guest.sweep());
    const changes = this.#guest.disks.map(({ role, journal }) => (role === 'layer' ? journal.take() : undefined));
    const state = this.#guest.state();
    const batches = [];
    for (let at = 0; at < pages.length; at += 256) batches.push(this.#guest.read(pages.subarray(at, at + 256)));
    const messages = (await this.#rounds.sendDisks(before)) + (await this.#rounds.sendDisks(changes));
    for (const { meta, data } of batches) await this.#peer.writer.send('pages', meta, data);
    this.#pages += pages.length;
    await this.#rounds.end({ pages: pages.length, disks: messages }, state());
  }

  async #handOver(hold: Hold): Promise<void> {
    try {
      await this.#rounds.ask('handover', {});
      return;
    } catch (error) {
      // A refusal is the target's word that it does not run, and will not.
      const outcome = isRefusal(error) ? 'never' : await this.#outcome();
      if (outcome === 'running') return;
      if (outcome === undefined)
        throw new Undecided(
          'migration-undecided',
          'the connection was lost as the guest was handed over, and the target does not say whether it runs there; here it stands still',
          'See whether it runs there. If it does, end it here (kage kill); if it never will, let it go on here (kage resume).',
          { cause: error },
        );
      await this.#stay(true, hold);
      throw error;
    }
  }

  async #outcome(): Promise<'running' | 'never' | 'gone' | undefined> {
    const untilMs = this.#ports.nowMs() + ASK_FOR_MS;
    while (this.#ports.nowMs() < untilMs) {
      const outcome = await this.#ports.askOutcome();
      if (outcome !== undefined) return outcome;
      await new Promise<void>((resolve) => this.#ports.after(ASK_EVERY_MS, resolve));
    }
    return undefined;
  }

  async #stay(isLetGo: boolean, hold: Hold): Promise<void> {
    // The target hears of it, whatever becomes of the guest here.
    this.#giveUp();
    if (isLetGo) await this.#ports.takeBack();
    hold.release();
  }

  #giveUp(): void {
    this.#peer.close();
    this.#guest.throttle(undefined);
    for (const { journal } of this.#guest.disks) journal.setMode('through');
    this.#guest.endSweeps();
  }
}

/** Of two rising lists, what is in either. */
function merged(a: Uint32Array, b: Uint32Array): Uint32Array {
  return Uint32Array.from(new Set([...a, ...b])).sort();
}

function isRefusal(error: unknown): boolean {
  return error instanceof OperatorError && error.code !== 'peer-lost' && error.code !== 'stream-damaged';
}
