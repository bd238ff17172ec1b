/** The door of shared folders: a 9P2000.L server for each, over the host's files. */

export { isRefusal } from './errno.ts';
export { FIDS_MAX } from './fids.ts';
export { absoluteShares, OpenShare, openShares, type ShareOptions, sharesKeepWrites } from './open-shares.ts';
export type { SavedFid, SavedSession } from './saved-session.ts';
export { Session, type ShareCounters } from './session.ts';
