/**
 * Reads and writes tar archives as Debian packages hold them: ustar headers with GNU long names (POSIX 1003.1
 * pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"). Archives are read from files by offset, so
 * that a large package costs no memory. Left out: sparse files, pax extended headers (dpkg-deb writes neither).
 */
import { readSync, writeSync } from 'node:fs';
import { HostError } from '../../base/errors.ts';

export type TarKind = 'file' | 'hard-link' | 'link' | 'character-device' | 'block-device' | 'folder' | 'fifo';

export interface TarEntry {
  /** Without `./` in front and `/` behind; the top folder is ''. */
  path: string;
  kind: TarKind;
  mode: number;
  uid: number;
  gid: number;
  /** Seconds since 1970. */
  modifiedAt: number;
  /** The target of a link (as it stands) or hard link (a path of this archive). */
  target: string;
  sizeBytes: number;
  /** Where the data begin in the archive. */
  dataAt: number;
}

const block = 512;
const kinds: readonly TarKind[] = ['file', 'hard-link', 'link', 'character-device', 'block-device', 'folder', 'fifo'];
const longNameLimit = 65536;

/** The entries of the open archive `file`, in order. Throws HostError `bad-archive` if it is no whole tar archive. */
export function* readTar(file: number): Generator<TarEntry> {
  let at = 0;
  let longName: string | undefined;
  let longTarget: string | undefined;
  for (;;) {
    const header = readAt(file, at, block);
    at += block;
    if (header.every((byte) => byte === 0)) return;
    const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
    if (octal(header, 148, 8) !== sum) throw badArchive('a header is damaged');
    const sizeBytes = octal(header, 124, 12);
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === 'L' || type === 'K') {
      if (sizeBytes > longNameLimit) throw badArchive('a name is too long');
      const text = string(readAt(file, at, sizeBytes), 0, sizeBytes);
      if (type === 'L') longName = text;
      else longTarget = text;
    } else {
      const kind = kinds[type === '\0' ? 0 : Number(type)];
      if (kind === undefined) throw badArchive(`an entry is of the unknown type ${JSON.stringify(type)}`);
      const prefix =
        header.toString('latin1', 257, 262) === 'ustar' && header[263] !== 0x20 ? string(header, 345, 155) : '';
      const name = longName ?? (prefix ? `${prefix}/${string(header, 0, 100)}` : string(header, 0, 100));
      yield {
        path: cleanPath(name),
        kind,
        mode: octal(header, 100, 8) & 0o7777,
        uid: octal(header, 108, 8),
        gid: octal(header, 116, 8),
        modifiedAt: octal(header, 136, 12),
        target: longTarget ?? string(header, 157, 100),
        sizeBytes: kind === 'file' ? sizeBytes : 0,
        dataAt: at,
      };
      longName = undefined;
      longTarget = undefined;
    }
    at += Math.ceil(sizeBytes / block) * block;
  }
}

/** The data of an entry that fits in memory. */
export function readTarData(file: number, entry: TarEntry): Buffer {
  return readAt(file, entry.dataAt, entry.sizeBytes);
}

/** Appends entries to an open file. */
export class TarWriter {
  readonly #file: number;
  readonly #zeros = Buffer.alloc(2 * block);
  constructor(file: number) {
    this.#file = file;
  }

  /** An entry whose data are bytes; `sizeBytes` and `dataAt` are ignored. */
  add(entry: Omit<TarEntry, 'sizeBytes' | 'dataAt'>, data: Uint8Array = Buffer.alloc(0)): void {
    this.#header(entry, data.length);
    this.#write(data);
    this.#pad(data.length);
  }

  /** An entry of another archive, under another path if need be. */
  copy(from: number, entry: TarEntry): void {
    this.#header(entry, entry.sizeBytes);
    for (let done = 0; done < entry.sizeBytes; done += 1 << 20) {
      this.#write(readAt(from, entry.dataAt + done, Math.min(1 << 20, entry.sizeBytes - done)));
    }
    this.#pad(entry.sizeBytes);
  }

  /** Writes the end of the archive. */
  end(): void {
    this.#write(this.#zeros);
  }

  #header(entry: Omit<TarEntry, 'sizeBytes' | 'dataAt'>, sizeBytes: number): void {
    const name = `./${entry.path}${entry.kind === 'folder' && entry.path !== '' ? '/' : ''}`;
    this.#longName('L', name);
    this.#longName('K', entry.target);
    this.#write(encodeHeader(entry, name, String(kinds.indexOf(entry.kind)), sizeBytes));
  }

  #longName(type: string, name: string): void {
    const bytes = Buffer.from(`${name}\0`, 'utf8');
    if (bytes.length <= 100) return;
    const entry = { mode: 0, uid: 0, gid: 0, modifiedAt: 0, target: '' };
    this.#write(encodeHeader(entry, '././@LongLink', type, bytes.length));
    this.#write(bytes);
    this.#pad(bytes.length);
  }

  #pad(length: number): void {
    this.#write(this.#zeros.subarray(0, (block - (length % block)) % block));
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
  }
}

type HeaderFields = Pick<TarEntry, 'mode' | 'uid' | 'gid' | 'modifiedAt' | 'target'>;

function encodeHeader(fields: HeaderFields, name: string, type: string, sizeBytes: number): Buffer {
  const header = Buffer.alloc(block);
  const number = (at: number, length: number, value: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  header.write(name, 0, 100, 'utf8');
  number(100, 8, fields.mode);
  number(108, 8, fields.uid);
  number(116, 8, fields.gid);
  number(124, 12, sizeBytes);
  number(136, 12, fields.modifiedAt);
  header.write('        ', 148, 'latin1');
  header.write(type, 156, 'latin1');
  header.write(fields.target, 157, 100, 'utf8');
  header.write('ustar  \0', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

function readAt(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const count = readSync(file, bytes, done, length - done, at + done);
    if (count === 0) throw badArchive('it is cut short');
    done += count;
  }
  return bytes;
}

function octal(bytes: Buffer, at: number, length: number): number {
  const text = string(bytes, at, length).trim();
  if (!/^[0-7]*$/.test(text)) throw badArchive('a number is not octal');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function string(bytes: Buffer, at: number, length: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString('utf8', at, end === -1 || end > at + length ? at + length : end);
}

function cleanPath(name: string): string {
  const steps = name.split('/').filter((step) => step !== '' && step !== '.');
  if (steps.includes('..')) throw badArchive(`the path ${name} leaves the archive`);
  return steps.join('/');
}

function badArchive(reason: string): HostError {
  return new HostError('bad-archive', `a package's archive cannot be read: ${reason}`);
}
