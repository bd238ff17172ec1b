/** Opens the folders that a machine shares with its guest: all of them, or none. */
import { closeSync, constants, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { P9_TAG_BYTES_MAX } from '../../devices/index.ts';
import { isErrno, Refusal } from './errno.ts';
import { O_PATH } from './host-calls.ts';
import { HostShare } from './host-share.ts';
import { restoreSession, type SavedSession, saveSession } from './saved-session.ts';
import { Session } from './session.ts';

/** A folder of the host, in the guest. */
export interface ShareOptions {
  /** The folder on the host. */
  readonly host: string;
  /** Where the guest finds it: an absolute path. */
  readonly guest: string;
  /** The guest changes nothing in it. Default false. */
  readonly readOnly?: boolean;
}

/** A shared folder with its guest's session. */
export class OpenShare {
  readonly options: ShareOptions;
  readonly session: Session;
  readonly #share: HostShare;
  readonly #users: { count: number };

  constructor(options: ShareOptions, share: HostShare, users = { count: 0 }) {
    this.options = options;
    this.session = new Session(share, tagOf(options));
    this.#share = share;
    this.#users = users;
    users.count++;
  }

  /** The same folder for a twin, which begins as this guest's session stands when `goOnFrom` is called. */
  twin(): OpenShare {
    return new OpenShare(this.options, this.#share, this.#users);
  }

  goOnFrom(original: OpenShare): void {
    this.session.goOnFrom(original.session);
  }

  save(): SavedSession {
    return saveSession(this.session);
  }

  async restore(saved: SavedSession): Promise<void> {
    await restoreSession(this.session, saved);
  }

  close(): void {
    this.session.reset();
    this.#users.count--;
    if (this.#users.count === 0) this.#share.close();
  }
}

/**
 * `quick`: how long the host takes may show in what the guest sees; not with the instruction clock, for which everything
 * happens at once. Throws OperatorError where a folder cannot be had as asked; nothing stays open then.
 */
export function openShares(shares: readonly ShareOptions[], { quick }: { readonly quick: boolean }): OpenShare[] {
  const opened: OpenShare[] = [];
  try {
    for (const options of shares) {
      checkPlace(options, opened);
      opened.push(openOne(options, quick));
    }
    return opened;
  } catch (error) {
    for (const share of opened) share.close();
    throw error;
  }
}

/** Names by which the folders can be found from anywhere. */
export function absoluteShares(shares: readonly ShareOptions[] | undefined): readonly ShareOptions[] | undefined {
  return shares?.map((share) => ({ ...share, host: resolve(share.host) }));
}

/** Whether the guest may have written what is not on the host yet. */
export function sharesKeepWrites(shares: readonly ShareOptions[] = []): boolean {
  return shares.some(({ readOnly }) => readOnly !== true);
}

/** How the guest mounts it is in its tag: guest/init/mount-shares. */
function tagOf({ guest, readOnly }: ShareOptions): Uint8Array {
  return new TextEncoder().encode(readOnly ? `${guest}:ro` : guest);
}

function openOne(options: ShareOptions, quick: boolean): OpenShare {
  const { host, readOnly = false } = options;
  const fd = openFolder(host);
  try {
    const atOnce = quick ? 'while-fast' : 'always';
    return new OpenShare(options, new HostShare(fd, { readOnly, atOnce }));
  } catch (error) {
    closeSync(fd);
    if (!(error instanceof Refusal)) throw error;
    throw isErrno(error, 'EMFILE')
      ? new OperatorError('too-many-files', `${host} cannot be opened: too many files are open`, 'Raise "ulimit -n".')
      : new OperatorError(
          'share-not-allowed',
          `${host} is part of the host's kernel, and not shared with guests`,
          'Share a folder of files.',
        );
  }
}

function openFolder(host: string): number {
  if (process.platform !== 'linux')
    throw new OperatorError(
      'shares-need-linux',
      'folders are shared by hosts that run Linux alone, so far',
      'Bring files in with a disk (--drive), or over the network.',
    );
  try {
    return openSync(host, O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    if (isErrno(error, 'ENOENT'))
      throw new OperatorError('share-not-found', `There is no folder ${host}`, `Make it first: mkdir -p ${host}`, {
        cause: error,
      });
    if (isErrno(error, 'ENOTDIR'))
      throw new OperatorError('share-not-a-folder', `${host} is not a folder`, 'Share the folder that it is in.', {
        cause: error,
      });
    throw new OperatorError(
      'share-not-readable',
      `The folder ${host} cannot be opened (${(error as NodeJS.ErrnoException).code})`,
      'Share one that you may read.',
      { cause: error },
    );
  }
}

/** Where the guest is to find it, and nothing else yet. */
function checkPlace({ guest }: ShareOptions, others: readonly OpenShare[]): void {
  const wrong = (what: string, fix: string): OperatorError =>
    new OperatorError('bad-share', `${guest} cannot be where the guest finds a folder: ${what}`, fix);
  const names = guest.split('/').filter((name) => name !== '');
  if (!guest.startsWith('/')) throw wrong('it is no absolute path', `Write it as /${guest}`);
  if (names.length === 0) throw wrong('that is its whole file system', 'Name a folder, as in -v $PWD:/work');
  if (names.includes('.') || names.includes('..')) throw wrong('it has . or .. in it', 'Write it without them');
  if (/[:\0\n]/.test(guest)) throw wrong('there are characters in it that no mount takes', 'Choose another name');
  if (new TextEncoder().encode(guest).length > P9_TAG_BYTES_MAX - 3)
    throw wrong('it is too long', 'Choose a shorter one');
  const place = names.join('/');
  if (
    others.some(
      (other) =>
        other.options.guest
          .split('/')
          .filter((name) => name !== '')
          .join('/') === place,
    )
  )
    throw wrong('another folder is there', 'Give each its own place');
}
