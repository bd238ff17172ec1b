/** What of a process lies in real memory, as Linux tells it: /proc/PID/smaps, and pagemap for parts of a mapping. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** As in `rw-p`. */
  readonly rights: string;
  /** A file, `[heap]` and the like; empty: anonymous. */
  readonly name: string;
  readonly residentBytes: number;
}

const PAGE_BYTES = 4096;
/** Of pagemap's entries of eight bytes: bit 63, present, and bit 56, nobody else's. The shared page of zeros is not. */
const ENTRY_BYTES = 8;
const FLAGS_BYTE = 7;
const OWN_PAGE = 0x81;

/** All mappings of the process. Throws where there is no such process, or no /proc. */
export function mappingsOf(pid: number): Mapping[] {
  return parseMappings(readFileSync(`/proc/${pid}/smaps`, 'utf8'));
}

/** The text of smaps, read. */
export function parseMappings(text: string): Mapping[] {
  const out: Mapping[] = [];
  const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)$/;
  let open: Omit<Mapping, 'residentBytes'> | undefined;
  for (const line of text.split('\n')) {
    const [, start, end, rights, name] = head.exec(line) ?? [];
    if (start !== undefined && end !== undefined && rights !== undefined) {
      open = { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), rights, name: name ?? '' };
    } else if (open !== undefined && line.startsWith('Rss:')) {
      out.push({ ...open, residentBytes: Number(/\d+/.exec(line)?.[0] ?? 0) * 1024 });
      open = undefined;
    }
  }
  return out;
}

/** Bytes of an anonymous mapping's address range that have real memory of their own. */
export function presentBytes(pid: number, start: number, end: number): number {
  const first = Math.floor(start / PAGE_BYTES);
  const entries = Buffer.alloc((Math.ceil(end / PAGE_BYTES) - first) * ENTRY_BYTES);
  const file = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    let done = 0;
    for (let count = -1; count !== 0 && done < entries.length; done += count) {
      count = readSync(file, entries, done, entries.length - done, first * ENTRY_BYTES + done);
    }
  } finally {
    closeSync(file);
  }
  let pages = 0;
  for (let at = FLAGS_BYTE; at < entries.length; at += ENTRY_BYTES) {
    if (((entries[at] ?? 0) & OWN_PAGE) === OWN_PAGE) pages++;
  }
  return pages * PAGE_BYTES;
}

/** `VmRSS`, `VmHWM` and the like in bytes; 0 where the process is gone. */
export function statusBytes(pid: number | undefined, field: 'VmRSS' | 'VmHWM'): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has ended, or there is no /proc
  }
}
