/** Fields of requests and answers that are more than numbers: flags, changes, attributes, entries of folders. */
import { Refusal } from './errno.ts';
import type { Attributes, Changes, DirectoryEntry, NewTime, OpenMode } from './file-system.ts';
import { type MessageReader, type MessageWriter, QID_BYTES } from './message.ts';

const NS_PER_S = 1_000_000_000n;

/** Flags of Tlopen and Tlcreate: Linux's own. */
export const O = { accessMode: 3, create: 0o100, exclusive: 0o200, truncate: 0o1000, append: 0o2000 } as const;
/** What Tgetattr answers: all that stat has. */
const GETATTR_BASIC = 0x7ffn;
const SETATTR = {
  ...{ mode: 1, uid: 2, gid: 4, size: 8, atime: 0x10, mtime: 0x20, atimeSet: 0x80, mtimeSet: 0x100 },
} as const;

export function modeOf(flags: number): OpenMode {
  const access = (['read', 'write', 'both'] as const)[flags & O.accessMode];
  if (access === undefined) throw new Refusal('EINVAL');
  return { access, truncate: (flags & O.truncate) !== 0, append: (flags & O.append) !== 0 };
}

/** Beyond what a number counts exactly lies no entry. */
export function cookieOf(offset: bigint): number {
  return Number(offset > 0x7fff_ffffn ? 0x7fff_ffffn : offset);
}

export function entryBytes({ name }: DirectoryEntry): number {
  return QID_BYTES + 8 + 1 + 2 + name.length;
}

export function writeEntry(writer: MessageWriter, { name, qid, cookie, kind }: DirectoryEntry): void {
  writer.qid(qid);
  writer.u64(BigInt(cookie));
  writer.u8(kind);
  writer.string(name);
}

export function writeAttributes(writer: MessageWriter, found: Attributes): void {
  const { qid, mode, uid, gid, links, device, sizeBytes, blockBytes, blocks } = found;
  writer.u64(GETATTR_BASIC);
  writer.qid(qid);
  for (const value of [mode, uid, gid]) writer.u32(value >>> 0);
  for (const value of [links, device, sizeBytes, blockBytes, blocks]) writer.u64(value);
  for (const ns of [found.accessedNs, found.modifiedNs, found.changedNs, 0n]) {
    const rest = ((ns % NS_PER_S) + NS_PER_S) % NS_PER_S;
    writer.u64(BigInt.asUintN(64, (ns - rest) / NS_PER_S));
    writer.u64(rest);
  }
  // Generation and version of the data: not known.
  writer.u64(0n);
  writer.u64(0n);
}

export function changesOf(reader: MessageReader): Changes {
  const valid = reader.u32();
  const [mode, uid, gid] = [reader.u32(), reader.u32(), reader.u32()];
  const sizeBytes = reader.u64();
  const accessed = timeOf(reader);
  const modified = timeOf(reader);
  const is = (bit: number): boolean => (valid & bit) !== 0;
  if (is(SETATTR.size) && sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new Refusal('EFBIG');
  const time = (bit: number, set: number, ns: bigint): NewTime | undefined =>
    is(bit) ? (is(set) ? ns : 'now') : undefined;
  const times = {
    accessed: time(SETATTR.atime, SETATTR.atimeSet, accessed),
    modified: time(SETATTR.mtime, SETATTR.mtimeSet, modified),
  };
  return {
    ...(is(SETATTR.mode) ? { mode } : {}),
    ...(is(SETATTR.uid) ? { uid } : {}),
    ...(is(SETATTR.gid) ? { gid } : {}),
    ...(is(SETATTR.size) ? { sizeBytes: Number(sizeBytes) } : {}),
    ...(times.accessed === undefined ? {} : { accessed: times.accessed }),
    ...(times.modified === undefined ? {} : { modified: times.modified }),
  };
}

/** In nanoseconds. */
export function timeOf(reader: MessageReader): bigint {
  const seconds = BigInt.asIntN(64, reader.u64());
  return seconds * NS_PER_S + (reader.u64() % NS_PER_S);
}
