/**
 * The first 64 bytes of configuration space: type 0 of an endpoint, type 1 of a bridge (PCI Express Base 6.0, sections
 * 7.5.1.1 to 7.5.1.3).
 *
 * Deviation: VGA Enable of a bridge cannot be set; there is no VGA here, and no window that holds its addresses.
 */
import { type BarDescription, barRows } from './bar.ts';
import type { FunctionEffects } from './capabilities.ts';
import type { ConfigRow } from './config-space.ts';
import { BRIDGE_CONTROL, COMMAND, HEADER, HEADER_TYPE, STATUS } from './spec.ts';

/** Who a function is. */
export interface Identity {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** Class, subclass, programming interface: 24 bits. */
  readonly classCode: number;
  /** Of an endpoint; a bridge has a capability for it. */
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
}

/** What the header shows besides. */
export interface HeaderShape {
  readonly identity: Identity;
  readonly bars: readonly BarDescription[];
  /** 1 is INTA; 0: none. */
  readonly pin: number;
  /** There are further functions of this device. */
  readonly isMultiFunction: boolean;
  readonly hasCapabilities: boolean;
  /** Status.Interrupt Status. */
  isInterrupting(): boolean;
}

/** What a bridge's registers do. */
export interface BridgeEffects {
  /** Secondary Bus Reset was written: the bit's value. */
  secondaryReset(level: boolean): void;
}

const SERR_AND_PARITY = 3;

export function endpointHeader(shape: HeaderShape, effects: FunctionEffects): ConfigRow[] {
  const { subsystemVendor = 0, subsystem = 0 } = shape.identity;
  return [
    ...commonRows(shape, HEADER_TYPE.endpoint, effects),
    ...barRows(shape.bars, 6, effects.addressesChanged),
    { at: 0x2c, bytes: 2, name: 'Subsystem Vendor ID', reset: subsystemVendor, does: 'who built the board' },
    { at: 0x2e, bytes: 2, name: 'Subsystem ID', reset: subsystem, does: 'which board' },
    { at: 0x30, bytes: 4, name: 'Expansion ROM Base', does: 'none' },
  ];
}

export function bridgeHeader(shape: HeaderShape, effects: FunctionEffects, bridge: BridgeEffects): ConfigRow[] {
  const moved = effects.addressesChanged;
  const bus = (at: number, name: string, does: string): ConfigRow => ({
    ...{ at, bytes: 1, name, writable: 0xff, wrote: moved, does },
  });
  const ports = (at: number, name: string, does: string, reset = 0): ConfigRow => ({
    ...{ at, bytes: 1, name, reset, writable: 0xf0, wrote: moved, does },
  });
  const megabytes = (at: number, name: string, does: string, reset: number): ConfigRow => ({
    ...{ at, bytes: 2, name, reset, writable: 0xfff0, wrote: moved, does },
  });
  const upper = (at: number, name: string, does: string): ConfigRow => ({
    ...{ at, bytes: 4, name, writable: 0xffff_ffff, wrote: moved, does },
  });
  return [
    ...commonRows(shape, HEADER_TYPE.bridge, effects),
    ...barRows(shape.bars, 2, moved),
    bus(HEADER.primaryBus, 'Primary Bus Number', 'kept for software'),
    bus(HEADER.secondaryBus, 'Secondary Bus Number', 'the bus behind the bridge'),
    bus(HEADER.subordinateBus, 'Subordinate Bus Number', 'the highest bus behind the bridge'),
    { at: 0x1b, bytes: 1, name: 'Secondary Latency Timer', does: 'none' },
    // Base above limit: nothing is forwarded.
    ports(HEADER.ioBase, 'I/O Base', 'first 4 KiB of I/O ports that are forwarded', 0xf0),
    ports(HEADER.ioLimit, 'I/O Limit', 'last 4 KiB'),
    {
      ...{ at: HEADER.secondaryStatus, bytes: 2, name: 'Secondary Status', clears: STATUS.errors },
      does: 'errors seen behind the bridge: none occur',
    },
    megabytes(HEADER.memoryBase, 'Memory Base', 'first MiB of memory that is forwarded', 0xfff0),
    megabytes(HEADER.memoryLimit, 'Memory Limit', 'last MiB', 0),
    megabytes(HEADER.prefetchableBase, 'Prefetchable Memory Base', 'the same of prefetchable memory', 0xfff1),
    megabytes(HEADER.prefetchableLimit, 'Prefetchable Memory Limit', 'last MiB', 1),
    upper(HEADER.prefetchableBaseUpper, 'Prefetchable Base Upper', 'upper 32 bits'),
    upper(HEADER.prefetchableLimitUpper, 'Prefetchable Limit Upper', 'upper 32 bits'),
    { at: 0x30, bytes: 2, name: 'I/O Base Upper', does: 'none: I/O ports have 16 bits' },
    { at: 0x32, bytes: 2, name: 'I/O Limit Upper', does: 'none' },
    { at: 0x38, bytes: 4, name: 'Expansion ROM Base', does: 'none' },
    {
      ...{ at: HEADER.bridgeControl, bytes: 2, name: 'Bridge Control' },
      writable: SERR_AND_PARITY | BRIDGE_CONTROL.isa | BRIDGE_CONTROL.secondaryReset,
      wrote: (value) => {
        bridge.secondaryReset((value & BRIDGE_CONTROL.secondaryReset) !== 0);
        moved();
      },
      does: 'ISA: the upper 768 of each 1024 ports are not forwarded; reset of the bus behind',
    },
  ];
}

