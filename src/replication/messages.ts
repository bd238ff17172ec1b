/**
 * What a checkpoint stream says, either way: messages, one behind the other, behind a prologue. Each has a number in its
 * direction, from 0, so that none can be missing, doubled or elsewhere, and checksums over all of its bytes.
 *
 *     0   "KAGEREPL" | version u32 | CRC of these 12 bytes u32
 *     16  message | message | ...        a message is built as a chunk of a snapshot is (machine/snapshot/chunks.ts)
 *
 *     source                                     target
 *     hello {mode, head, ticks}              ->
 *                                            <-  welcome {} | refusal {code, message, fix}
 *     pages*, disk*, round {number, ticks}   ->                                    while the guest runs: no state yet
 *     pages*, disk*, state, round            ->  all of it is here: it counts       the guest stood still
 *                                            <-  ack {number}
 *     applied {number}                       ->  disk writes up to there need not be kept
 *     ended {}                               ->  the guest has ended: nothing to stand in for
 *                                            <-  ended {}: nobody will
 *     handover {}                            ->  (migration) it is the target's now
 *                                            <-  running {} | refusal
 *     outcome {token}                        ->  (another connection, after the first was lost) does it run?
 *                                            <-  running {} | refusal: it does not, and never will
 *     beat {}                                <-> nothing to say, and well
 *
 * Peers are hostile: what a message may hold is bounded before anything is made for it.
 */
import { OperatorError } from '../base/errors.ts';

export const STREAM_MAGIC = 'KAGEREPL';
/** Raised when something that was said before changes its meaning. */
export const STREAM_VERSION = 1;
export const STREAM_PROLOGUE_BYTES = 16;

export const MESSAGE = {
  hello: 1,
  welcome: 2,
  refusal: 3,
  pages: 4,
  disk: 5,
  state: 6,
  round: 7,
  ack: 8,
  applied: 9,
  ended: 10,
  handover: 11,
  running: 12,
  outcome: 13,
  beat: 14,
} as const;
export type MessageKind = keyof typeof MESSAGE;

export interface Message {
  readonly kind: MessageKind;
  /** Lists, of pages and of disk writes. */
  readonly meta: Uint8Array;
  /** JSON, or bytes that lists speak of. */
  readonly data: Uint8Array;
}

const names = new Map<number, MessageKind>(
  (Object.entries(MESSAGE) as [MessageKind, number][]).map(([name, number]) => [number, name]),
);

export function kindOf(number: number): MessageKind | undefined {
  return names.get(number);
}

/** The peer, or what lies between, does not keep to the rules: nothing of the stream is used any more. */
export function badStream(what: string): OperatorError {
  return new OperatorError(
    'stream-damaged',
    `the checkpoint stream is damaged: ${what}`,
    'See that both ends are the same version of kage, and that nothing else uses the connection.',
  );
}

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly fix: string;
}

/** Of an error that a peer is to be told of. */
export function refusalOf(error: unknown): Refusal {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof OperatorError) return { code: error.code, message, fix: error.fix };
  return { code: 'replication-failed', message, fix: 'See what the other side says.' };
}
