/**
 * Where the IP and transport headers of a frame lie: behind tags, IPv4 options and IPv6 extension headers. For frames
 * that come with a checksum left to be done, or as a large packet to be cut, and for links that do that from offsets.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, typeAt, wordAt } from './frame.ts';

export const TCP = 6;
export const UDP = 17;
/** Extension headers that may stand before the transport header (RFC 8200, section 4.1): hop-by-hop, routing, destination. */
const EXTENSIONS: readonly number[] = [0, 43, 60];
const MOST_EXTENSIONS = 4;

export interface Layers {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly ipAt: number;
  readonly transportAt: number;
  /** Where the packet ends by its own length; padding may follow. */
  readonly end: number;
}

/** Undefined for what is no whole IP packet with TCP or UDP in it, or is a fragment. */
export function layersOf(frame: Uint8Array): Layers | undefined {
  const at = typeAt(frame);
  const type = wordAt(frame, at);
  const layers =
    type === ETHERTYPE_IPV4 ? layersOf4(frame, at + 2) : type === ETHERTYPE_IPV6 ? layersOf6(frame, at + 2) : undefined;
  if (layers === undefined || layers.end > frame.length) return undefined;
  const least = layers.protocol === TCP ? 20 : layers.protocol === UDP ? 8 : Number.POSITIVE_INFINITY;
  return layers.transportAt + least <= layers.end ? layers : undefined;
}

function layersOf4(frame: Uint8Array, ipAt: number): Layers | undefined {
  const first = frame[ipAt] ?? 0;
  const headerBytes = (first & 15) * 4;
  const isFragment = (wordAt(frame, ipAt + 6) & 0x3fff) !== 0;
  if (first >> 4 !== 4 || headerBytes < 20 || isFragment) return undefined;
  const end = ipAt + wordAt(frame, ipAt + 2);
  return { version: 4, protocol: frame[ipAt + 9] ?? 0, ipAt, transportAt: ipAt + headerBytes, end };
}

function layersOf6(frame: Uint8Array, ipAt: number): Layers | undefined {
  if ((frame[ipAt] ?? 0) >> 4 !== 6) return undefined;
  let protocol = frame[ipAt + 6] ?? 0;
  let transportAt = ipAt + 40;
  for (let i = 0; i < MOST_EXTENSIONS && EXTENSIONS.includes(protocol); i += 1) {
    protocol = frame[transportAt] ?? 0;
    transportAt += ((frame[transportAt + 1] ?? 0) + 1) * 8;
  }
  return { version: 6, protocol, ipAt, transportAt, end: ipAt + 40 + wordAt(frame, ipAt + 4) };
}

/** Where the transport's checksum stands, from its header. */
export function checksumOffset(protocol: number): number {
  return protocol === TCP ? 16 : 6;
}

/** The bytes of the headers of a TCP packet, 0 where its data offset is broken. */
export function tcpHeadersEnd(frame: Uint8Array, { transportAt, end }: Layers): number {
  const headerBytes = ((frame[transportAt + 12] ?? 0) >> 4) * 4;
  const at = transportAt + headerBytes;
  return headerBytes >= 20 && at <= end ? at : 0;
}
