/**
 * The header before each frame of a macvtap device: `struct virtio_net_hdr` of Linux, ten bytes in the host's byte order.
 *
 *     flags u8 | gso_type u8 | hdr_len u16 | gso_size u16 | csum_start u16 | csum_offset u16
 */
import { checksumOffset, type FrameOffload, layersOf } from '../../../network/index.ts';

export const VNET_HEADER_BYTES = 10;
const NEEDS_CSUM = 1;
const GSO = { none: 0, tcp4: 1, tcp6: 4, ecn: 0x80 } as const;
const TCP = 6;
const TCP_FLAGS_AT = 13;
const CWR = 0x80;

/** What the header at the start of `bytes` says; undefined for a plain frame, or one that the kernel has verified. */
export function readVnetHeader(bytes: Uint8Array): FrameOffload | undefined {
  if (((bytes[0] ?? 0) & NEEDS_CSUM) === 0) return undefined;
  const isLarge = ((bytes[1] ?? 0) & ~GSO.ecn) !== GSO.none;
  return { checksumValid: true, segmentBytes: isLarge ? (bytes[4] ?? 0) | ((bytes[5] ?? 0) << 8) : 0 };
}

/** Writes the header for a frame to the start of `bytes`; false for a frame that is not what its offload says. */
export function writeVnetHeader(bytes: Uint8Array, frame: Uint8Array, offload: FrameOffload | undefined): boolean {
  bytes.fill(0, 0, VNET_HEADER_BYTES);
  if (offload === undefined) return true;
  const layers = layersOf(frame);
  if (layers === undefined) return false;
  const { version, protocol, transportAt } = layers;
  const set = (at: number, value: number): void => {
    bytes[at] = value & 0xff;
    bytes[at + 1] = value >>> 8;
  };
  bytes[0] = NEEDS_CSUM;
  set(6, transportAt);
  set(8, checksumOffset(protocol));
  if (offload.segmentBytes === 0) return true;
  if (protocol !== TCP) return false;
  const congested = ((frame[transportAt + TCP_FLAGS_AT] ?? 0) & CWR) === 0 ? 0 : GSO.ecn;
  bytes[1] = (version === 4 ? GSO.tcp4 : GSO.tcp6) | congested;
  set(2, transportAt + ((frame[transportAt + 12] ?? 0) >> 4) * 4);
  set(4, offload.segmentBytes);
  return true;
}
