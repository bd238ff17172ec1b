/**
 * Writes cpio archives in the "newc" format that Linux unpacks as its initial file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Uncompressed, because in an emulated guest
 * decompressing costs more than reading. Hard links, extended attributes and times are left out: every entry
 * belongs to root and is dated 1970, so the same input gives the same bytes.
 */
import { assert } from '../../base/assert.ts';
import { HostError } from '../../base/errors.ts';

export type CpioEntry = { path: string; mode: number } & (
  | { kind: 'file'; data: Uint8Array }
  | { kind: 'folder' }
  | { kind: 'link'; target: string }
  | { kind: 'character-device'; major: number; minor: number }
);

const typeBits = { file: 0o100000, folder: 0o040000, link: 0o120000, 'character-device': 0o020000 } as const;
const encoder = new TextEncoder();

/**
 * One archive with the entries in order; folders above an entry that are not listed are put in. Archives may be
 * concatenated: Linux unpacks one after the other, and a later file replaces an earlier one of the same path.
 */
export function cpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const seen = new Set<string>();
  let inode = 1;
  const add = (entry: CpioEntry): void => {
    parts.push(...encodeEntry(entry, inode));
    inode += 1;
    seen.add(entry.path);
  };
  for (const entry of entries) {
    assert(/^[^/]/.test(entry.path) && !entry.path.includes('\0'), `cpio path ${entry.path}`);
    const steps = entry.path.split('/');
    for (let depth = 1; depth < steps.length; depth += 1) {
      const path = steps.slice(0, depth).join('/');
      if (!seen.has(path)) add({ kind: 'folder', path, mode: 0o755 });
    }
    if (entry.kind !== 'folder' || !seen.has(entry.path)) add(entry);
  }
  parts.push(...encodeEntry({ kind: 'file', path: 'TRAILER!!!', mode: 0, data: new Uint8Array(0) }, 0));
  // A padded archive can be followed by another one: the kernel skips zero bytes between them.
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(Math.ceil(length / 512) * 512);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Header (110 characters), name, data; name and data are each padded to a multiple of four bytes. */
function encodeEntry(entry: CpioEntry, inode: number): Uint8Array[] {
  const data = entry.kind === 'file' ? entry.data : encoder.encode(entry.kind === 'link' ? entry.target : '');
  const name = encoder.encode(`${entry.path}\0`);
  const device = entry.kind === 'character-device' ? entry : { major: 0, minor: 0 };
  const mode = inode === 0 ? 0 : typeBits[entry.kind] | entry.mode;
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, device.major, device.minor, name.length, 0];
  const header = encoder.encode(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

/** The plain files of one uncompressed archive of ours, by path; throws HostError `bad-archive` for anything else. */
export function cpioFiles(archive: Uint8Array): Map<string, Uint8Array> {
  const file = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  const files = new Map<string, Uint8Array>();
  const align = (at: number): number => Math.ceil(at / 4) * 4;
  for (let at = 0; at + 110 <= file.length; ) {
    const header = file.toString('latin1', at, at + 110);
    if (!/^070701[0-9a-f]{104}$/.test(header)) break;
    const field = (index: number): number => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
    const [mode, size, nameLength] = [field(1), field(6), field(11)];
    const path = file.toString('utf8', at + 110, at + 110 + nameLength - 1);
    if (path === 'TRAILER!!!') return files;
    const dataAt = align(at + 110 + nameLength);
    if (nameLength === 0 || dataAt + size > file.length) break;
    if ((mode & 0o170000) === typeBits.file) files.set(path, archive.subarray(dataAt, dataAt + size));
    at = align(dataAt + size);
  }
  throw new HostError('bad-archive', 'a cpio archive is damaged or cut short');
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}
