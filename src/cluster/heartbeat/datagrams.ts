/**
 * What masters send each other. A beat has 64 bytes whatever it tells of; details, which are pulled, come in parts of at
 * most 1200 bytes, so that no packet is cut on its way. Big-endian.
 *
 *      0  magic 'KGHB'   4 version   5 kind   6 part (u16)   8 parts (u16)   10 length of what follows the head (u16)
 *     12  incarnation   16 sequence   20 digest (u64)   28 guests   32 of them not well   36 ms left of its lease   40 zeros
 */
import { CONDITIONS, type GuestDetail } from './digest.ts';

export const BEAT_BYTES = 64;
const MOST_BYTES = 1200;
/** Parts of one host's details: more than that, and only the first guests are told of. */
const MOST_PARTS = 256;
const LONGEST_NAME_BYTES = 255;

const MAGIC = 0x4b474842;
const VERSION = 1;
/** direct: a beat from slave to slave, for comparison. */
const KINDS = ['beat', 'pull', 'details', 'direct'] as const;
export type DatagramKind = (typeof KINDS)[number];

export interface Head {
  readonly kind: DatagramKind;
  readonly incarnation: number;
  readonly sequence: number;
  readonly digest: { readonly high: number; readonly low: number };
  readonly guests: number;
  readonly notWell: number;
  readonly leaseLeftMs: number;
}

export interface Datagram extends Head {
  readonly part: number;
  readonly parts: number;
  readonly details: readonly GuestDetail[];
}

export function encodeBeat(head: Head): Uint8Array {
  const bytes = new Uint8Array(BEAT_BYTES);
  writeHead(bytes, head, 0, 1, 0);
  return bytes;
}

/** From a guest's slave to its standby's. */
export function encodeDirect(head: Head, guest: string): Uint8Array {
  return encodeParts({ ...head, kind: 'direct' }, [{ guest, generation: 0, condition: 'well' }])[0] ?? encodeBeat(head);
}

export function encodeDetails(head: Head, details: readonly GuestDetail[]): Uint8Array[] {
  return encodeParts({ ...head, kind: 'details' }, details);
}

/** Undefined for anything that is not exactly one of ours. */
export function decodeDatagram(bytes: Uint8Array): Datagram | undefined {
  if (bytes.byteLength < BEAT_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KINDS[view.getUint8(5)];
  if (view.getUint32(0) !== MAGIC || view.getUint8(4) !== VERSION || kind === undefined) return undefined;
  const [part, parts, length] = [view.getUint16(6), view.getUint16(8), view.getUint16(10)];
  if (bytes.byteLength !== BEAT_BYTES + length || part >= parts || parts > MOST_PARTS) return undefined;
  const details = readDetails(bytes, view);
  if (details === undefined) return undefined;
  return {
    kind,
    part,
    parts,
    details,
    incarnation: view.getUint32(12),
    sequence: view.getUint32(16),
    digest: { high: view.getUint32(20), low: view.getUint32(24) },
    guests: view.getUint32(28),
    notWell: view.getUint32(32),
    leaseLeftMs: view.getUint32(36),
  };
}

function encodeParts(head: Head, details: readonly GuestDetail[]): Uint8Array[] {
  const encoder = new TextEncoder();
  const parts: { readonly name: Uint8Array; readonly one: GuestDetail }[][] = [[]];
  let used = BEAT_BYTES;
  for (const one of details) {
    const name = encoder.encode(one.guest).subarray(0, LONGEST_NAME_BYTES);
    if (used + name.length + 6 > MOST_BYTES) {
      if (parts.length === MOST_PARTS) break;
      parts.push([]);
      used = BEAT_BYTES;
    }
    used += name.length + 6;
    parts[parts.length - 1]?.push({ name, one });
  }
  return parts.map((entries, part) => {
    const length = entries.reduce((sum, { name }) => sum + name.length + 6, 0);
    const bytes = new Uint8Array(BEAT_BYTES + length);
    const view = writeHead(bytes, head, part, parts.length, length);
    let at = BEAT_BYTES;
    for (const { name, one } of entries) {
      view.setUint32(at, one.generation);
      view.setUint8(at + 4, CONDITIONS.indexOf(one.condition));
      view.setUint8(at + 5, name.length);
      bytes.set(name, at + 6);
      at += name.length + 6;
    }
    return bytes;
  });
}

function writeHead(bytes: Uint8Array, head: Head, part: number, parts: number, length: number): DataView {
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint8(4, VERSION);
  view.setUint8(5, KINDS.indexOf(head.kind));
  view.setUint16(6, part);
  view.setUint16(8, parts);
  view.setUint16(10, length);
  const { incarnation, sequence, digest, guests, notWell, leaseLeftMs } = head;
  view.setUint32(12, incarnation);
  view.setUint32(16, sequence);
  view.setUint32(20, digest.high);
  view.setUint32(24, digest.low);
  view.setUint32(28, guests);
  view.setUint32(32, notWell);
  view.setUint32(36, Math.max(0, Math.floor(leaseLeftMs)));
  return view;
}

function readDetails(bytes: Uint8Array, view: DataView): GuestDetail[] | undefined {
  if (bytes.byteLength === BEAT_BYTES) return [];
  const decoder = new TextDecoder('utf-8');
  const details: GuestDetail[] = [];
  let at = BEAT_BYTES;
  while (at < bytes.byteLength) {
    if (at + 6 > bytes.byteLength) return undefined;
    const condition = CONDITIONS[view.getUint8(at + 4)];
    const end = at + 6 + view.getUint8(at + 5);
    if (condition === undefined || end > bytes.byteLength) return undefined;
    details.push({ guest: decoder.decode(bytes.subarray(at + 6, end)), generation: view.getUint32(at), condition });
    at = end;
  }
  return details;
}
