/**
 * A guest's slave is its agent: its heart beats by itself, in the guest, and the machine's process counts. The master looks at that
 * count twice as often as the heart beats; what has beaten since is a beat. Nothing is sent to the guest, and nothing leaves the host.
 *
 * What a guest says may be held back by its machine, for its standby's acknowledgement, or because its lease has ended: then its silence
 * says nothing, and counts as what was heard last.
 *
 * A guest whose heart is off, as where it was declared without an agent, beats as long as its machine runs it.
 */
import type { MachineInfo } from '../../host/index.ts';
import type { GuestProcess } from './guest-process.ts';

export const HEARTBEAT_MS = 1000;
const LOOK_MS = HEARTBEAT_MS / 2;
/** Until the first one, which tells how long a start took. */
const FIRST_LOOK_MS = 100;
const ANSWER_MS = 2000;

export interface BeatSeen {
  readonly isApplicationWell: boolean;
  readonly isFirst: boolean;
}

export class Beats {
  readonly #process: GuestProcess;
  readonly #isHeldBack: () => boolean;
  readonly #seen: (beat: BeatSeen) => void;
  #timer: NodeJS.Timeout | undefined;
  #heard = 0;
  #isFirst = true;
  #isOver = false;

  /** `isHeldBack`: what it says waits for its standby. */
  constructor(process: GuestProcess, seen: (beat: BeatSeen) => void, isHeldBack: () => boolean = () => false) {
    this.#process = process;
    this.#isHeldBack = isHeldBack;
    this.#seen = seen;
    this.#later();
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #later(): void {
    if (!this.#isOver) this.#timer = setTimeout(() => void this.#look(), this.#isFirst ? FIRST_LOOK_MS : LOOK_MS);
  }

  async #look(): Promise<void> {
    const info = await this.#process.ask((machine) => machine.info(), ANSWER_MS).catch(() => undefined);
    if (this.#isOver) return;
    if (info !== undefined && (this.#hasBeaten(info) || (!this.#isFirst && this.#isSilenced(info)))) {
      this.#seen({ isApplicationWell: info.health?.status !== 'unhealthy', isFirst: this.#isFirst });
      this.#isFirst = false;
    }
    this.#later();
  }

  #isSilenced({ lease }: MachineInfo): boolean {
    return lease?.isExpired === true || this.#isHeldBack();
  }

  #hasBeaten({ state, agent, lease }: MachineInfo): boolean {
    const { intervalMs = 0, heard = 0 } = agent?.heartbeat ?? {};
    if (intervalMs === 0) return state === 'running' && lease?.isExpired !== true;
    // A count that begins anew is of another heart.
    const has = heard > 0 && heard !== this.#heard;
    this.#heard = heard;
    return has;
  }
}
