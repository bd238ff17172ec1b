/**
 * What the host asks of whichever program in the guest does its bidding: our own agent (session.ts over its protocol) or
 * QEMU's (qga/).
 */
import type { ExecOptions, ExecResult } from '../machine/machine-api.ts';
import type { Beat } from './frames.ts';

/** Whose agent: ours, or QEMU's. */
export type AgentKind = 'kagemusha' | 'qemu';

export interface Frozen {
  /** File systems that are frozen now. */
  readonly count: number;
  /** Those that cannot be, or without which the agent could not speak. */
  readonly left: number;
}

export interface GuestAgent {
  readonly kind: AgentKind;
  /** What it says of itself, once it has. */
  readonly version: string | undefined;
  /** It is there. */
  readonly hasAnswered: boolean;
  /** It has answered, or is there no more. */
  onPresence: (() => void) | undefined;
  /** Resolves when it has answered; rejects on abort, or when nobody is to come any more. */
  ready(signal?: AbortSignal): Promise<void>;
  /** Runs a command to its end. */
  execute(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Resolves when it has answered: it is alive. */
  ping(signal?: AbortSignal): Promise<void>;
  /** Asks the guest to power off; resolves when that is said. */
  shutdown(signal?: AbortSignal): Promise<void>;
  /** Freezes file systems, for `limitMs` at most. */
  freeze(limitMs: number, signal?: AbortSignal): Promise<Frozen>;
  thaw(signal?: AbortSignal): Promise<number>;
  /** Whether what was frozen still is, as far as is known. */
  readonly isFrozen: boolean;
  /** Whether it beats by itself once it was told to; else it is to be pinged. */
  readonly beatsByItself: boolean;
  /** Beats of the guest at this interval, until it is called again; 0: none. */
  beat(intervalMs: number, heard: (beat: Beat) => void): void;
  /** A word on the guest's health, for its beats to carry. */
  tellHealth(word: string): void;
}
