/** The standbys that this host keeps for guests of others. */
import * as z from 'zod';
import { OperatorError } from '../../base/errors.ts';
import type { HeldStandby, Method } from '../../cluster/index.ts';
import { count } from '../schemas/words.ts';
import type { Found } from './adoption.ts';
import { HotStandby } from './hot-standby.ts';
import { PairStandby } from './pair-standby.ts';
import type { PeerAsk } from './peer-channel.ts';
import type { Standby, StandbyParts } from './standby.ts';
import { WarmStandby } from './warm-standby.ts';

const standbyAsk = z.object({ generation: count, atMs: z.number() });

export class KeptStandbys {
  readonly #parts: StandbyParts;
  readonly #kept = new Map<string, Standby>();
  #granted: { readonly incarnation: number; readonly deadlineMs: number } | undefined;

  constructor(parts: StandbyParts) {
    this.#parts = parts;
  }

  get(guest: string): Standby | undefined {
    return this.#kept.get(guest);
  }

  list(): HeldStandby[] {
    return [...this.#kept].map(([guest, { method, activeHost }]) => ({ guest, method, activeHost }));
  }

  ready(): string[] {
    return [...this.#kept].flatMap(([guest, { isReady }]) => (isReady ? [guest] : []));
  }

  async adopt(found: Found['standbys']): Promise<void> {
    await Promise.all(
      found.map(async ({ guest, method, activeHost, process, incarnation }) => {
        if (method === 'hot' && process !== undefined)
          this.#kept.set(guest, await HotStandby.keep(guest, activeHost, this.#parts, process));
        if (method === 'warm') this.#kept.set(guest, new WarmStandby(guest, activeHost, this.#parts));
        if (method === 'pair' && process !== undefined && incarnation !== undefined)
          this.#kept.set(guest, new PairStandby(guest, activeHost, this.#parts, { process, incarnation }));
      }),
    );
  }

  /** From now on. The guest's name is the caller's. */
  async keep(guest: string, method: Method, activeHost: string): Promise<void> {
    const before = this.#kept.get(guest);
    if (before?.method === method) {
      if (before.activeHost !== activeHost) before.moved(activeHost);
      return;
    }
    await this.drop(guest);
    switch (method) {
      case 'hot':
        this.#kept.set(guest, await HotStandby.keep(guest, activeHost, this.#parts));
        return;
      case 'warm':
        this.#kept.set(guest, new WarmStandby(guest, activeHost, this.#parts));
        return;
      case 'pair': {
        const pair = new PairStandby(guest, activeHost, this.#parts);
        if (this.#granted !== undefined) pair.grant(this.#granted.incarnation, this.#granted.deadlineMs);
        this.#kept.set(guest, pair);
        return;
      }
      case 'cold':
    }
  }

  /** Nothing of it stays. */
  async drop(guest: string): Promise<void> {
    const kept = this.#kept.get(guest);
    this.#kept.delete(guest);
    if (kept === undefined) return;
    await kept.drop();
    this.#parts.records.remove(guest);
  }

  /** It is the guest now, or gone with it: not this room's any more. */
  release(guest: string): void {
    this.#kept.get(guest)?.close();
    this.#kept.delete(guest);
  }

  /** A checkpoint from the active host. Rejects with OperatorError `no-standby`. */
  async take(sent: PeerAsk): Promise<object> {
    const kept = this.#kept.get(sent.name);
    if (kept?.take === undefined || kept.activeHost !== sent.from) throw noStandby(sent);
    return await kept.take(sent);
  }

  grant(incarnation: number, deadlineMs: number): void {
    this.#granted = { incarnation, deadlineMs };
    for (const kept of this.#kept.values()) kept.grant?.(incarnation, deadlineMs);
  }

  /** The active host's daemon asks where its guest's checkpoints are to go. Rejects with OperatorError `no-standby`. */
  async answer(asked: PeerAsk): Promise<object> {
    const kept = this.#kept.get(asked.name);
    const ask = standbyAsk.parse(asked.body);
    if (kept?.answer === undefined || kept.activeHost !== asked.from) throw noStandby(asked);
    return await kept.answer(ask);
  }

  close(): void {
    for (const kept of this.#kept.values()) kept.close();
    this.#kept.clear();
  }
}

function noStandby({ from, name }: PeerAsk): OperatorError {
  return new OperatorError('no-standby', `nothing stands by here for the guest ${name} of ${from}`, 'Ask again');
}
