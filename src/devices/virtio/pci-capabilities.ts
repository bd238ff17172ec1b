/**
 * The capabilities by which drivers find the parts of a virtio function (virtio 1.2, section 4.1.4), and the door to
 * them through configuration space (section 4.1.4.9). All parts lie behind one BAR, a page each, as QEMU's:
 *
 *     BAR 1   MSI-X: table, pending bits from 0x800 on
 *     BAR 4   0x0000 common | 0x1000 ISR | 0x2000 device | 0x3000 notify, 4 bytes a queue
 */
import type { AccessBytes } from '../device.ts';
import {
  type BarRegion,
  type Capability,
  type ConfigRow,
  type ConfigSpace,
  expressEndpoint,
  msix,
  powerManagement,
  vendorSpecific,
} from '../pci/index.ts';

export const MSIX_BAR = 1;
export const VIRTIO_BAR = 4;
export const VIRTIO_BAR_BYTES = 0x4000;
export const PART_BYTES = 0x1000;
/** Where parts begin. */
export const PART = { common: 0x0000, isr: 0x1000, device: 0x2000, notify: 0x3000 } as const;
/** notify_off_multiplier: bytes from one queue's place to the next one's. */
export const NOTIFY_BYTES = 4;
const PENDING_AT = 0x800;
/** A table of so many vectors leaves room for the pending bits in a page. */
export const VECTORS_MAX = 128;

/** cfg_type, section 4.1.4. */
const CFG = { common: 1, notify: 2, isr: 3, device: 4, access: 5 } as const;

/** Offsets in struct virtio_pci_cap. */
const CAP = { type: 3, bar: 4, id: 5, padding: 6, offset: 8, length: 12, more: 16, bytes: 16 } as const;

/** From the head of the list on; they lie in the opposite order. `config`: the function's, once it is there. */
export function virtioCapabilities(vectors: number, region: BarRegion, config: () => ConfigSpace): Capability[] {
  return [
    msix(
      {
        vectors,
        table: { bar: MSIX_BAR, offset: 0 },
        pending: { bar: MSIX_BAR, offset: PENDING_AT },
      },
      0xdc,
    ),
    access(0xc8, region, config),
    part(0xb4, 'notify', PART.notify, [['notify_off_multiplier', NOTIFY_BYTES, 'bytes from one queue to the next']]),
    part(0xa4, 'device', PART.device),
    part(0x94, 'isr', PART.isr),
    part(0x84, 'common', PART.common),
    powerManagement({ at: 0x7c, losesState: true }),
    expressEndpoint(0x40),
  ];
}

/** Where a part of the device lies. */
function part(
  at: number,
  type: Exclude<keyof typeof CFG, 'access'>,
  offset: number,
  more: readonly (readonly [name: string, reset: number, does: string])[] = [],
): Capability {
  const name = `VirtIO ${type}`;
  return vendorSpecific({
    ...{ name, sizeBytes: CAP.bytes + 4 * more.length, at },
    rows: (base) => [
      { at: base + CAP.type, bytes: 1, name: `${name} cfg_type`, reset: CFG[type], does: 'which part this is of' },
      { at: base + CAP.bar, bytes: 1, name: `${name} bar`, reset: VIRTIO_BAR, does: 'BAR behind which it lies' },
      { at: base + CAP.id, bytes: 1, name: `${name} id`, does: 'the only one' },
      { at: base + CAP.padding, bytes: 2, name: `${name} padding`, does: 'none' },
      { at: base + CAP.offset, bytes: 4, name: `${name} offset`, reset: offset, does: 'from the base of the BAR' },
      { at: base + CAP.length, bytes: 4, name: `${name} length`, reset: PART_BYTES, does: 'bytes' },
      ...more.map(([field, reset, does], i) => ({
        ...{ at: base + CAP.more + 4 * i, bytes: 4 as const, name: `${name} ${field}`, reset, does },
      })),
    ],
  });
}

/**
 * Section 4.1.4.9: what is read from or written to pci_cfg_data is read or written behind the BAR. An access that names
 * something else than 1, 2 or 4 aligned bytes of the device's parts reads as zero and changes nothing.
 */
function access(at: number, region: BarRegion, config: () => ConfigSpace): Capability {
  const name = 'VirtIO access';
  const field = (offset: number, bytes: AccessBytes, key: string, does: string): ConfigRow => {
    return { at: at + offset, bytes, name: `${name} ${key}`, writable: 256 ** bytes - 1, does };
  };
  // What the driver named is in configuration space, which all threads share.
  const named = (): { offset: number; bytes: AccessBytes } | undefined => {
    const bar = config().get(at + CAP.bar, 1);
    const offset = config().get(at + CAP.offset, 4);
    const bytes = config().get(at + CAP.length, 4);
    if (bar !== VIRTIO_BAR || (bytes !== 1 && bytes !== 2 && bytes !== 4)) return undefined;
    return offset % bytes === 0 && offset + bytes <= VIRTIO_BAR_BYTES ? { offset, bytes } : undefined;
  };
  return vendorSpecific({
    ...{ name, sizeBytes: CAP.bytes + 4, at },
    rows: (base) => [
      { at: base + CAP.type, bytes: 1, name: `${name} cfg_type`, reset: CFG.access, does: 'access by configuration' },
      field(CAP.bar, 1, 'bar', 'BAR to access'),
      { at: base + CAP.id, bytes: 1, name: `${name} id`, does: 'the only one' },
      { at: base + CAP.padding, bytes: 2, name: `${name} padding`, does: 'none' },
      field(CAP.offset, 4, 'offset', 'where'),
      field(CAP.length, 4, 'length', '1, 2 or 4 bytes'),
      {
        ...field(CAP.more, 4, 'pci_cfg_data', 'the access'),
        read: () => {
          const place = named();
          return place === undefined ? 0 : region.read(place.offset, place.bytes);
        },
        wrote: (value) => {
          const place = named();
          if (place !== undefined) region.write(place.offset, place.bytes, value % 256 ** place.bytes);
        },
      },
    ],
  });
}