function commonRows(shape: HeaderShape, type: number, effects: FunctionEffects): ConfigRow[] {
  const { identity, pin, isMultiFunction, hasCapabilities } = shape;
  const { io, memory, busMaster, serr, interruptDisable } = COMMAND;
  return [
    { at: HEADER.vendor, bytes: 2, name: 'Vendor ID', reset: identity.vendor, does: 'who made it' },
    { at: HEADER.device, bytes: 2, name: 'Device ID', reset: identity.device, does: 'what it is' },
    {
      ...{ at: HEADER.command, bytes: 2, name: 'Command', writable: io | memory | busMaster | serr | interruptDisable },
      wrote: () => {
        effects.addressesChanged();
        effects.interruptsChanged();
      },
      does: 'enables I/O ports, memory and bus mastering; disables INTx',
    },
    {
      ...{ at: HEADER.status, bytes: 2, name: 'Status', clears: STATUS.errors },
      reset: hasCapabilities ? STATUS.capabilities : 0,
      read: (stored) => (shape.isInterrupting() ? stored | STATUS.interrupt : stored),
      does: 'whether INTx is wanted; errors seen: none occur',
    },
    { at: HEADER.revision, bytes: 1, name: 'Revision ID', reset: identity.revision, does: 'which version' },
    { at: 0x09, bytes: 1, name: 'Programming Interface', reset: identity.classCode & 0xff, does: 'class code' },
    { at: 0x0a, bytes: 2, name: 'Class Code', reset: identity.classCode >>> 8, does: 'subclass and class' },
    { at: 0x0c, bytes: 1, name: 'Cache Line Size', writable: 0xff, does: 'kept, without effect' },
    { at: 0x0d, bytes: 1, name: 'Latency Timer', does: 'none' },
    {
      ...{ at: HEADER.type, bytes: 1, name: 'Header Type' },
      reset: type | (isMultiFunction ? HEADER_TYPE.multiFunction : 0),
      does: 'layout of the header; whether the device has more functions',
    },
    { at: 0x0f, bytes: 1, name: 'BIST', does: 'none' },
    { at: HEADER.interruptLine, bytes: 1, name: 'Interrupt Line', writable: 0xff, does: 'kept for software' },
    { at: HEADER.interruptPin, bytes: 1, name: 'Interrupt Pin', reset: pin, does: '1: INTA' },
  ];
}
