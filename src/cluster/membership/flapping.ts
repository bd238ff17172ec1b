/**
 * Hosts that come and go. The leader times by its own clock how long each has been in without a break; a new leader begins
 * anew, so that a quarantine may last longer, never shorter.
 */
import type { HostRecord } from '../model.ts';
import type { Settings } from '../settings.ts';
import { quarantineMs } from './membership.ts';

interface Stay {
  readonly incarnation: number;
  sinceMs: number;
}

export class Flapping {
  readonly #settings: Settings;
  readonly #stays = new Map<string, Stay>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** What is to be changed of a host, if anything. */
  look(host: HostRecord, nowMs: number): Partial<Pick<HostRecord, 'state' | 'fences'>> | undefined {
    const { name, incarnation, state, fences } = host;
    if (state === 'fenced' || state === 'left') {
      this.#stays.delete(name);
      return undefined;
    }
    const stay = this.#stays.get(name);
    if (stay === undefined || stay.incarnation !== incarnation) {
      this.#stays.set(name, { incarnation, sinceMs: nowMs });
      return undefined;
    }
    const ms = nowMs - stay.sinceMs;
    if (state === 'quarantined' && ms >= quarantineMs(fences, this.#settings)) {
      // It is let in on probation: the next fence puts it back.
      stay.sinceMs = nowMs;
      return { state: 'active', fences: this.#settings.fencesToQuarantine - 1 };
    }
    if (state !== 'quarantined' && fences > 0 && ms >= this.#settings.forgetFenceMs) {
      stay.sinceMs = nowMs;
      return { fences: fences - 1 };
    }
    return undefined;
  }
}
