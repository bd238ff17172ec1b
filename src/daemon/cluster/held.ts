/** A guest's machine on this host, while its process is there. */
import type { Method } from '../../cluster/index.ts';
import { type BeatSeen, Beats } from './beats.ts';
import type { Duties } from './duties.ts';
import { Grants } from './grants.ts';
import type { GuestProcess } from './guest-process.ts';

export interface HeldOptions {
  readonly guest: string;
  readonly generation: number;
  readonly incarnation: number;
  readonly method: Method;
  readonly process: GuestProcess;
  /** That it was started with. */
  readonly deadlineMs: number;
}

export interface HeldEvents {
  beat(beat: BeatSeen): void;
  /** Its process is gone, and was not told to. */
  ended(): void;
}

export class Held {
  readonly guest: string;
  readonly generation: number;
  readonly incarnation: number;
  readonly method: Method;
  readonly process: GuestProcess;
  readonly grants: Grants;
  readonly #beats: Beats;
  #isLeft = false;
  isWell = false;
  /** Where its checkpoints go. */
  duties: Duties | undefined;

  constructor(options: HeldOptions, events: HeldEvents) {
    const { guest, generation, incarnation, method, process, deadlineMs } = options;
    this.guest = guest;
    this.generation = generation;
    this.incarnation = incarnation;
    this.method = method;
    this.process = process;
    this.grants = new Grants(process, incarnation, deadlineMs);
    this.#beats = new Beats(process, (beat) => {
      this.isWell = beat.isApplicationWell;
      events.beat(beat);
    });
    void process.gone.then(() => {
      if (this.#isLeft) return;
      this.leave();
      events.ended();
    });
  }

  /** Its end is on purpose, and nobody is told. */
  expectEnd(): void {
    this.#isLeft = true;
    this.#beats.end();
  }

  /** Nothing is told of it any more; its process goes on. */
  leave(): void {
    this.expectEnd();
    this.duties?.close();
  }

  /** Resolves when its process is gone. */
  async end(how: Parameters<GuestProcess['end']>[0]): Promise<void> {
    this.leave();
    await this.process.end(how);
  }

  /** Beats and ends are told no more, and the conversation is over; the machine goes on. */
  close(): void {
    this.leave();
    this.process.close();
  }
}
