/**
 * The PCI Express capability (PCI Express Base 6.0, section 7.5.3) of an endpoint and of a root port. Links are up where
 * a slot is filled and powered; they have the width and speed that QEMU's have, and no delay.
 */
import type { Capability } from './capabilities.ts';
import type { ConfigRow } from './config-space.ts';
import { CAPABILITY, DEVICE_CAPABILITIES, DEVICE_CONTROL, EXPRESS, LINK_CAPABILITIES, LINK_STATUS } from './spec.ts';

/** What the port is, in the flags' bits 7:4. */
const KIND = { endpoint: 0, rootPort: 4 } as const;
const VERSION = 2;
const SLOT_IMPLEMENTED = 1 << 8;
/** Speeds as numbers: 2.5 and 16 GT/s. Width in bits 9:4, ASPM L0s in bit 10. */
const SPEED = { first: 1, fourth: 4, vector: 0x1e } as const;
const LINK = { narrow: 1 << 4, wide: 32 << 4, l0s: 1 << 10 } as const;
/** Ext. fields, one prefix (bits 20 and 21); ARI forwarding; their enables in Device Control 2. */
const CAPABILITIES2 = { prefixes: 3 << 20, ariForwarding: 1 << 5 } as const;
const CONTROL2 = { prefixBlocking: 1 << 15, ariForwarding: 1 << 5 } as const;
const COMMON_CLOCK_AND_SYNCH = 0xc0;

/** Of a device in a slot. */
export function expressEndpoint(at?: number): Capability {
  return {
    ...{ id: CAPABILITY.express, name: 'PCI Express', sizeBytes: EXPRESS.bytes, ...(at === undefined ? {} : { at }) },
    rows: (base, effects) => [
      flags(base, KIND.endpoint, 0),
      {
        ...{ at: base + EXPRESS.deviceCapabilities, bytes: 4, name: 'Device Capabilities' },
        reset: DEVICE_CAPABILITIES.extendedTag | DEVICE_CAPABILITIES.roleBasedErrors | DEVICE_CAPABILITIES.flr,
        does: 'payloads of 128 bytes, function-level reset',
      },
      {
        ...{ at: base + EXPRESS.deviceControl, bytes: 2, name: 'Device Control', writable: DEVICE_CONTROL.initiateFlr },
        // The bit reads as zero: the reset is over before anybody could look.
        read: (stored) => stored & ~DEVICE_CONTROL.initiateFlr,
        wrote: (value) => {
          if ((value & DEVICE_CONTROL.initiateFlr) !== 0) effects.resetFunction();
        },
        does: 'initiates a function-level reset',
      },
      deviceStatus(base),
      {
        ...{ at: base + EXPRESS.linkCapabilities, bytes: 4, name: 'Link Capabilities' },
        reset: SPEED.first | LINK.narrow | LINK.l0s,
        does: '2.5 GT/s, one lane',
      },
      {
        ...{ at: base + EXPRESS.linkControl, bytes: 2, name: 'Link Control', writable: COMMON_CLOCK_AND_SYNCH },
        does: 'kept, without effect',
      },
      {
        ...{ at: base + EXPRESS.linkStatus, bytes: 2, name: 'Link Status', reset: SPEED.first | LINK.narrow },
        does: '2.5 GT/s, one lane',
      },
      {
        ...{ at: base + EXPRESS.deviceCapabilities2, bytes: 4, name: 'Device Capabilities 2' },
        ...{ reset: CAPABILITIES2.prefixes, does: 'prefixes' },
      },
      {
        ...{ at: base + EXPRESS.deviceControl2, bytes: 2, name: 'Device Control 2', writable: CONTROL2.prefixBlocking },
        does: 'kept, without effect',
      },
    ],
  };
}

/** What is at the other end of a port's link. */
export interface LinkEnd {
  readonly isPresent: boolean;
  /** The link is active. */
  readonly isUp: boolean;
}

