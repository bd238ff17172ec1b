/**
 * The header of a vsock packet (virtio 1.2, section 5.10.6), little-endian, packed:
 *
 *     src_cid u64 | dst_cid u64 | src_port u32 | dst_port u32 | len u32 | type u16 | op u16 | flags u32 | buf_alloc u32 | fwd_cnt u32
 */
export const VSOCK_HEADER_BYTES = 44;

export const VIRTIO_VSOCK_TYPE_STREAM = 1;
export const VIRTIO_VSOCK_OP = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;
export type VsockOp = (typeof VIRTIO_VSOCK_OP)[keyof typeof VIRTIO_VSOCK_OP];
/** Flags of SHUTDOWN: what its sender will do no more. */
export const SHUTDOWN = { RCV: 1, SEND: 2, BOTH: 3 } as const;

/** Well-known context IDs: 0 and 1 are reserved, and so is all ones. */
export const CID_HOST = 2;
export const CID_FIRST_GUEST = 3;
export const CID_LAST_GUEST = 0xffff_fffe;

/** One packet's header over bytes of its own. */
export class VsockHeader {
  readonly bytes = new Uint8Array(VSOCK_HEADER_BYTES);
  readonly #data = new DataView(this.bytes.buffer);

  /** Ports, which name a connection, as their sender sees them. */
  get sourcePort(): number {
    return this.#data.getUint32(16, true);
  }

  get destinationPort(): number {
    return this.#data.getUint32(20, true);
  }

  get lengthBytes(): number {
    return this.#data.getUint32(24, true);
  }

  get type(): number {
    return this.#data.getUint16(28, true);
  }

  get op(): number {
    return this.#data.getUint16(30, true);
  }

  get flags(): number {
    return this.#data.getUint32(32, true);
  }

  /** Of its sender: its whole receive buffer, and how many bytes it has taken out of that so far, modulo 2^32. */
  get bufferBytes(): number {
    return this.#data.getUint32(36, true);
  }

  get forwardedBytes(): number {
    return this.#data.getUint32(40, true);
  }

  isBetween(sourceCid: number, destinationCid: number): boolean {
    const data = this.#data;
    return data.getBigUint64(0, true) === BigInt(sourceCid) && data.getBigUint64(8, true) === BigInt(destinationCid);
  }

  set(fields: {
    readonly sourceCid: number;
    readonly destinationCid: number;
    readonly sourcePort: number;
    readonly destinationPort: number;
    readonly op: VsockOp;
    readonly type?: number;
    readonly lengthBytes?: number;
    readonly flags?: number;
    readonly bufferBytes?: number;
    readonly forwardedBytes?: number;
  }): void {
    const data = this.#data;
    data.setBigUint64(0, BigInt(fields.sourceCid), true);
    data.setBigUint64(8, BigInt(fields.destinationCid), true);
    data.setUint32(16, fields.sourcePort, true);
    data.setUint32(20, fields.destinationPort, true);
    data.setUint32(24, fields.lengthBytes ?? 0, true);
    data.setUint16(28, fields.type ?? VIRTIO_VSOCK_TYPE_STREAM, true);
    data.setUint16(30, fields.op, true);
    data.setUint32(32, fields.flags ?? 0, true);
    data.setUint32(36, fields.bufferBytes ?? 0, true);
    data.setUint32(40, fields.forwardedBytes ?? 0, true);
  }
}
