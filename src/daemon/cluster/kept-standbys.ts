/** The standbys that this host keeps for guests of others. */
import * as z from 'zod';
import { OperatorError } from '../../base/errors.ts';
import type { HeldStandby, Method } from '../../cluster/index.ts';
import { count } from '../schemas/words.ts';
import type { Found } from './adoption.ts';
import { HotStandby } from './hot-standby.ts';
import type { PeerAsk } from './peer-channel.ts';
import type { Standby, StandbyParts } from './standby.ts';

const standbyAsk = z.object({ generation: count, atMs: z.number() });

export class KeptStandbys {
  readonly #parts: StandbyParts;
  readonly #kept = new Map<string, Standby>();

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
      found.map(async ({ guest, method, activeHost, process }) => {
        if (method === 'hot' && process !== undefined)
          this.#kept.set(guest, await HotStandby.keep(guest, activeHost, this.#parts, process));
      }),
    );
  }

  /** From now on. The guest's name is the caller's. */
  async keep(guest: string, method: Method, activeHost: string): Promise<void> {
    const before = this.#kept.get(guest);
    if (before?.method === method) {
      before.activeHost = activeHost;
      return;
    }
    await this.drop(guest);
    switch (method) {
      case 'hot':
        this.#kept.set(guest, await HotStandby.keep(guest, activeHost, this.#parts));
        return;
      case 'warm':
      case 'pair':
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

  /** The active host's daemon asks where its guest's checkpoints are to go. Rejects with OperatorError `no-standby`. */
  async answer({ from, name, body }: PeerAsk): Promise<object> {
    const kept = this.#kept.get(name);
    const ask = standbyAsk.parse(body);
    if (kept?.answer === undefined || kept.activeHost !== from)
      throw new OperatorError('no-standby', `nothing stands by here for the guest ${name} of ${from}`, 'Ask again');
    return await kept.answer(ask);
  }

  close(): void {
    for (const kept of this.#kept.values()) kept.close();
    this.#kept.clear();
  }
}