/** Of a root port with a slot; the slot's own registers are in slot.ts. */
export function expressRootPort(at: number, end: LinkEnd, slotRows: (at: number) => ConfigRow[]): Capability {
  const { activeReporting, bandwidthNotification } = LINK_CAPABILITIES;
  return {
    ...{ id: CAPABILITY.express, name: 'PCI Express', sizeBytes: EXPRESS.bytes, at },
    rows: (base) => [
      flags(base, KIND.rootPort, SLOT_IMPLEMENTED),
      {
        ...{ at: base + EXPRESS.deviceCapabilities, bytes: 4, name: 'Device Capabilities' },
        reset: DEVICE_CAPABILITIES.extendedTag | DEVICE_CAPABILITIES.roleBasedErrors,
        does: 'payloads of 128 bytes',
      },
      {
        ...{ at: base + EXPRESS.deviceControl, bytes: 2, name: 'Device Control', writable: DEVICE_CONTROL.errors },
        does: 'which errors are reported',
      },
      deviceStatus(base),
      {
        ...{ at: base + EXPRESS.linkCapabilities, bytes: 4, name: 'Link Capabilities' },
        reset: SPEED.fourth | LINK.wide | LINK.l0s | activeReporting | bandwidthNotification,
        does: 'up to 16 GT/s and 32 lanes; says whether the link is active',
      },
      { at: base + EXPRESS.linkControl, bytes: 2, name: 'Link Control', does: 'nothing to control' },
      {
        ...{ at: base + EXPRESS.linkStatus, bytes: 2, name: 'Link Status', reset: SPEED.fourth | LINK.wide },
        // With nothing at its other end a link has no speed or width; QEMU shows those that it could have.
        read: (stored) => {
          if (!end.isPresent) return stored;
          return SPEED.first | LINK.narrow | (end.isUp ? LINK_STATUS.active : 0);
        },
        does: 'speed and width as the card has them; whether the link is active',
      },
      ...slotRows(base),
      {
        ...{ at: base + EXPRESS.rootControl, bytes: 2, name: 'Root Control', writable: 7 },
        does: 'which errors are system errors',
      },
      { at: base + EXPRESS.rootCapabilities, bytes: 2, name: 'Root Capabilities', does: 'none' },
      { at: base + EXPRESS.rootStatus, bytes: 4, name: 'Root Status', does: 'no power management events' },
      {
        ...{ at: base + EXPRESS.deviceCapabilities2, bytes: 4, name: 'Device Capabilities 2' },
        ...{ reset: CAPABILITIES2.prefixes | CAPABILITIES2.ariForwarding, does: 'prefixes, ARI forwarding' },
      },
      {
        ...{ at: base + EXPRESS.deviceControl2, bytes: 2, name: 'Device Control 2' },
        writable: CONTROL2.prefixBlocking | CONTROL2.ariForwarding,
        does: 'ARI forwarding: every device number behind the port is one of its device 0',
      },
      {
        ...{ at: base + EXPRESS.linkCapabilities2, bytes: 4, name: 'Link Capabilities 2', reset: SPEED.vector },
        does: 'speeds that there are',
      },
      {
        ...{ at: base + EXPRESS.linkControl2, bytes: 2, name: 'Link Control 2', reset: SPEED.fourth },
        does: 'target speed',
      },
    ],
  };
}

function flags(base: number, kind: number, slot: number): ConfigRow {
  return {
    ...{ at: base + EXPRESS.flags, bytes: 2, name: 'PCI Express Capabilities', reset: VERSION | (kind << 4) | slot },
    does: 'version 2; what kind of port',
  };
}

function deviceStatus(base: number): ConfigRow {
  return {
    ...{ at: base + EXPRESS.deviceStatus, bytes: 2, name: 'Device Status', clears: DEVICE_CONTROL.errors },
    does: 'errors seen: none occur',
  };
}
