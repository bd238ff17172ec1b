/**
 * Disk writes in a stream: the list in the meta, bytes of `data` in the data, one behind the other.
 *
 *     record  drive u32 | kind u32 | offset u64 | bytes u32 | 0 u32
 */
import type { DiskChange } from './journal-disk.ts';
import { badStream } from './messages.ts';

const RECORD_BYTES = 24;
const KINDS = ['data', 'zeroes', 'discard'] as const;
/** Of a message: what one holds, and how much data. */
const MOST_RECORDS = 4096;
const MOST_DATA_BYTES = 4 << 20;
/** A range without data is as large as a disk: cut into such pieces. */
const MOST_RANGE_BYTES = 1 << 30;

export interface DriveChange {
  readonly drive: number;
  readonly change: DiskChange;
}

/** Cuts the changes into messages, in their order. */
export function* encodeDiskChanges(
  changes: Iterable<DriveChange>,
): Generator<{ readonly meta: Uint8Array; readonly data: Uint8Array }> {
  let batch: DriveChange[] = [];
  let bytes = 0;
  for (const one of pieces(changes)) {
    const more = one.change.kind === 'data' ? one.change.bytes.length : 0;
    if (batch.length === MOST_RECORDS || bytes + more > MOST_DATA_BYTES) {
      yield encode(batch, bytes);
      batch = [];
      bytes = 0;
    }
    batch.push(one);
    bytes += more;
  }
  if (batch.length > 0) yield encode(batch, bytes);
}

/** What a message says; `sizes` of the drives. The bytes are the message's own. Throws OperatorError `stream-damaged`. */
export function decodeDiskChanges(meta: Uint8Array, data: Uint8Array, sizes: readonly number[]): DriveChange[] {
  if (meta.length % RECORD_BYTES !== 0) throw badStream('a list of disk writes makes no sense');
  const view = new DataView(meta.buffer, meta.byteOffset, meta.length);
  const out: DriveChange[] = [];
  let at = 0;
  for (let record = 0; record < meta.length; record += RECORD_BYTES) {
    const drive = view.getUint32(record, true);
    const kind = KINDS[view.getUint32(record + 4, true)];
    const offset = Number(view.getBigUint64(record + 8, true));
    const sizeBytes = view.getUint32(record + 16, true);
    const size = sizes[drive];
    if (size === undefined || kind === undefined || sizeBytes === 0 || offset + sizeBytes > size)
      throw badStream('a disk write is beyond its disk');
    if (offset % 512 !== 0 || sizeBytes % 512 !== 0) throw badStream('a disk write is of no sectors');
    if (kind !== 'data') {
      out.push({ drive, change: { kind, offset, sizeBytes } });
      continue;
    }
    if (at + sizeBytes > data.length) throw badStream('a disk write has lost its end');
    out.push({ drive, change: { kind, offset, bytes: data.subarray(at, at + sizeBytes) } });
    at += sizeBytes;
  }
  if (at !== data.length) throw badStream('a list of disk writes has something behind its end');
  return out;
}

function* pieces(changes: Iterable<DriveChange>): Generator<DriveChange> {
  for (const { drive, change } of changes) {
    if (change.kind === 'data') {
      for (let at = 0; at < change.bytes.length; at += MOST_DATA_BYTES) {
        const bytes = change.bytes.subarray(at, at + MOST_DATA_BYTES);
        yield { drive, change: { kind: 'data', offset: change.offset + at, bytes } };
      }
      continue;
    }
    const { kind, offset, sizeBytes } = change;
    for (let at = 0; at < sizeBytes; at += MOST_RANGE_BYTES)
      yield { drive, change: { kind, offset: offset + at, sizeBytes: Math.min(MOST_RANGE_BYTES, sizeBytes - at) } };
  }
}

function encode(batch: readonly DriveChange[], bytes: number): { meta: Uint8Array; data: Uint8Array } {
  const meta = new Uint8Array(batch.length * RECORD_BYTES);
  const data = new Uint8Array(bytes);
  const view = new DataView(meta.buffer);
  let at = 0;
  for (const [i, { drive, change }] of batch.entries()) {
    const record = i * RECORD_BYTES;
    view.setUint32(record, drive, true);
    view.setUint32(record + 4, KINDS.indexOf(change.kind), true);
    view.setBigUint64(record + 8, BigInt(change.offset), true);
    view.setUint32(record + 16, change.kind === 'data' ? change.bytes.length : change.sizeBytes, true);
    if (change.kind !== 'data') continue;
    data.set(change.bytes, at);
    at += change.bytes.length;
  }
  return { meta, data };
}
