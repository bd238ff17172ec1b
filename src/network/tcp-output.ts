/**
 * Puts TCP segments for the guest together in the link's buffer. Where the guest offloads checksums, the field gets
 * the pseudo header's sum and the frame is flagged; where it takes large packets, one frame carries many segments.
 */
// hot
import type { ByteRing } from './byte-ring.ts';
import { type GuestLink, TRANSPORT_AT } from './guest-link.ts';
import { IPV4_HEADER_BYTES, PROTOCOL_TCP } from './ipv4.ts';
import type { FrameOffload } from './ports.ts';
import { encodeTcp, newTcpHeader, TCP_HEADER_BYTES, type TcpHeader, writeTcpChecksum } from './tcp.ts';

/** The four numbers that name a connection, seen from the network: the guest's end and the other one. */
export interface ConnectionTuple {
  readonly guest: number;
  readonly guestPort: number;
  readonly remote: number;
  readonly remotePort: number;
}

const CHECKSUM_ONLY: FrameOffload = { checksumValid: true, segmentBytes: 0 };

export class TcpOutput {
  /** Filled by the caller for each segment; options are reset after a SYN. */
  readonly header: TcpHeader = newTcpHeader();
  readonly #link: GuestLink;
  #large: FrameOffload = CHECKSUM_ONLY;

  constructor(link: GuestLink) {
    this.#link = link;
  }

  /** The largest payload of one frame for a guest with this segment size: a multiple of it when the guest offloads. */
  largestPayloadBytes(segmentBytes: number): number {
    const { largePacketBytes, checksum } = this.#link.offload;
    const room = Math.min(largePacketBytes, 65535) - IPV4_HEADER_BYTES - TCP_HEADER_BYTES;
    if (!checksum || room < 2 * segmentBytes) return segmentBytes;
    return room - (room % segmentBytes);
  }

  /** Sends `header` with `lengthBytes` of `ring` from `offset`; segments of `segmentBytes` share one frame if they fit. */
  send(
    tuple: ConnectionTuple,
    ring: ByteRing | undefined,
    offset: number,
    lengthBytes: number,
    segmentBytes: number,
  ): void {
    const { packet, offload } = this.#link;
    const { header } = this;
    header.sourcePort = tuple.remotePort;
    header.destinationPort = tuple.guestPort;
    const headerBytes = encodeTcp(packet.view, TRANSPORT_AT, header);
    ring?.copyTo(offset, lengthBytes, packet.bytes, TRANSPORT_AT + headerBytes);
    const tcpBytes = headerBytes + lengthBytes;
    const partial = offload.checksum && lengthBytes > 0;
    writeTcpChecksum(packet.view, TRANSPORT_AT, tcpBytes, tuple.remote, tuple.guest, partial);
    this.#link.counters.tcp.segmentsOut += 1;
    this.#link.sendIpv4(
      tuple.remote,
      tuple.guest,
      PROTOCOL_TCP,
      tcpBytes,
      partial ? this.#offload(lengthBytes, segmentBytes) : undefined,
    );
  }

  #offload(lengthBytes: number, segmentBytes: number): FrameOffload {
    if (lengthBytes <= segmentBytes) return CHECKSUM_ONLY;
    if (this.#large.segmentBytes !== segmentBytes) this.#large = { checksumValid: true, segmentBytes };
    return this.#large;
  }
}
