/** The door of the uplinks: opens one as its options say. */
import type { NetdevOptions, NetworkOptions } from '../../../network/index.ts';
import type { OpenedLink } from './link.ts';
import { openMacvtapLink } from './macvtap-link.ts';
import { openStreamLink } from './stream-link.ts';
import { openUserLink } from './user-link.ts';

export type { LinkFacts, OpenedLink } from './link.ts';
export { listenForFrames, MOST_UNSENT_BYTES, type StreamLink } from './stream-link.ts';
export type { UserLink } from './user-link.ts';

/**
 * Opens an uplink of its own; `shared` is none. `user` is for the user-mode network; `mayLeave` is asked where a frame is sent
 * later than in the step in which it came. Rejects with OperatorError.
 */
export async function openLink(
  options: NetdevOptions,
  user: NetworkOptions = {},
  mayLeave: () => boolean = () => true,
): Promise<OpenedLink> {
  switch (options.kind) {
    case 'user':
      return await openUserLink(options, user);
    case 'stream':
      return await openStreamLink(options, mayLeave);
    case 'macvtap':
      return await openMacvtapLink(options);
    case 'internal':
    case 'shared':
      return nowhere();
  }
}

/** A segment without a cable: guests of one network reach each other, and nobody else. */
function nowhere(): OpenedLink {
  return {
    facts: { mtuBytes: 65_535, offloads: true, carrier: true, probing: 'none' },
    link: { send: () => true },
    join: () => {},
    close: () => {},
  };
}
