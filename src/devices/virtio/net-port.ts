/**
 * What the network device asks of the network. The user-mode network of src/network has the same shapes, and so may
 * a tap or a peer's socket: the types are structural, and neither room imports the other.
 */

/** What the sender of a frame vouches for, as far as the two ends agreed on offloads. */
export interface FrameOffload {
  /**
   * The transport checksum need not be verified. On frames towards the guest the checksum field of TCP or UDP, over IPv4
   * or IPv6, then holds the pseudo header's sum.
   */
  readonly checksumValid: boolean;
  /** Above 0: a TCP packet to be cut into segments of this many bytes of payload. */
  readonly segmentBytes: number;
}

/** One direction of an Ethernet link. `frame` is lent: copy what must outlive the call. */
export interface FramePort {
  send(frame: Uint8Array, offload?: FrameOffload): void;
}

/** What a guest takes off the network's hands; changes when its driver starts. */
export interface GuestOffload {
  /** Frames may come with partial checksums (VIRTIO_NET_F_GUEST_CSUM). */
  readonly checksum: boolean;
  /** The largest TCP packet over IPv4 in one frame, 0 for none beyond the MTU (VIRTIO_NET_F_GUEST_TSO4). */
  readonly largePacketBytes: number;
  /** The same over IPv6 (VIRTIO_NET_F_GUEST_TSO6). */
  readonly largePacketBytes6: number;
}

/** What the device tells its host's side, from within a service. */
export interface NetEvents {
  /** The guest's driver has started, or stopped (then without offloads), or wants others. */
  offload?(offload: GuestOffload): void;
  /** After `receive` refused a frame: frames are taken again. */
  room?(): void;
  /** The driver has reset the device: it reads the hardware address again. */
  restarted?(): void;
}
