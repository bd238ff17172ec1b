/** Whence the guest of a machine comes: what it boots from, or what it goes on from, here or elsewhere. */
import type { Replica } from '../replication/index.ts';
import type { SavedMachine } from '../snapshots/index.ts';
import type { SavedConversation } from './agent-link.ts';
import type { BootFiles } from './boot-files.ts';
import type { LocalMachine } from './machine.ts';

export type Origin =
  /** Given back when the guest has its copy. */
  | { readonly kind: 'files'; readonly files: BootFiles }
  | { readonly kind: 'snapshot'; readonly saved: SavedMachine }
  /** `quiesce`: the original is to freeze its file systems first. */
  | { readonly kind: 'twin'; readonly original: LocalMachine; readonly quiesce: boolean }
  /** It runs elsewhere, and stands in here when it is told to. */
  | { readonly kind: 'replica'; readonly replica: Replica };

/** Of the machine's clock when the guest begins here. */
export function ticksAtFirst(origin: Origin): bigint {
  if (origin.kind === 'snapshot') return origin.saved.ticks;
  return origin.kind === 'replica' ? origin.replica.ticks : 0n;
}

/** What the guest's agent has been told so far; undefined for one that was told nothing. */
export function conversationOf(origin: Origin): SavedConversation | undefined {
  switch (origin.kind) {
    case 'files':
      return undefined;
    case 'snapshot':
      return origin.saved.agent;
    case 'twin':
      return origin.original.nextConversation;
    case 'replica':
      return { nextId: origin.replica.nextCommand, waiting: new Uint8Array() };
  }
}
