/**
 * The common configuration of the virtio over PCI transport (virtio 1.2, section 4.1.4.3), as rows. Each field is
 * reached at its own width, those of 64 bits as two of 32 (section 4.1.3.1). The rows that a running guest uses come
 * first: the dispatcher takes the first that fits.
 * Left out: queue_notify_data (VIRTIO_F_NOTIF_CONFIG_DATA is not offered).
 */
import type { AccessBytes } from '../device.ts';
import { type Register, type RegisterModel, RegisterTable } from '../registers.ts';
import type { QueueField, VirtioState } from './state.ts';
import type { VirtioDevice } from './virtio-device.ts';

/** What the rows act on: the device, and what the transport keeps of its own. */
export interface PciModel extends RegisterModel {
  readonly state: RegisterModel['state'] & {
    deviceFeatureSelect: number;
    driverFeatureSelect: number;
    queueSelect: number;
    configVector: number;
    readonly vectors: Uint16Array;
  };
  readonly device: VirtioDevice<VirtioState>;
  /** Counts a write that was not taken. */
  count(taken: boolean): void;
  /** The vector that the driver gets: NO_VECTOR where there is none of that number. */
  vectorOf(wanted: number): number;
}

/** Section 4.1.5.1.2: no vector. */
export const NO_VECTOR = 0xffff;

function row(
  at: number,
  bytes: AccessBytes,
  name: string,
  does: string,
  handlers: Pick<Register<PciModel>, 'read' | 'write' | 'reset'>,
): Register<PciModel> {
  return { at, bytes, name, does, ...handlers };
}

function queueOf({ device, state }: PciModel): VirtioState['queues'][number] | undefined {
  return device.state.queues[state.queueSelect];
}

function queueWord(at: number, name: string, field: QueueField): Register<PciModel> {
  return row(at, 4, name, 'address of the selected queue, while it is not enabled', {
    read: (pci) => queueOf(pci)?.[field] ?? 0,
    write: (pci, value) => pci.count(pci.device.setQueue(pci.state.queueSelect, field, value)),
    reset: 0,
  });
}

export const pciRegisters = new RegisterTable<PciModel>([
  row(0x14, 1, 'device_status', 'writing 0 resets the device', {
    read: ({ device }) => device.state.status,
    write: ({ device }, value) => device.writeStatus(value),
    reset: 0,
  }),
  row(0x15, 1, 'config_generation', 'changes with the configuration', {
    read: ({ device }) => device.state.configGeneration,
    reset: 0,
  }),
  row(0x00, 4, 'device_feature_select', 'selects for device_feature', {
    read: ({ state }) => state.deviceFeatureSelect,
    write: ({ state }, value) => {
      state.deviceFeatureSelect = value;
    },
    reset: 0,
  }),
  row(0x04, 4, 'device_feature', 'offered features, the selected 32', {
    read: ({ state, device }) => device.state.offered[state.deviceFeatureSelect] ?? 0,
  }),
  row(0x08, 4, 'driver_feature_select', 'selects for driver_feature', {
    read: ({ state }) => state.driverFeatureSelect,
    write: ({ state }, value) => {
      state.driverFeatureSelect = value;
    },
    reset: 0,
  }),
  row(0x0c, 4, 'driver_feature', 'accepted features, the selected 32, written before FEATURES_OK', {
    read: ({ state, device }) => device.state.accepted[state.driverFeatureSelect] ?? 0,
    write: (pci, value) => pci.count(pci.device.acceptFeatures(pci.state.driverFeatureSelect, value)),
    reset: 0,
  }),
  row(0x10, 2, 'config_msix_vector', 'vector of configuration changes; 0xffff: none', {
    read: ({ state }) => state.configVector,
    write: (pci, value) => {
      pci.state.configVector = pci.vectorOf(value);
    },
    reset: NO_VECTOR,
  }),
  row(0x12, 2, 'num_queues', 'queues that there are', {
    read: ({ device }) => device.queueCount,
  }),
  row(0x16, 2, 'queue_select', 'selects the queue of the registers below', {
    read: ({ state }) => state.queueSelect,
    write: ({ state }, value) => {
      state.queueSelect = value;
    },
    reset: 0,
  }),
  row(0x18, 2, 'queue_size', 'the largest size at first, 0: there is no such queue; a power of two up to that', {
    read: (pci) => queueOf(pci)?.size ?? 0,
    write: (pci, value) => pci.count(pci.device.setQueue(pci.state.queueSelect, 'size', value)),
  }),
  row(0x1a, 2, 'queue_msix_vector', 'vector of used buffers; 0xffff: none', {
    read: ({ state }) => state.vectors[state.queueSelect] ?? NO_VECTOR,
    write: (pci, value) => {
      const { vectors, queueSelect } = pci.state;
      if (queueSelect < vectors.length) vectors[queueSelect] = pci.vectorOf(value);
      else pci.count(false);
    },
    reset: NO_VECTOR,
  }),
  row(0x1c, 2, 'queue_enable', '1: the device may use the queue; only a reset takes that back', {
    read: (pci) => queueOf(pci)?.ready ?? 0,
    write: (pci, value) => pci.count(value === 1 && pci.device.setQueueReady(pci.state.queueSelect, true)),
    reset: 0,
  }),
  row(0x1e, 2, 'queue_notify_off', 'where the queue is notified, in units of notify_off_multiplier', {
    read: (pci) => (queueOf(pci) === undefined ? 0 : pci.state.queueSelect),
    reset: 0,
  }),
  queueWord(0x20, 'queue_desc_low', 'descLow'),
  queueWord(0x24, 'queue_desc_high', 'descHigh'),
  queueWord(0x28, 'queue_driver_low', 'driverLow'),
  queueWord(0x2c, 'queue_driver_high', 'driverHigh'),
  queueWord(0x30, 'queue_device_low', 'deviceLow'),
  queueWord(0x34, 'queue_device_high', 'deviceHigh'),
  row(0x3a, 2, 'queue_reset', 'writing 1 resets the selected queue, which is done at once', {
    read: () => 0,
    write: (pci, value) => pci.count(value === 1 && pci.device.resetQueue(pci.state.queueSelect)),
    reset: 0,
  }),
]);
