/**
 * A node of a shared folder: a descriptor of what was once found by a name, opened so that nothing of it is touched (O_PATH).
 * What is done to it goes by the descriptor, and so meets the same file however names change meanwhile, in the guest or by
 * anybody on the host; what is done to an entry of it goes by the descriptor and one name, of which the kernel follows nothing.
 *
 *     /proc/self/fd/12         the node itself: chmod, truncate, open, list
 *     /proc/self/fd/12/name    an entry of it: mkdir, unlink, rename, lstat; the last component is never followed
 *
 * Long: what is done to a node, and to the entries of a folder, stands together.
 *
 * Nodes know parents and names, so that links can be made to them and snapshots can name them. Those are a memory, not the
 * truth: what depends on one looks again.
 */
import { type BigIntStats, constants } from 'node:fs';
import { isErrno, Refusal } from './errno.ts';
import {
  type Attributes,
  type Changes,
  type FileNode,
  type Listing,
  type OpenFile,
  type OpenMode,
  type Owner,
  type Qid,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type StatFs,
  wrongName,
} from './file-system.ts';
import { closeQuietly, type HostCalls, hostTime, OPEN_NODE } from './host-calls.ts';
import { type EntryKind, HostFile, HostListing } from './host-file.ts';
import type { Operation } from './operation.ts';
import type { Owners } from './owners.ts';

/** Deeper than any path that a system call takes. */
const DEPTH_MAX = 4096;
const SET_ID = 0o6000;
const MODE_BITS = 0o7777;
/** Of looking again where names change all the time. */
const TRIES = 8;
const OPEN_QUIETLY = constants.O_NONBLOCK | constants.O_NOCTTY | constants.O_NOFOLLOW;
const KIND_SHIFT = 12n;

/** What a node's share does for it. */
export interface NodeHome {
  readonly calls: HostCalls;
  readonly readOnly: boolean;
  readonly owners: Owners;
  readonly umask: number;
  take(): void;
  give(): void;
  enter(fd: number, device: bigint): void;
  qidOf(stat: BigIntStats): Qid;
}

interface Found {
  /** The node's from now on, as is what was taken of the share for it. */
  readonly fd: number;
  readonly stat: BigIntStats;
  readonly name: string;
  readonly target: string;
  readonly parent: HostNode | undefined;
}

export class HostNode implements FileNode {
  readonly kind: FileNode['kind'];
  readonly qid: Qid;
  readonly target: string;
  readonly #home: NodeHome;
  readonly #fd: number;
  readonly #device: bigint;
  readonly #inode: bigint;
  /** Nodes that are held, by the names under which they were found. */
  readonly #children = new Map<string, HostNode>();
  #parent: HostNode;
  #name: string;
  #users = 1;

  constructor(home: NodeHome, { fd, stat, name, target, parent }: Found) {
    this.#home = home;
    this.#fd = fd;
    this.#device = stat.dev;
    this.#inode = stat.ino;
    this.qid = home.qidOf(stat);
    this.kind = kindOf(stat);
    this.target = target;
    this.#name = name;
    this.#parent = parent ?? this;
    if (parent === undefined) return;
    parent.retain();
    parent.#children.set(name, this);
  }

  retain(): void {
    this.#users++;
  }

