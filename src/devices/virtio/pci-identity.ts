/**
 * What virtio functions are on PCI, as QEMU's are behind a root port: 1af4:1040 + type (virtio 1.2, section 4.1.2.1),
 * not transitional, with QEMU's class codes, numbers of vectors, names and order of capabilities. So guests and their
 * tools (lspci, images, udev rules) see what they know.
 */
import { assert } from '../../base/assert.ts';
import type { Identity } from '../pci/index.ts';

export interface VirtioKind {
  /** As QEMU calls the device. */
  readonly name: string;
  readonly classCode: number;
  /** MSI-X vectors of a device with so many queues (block), or pairs of queues (net). */
  vectors(queues: number): number;
}

const CLASS = {
  ...{ storage: 0x01_0000, ethernet: 0x02_0000, communication: 0x07_8000, none: 0x00_ff00 },
  // QEMU's for 9P, which is no class that there is.
  share: 0x00_0200,
} as const;

/** By device type (section 5). */
const KINDS: Readonly<Record<number, VirtioKind>> = {
  // One for each queue, one for the control queue, one for the configuration.
  1: { name: 'virtio-net-pci', classCode: CLASS.ethernet, vectors: (pairs) => 2 * pairs + 2 },
  2: { name: 'virtio-blk-pci', classCode: CLASS.storage, vectors: (queues) => queues + 1 },
  3: { name: 'virtio-serial-pci', classCode: CLASS.communication, vectors: () => 2 },
  4: { name: 'virtio-rng-pci', classCode: CLASS.none, vectors: () => 2 },
  5: { name: 'virtio-balloon-pci', classCode: CLASS.none, vectors: () => 2 },
  9: { name: 'virtio-9p-pci', classCode: CLASS.share, vectors: () => 2 },
  19: { name: 'vhost-vsock-pci', classCode: CLASS.communication, vectors: () => 3 },
};
const OTHER: VirtioKind = { name: 'virtio-pci', classCode: CLASS.none, vectors: (queues) => queues + 1 };

const VENDOR = 0x1af4;
const FIRST_DEVICE = 0x1040;
const SUBSYSTEM = 0x1100;

export function virtioKind(deviceId: number): VirtioKind {
  return KINDS[deviceId] ?? OTHER;
}

export function virtioIdentity(deviceId: number): Identity {
  assert(deviceId > 0 && deviceId < 0x40, `no virtio device type: ${deviceId}`);
  return {
    ...{ vendor: VENDOR, device: FIRST_DEVICE + deviceId, revision: 1 },
    classCode: virtioKind(deviceId).classCode,
    ...{ subsystemVendor: VENDOR, subsystem: SUBSYSTEM },
  };
}
