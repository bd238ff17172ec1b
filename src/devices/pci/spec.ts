/**
 * Numbers of the PCI Express Base specification 6.0 that several files here use: offsets in configuration space and in
 * capabilities, and the bits that have an effect. Names follow the specification's.
 */

/** Offsets in the header (sections 7.5.1.1 to 7.5.1.3). */
export const HEADER = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  type: 0x0e,
  primaryBus: 0x18,
  secondaryBus: 0x19,
  subordinateBus: 0x1a,
  ioBase: 0x1c,
  ioLimit: 0x1d,
  secondaryStatus: 0x1e,
  memoryBase: 0x20,
  memoryLimit: 0x22,
  prefetchableBase: 0x24,
  prefetchableLimit: 0x26,
  prefetchableBaseUpper: 0x28,
  prefetchableLimitUpper: 0x2c,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
  bridgeControl: 0x3e,
} as const;

export const COMMAND = {
  io: 1 << 0,
  memory: 1 << 1,
  busMaster: 1 << 2,
  serr: 1 << 8,
  interruptDisable: 1 << 10,
} as const;

export const STATUS = {
  interrupt: 1 << 3,
  capabilities: 1 << 4,
  /** Of an abort: received as a master. */
  masterAbort: 1 << 13,
  /** All that a one written clears. */
  errors: 0xf900,
} as const;

export const HEADER_TYPE = { endpoint: 0, bridge: 1, multiFunction: 0x80 } as const;
export const BRIDGE_CONTROL = { isa: 1 << 2, secondaryReset: 1 << 6 } as const;

export const CAPABILITY = {
  power: 0x01,
  msi: 0x05,
  vendor: 0x09,
  subsystem: 0x0d,
  express: 0x10,
  msix: 0x11,
} as const;
export const EXTENDED = { aer: 0x0001, acs: 0x000d } as const;

/** Power management (section 7.5.2). */
export const PM = { control: 4, state: 3, d3hot: 3, noSoftReset: 8 } as const;

/** MSI (section 7.7.1). */
export const MSI = {
  control: 2,
  address: 4,
  upperAddress: 8,
  data32: 8,
  data64: 12,
  /** Mask bits lie so far behind the data, pending bits behind them. */
  maskBehindData: 4,
  pendingBehindData: 8,
  enable: 1,
  capableShift: 1,
  allocatedShift: 4,
  is64: 1 << 7,
  maskable: 1 << 8,
} as const;

/** MSI-X (section 7.7.2). */
export const MSIX = {
  control: 2,
  table: 4,
  pending: 8,
  functionMask: 1 << 14,
  enable: 1 << 15,
  mostVectors: 2048,
  entryBytes: 16,
} as const;

export const MSIX_ENTRY = {
  masked: 1,
  /** Bits of the four dwords that can be written: addresses are of dwords, of the control there is the mask alone. */
  writable: [0xffff_fffc, 0xffff_ffff, 0xffff_ffff, 1],
} as const;

/** Offsets in the PCI Express capability (section 7.5.3). */
export const EXPRESS = {
  flags: 2,
  deviceCapabilities: 4,
  deviceControl: 8,
  deviceStatus: 10,
  linkCapabilities: 12,
  linkControl: 16,
  linkStatus: 18,
  slotCapabilities: 20,
  slotControl: 24,
  slotStatus: 26,
  rootControl: 28,
  rootCapabilities: 30,
  rootStatus: 32,
  deviceCapabilities2: 36,
  deviceControl2: 40,
  linkCapabilities2: 44,
  linkControl2: 48,
  linkStatus2: 50,
  bytes: 0x3c,
} as const;

export const DEVICE_CAPABILITIES = { extendedTag: 1 << 5, roleBasedErrors: 1 << 15, flr: 1 << 28 } as const;
export const DEVICE_CONTROL = { errors: 0xf, initiateFlr: 1 << 15 } as const;
export const LINK_STATUS = { active: 1 << 13 } as const;
export const LINK_CAPABILITIES = { activeReporting: 1 << 20, bandwidthNotification: 1 << 21 } as const;

export const SLOT_CAPABILITIES = {
  attentionButton: 1 << 0,
  powerController: 1 << 1,
  attentionIndicator: 1 << 3,
  powerIndicator: 1 << 4,
  surprise: 1 << 5,
  hotPlug: 1 << 6,
  interlock: 1 << 17,
  numberShift: 19,
} as const;

/** Of Slot Control and Slot Status, the bits that enable and those that report an event are at the same places. */
export const SLOT_EVENT = {
  attentionButton: 1 << 0,
  powerFault: 1 << 1,
  presence: 1 << 3,
  commandCompleted: 1 << 4,
} as const;

export const SLOT_CONTROL = {
  interruptEnable: 1 << 5,
  attentionIndicatorShift: 6,
  powerIndicatorShift: 8,
  /** 1: power is off. */
  powerOff: 1 << 10,
  interlock: 1 << 11,
  linkStateEnable: 1 << 12,
} as const;

export const SLOT_STATUS = {
  /** Events that an enable bit of the same place goes with. */
  events: 0x1f,
  presence: 1 << 6,
  interlock: 1 << 7,
  linkStateChanged: 1 << 8,
} as const;

/** What indicators show. */
export const INDICATOR = { on: 1, blink: 2, off: 3 } as const;