  /** With the last, its parent's is released as well, and so on: in a loop, for a guest makes them as deep as it likes. */
  release(): void {
    let node: HostNode = this;
    while (--node.#users === 0) {
      closeQuietly(node.#fd);
      node.#home.give();
      node.forgetName();
      if (node.#parent === node) return;
      node = node.#parent;
    }
  }

  get parent(): HostNode {
    return this.#parent;
  }

  path(): readonly string[] | undefined {
    const names: string[] = [];
    let node: HostNode = this;
    for (; node.#parent !== node; node = node.#parent) {
      if (!node.#hasName || names.length > DEPTH_MAX) return undefined;
      names.unshift(node.#name);
    }
    return names;
  }

  get inode(): bigint {
    return this.#inode;
  }

  /** The node itself, as a path. */
  get place(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  *attributes(): Operation<Attributes> {
    const { owners } = this.#home;
    const stat = yield* this.#calls.fstat(this.#fd);
    return {
      qid: this.#home.qidOf(stat),
      mode: Number(stat.mode),
      uid: owners.uidToGuest(Number(stat.uid)),
      gid: owners.gidToGuest(Number(stat.gid)),
      links: stat.nlink,
      device: stat.rdev,
      sizeBytes: stat.size,
      blockBytes: stat.blksize,
      blocks: stat.blocks,
      accessedNs: stat.atimeNs,
      modifiedNs: stat.mtimeNs,
      changedNs: stat.ctimeNs,
    };
  }

  /** Owners first: the host takes set-id bits away with them. */
  *change({ mode, uid, gid, sizeBytes, accessed, modified }: Changes, file?: OpenFile): Operation<void> {
    this.#checkWritable();
    if (uid !== undefined || gid !== undefined) yield* this.#giveTo(uid, gid);
    if (mode !== undefined) yield* this.#calls.chmod(this.place, this.#allowed(mode));
    if (sizeBytes !== undefined) yield* this.#resize(sizeBytes, file);
    if (accessed === undefined && modified === undefined) return;
    const stat = yield* this.#calls.fstat(this.#fd);
    yield* this.#calls.utimes(this.place, hostTime(accessed, stat.atimeNs), hostTime(modified, stat.mtimeNs));
  }

  /** Only files: of nothing else it is known what opening does. */
  *open(mode: OpenMode): Operation<OpenFile> {
    if (mode.access !== 'read' || mode.truncate) this.#checkWritable();
    if (this.kind === 'folder') throw new Refusal('EISDIR');
    if (this.kind === 'link') throw new Refusal('ELOOP');
    if (this.kind !== 'file') throw new Refusal('EPERM');
    // By the descriptor: it is this file, and cannot be another.
    return yield* this.#openAt(this.place, flagsOf(mode), mode);
  }

  *statFs(): Operation<StatFs> {
    const found = yield* this.#calls.statFs(this.place);
    return {
      type: found.type,
      blockBytes: found.bsize,
      blocks: found.blocks,
      blocksFree: found.bfree,
      blocksAvailable: found.bavail,
      files: found.files,
      filesFree: found.ffree,
    };
  }

  *lookup(name: string): Operation<HostNode> {
    const at = this.#at(name);
    const known = this.#children.get(name);
    if (known !== undefined) {
      known.retain();
      try {
        if (known.is(yield* this.#calls.lstat(at))) {
          known.retain();
          return known;
        }
      } finally {
        known.release();
      }
    }
    for (let left = TRIES; left > 0; left--) {
      const found = yield* this.#find(name, at);
      if (found !== undefined) return found;
    }
    throw new Refusal('ESTALE');
  }

  /** What stands in the folder under a name: for its listing. */
  *entry(name: string): Operation<EntryKind | undefined> {
    try {
      const stat = yield* this.#calls.lstat(`${this.place}/${name}`);
      return { qid: this.#home.qidOf(stat), kind: Number((stat.mode & BigInt(S_IFMT)) >> KIND_SHIFT) };
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  *list(): Operation<Listing> {
    if (this.kind !== 'folder') throw new Refusal('ENOTDIR');
    // Whether it may be read is said when it is opened, not when it is read.
    this.#home.take();
    try {
      const dir = yield* this.#calls.openFolder(this.place);
      return new HostListing(this.#calls, this, dir, () => this.#home.give());
    } catch (error) {
      this.#home.give();
      throw error;
    }
  }

  *create(
    name: string,
    { mode, isNew, owner }: { readonly mode: number; readonly isNew: boolean; readonly owner: Owner },
    open: OpenMode,
  ): Operation<{ readonly node: HostNode; readonly file: OpenFile }> {
    this.#checkWritable();
    const at = this.#at(name);
    const flags = flagsOf(open) | constants.O_CREAT | constants.O_EXCL;
    for (let left = TRIES; left > 0; left--) {
      const made = yield* this.#unless('EEXIST', isNew, this.#openAt(at, flags, open, this.#files(mode)));
      const node = yield* this.#unless('ENOENT', left === 1, this.lookup(name));
      if (node === undefined) {
        made?.release();
        continue;
      }
      try {
        if (made === undefined) return { node, file: yield* node.open(open) };
        yield* node.#settle(this.#files(mode), owner);
        return { node, file: made };
      } catch (error) {
        made?.release();
        node.release();
        throw error;
      }
    }
    throw new Refusal('ESTALE');
  }

  *makeFolder(name: string, mode: number, owner: Owner): Operation<HostNode> {
    this.#checkWritable();
    yield* this.#calls.mkdir(this.#at(name), mode & MODE_BITS);
    return yield* this.#made(name, mode & MODE_BITS, owner);
  }

  *makeLink(name: string, target: string, owner: Owner): Operation<HostNode> {
    this.#checkWritable();
    if (target === '' || target.includes('\0')) throw new Refusal('EINVAL');
    yield* this.#calls.symlink(target, this.#at(name));
    return yield* this.#made(name, undefined, owner);
  }

  *link(name: string, node: HostNode): Operation<void> {
    this.#checkWritable();
    if (node.kind !== 'file' && node.kind !== 'link') throw new Refusal('EPERM');
    const from = yield* node.#nameNow();
    // Should the name have become another's since: that one is an entry of the share, too.
    yield* this.#calls.link(from, this.#at(name));
  }

  *remove(name: string, isFolder: boolean, node?: HostNode): Operation<void> {
    this.#checkWritable();
    const at = this.#at(name);
    if (node !== undefined) yield* node.#nameNow();
    if (isFolder) yield* this.#calls.rmdir(at);
    else yield* this.#calls.unlink(at);
    this.#children.get(name)?.forgetName();
  }

  *rename(name: string, to: HostNode, toName: string): Operation<void> {
    this.#checkWritable();
    yield* this.#calls.rename(this.#at(name), to.#at(toName));
    const moved = this.#children.get(name);
    if (to === this && name === toName) return;
    to.#children.get(toName)?.forgetName();
    if (moved !== undefined) moved.#move(to, toName);
  }

  get #calls(): HostCalls {
    return this.#home.calls;
  }

  is({ dev, ino }: BigIntStats): boolean {
    return dev === this.#device && ino === this.#inode;
  }

  get #hasName(): boolean {
    return this.#parent.#children.get(this.#name) === this;
  }

  /** It has another name, or none. */
  forgetName(): void {
    if (this.#hasName) this.#parent.#children.delete(this.#name);
  }

  #move(to: HostNode, name: string): void {
    this.forgetName();
    // Only where others have moved folders behind our back could it come below itself.
    for (let above = to, depth = 0; above.#parent !== above; above = above.#parent)
      if (above === this || depth++ > DEPTH_MAX) return;
    to.retain();
    this.#parent.release();
    this.#parent = to;
    this.#name = name;
    to.#children.set(name, this);
  }

  /** Undefined: a link was found, and another stood there when it was to be read. */
  *#find(name: string, at: string): Operation<HostNode | undefined> {
    this.#home.take();
    let fd = -1;
    try {
      fd = yield* this.#calls.open(at, OPEN_NODE);
      const stat = yield* this.#calls.fstat(fd);
      this.#home.enter(fd, stat.dev);
      const target = kindOf(stat) === 'link' ? yield* this.#unless('EINVAL', false, this.#calls.readLink(at)) : '';
      if (target !== undefined) return this.#adopt({ fd, stat, name, target, parent: this });
      closeQuietly(fd);
      this.#home.give();
      return undefined;
    } catch (error) {
      if (fd >= 0) closeQuietly(fd);
      this.#home.give();
      throw error;
    }
  }

  /** A node for what was found; or the one that there is of it already. */
  #adopt(found: Found): HostNode {
    const known = this.#children.get(found.name);
    if (known?.is(found.stat)) {
      closeQuietly(found.fd);
      this.#home.give();
      known.retain();
      return known;
    }
    known?.forgetName();
    return new HostNode(this.#home, found);
  }

  /** The path of an entry, to take one step on. */
  #at(name: string): string {
    if (this.kind !== 'folder') throw new Refusal('ENOTDIR');
    const wrong = wrongName(name);
    if (wrong !== undefined) throw new Refusal(wrong);
    return `${this.place}/${name}`;
  }

  /** The path of the entry that is this node; throws Refusal ESTALE where its name has become another's. */
  *#nameNow(): Operation<string> {
    if (this.#parent === this) throw new Refusal('EBUSY');
    const at = this.#parent.#at(this.#name);
    if (!this.is(yield* this.#calls.lstat(at))) throw new Refusal('ESTALE');
    return at;
  }

  *#openAt(path: string, flags: number, mode: OpenMode, creation = 0): Operation<HostFile> {
    this.#home.take();
    try {
      const isReopened = path === this.place;
      const quiet = isReopened ? OPEN_QUIETLY & ~constants.O_NOFOLLOW : OPEN_QUIETLY;
      const fd = yield* this.#calls.open(path, flags | quiet, creation);
      return new HostFile(this.#calls, fd, mode, () => this.#home.give());
    } catch (error) {
      this.#home.give();
      throw error;
    }
  }

  /** Undefined where that went wrong, unless it must not. */
  *#unless<T>(
    code: 'EEXIST' | 'ENOENT' | 'EINVAL',
    isFinal: boolean,
    operation: Operation<T>,
  ): Operation<T | undefined> {
    try {
      return yield* operation;
    } catch (error) {
      if (isFinal || !isErrno(error, code)) throw error;
      return undefined;
    }
  }

  *#made(name: string, mode: number | undefined, owner: Owner): Operation<HostNode> {
    const node = yield* this.lookup(name);
    try {
      yield* node.#settle(mode, owner);
      return node;
    } catch (error) {
      node.release();
      throw error;
    }
  }

  /** Of what was just made: the guest has its own umask, and owners. */
  *#settle(mode: number | undefined, { uid, gid }: Owner): Operation<void> {
    const { owners, umask } = this.#home;
    if (owners.isHostRoot && (uid !== 0 || gid !== 0)) yield* this.#giveTo(uid, gid);
    if (mode !== undefined && (mode & umask) !== 0 && this.kind !== 'link') yield* this.#calls.chmod(this.place, mode);
  }

  *#giveTo(uid: number | undefined, gid: number | undefined): Operation<void> {
    const [hostUid, hostGid] = this.#home.owners.toHost(uid, gid);
    if (hostUid !== -1 || hostGid !== -1) yield* this.#calls.chown(this.place, hostUid, hostGid);
  }

  *#resize(sizeBytes: number, file: OpenFile | undefined): Operation<void> {
    if (this.kind !== 'file') throw new Refusal(this.kind === 'folder' ? 'EISDIR' : 'EINVAL');
    if (file !== undefined && file.mode.access !== 'read') {
      yield* file.resize(sizeBytes);
      return;
    }
    const own = yield* this.open({ access: 'write', truncate: false, append: false });
    try {
      yield* own.resize(sizeBytes);
    } finally {
      own.release();
    }
  }

  #allowed(mode: number): number {
    return this.kind === 'folder' ? mode & MODE_BITS : this.#files(mode);
  }

  /** A guest makes no programs that run on the host as somebody else. */
  #files(mode: number): number {
    return mode & MODE_BITS & ~SET_ID;
  }

  #checkWritable(): void {
    if (this.#home.readOnly) throw new Refusal('EROFS');
  }
}

function kindOf({ mode }: BigIntStats): FileNode['kind'] {
  switch (Number(mode) & S_IFMT) {
    case S_IFDIR:
      return 'folder';
    case S_IFREG:
      return 'file';
    case S_IFLNK:
      return 'link';
    default:
      return 'other';
  }
}

function flagsOf({ access, truncate, append }: OpenMode): number {
  const { O_RDONLY, O_WRONLY, O_RDWR, O_TRUNC, O_APPEND } = constants;
  const way = access === 'read' ? O_RDONLY : access === 'write' ? O_WRONLY : O_RDWR;
  return way | (truncate ? O_TRUNC : 0) | (append ? O_APPEND : 0);
}
