/**
 * The registers of the virtio-mmio transport, version 2 (virtio 1.2, section 4.2.2), as rows. All are 32 bits wide
 * and little-endian; the device's configuration from 0x100 on is not in the table, for its shape is the device's.
 * The rows that a running guest uses come first: the dispatcher takes the first that fits.
 * Left out: queue reset (VIRTIO_F_RING_RESET is not offered) and shared memory regions (there are none, which the
 * specification shows as a length of all ones).
 */
import { type Register, type RegisterModel, RegisterTable } from '../registers.ts';
import type { QueueField, VirtioState } from './state.ts';
import type { VirtioDevice } from './virtio-device.ts';

/** What the rows act on: the device, and what the transport keeps of its own. */
export interface MmioModel extends RegisterModel {
  readonly state: RegisterModel['state'] & {
    deviceFeaturesSel: number;
    driverFeaturesSel: number;
    queueSel: number;
    interruptStatus: number;
  };
  readonly device: VirtioDevice<VirtioState>;
  /** Counts a write that was not taken. */
  count(taken: boolean): void;
  acknowledge(bits: number): void;
}

export const CONFIG_AT = 0x100;
/** "virt" */
const MAGIC = 0x74726976;
/** "KAGE" */
const VENDOR = 0x4547414b;

const ALL_ONES = 0xffff_ffff;

function row(
  at: number,
  name: string,
  does: string,
  handlers: Pick<Register<MmioModel>, 'read' | 'write' | 'reset'>,
): Register<MmioModel> {
  return { at, bytes: 4, name, does, ...handlers };
}

function queueWord(at: number, name: string, field: QueueField): Register<MmioModel> {
  return row(at, name, 'address of the selected queue, while it is not ready', {
    write: (mmio, value) => mmio.count(mmio.device.setQueue(mmio.state.queueSel, field, value)),
  });
}

export const mmioRegisters = new RegisterTable<MmioModel>([
  row(0x50, 'QueueNotify', 'there are buffers in this queue', {
    write: (mmio, value) => mmio.count(mmio.device.notify(value)),
  }),
  row(0x60, 'InterruptStatus', '1: used buffers, 2: configuration changed', {
    read: ({ state }) => state.interruptStatus,
    reset: 0,
  }),
  row(0x64, 'InterruptACK', 'clears these bits of InterruptStatus', {
    write: (mmio, value) => mmio.acknowledge(value),
  }),
  row(0x00, 'MagicValue', '"virt"', { read: () => MAGIC, reset: MAGIC }),
  row(0x04, 'Version', '2: not legacy', { read: () => 2, reset: 2 }),
  row(0x08, 'DeviceID', 'section 5', { read: ({ device }) => device.deviceId }),
  row(0x0c, 'VendorID', '"KAGE"', { read: () => VENDOR, reset: VENDOR }),
  row(0x10, 'DeviceFeatures', 'offered features, the selected 32', {
    read: ({ state, device }) => device.state.offered[state.deviceFeaturesSel] ?? 0,
  }),
  row(0x14, 'DeviceFeaturesSel', 'selects for DeviceFeatures', {
    write: ({ state }, value) => {
      state.deviceFeaturesSel = value;
    },
  }),
  row(0x20, 'DriverFeatures', 'accepted features, the selected 32, before FEATURES_OK', {
    write: (mmio, value) => mmio.count(mmio.device.acceptFeatures(mmio.state.driverFeaturesSel, value)),
  }),
  row(0x24, 'DriverFeaturesSel', 'selects for DriverFeatures', {
    write: ({ state }, value) => {
      state.driverFeaturesSel = value;
    },
  }),
  row(0x30, 'QueueSel', 'selects the queue of the registers below', {
    write: ({ state }, value) => {
      state.queueSel = value;
    },
  }),
  row(0x34, 'QueueSizeMax', '0: there is no such queue', {
    read: ({ state, device }) => device.state.queues[state.queueSel]?.sizeMax ?? 0,
  }),
  row(0x38, 'QueueSize', 'a power of two up to QueueSizeMax, while not ready', {
    write: (mmio, value) => mmio.count(mmio.device.setQueue(mmio.state.queueSel, 'size', value)),
  }),
  row(0x44, 'QueueReady', '1: the device may use the queue', {
    read: ({ state, device }) => device.state.queues[state.queueSel]?.ready ?? 0,
    write: (mmio, value) => mmio.count(mmio.device.setQueueReady(mmio.state.queueSel, (value & 1) !== 0)),
    reset: 0,
  }),
  row(0x70, 'Status', 'writing 0 resets the device', {
    read: ({ device }) => device.state.status,
    write: ({ device }, value) => device.writeStatus(value),
    reset: 0,
  }),
  queueWord(0x80, 'QueueDescLow', 'descLow'),
  queueWord(0x84, 'QueueDescHigh', 'descHigh'),
  queueWord(0x90, 'QueueDriverLow', 'driverLow'),
  queueWord(0x94, 'QueueDriverHigh', 'driverHigh'),
  queueWord(0xa0, 'QueueDeviceLow', 'deviceLow'),
  queueWord(0xa4, 'QueueDeviceHigh', 'deviceHigh'),
  row(0xac, 'SHMSel', 'selects a shared memory region: there are none', { write: () => undefined }),
  row(0xb0, 'SHMLenLow', 'all ones: no such region', { read: () => ALL_ONES, reset: ALL_ONES }),
  row(0xb4, 'SHMLenHigh', 'all ones: no such region', { read: () => ALL_ONES, reset: ALL_ONES }),
  row(0xb8, 'SHMBaseLow', 'all ones: no such region', { read: () => ALL_ONES, reset: ALL_ONES }),
  row(0xbc, 'SHMBaseHigh', 'all ones: no such region', { read: () => ALL_ONES, reset: ALL_ONES }),
  row(0xfc, 'ConfigGeneration', 'changes with the configuration', {
    read: ({ device }) => device.state.configGeneration,
    reset: 0,
  }),
]);
