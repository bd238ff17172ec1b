/** The source's side of the stream, as protection and migration have in common: hello, rounds, acknowledgements. */
import { OperatorError } from '../base/errors.ts';
import { type DriveChange, encodeDiskChanges } from './disk-lists.ts';
import type { DiskEpoch } from './journal-disk.ts';
import { badStream, type Message } from './messages.ts';
import { countOf, jsonOf, type Peer } from './peer.ts';
import type { SourceGuest } from './source-guest.ts';

/** Pages of a message. */
export const BATCH_PAGES = 256;

const ANSWERS = { hello: 'welcome', handover: 'running', outcome: 'running', ended: 'ended' } as const;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class SourceRounds {
  readonly #peer: Peer;
  readonly #guest: SourceGuest;
  /** Who waits for a word that is no acknowledgement. */
  #answer: (Waiting & { readonly kind: 'welcome' | 'running' | 'ended' }) | undefined;
  readonly #acks = new Map<number, Waiting>();
  #acknowledged = 0;
  #error: Error | undefined;
  #number = 0;

  constructor(peer: Peer, guest: SourceGuest) {
    this.#peer = peer;
    this.#guest = guest;
  }

  /** Number of the round that was sent last. */
  get number(): number {
    return this.#number;
  }

  /** Resolves with the peer's answer. */
  async ask(kind: keyof typeof ANSWERS, value: unknown = {}): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    this.#answer?.reject(cancelled());
    const answered = new Promise<void>((resolve, reject) => {
      this.#answer = { kind: ANSWERS[kind], resolve, reject };
    });
    this.#peer.say(kind, value);
    await answered;
  }

  /** What these pages hold now, as messages; what was done to disks. Resolves when there is room for more. */
  async sendPages(pages: Uint32Array): Promise<void> {
    for (let at = 0; at < pages.length; at += BATCH_PAGES) {
      const { meta, data } = this.#guest.read(pages.subarray(at, at + BATCH_PAGES));
      await this.#peer.writer.send('pages', meta, data);
    }
  }

  async sendDisks(epochs: readonly (DiskEpoch | undefined)[]): Promise<number> {
    return await this.sendChanges(changesOf(epochs));
  }

  async sendChanges(changes: Iterable<DriveChange>): Promise<number> {
    let count = 0;
    for (const { meta, data } of encodeDiskChanges(changes)) {
      count++;
      await this.#peer.writer.send('disk', meta, data);
    }
    return count;
  }

  /** Ends a round: resolves when it is acknowledged. `state`: with it the round is whole. */
  async end(counts: { readonly pages: number; readonly disks: number }, state?: Uint8Array): Promise<void> {
    const number = ++this.#number;
    if (state !== undefined) await this.#peer.writer.send('state', new Uint8Array(0), state);
    await this.#peer.writer.say('round', {
      number,
      ...counts,
      isWhole: state !== undefined,
      ticks: Math.floor(this.#guest.ticks()),
    });
    await this.#acknowledgement(number);
  }

  async #acknowledgement(number: number): Promise<void> {
    if (this.#acknowledged >= number) return;
    if (this.#error !== undefined) throw this.#error;
    await new Promise<void>((resolve, reject) => this.#acks.set(number, { resolve, reject }));
  }

  /** Of the peer. Throws OperatorError for what it may not say. */
  message(message: Message): void {
    if (message.kind === 'ack') {
      const number = countOf(jsonOf(message), 'number');
      // Nothing is acknowledged that was not sent, and nothing twice.
      if (number !== this.#acknowledged + 1 || number > this.#number) throw badStream('an acknowledgement out of turn');
      this.#acknowledged = number;
      this.#acks.get(number)?.resolve();
      this.#acks.delete(number);
      return;
    }
    if (this.#answer?.kind !== message.kind) throw badStream('the peer answers what nobody asked');
    this.#answer.resolve();
    this.#answer = undefined;
  }

  lost(error: Error): void {
    this.#error = error;
    this.#answer?.reject(error);
    for (const { reject } of this.#acks.values()) reject(error);
    this.#acks.clear();
  }
}

export function* changesOf(epochs: readonly (DiskEpoch | undefined)[]): Generator<DriveChange> {
  for (const [drive, epoch] of epochs.entries()) for (const change of epoch?.changes ?? []) yield { drive, change };
}

/** What guests wrote to layers so far, as the peer's layers are to have it. Messages that were sent. */
export async function sendLayers(rounds: SourceRounds, guest: SourceGuest): Promise<number> {
  let count = 0;
  for (const [drive, disk] of guest.disks.entries()) {
    if (disk.role !== 'layer' || disk.contents === undefined) continue;
    for await (const piece of disk.contents()) {
      const change =
        'bytes' in piece
          ? ({ kind: 'data', offset: piece.offset, bytes: piece.bytes } as const)
          : ({ kind: 'zeroes', offset: piece.offset, sizeBytes: piece.zeroBytes } as const);
      count += await rounds.sendChanges([{ drive, change }]);
    }
  }
  return count;
}

export function cancelled(): OperatorError {
  return new OperatorError('replication-stopped', 'replication was ended by the operator', 'Begin it again.');
}
