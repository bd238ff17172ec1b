/**
 * Where things lie in a frame: Ethernet with up to two VLAN tags, IPv4 with options or IPv6 without extension headers,
 * TCP or UDP. Frames come from guests and from networks: every length is checked against the frame.
 */
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, provider: 0x88a8 } as const;
const TAGS_MAX = 2;
export const PROTOCOL = { tcp: 6, udp: 17 } as const;
const MORE_FRAGMENTS_AND_OFFSET = 0x3fff;

export interface Layers {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly ipAt: number;
  readonly transportAt: number;
  /** Where the IP packet ends; a short frame is padded behind it. */
  readonly end: number;
}

/** Undefined where there is no whole TCP or UDP header at a place that one can be sure of (a fragment has none). */
export function layersOf(frame: Uint8Array): Layers | undefined {
  let ipAt = 14;
  for (let tags = 0; tags < TAGS_MAX && isTag(word(frame, ipAt - 2)); tags++) ipAt += 4;
  const type = word(frame, ipAt - 2);
  const layers = type === ETHERTYPE.ipv4 ? ipv4(frame, ipAt) : type === ETHERTYPE.ipv6 ? ipv6(frame, ipAt) : undefined;
  if (layers === undefined || layers.end > frame.length) return undefined;
  const least = layers.protocol === PROTOCOL.tcp ? 20 : layers.protocol === PROTOCOL.udp ? 8 : Number.POSITIVE_INFINITY;
  return layers.transportAt + least <= layers.end ? layers : undefined;
}

/** Of TCP's or UDP's header. */
export function checksumOffset({ protocol }: Layers): number {
  return protocol === PROTOCOL.tcp ? 16 : 6;
}

/** Bytes up to the payload of a TCP packet, 0 where its header is broken. */
export function headersBytes(frame: Uint8Array, { transportAt, end }: Layers): number {
  const bytes = ((frame[transportAt + 12] ?? 0) >> 4) * 4;
  return bytes >= 20 && transportAt + bytes <= end ? transportAt + bytes : 0;
}

function isTag(type: number): boolean {
  return type === ETHERTYPE.vlan || type === ETHERTYPE.provider;
}

function ipv4(frame: Uint8Array, ipAt: number): Layers | undefined {
  const first = frame[ipAt] ?? 0;
  const headerBytes = (first & 15) * 4;
  if (first >> 4 !== 4 || headerBytes < 20 || (word(frame, ipAt + 6) & MORE_FRAGMENTS_AND_OFFSET) !== 0)
    return undefined;
  return {
    ...{ version: 4, protocol: frame[ipAt + 9] ?? 0, ipAt },
    ...{ transportAt: ipAt + headerBytes, end: ipAt + word(frame, ipAt + 2) },
  };
}

function ipv6(frame: Uint8Array, ipAt: number): Layers | undefined {
  if ((frame[ipAt] ?? 0) >> 4 !== 6) return undefined;
  return {
    ...{ version: 6, protocol: frame[ipAt + 6] ?? 0, ipAt },
    ...{ transportAt: ipAt + 40, end: ipAt + 40 + word(frame, ipAt + 4) },
  };
}

function word(frame: Uint8Array, at: number): number {
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}

/**
 * A number of 32 bits that both directions of a flow have in common and that differs between flows as chance would have
 * it: of addresses and ports, or of hardware addresses where there are none.
 */
export function flowHash(frame: Uint8Array): number {
  const layers = layersOf(frame);
  if (layers === undefined) return mix(spread(frame, 0, 6) ^ spread(frame, 6, 6));
  const { version, ipAt, transportAt, protocol } = layers;
  const [at, bytes] = version === 4 ? [ipAt + 12, 4] : [ipAt + 8, 16];
  // Each end by itself, then both, so that their order does not matter; a sum and not only xor, or a == b would cancel out.
  const one = mix(spread(frame, at, bytes) + word(frame, transportAt));
  const other = mix(spread(frame, at + bytes, bytes) + word(frame, transportAt + 2));
  return mix((one + other) ^ protocol);
}

function spread(frame: Uint8Array, at: number, bytes: number): number {
  let hash = 0x811c_9dc5;
  for (let i = at; i < at + bytes; i++) hash = Math.imul(hash ^ (frame[i] ?? 0), 0x0100_0193);
  return hash;
}

function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x7feb_352d);
  value = Math.imul(value ^ (value >>> 15), 0x846c_a68b);
  return (value ^ (value >>> 16)) >>> 0;
}
