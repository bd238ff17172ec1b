/** A guest's machine on this host, while its process is there. */
import type { Method } from '../../cluster/index.ts';
import { type BeatSeen, Beats } from './beats.ts';
import type { Duties } from './duties.ts';
import { Grants } from './grants.ts';
import type { Figures } from './guest-costs.ts';
import type { GuestProcess } from './guest-process.ts';
import { Measuring } from './measuring.ts';
import { capOf } from './starting.ts';

export interface HeldOptions {
  readonly guest: string;
  readonly generation: number;
  readonly incarnation: number;
  readonly method: Method;
  readonly process: GuestProcess;
  /** That it was started with. */
  readonly deadlineMs: number;
  /** What its operator lets it have of the processors at most. */
  readonly cap?: number | undefined;
}

export interface HeldEvents {
  beat(beat: BeatSeen): void;
  /** Its process is gone, and was not told to. */
  ended(): void;
  measured(figures: Figures): void;
}

const ANSWER_MS = 2000;

export class Held {
  readonly guest: string;
  readonly generation: number;
  readonly incarnation: number;
  readonly method: Method;
  readonly process: GuestProcess;
  readonly grants: Grants;
  readonly #beats: Beats;
  readonly #measuring: Measuring;
  readonly #cap: number | undefined;
  #restartingSinceMs: number | undefined;
  #isLeft = false;
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
    this.#cap = options.cap;
    this.#measuring = new Measuring(
      process,
      () => this.duties?.hot.isProtected === true,
      (figures) => events.measured(figures),
    );
    const seen = (beat: BeatSeen): void => {
      if (beat.isApplicationWell && this.#restartingSinceMs !== undefined) {
        events.measured({ applicationRestartMs: performance.now() - this.#restartingSinceMs });
        this.#restartingSinceMs = undefined;
      }
      events.beat(beat);
    };
    this.#beats = new Beats(process, seen, () => this.duties?.hot.holdsBack === true);
    void process.gone.then(() => {
      if (this.#isLeft) return;
      this.leave();
      events.ended();
    });
  }

  /** Cores that it has from now on. */
  async share(cores: number): Promise<void> {
    await this.process.ask((machine) => machine.setCap(capOf(cores, this.#cap)), ANSWER_MS);
  }

  /** Its application is told to start again: until it is well, that takes. */
  restartingApplication(): void {
    this.#restartingSinceMs = performance.now();
  }

  /** Its end is on purpose, and nobody is told. */
  expectEnd(): void {
    this.#isLeft = true;
    this.#beats.end();
    this.#measuring.end();
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
