/** What the 9P device asks of its host: a server of 9P2000.L messages, of which the device itself knows no more than where they end. */

/** The longest message that is taken or given, header included. */
export const P9_MESSAGE_BYTES_MAX = 512 << 10;
/** What any server needs of room to say that something is wrong: size[4] type[1] tag[2] errno[4]. */
export const P9_REPLY_BYTES_MIN = 11;

export interface P9Server {
  /** By which the guest names it when it mounts: mount_tag. At least one byte, none of them zero. */
  readonly tag: Uint8Array;
  /** A driver begins anew: what was open is closed, and what is under way comes to nothing. */
  reset(): void;
  /**
   * Answers a message: the bytes of `reply` that are its answer. Both arrays are the server's until it has answered; they
   * are ordinary memory, `reply` of at least P9_REPLY_BYTES_MIN bytes. Never throws, never rejects: what cannot be done is an answer.
   */
  answer(request: Uint8Array, reply: Uint8Array): number | Promise<number>;
  /** The answer to a message that was taken and will not be done. */
  refuse(request: Uint8Array, reply: Uint8Array): number;
}
