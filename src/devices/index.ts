/** The door of the devices: what a device is, how it is accessed, register tables, and the devices by kind. */
export { type BusBytes, type Place, readDevice, writeDevice } from './access.ts';
export type {
  AccessBytes,
  Block,
  Device,
  DeviceClock,
  Doorbell,
  GuestMemory,
  InterruptLine,
  Model,
} from './device.ts';
export * from './pci/index.ts';
export * from './platform/index.ts';
export { type Register, type RegisterModel, RegisterTable, registersAsMarkdown } from './registers.ts';
export * from './virtio/index.ts';
