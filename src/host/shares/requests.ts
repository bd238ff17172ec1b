/**
 * What each request of 9P2000.L does (diod's protocol.md; Linux fs/9p is the client that matters). In the order of their
 * numbers. Fields are copied out of the request before anything is waited for, except data, which stays until the answer.
 *
 * Left out: devices and pipes (mknod), extended attributes, authentication. Locks are always granted: Linux keeps those of one
 * guest itself; between guests, and with the host's programs, there are none.
 */
import { Refusal } from './errno.ts';
import { add, type Conversation, checkUnopened, found, give, openFid, using } from './fid-use.ts';
import type { Fid } from './fids.ts';
import type { FileNode, Qid } from './file-system.ts';
import { DATA_HEADER_BYTES, MESSAGE, type MessageReader, type MessageWriter, NO_FID } from './message.ts';
import type { Operation } from './operation.ts';
import { changesOf, cookieOf, entryBytes, modeOf, O, writeAttributes, writeEntry } from './request-fields.ts';

type Request = (talk: Conversation, reader: MessageReader, writer: MessageWriter) => Operation<void> | void;

const COMPONENTS_MAX = 16;
/** Each entry is looked at, on a thread that serves others too: a few milliseconds' worth. */
const ENTRIES_BYTES_MAX = 16 << 10;
const AT_REMOVEDIR = 0x200;

const LOCK_SUCCESS = 0;
const F_UNLCK = 2;

