/**
 * The file system that a share's server asks: a tree of nodes that are held open, and never followed out of. A node stays
 * what it is however its name changes; names are single components, a character for each byte.
 *
 * Nodes and files are counted: whoever gets one from an operation releases it, and retains it for as long as it is used in
 * another operation. What cannot be done is thrown as a Refusal, or as the host's system error.
 */
import type { Operation } from './operation.ts';

/** What a node is, for all its life (9P: qid). */
export interface Qid {
  /** QT_DIR, QT_SYMLINK, or 0. */
  readonly type: number;
  /** Changes with the content; never 0, which would say that it must not be cached. */
  readonly version: number;
  /** Unique in the share, as an inode number is. */
  readonly path: bigint;
}

export interface Attributes {
  readonly qid: Qid;
  /** With the bits of its kind. */
  readonly mode: number;
  /** As the guest sees them. */
  readonly uid: number;
  readonly gid: number;
  readonly links: bigint;
  readonly device: bigint;
  readonly sizeBytes: bigint;
  readonly blockBytes: bigint;
  /** Of 512 bytes. */
  readonly blocks: bigint;
  readonly accessedNs: bigint;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
}

/** Nanoseconds since 1970, or the host's time now. */
export type NewTime = bigint | 'now';

/** What is to change of a node; what is absent stays. */
export interface Changes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  readonly accessed?: NewTime;
  readonly modified?: NewTime;
}

/** Whom what is made is to belong to, where the host lets its user say so. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface OpenMode {
  readonly access: 'read' | 'write' | 'both';
  readonly truncate: boolean;
  readonly append: boolean;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly qid: Qid;
  /** DT_DIR and so on, as in `struct dirent`. */
  readonly kind: number;
  /** By which the next one is asked for. */
  readonly cookie: number;
}

export interface StatFs {
  readonly type: bigint;
  readonly blockBytes: bigint;
  readonly blocks: bigint;
  readonly blocksFree: bigint;
  readonly blocksAvailable: bigint;
  readonly files: bigint;
  readonly filesFree: bigint;
}

interface Counted {
  retain(): void;
  release(): void;
}

export interface OpenFile extends Counted {
  readonly mode: OpenMode;
  read(offset: number, into: Uint8Array): Operation<number>;
  write(offset: number, from: Uint8Array): Operation<number>;
  resize(sizeBytes: number): Operation<void>;
  sync(dataOnly: boolean): Operation<void>;
}

/** Of a folder; one operation at a time. */
export interface Listing extends Counted {
  /** The entry behind the one with that cookie; 0: the first. */
  after(cookie: number): Operation<DirectoryEntry | undefined>;
  sync(): Operation<void>;
}

export interface FileNode extends Counted {
  readonly kind: 'folder' | 'file' | 'link' | 'other';
  /** As it was when the node was looked up; `attributes` has what it is now. */
  readonly qid: Qid;
  /** Its number on the host. */
  readonly inode: bigint;
  /** Of a link: where it points. It is the guest who follows it. */
  readonly target: string;
  /** The share's root is its own. */
  readonly parent: FileNode;
  /** Names from the root on; undefined where it has lost its name. */
  path(): readonly string[] | undefined;
  attributes(): Operation<Attributes>;
  /** `file`: it is open already, which helps where its mode would not let it be opened again. */
  change(changes: Changes, file?: OpenFile): Operation<void>;
  open(mode: OpenMode): Operation<OpenFile>;
  statFs(): Operation<StatFs>;

  // Of folders.

  /** Never follows a link. */
  lookup(name: string): Operation<FileNode>;
  list(): Operation<Listing>;
  /** Makes and opens a file; one that is there already is opened, unless `isNew`. */
  create(
    name: string,
    how: { readonly mode: number; readonly isNew: boolean; readonly owner: Owner },
    open: OpenMode,
  ): Operation<{ readonly node: FileNode; readonly file: OpenFile }>;
  makeFolder(name: string, mode: number, owner: Owner): Operation<FileNode>;
  makeLink(name: string, target: string, owner: Owner): Operation<FileNode>;
  /** Another name for the node, of the same share. */
  link(name: string, node: FileNode): Operation<void>;
  /** Of a folder, or of anything else; with `node`, only if the name is still that node's. */
  remove(name: string, isFolder: boolean, node?: FileNode): Operation<void>;
  /** `to` is of the same share. */
  rename(name: string, to: FileNode, toName: string): Operation<void>;
}

export interface FileSystem {
  readonly readOnly: boolean;
  readonly root: FileNode;
}

/** Types of a qid. */
export const QT_DIR = 0x80;
export const QT_SYMLINK = 0x02;

/** Kinds in a mode (sys/stat.h). */
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

const NAME_BYTES_MAX = 255;

/** What is wrong with a component's name; undefined: nothing. `..` and `.` are names of nothing. */
export function wrongName(name: string): 'EINVAL' | 'ENAMETOOLONG' | undefined {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) return 'EINVAL';
  return name.length > NAME_BYTES_MAX ? 'ENAMETOOLONG' : undefined;
}
