/**
 * A session in a snapshot: its fids, by the names of what they stand for. Where it goes on, perhaps in another process and
 * over a folder that went on without it, each name is looked up again, under all the checks of any walk. A fid whose name now
 * is another file's, or nobody's, stands for nothing any more: whoever uses it is told so (ESTALE), as by any file server that
 * lost a file. The root is whatever folder is shared now.
 */
import { isErrno, Refusal } from './errno.ts';
import { FIDS_MAX, type Fid } from './fids.ts';
import type { FileNode, OpenMode } from './file-system.ts';
import { NO_FID } from './message.ts';
import { type Operation, run } from './operation.ts';
import type { Session } from './session.ts';

export interface SavedFid {
  readonly number: number;
  readonly uid: number;
  /** Names from the root on, a character for each byte; absent: it has lost its name. */
  readonly path?: readonly string[];
  /** Its inode number, in decimal digits. */
  readonly inode?: string;
  readonly open?: 'folder' | { readonly access: OpenMode['access']; readonly append: boolean };
}

export interface SavedSession {
  readonly messageBytes: number;
  readonly fids: readonly SavedFid[];
}

/** Characters of all paths together: guests can hold many fids of deep folders. Those beyond are saved as lost. */
const PATHS_MAX = 4 << 20;

/** Nothing is under way. */
export function saveSession({ messageBytes, fids }: Session): SavedSession {
  let room = PATHS_MAX;
  const saved = [...fids.entries()].map(([number, fid]) => {
    const path = fid.node?.path();
    room -= path?.reduce((sum, name) => sum + name.length, 0) ?? 0;
    return savedFid(number, fid, room < 0 ? undefined : path);
  });
  return { messageBytes, fids: saved };
}

function savedFid(number: number, { node, uid, file, listing }: Fid, path: readonly string[] | undefined): SavedFid {
  const open = file && { access: file.mode.access, append: file.mode.append };
  return {
    ...{ number, uid },
    ...(path === undefined ? {} : { path, inode: `${node?.inode}` }),
    ...(listing === undefined ? {} : { open: 'folder' as const }),
    ...(open === undefined ? {} : { open }),
  };
}

/** Fills a session that nobody has used. What a file says is checked; what makes no sense is thrown as Refusal EINVAL. */
export async function restoreSession(session: Session, { messageBytes, fids }: SavedSession): Promise<void> {
  if (fids.length > FIDS_MAX) throw new Refusal('EINVAL');
  session.reset();
  session.messageBytes = messageBytes;
  for (const saved of fids) {
    if (saved.number === NO_FID || session.fids.has(saved.number)) throw new Refusal('EINVAL');
    session.fids.set(saved.number, await run(found(session.fileSystem.root, saved)));
  }
}

function* found(root: FileNode, saved: SavedFid): Operation<Fid> {
  const { uid, path, inode, open } = saved;
  if (path === undefined) return { node: undefined, uid };
  let node = root;
  node.retain();
  try {
    for (const name of path) {
      const next = yield* node.lookup(name);
      node.release();
      node = next;
    }
    if (path.length > 0 && `${node.inode}` !== inode) throw new Refusal('ESTALE');
    if (open === undefined) return { node, uid };
    if (open === 'folder') return { node, uid, listing: yield* node.list() };
    return { node, uid, file: yield* node.open({ ...open, truncate: false }) };
  } catch (error) {
    node.release();
    // Its own descriptors, and none of the folder's, are what may be short.
    if (isErrno(error, 'EMFILE')) throw error;
    return { node: undefined, uid };
  }
}
