/**
 * Where the headers of an Ethernet frame lie: behind up to two VLAN tags (IEEE 802.1Q), IPv4 options and IPv6 extension
 * headers, of TCP or UDP. Frames come from guests and from networks: every length is checked against the frame.
 */
// hot: a few loads for each frame
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, serviceVlan: 0x88a8 } as const;
const TAG_BYTES = 4;
const MOST_TAGS = 2;
export const PROTOCOL = { tcp: 6, udp: 17 } as const;
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
    type === ETHERTYPE.ipv4 ? layersOf4(frame, at + 2) : type === ETHERTYPE.ipv6 ? layersOf6(frame, at + 2) : undefined;
  if (layers === undefined || layers.end > frame.length) return undefined;
  const least = layers.protocol === PROTOCOL.tcp ? 20 : layers.protocol === PROTOCOL.udp ? 8 : Number.POSITIVE_INFINITY;
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
  return protocol === PROTOCOL.tcp ? 16 : 6;
}

/** Where the payload of a TCP packet begins, 0 where its data offset is broken. */
export function tcpHeadersEnd(frame: Uint8Array, { transportAt, end }: Layers): number {
  const headerBytes = ((frame[transportAt + 12] ?? 0) >> 4) * 4;
  const at = transportAt + headerBytes;
  return headerBytes >= 20 && at <= end ? at : 0;
}

/** The 16-bit number at `at`, 0 beyond the end. */
export function wordAt(frame: Uint8Array, at: number): number {
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}

/** Where the type of the payload stands: behind the tags. */
export function typeAt(frame: Uint8Array): number {
  let at = 12;
  for (let tag = 0; tag < MOST_TAGS; tag += 1) {
    if (!isTag(wordAt(frame, at))) break;
    at += TAG_BYTES;
  }
  return at;
}

/** Whether a type is that of a tag. */
export function isTag(type: number): boolean {
  return type === ETHERTYPE.vlan || type === ETHERTYPE.serviceVlan;
}
