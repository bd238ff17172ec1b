/**
 * A guest's conversation with the server of one shared folder, in 9P2000.L. Pure logic over a FileSystem: which message means
 * what, and which fid stands for which node. A message is answered at once, or when the host has answered; any number may be
 * under way. What each does is in requests.ts.
 */
import { P9_MESSAGE_BYTES_MAX, type P9Server } from '../../devices/index.ts';
import { ERRNO, errnoOf, Refusal } from './errno.ts';
import type { Conversation } from './fid-use.ts';
import { Fids, retain } from './fids.ts';
import type { FileSystem } from './file-system.ts';
import { errorReply, MESSAGE, MessageReader, MessageWriter, VERSION } from './message.ts';
import { type Operation, run, waitFor } from './operation.ts';
import { requests } from './requests.ts';

/** Less cannot hold a folder's entries. */
const MESSAGE_BYTES_LEAST = 4096;

/** Plain numbers, since the session began. */
export interface ShareCounters {
  errors: number;
  /** Errors that are nobody's but ours; the guest has EIO for them. */
  internalErrors: number;
}

export class Session implements P9Server, Conversation {
  readonly tag: Uint8Array;
  readonly fileSystem: FileSystem;
  readonly fids = new Fids();
  readonly counters: ShareCounters = { errors: 0, internalErrors: 0 };
  /** What went wrong last of `internalErrors`, for tests and for those who look for it. */
  lastInternalError: unknown;
  messageBytes = P9_MESSAGE_BYTES_MAX;
  epoch = 0;
  /** Answers that are under way, by tag. */
  readonly #pending = new Map<number, Promise<number>>();

  /** `tag`: the name by which the guest mounts it. */
  constructor(fileSystem: FileSystem, tag: Uint8Array) {
    this.fileSystem = fileSystem;
    this.tag = tag;
  }

  reset(): void {
    this.epoch++;
    this.fids.clear();
  }

  /** As another guest's session stands: its twin's begins there. Of the same file system; nothing is under way. */
  goOnFrom(original: Session): void {
    this.messageBytes = original.messageBytes;
    for (const [number, fid] of original.fids.entries()) {
      retain(fid);
      this.fids.set(number, fid);
    }
  }

  refuse(request: Uint8Array, reply: Uint8Array): number {
    return errorReply(reply, new MessageReader(request).tag, ERRNO.EIO);
  }

  answer(request: Uint8Array, reply: Uint8Array): number | Promise<number> {
    const reader = new MessageReader(request);
    const { tag } = reader;
    // Two under one tag could not be told apart.
    if (this.#pending.has(tag)) return this.#failed(reply, tag, new Refusal('EINVAL'));
    const answered = this.#settled(reply, tag, run(this.#perform(reader, reply)));
    if (typeof answered === 'number') return answered;
    const pending = answered.finally(() => {
      if (this.#pending.get(tag) === pending) this.#pending.delete(tag);
    });
    this.#pending.set(tag, pending);
    return pending;
  }

  #settled(reply: Uint8Array, tag: number, outcome: Outcome | Promise<Outcome>): number | Promise<number> {
    if (outcome instanceof Promise) return outcome.then((late) => this.#settled(reply, tag, late));
    return typeof outcome === 'number' ? outcome : this.#failed(reply, tag, outcome.error);
  }

  /** Never throws: an error is an outcome. */
  *#perform(reader: MessageReader, reply: Uint8Array): Operation<Outcome> {
    const { type, tag } = reader;
    try {
      const room = type === MESSAGE.version ? reply.length : Math.min(reply.length, this.messageBytes);
      const writer = new MessageWriter(reply.subarray(0, room));
      if (type === MESSAGE.version) this.#version(reader, writer);
      else if (type === MESSAGE.flush) yield* this.#flush(reader.u16(), tag);
      else {
        const request = requests[type];
        if (request === undefined) throw new Refusal('EOPNOTSUPP');
        const operation = request(this, reader, writer);
        if (operation !== undefined) yield* operation;
      }
      return writer.finish(type + 1, tag);
    } catch (error) {
      return { error };
    }
  }

  /** Begins anew: nothing of an earlier conversation is left. */
  #version(reader: MessageReader, writer: MessageWriter): void {
    const asked = reader.u32();
    const version = reader.string();
    if (asked < MESSAGE_BYTES_LEAST) throw new Refusal('EMSGSIZE');
    this.reset();
    this.messageBytes = Math.min(asked, P9_MESSAGE_BYTES_MAX);
    writer.u32(this.messageBytes);
    writer.string(version === VERSION ? VERSION : 'unknown');
  }

  /** Nothing is broken off; when what was asked for has been answered, there is nothing to wait for. */
  *#flush(old: number, own: number): Operation<void> {
    const pending = old === own ? undefined : this.#pending.get(old);
    if (pending !== undefined) yield* waitFor(pending);
  }

  #failed(reply: Uint8Array, tag: number, error: unknown): number {
    const errno = errnoOf(error);
    this.counters.errors++;
    if (errno === undefined) {
      this.counters.internalErrors++;
      this.lastInternalError = error;
    }
    return errorReply(reply, tag, errno ?? ERRNO.EIO);
  }
}

/** The answer's length, or what went wrong. */
type Outcome = number | { readonly error: unknown };
