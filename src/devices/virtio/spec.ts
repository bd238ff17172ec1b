/**
 * Numbers of the Virtual I/O Device specification 1.2 that the transport and every device share: status bits,
 * reserved feature bits, descriptor and ring flags. Names are the specification's. Device types and their own
 * feature bits are with their devices.
 */

/** Device status, section 2.1. */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 0x40,
  FAILED: 0x80,
} as const;

/** Reserved feature bits, section 6. */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_RING_RESET = 40;

/** Pending interrupts: InterruptStatus (section 4.2.2), ISR status (section 4.1.4.5). */
export const INTERRUPT = { USED_BUFFER: 1, CONFIG_CHANGE: 2 } as const;

/** Descriptor flags, section 2.7.5. */
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;
export const DESCRIPTOR_BYTES = 16;

/** Flags of the available and the used ring, sections 2.7.6 and 2.7.8. */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/**
 * How drivers break the protocol, in the order of the counters. All but `negotiation` put the device in
 * DEVICE_NEEDS_RESET.
 */
export const VIOLATIONS = [
  /** Features that were not offered, no VERSION_1, or DRIVER_OK without FEATURES_OK: the status bit stays clear. */
  'negotiation',
  /** A queue made ready with a size or an address that cannot be. */
  'queue-setup',
  /** A ring or a buffer that is not memory this device may touch. */
  'dma',
  /** The available index is further ahead than the queue is long. */
  'avail-index',
  /** A head or a `next` beyond the table. */
  'descriptor-index',
  /** More descriptors than the queue is long: a loop. */
  'chain-length',
  /** More bytes than this device takes in one chain. */
  'chain-bytes',
  /** A device-readable buffer after a device-writable one. */
  'chain-order',
  /** Indirect: not negotiated, nested, with a `next`, empty, or of a broken length. */
  'indirect',
  /** A buffer offered a second time before the device has returned it. */
  'head-in-flight',
  /** A chain without the parts that its device asks for (header, status byte, room for a message). */
  'chain-format',
] as const;
export type Violation = (typeof VIOLATIONS)[number];
