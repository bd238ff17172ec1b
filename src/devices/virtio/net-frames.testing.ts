/** Ethernet frames for tests, as a network hands them over: TCP or UDP, the checksum whole or the pseudo header's sum. */

export interface FrameShape {
  readonly version?: 4 | 6;
  readonly protocol?: 'tcp' | 'udp';
  readonly payload?: Uint8Array;
  readonly destination?: readonly number[];
  readonly source?: readonly number[];
  /** Tags from the outermost on. */
  readonly vlans?: readonly number[];
  /** Last bytes of the addresses, and ports. */
  readonly from?: readonly [host: number, port: number];
  readonly to?: readonly [host: number, port: number];
  /** Of IPv4's header, a multiple of 4. */
  readonly optionBytes?: number;
}

/** Ones' complement sum of big-endian words (RFC 1071), not inverted. */
export function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

export interface BuiltFrame {
  readonly frame: Uint8Array;
  readonly transportAt: number;
  readonly checksumAt: number;
  /** What the checksum field must hold in the end. */
  readonly checksum: number;
}

/** The checksum field holds the pseudo header's sum. */
export function partialFrame(shape: FrameShape = {}): BuiltFrame {
  const { version = 4, protocol = 'tcp', payload = new Uint8Array(0), vlans = [], optionBytes = 0 } = shape;
  const [from, to] = [shape.from ?? [2, 80], shape.to ?? [15, 40_000]];
  const ipAt = 14 + 4 * vlans.length;
  const transportAt = ipAt + (version === 4 ? 20 + optionBytes : 40);
  const headerBytes = protocol === 'tcp' ? 20 : 8;
  const transportBytes = headerBytes + payload.length;
  const frame = new Uint8Array(transportAt + transportBytes);
  const view = new DataView(frame.buffer);
  frame.set(shape.destination ?? [0x52, 0x54, 0, 1, 2, 3]);
  frame.set(shape.source ?? [0x52, 0x55, 10, 0, 2, 2], 6);
  for (const [i, vlan] of vlans.entries()) view.setUint32(12 + 4 * i, 0x8100_0000 + vlan);
  view.setUint16(ipAt - 2, version === 4 ? 0x0800 : 0x86dd);
  const number = protocol === 'tcp' ? 6 : 17;
  if (version === 4) {
    frame[ipAt] = 0x45 + optionBytes / 4;
    view.setUint16(ipAt + 2, transportAt - ipAt + transportBytes);
    frame[ipAt + 8] = 64;
    frame[ipAt + 9] = number;
    frame.set([10, 0, 2, from[0], 10, 0, 2, to[0]], ipAt + 12);
    view.setUint16(ipAt + 10, ~sumOf(frame.subarray(ipAt, transportAt)));
  } else {
    frame[ipAt] = 0x60;
    view.setUint16(ipAt + 4, transportBytes);
    frame[ipAt + 6] = number;
    frame.set(
      [0xfd, ...new Array<number>(14).fill(0), from[0], 0xfd, ...new Array<number>(14).fill(0), to[0]],
      ipAt + 8,
    );
  }
  view.setUint16(transportAt, from[1]);
  view.setUint16(transportAt + 2, to[1]);
  if (protocol === 'tcp') frame[transportAt + 12] = 0x50;
  else view.setUint16(transportAt + 4, transportBytes);
  frame.set(payload, transportAt + headerBytes);
  const checksumAt = transportAt + (protocol === 'tcp' ? 16 : 6);
  const addresses = version === 4 ? frame.subarray(ipAt + 12, ipAt + 20) : frame.subarray(ipAt + 8, ipAt + 40);
  const pseudo = Uint8Array.of(...addresses, 0, 0, transportBytes >> 8, transportBytes & 255, 0, number);
  view.setUint16(checksumAt, sumOf(pseudo));
  const checksum = ~sumOf(frame.subarray(transportAt)) & 0xffff;
  return { frame, transportAt, checksumAt, checksum: checksum === 0 && protocol === 'udp' ? 0xffff : checksum };
}
