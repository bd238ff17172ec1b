/** The door of the devices: what a device is, register tables, and the devices by kind. */
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