/** By type. */
export const requests: Readonly<Record<number, Request>> = {
  *[MESSAGE.statfs](talk, reader, writer) {
    const statFs = yield* using(talk, reader.u32(), ({ node }) => node.statFs());
    writer.u32(Number(BigInt.asUintN(32, statFs.type)));
    writer.u32(Number(BigInt.asUintN(32, statFs.blockBytes)));
    for (const count of [statFs.blocks, statFs.blocksFree, statFs.blocksAvailable, statFs.files, statFs.filesFree])
      writer.u64(BigInt.asUintN(64, count));
    writer.u64(0n);
    writer.u32(255);
  },

  *[MESSAGE.lopen](talk, reader, writer) {
    const number = reader.u32();
    const flags = reader.u32();
    yield* using(talk, number, function* ({ node, fid }) {
      checkUnopened(fid);
      const opened =
        node.kind === 'folder' ? yield* listFolder(node, flags) : { file: yield* node.open(modeOf(flags)) };
      give(talk, number, fid, { node, uid: fid.uid, ...opened });
      writer.qid(node.qid);
      writer.u32(0);
    });
  },

  *[MESSAGE.lcreate](talk, reader, writer) {
    const number = reader.u32();
    const name = reader.string();
    const flags = reader.u32();
    const mode = reader.u32();
    const gid = reader.u32();
    yield* using(talk, number, function* ({ node: folder, fid }) {
      checkUnopened(fid);
      const how = { mode, isNew: (flags & O.exclusive) !== 0, owner: { uid: fid.uid, gid } };
      const { node, file } = yield* folder.create(name, how, modeOf(flags));
      try {
        give(talk, number, fid, { node, uid: fid.uid, file });
      } finally {
        node.release();
      }
      writer.qid(node.qid);
      writer.u32(0);
    });
  },

  *[MESSAGE.symlink](talk, reader, writer) {
    const number = reader.u32();
    const name = reader.string();
    const target = reader.string();
    const gid = reader.u32();
    const made = yield* using(talk, number, ({ node, fid }) => node.makeLink(name, target, { uid: fid.uid, gid }));
    // Before what may find no room.
    made.release();
    writer.qid(made.qid);
  },

  [MESSAGE.mknod]: () => refuse('EPERM'),

  *[MESSAGE.rename](talk, reader) {
    const number = reader.u32();
    const to = reader.u32();
    const name = reader.string();
    yield* using(talk, number, ({ node }) =>
      using(talk, to, function* ({ node: folder }) {
        yield* node.parent.rename(lastName(node), folder, name);
      }),
    );
  },

  [MESSAGE.readlink](talk, reader, writer) {
    const { node } = found(talk, reader.u32());
    if (node.kind !== 'link') throw new Refusal('EINVAL');
    writer.string(node.target);
  },

  *[MESSAGE.getattr](talk, reader, writer) {
    writeAttributes(writer, yield* using(talk, reader.u32(), ({ node }) => node.attributes()));
  },

  *[MESSAGE.setattr](talk, reader) {
    const number = reader.u32();
    const changes = changesOf(reader);
    yield* using(talk, number, ({ node, fid }) => node.change(changes, fid.file));
  },

  [MESSAGE.xattrwalk]: () => refuse('EOPNOTSUPP'),

  [MESSAGE.xattrcreate]: () => refuse('EOPNOTSUPP'),

  *[MESSAGE.readdir](talk, reader, writer) {
    const number = reader.u32();
    const cookie = cookieOf(reader.u64());
    const room = Math.min(reader.u32(), ENTRIES_BYTES_MAX, writer.room - 4);
    yield* using(talk, number, function* ({ fid: { listing } }) {
      if (listing === undefined) throw new Refusal('EBADF');
      const at = DATA_HEADER_BYTES - 4;
      writer.u32(0);
      let bytes = 0;
      for (let last = cookie; ; ) {
        const entry = yield* listing.after(last);
        if (entry === undefined) break;
        const size = entryBytes(entry);
        if (bytes + size > room) {
          // Whoever has no room for one would take none at all for the folder's end.
          if (bytes === 0) throw new Refusal('EINVAL');
          break;
        }
        writeEntry(writer, entry);
        bytes += size;
        last = entry.cookie;
      }
      writer.patch(at, bytes);
    });
  },

  *[MESSAGE.fsync](talk, reader) {
    const number = reader.u32();
    const dataOnly = reader.u32() !== 0;
    yield* using(talk, number, function* ({ fid: { file, listing } }) {
      if (file !== undefined) yield* file.sync(dataOnly);
      else if (listing !== undefined) yield* listing.sync();
      else throw new Refusal('EBADF');
    });
  },

  [MESSAGE.lock](talk, reader, writer) {
    openFid(talk, reader.u32());
    writer.u8(LOCK_SUCCESS);
  },

  [MESSAGE.getlock](talk, reader, writer) {
    openFid(talk, reader.u32());
    reader.u8();
    const [start, length, process, client] = [reader.u64(), reader.u64(), reader.u32(), reader.string()];
    writer.u8(F_UNLCK);
    writer.u64(start);
    writer.u64(length);
    writer.u32(process);
    writer.string(client);
  },

  *[MESSAGE.link](talk, reader) {
    const folder = reader.u32();
    const number = reader.u32();
    const name = reader.string();
    yield* using(talk, folder, ({ node: into }) => using(talk, number, ({ node }) => into.link(name, node)));
  },

  *[MESSAGE.mkdir](talk, reader, writer) {
    const number = reader.u32();
    const name = reader.string();
    const mode = reader.u32();
    const gid = reader.u32();
    const made = yield* using(talk, number, ({ node, fid }) => node.makeFolder(name, mode, { uid: fid.uid, gid }));
    // Before what may find no room.
    made.release();
    writer.qid(made.qid);
  },

  *[MESSAGE.renameat](talk, reader) {
    const from = reader.u32();
    const name = reader.string();
    const to = reader.u32();
    const toName = reader.string();
    yield* using(talk, from, ({ node }) => using(talk, to, ({ node: folder }) => node.rename(name, folder, toName)));
  },

  *[MESSAGE.unlinkat](talk, reader) {
    const number = reader.u32();
    const name = reader.string();
    const isFolder = (reader.u32() & AT_REMOVEDIR) !== 0;
    yield* using(talk, number, ({ node }) => node.remove(name, isFolder));
  },

  [MESSAGE.auth]: () => refuse('EOPNOTSUPP'),

  *[MESSAGE.attach](talk, reader, writer) {
    const number = reader.u32();
    const authenticated = reader.u32();
    reader.string();
    reader.string();
    const uid = reader.u32();
    if (authenticated !== NO_FID) throw new Refusal('EINVAL');
    const { root } = talk.fileSystem;
    add(talk, number, { node: root, uid: uid === NO_FID ? 0 : uid }, talk.epoch);
    writer.qid((yield* root.attributes()).qid);
  },

  *[MESSAGE.walk](talk, reader, writer) {
    const number = reader.u32();
    const newNumber = reader.u32();
    const names = Array.from({ length: checkedCount(reader.u16()) }, () => reader.string());
    const { epoch } = talk;
    yield* using(talk, number, function* ({ node: start, fid }) {
      if (newNumber === number) checkUnopened(fid);
      else talk.fids.checkFree(newNumber);
      const { node, qids } = yield* walk(start, names);
      try {
        if (qids.length === names.length) {
          if (newNumber === number) give(talk, number, fid, { node, uid: fid.uid });
          else add(talk, newNumber, { node, uid: fid.uid }, epoch);
        }
      } finally {
        node.release();
      }
      writer.u16(qids.length);
      for (const qid of qids) writer.qid(qid);
    });
  },

  *[MESSAGE.read](talk, reader, writer) {
    const number = reader.u32();
    const offset = Number(reader.u64());
    const count = Math.min(reader.u32(), writer.room - 4);
    yield* using(talk, number, function* ({ fid: { file } }) {
      if (file === undefined) throw new Refusal('EBADF');
      writer.u32(0);
      const into = writer.reserve(Math.max(0, count));
      const read = into.length === 0 ? 0 : yield* file.read(offset, into);
      writer.shrink(into.length - read);
      writer.patch(DATA_HEADER_BYTES - 4, read);
    });
  },

  *[MESSAGE.write](talk, reader, writer) {
    const number = reader.u32();
    const offset = Number(reader.u64());
    const data = reader.bytes(reader.u32());
    if (talk.fileSystem.readOnly) throw new Refusal('EROFS');
    yield* using(talk, number, function* ({ fid: { file } }) {
      if (file === undefined) throw new Refusal('EBADF');
      writer.u32(data.length === 0 ? 0 : yield* file.write(offset, data));
    });
  },

  [MESSAGE.clunk](talk, reader) {
    talk.fids.remove(reader.u32());
  },

  /** The fid is given back whether the file goes or not. */
  *[MESSAGE.remove](talk, reader) {
    const number = reader.u32();
    try {
      yield* using(talk, number, ({ node }) => node.parent.remove(lastName(node), node.kind === 'folder', node));
    } finally {
      // A guest may have given it back itself meanwhile.
      if (talk.fids.has(number)) talk.fids.remove(number);
    }
  },
};

function* listFolder(node: FileNode, flags: number): Operation<Pick<Fid, 'listing'>> {
  if ((flags & O.accessMode) !== 0) throw new Refusal('EISDIR');
  return { listing: yield* node.list() };
}

/** As far as the names go; if not one of them does, throws what stood in the way. The node is the caller's to release. */
function* walk(start: FileNode, names: readonly string[]): Operation<{ node: FileNode; qids: Qid[] }> {
  const qids: Qid[] = [];
  let node = start;
  node.retain();
  for (const name of names) {
    try {
      const next = yield* step(node, name);
      node.release();
      node = next;
    } catch (error) {
      if (qids.length > 0) break;
      node.release();
      throw error;
    }
    qids.push(node.qid);
  }
  return { node, qids };
}

/** `..` goes no higher than the share. */
function* step(node: FileNode, name: string): Operation<FileNode> {
  if (node.kind !== 'folder') throw new Refusal('ENOTDIR');
  if (name !== '..') return yield* node.lookup(name);
  node.parent.retain();
  return node.parent;
}

function checkedCount(count: number): number {
  if (count > COMPONENTS_MAX) throw new Refusal('EINVAL');
  return count;
}

/** Throws Refusal EBUSY for the root, ESTALE for what has lost its name. */
function lastName(node: FileNode): string {
  const path = node.path();
  if (path === undefined) throw new Refusal('ESTALE');
  const name = path.at(-1);
  if (name === undefined) throw new Refusal('EBUSY');
  return name;
}

function refuse(code: Refusal['code']): never {
  throw new Refusal(code);
}
