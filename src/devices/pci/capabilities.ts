/**
 * Capabilities, each a list of rows (PCI Express Base 6.0, sections 7.5.2, 7.5.3, 7.7, 7.8, 7.9): power management, MSI,
 * MSI-X, vendor-specific, subsystem, and of the extended ones advanced error reporting and access control services. PCI
 * Express itself is in express.ts. `chainCapabilities` places them and links the list.
 *
 * Error reporting and access control have registers and no effect: no link here loses or forges a packet, and what an
 * access misses (an unsupported request) is answered with all ones, unreported, as by QEMU.
 */
import { assert } from '../../base/assert.ts';
import { type ConfigRow, EXTENDED_AT } from './config-space.ts';
import { CAPABILITY, EXTENDED, HEADER, MSI, MSIX, PM } from './spec.ts';

/** What rows do to their function. */
export interface FunctionEffects {
  /** Something that decides about interrupts was written. */
  interruptsChanged(): void;
  /** Something that decides about addresses was written. */
  addressesChanged(): void;
  /** The power state was written. */
  powerChanged(): void;
  /** Initiate Function Level Reset. */
  resetFunction(): void;
  /** Pending bits of MSI. */
  messagesPending(): number;
}

/** MSI-X: how many vectors, and where table and pending bits lie. */
export interface MsixShape {
  readonly vectors: number;
  readonly table: BarPlace;
  readonly pending: BarPlace;
}

export interface BarPlace {
  readonly bar: number;
  /** From the BAR's base, a multiple of 8. */
  readonly offset: number;
}

export interface Capability {
  readonly id: number;
  /** As the specification calls it. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Where it has to lie; else behind the one before. */
  readonly at?: number;
  /** Extended capabilities lie from 0x100 on and have a version. */
  readonly version?: number;
  readonly msix?: MsixShape;
  /** Its registers but the header, at absolute offsets: it lies at `at`. */
  rows(at: number, effects: FunctionEffects): ConfigRow[];
}

export interface PlacedCapability {
  readonly capability: Capability;
  readonly at: number;
}

/** Places capabilities in the order of the list, and says how they are linked. */
export function placeCapabilities(capabilities: readonly Capability[]): PlacedCapability[] {
  const isExtended = ({ version }: Capability) => version !== undefined;
  return [
    ...place(
      capabilities.filter((one) => !isExtended(one)),
      0x40,
      EXTENDED_AT,
    ),
    ...place(capabilities.filter(isExtended), EXTENDED_AT, 4096),
  ];
}

/** The rows of all capabilities and of the pointer to the first. */
export function capabilityRows(placed: readonly PlacedCapability[], effects: FunctionEffects): ConfigRow[] {
  const standard = placed.filter(({ capability }) => capability.version === undefined);
  const extended = placed.filter(({ capability }) => capability.version !== undefined);
  const pointer: ConfigRow = {
    ...{ at: HEADER.capabilities, bytes: 1, name: 'Capabilities Pointer', reset: standard[0]?.at ?? 0 },
    does: 'offset of the first capability',
  };
  return [
    pointer,
    ...standard.flatMap(({ capability, at }, i) => [
      ...standardHeader(capability, at, standard[i + 1]?.at ?? 0),
      ...capability.rows(at, effects),
    ]),
    ...extended.flatMap(({ capability, at }, i) => [
      extendedHeader(capability, at, extended[i + 1]?.at ?? 0),
      ...capability.rows(at, effects),
    ]),
  ];
}

function place(capabilities: readonly Capability[], from: number, to: number): PlacedCapability[] {
  const fixed = capabilities.filter(({ at }) => at !== undefined);
  let next = fixed.reduce((end, { at = 0, sizeBytes }) => Math.max(end, at + sizeBytes), from);
  return capabilities.map((capability) => {
    const at = capability.at ?? Math.ceil(next / 4) * 4;
    if (capability.at === undefined) next = at + capability.sizeBytes;
    assert(at % 4 === 0 && at >= from && at + capability.sizeBytes <= to, `no room for ${capability.name}`);
    return { capability, at };
  });
}

function standardHeader({ id, name }: Capability, at: number, next: number): ConfigRow[] {
  return [
    { at, bytes: 1, name: `${name} ID`, reset: id, does: 'capability ID' },
    { at: at + 1, bytes: 1, name: `${name} Next`, reset: next, does: 'offset of the next capability' },
  ];
}

function extendedHeader({ id, name, version = 1 }: Capability, at: number, next: number): ConfigRow {
  const reset = (id | (version << 16) | (next << 20)) >>> 0;
  return { at, bytes: 4, name: `${name} Header`, reset, does: 'ID, version, offset of the next capability' };
}

/**
 * Power management: D0 and D3hot. Registers survive D3hot (No_Soft_Reset), or, with `losesState`, the function is reset
 * when it wakes.
 */
export function powerManagement({ at, losesState = false }: { at?: number; losesState?: boolean } = {}): Capability {
  return {
    ...{ id: CAPABILITY.power, name: 'PM', sizeBytes: 8, ...(at === undefined ? {} : { at }) },
    rows: (base, effects) => [
      { at: base + 2, bytes: 2, name: 'PMC', reset: 3, does: 'version 1.2: D0 and D3hot, no PME' },
      {
        ...{ at: base + PM.control, bytes: 2, name: 'PMCSR', writable: PM.state },
        reset: losesState ? 0 : PM.noSoftReset,
        wrote: (value, before) => {
          const wakes = (before & PM.state) === PM.d3hot && (value & PM.state) === 0;
          if (losesState && wakes) effects.resetFunction();
          effects.powerChanged();
        },
        does: 'power state; a function in D3hot answers configuration accesses alone',
      },
      { at: base + 6, bytes: 2, name: 'PM Data', does: 'none' },
    ],
  };
}

/** MSI with 64-bit addresses and masks. `vectors`: a power of two up to 32. */
export function msi({ vectors, at }: { vectors: number; at?: number }): Capability {
  const log2 = Math.log2(vectors);
  assert(Number.isInteger(log2) && log2 <= 5, `${vectors} vectors of MSI`);
  const mask = 2 ** vectors - 1;
  return {
    ...{ id: CAPABILITY.msi, name: 'MSI', sizeBytes: 24, ...(at === undefined ? {} : { at }) },
    rows: (base, effects) => {
      const wrote = () => effects.interruptsChanged();
      const dataAt = base + MSI.data64;
      return [
        {
          ...{ at: base + MSI.control, bytes: 2, name: 'Message Control', wrote },
          reset: MSI.is64 | MSI.maskable | (log2 << MSI.capableShift),
          writable: MSI.enable | (7 << MSI.allocatedShift),
          does: 'enable; vectors offered and allocated',
        },
        {
          ...{ at: base + MSI.address, bytes: 4, name: 'Message Address', writable: 0xffff_fffc },
          does: 'where messages are written',
        },
        {
          ...{ at: base + MSI.upperAddress, bytes: 4, name: 'Message Upper Address', writable: 0xffff_ffff },
          does: 'its upper half',
        },
        {
          ...{ at: dataAt, bytes: 2, name: 'Message Data', writable: 0xffff },
          does: 'what is written; its low bits say which vector',
        },
        { at: dataAt + 2, bytes: 2, name: 'Extended Message Data', does: 'none' },
        {
          ...{ at: dataAt + MSI.maskBehindData, bytes: 4, name: 'Mask Bits', writable: mask, wrote },
          does: 'vectors that are held back',
        },
        {
          ...{ at: dataAt + MSI.pendingBehindData, bytes: 4, name: 'Pending Bits' },
          read: () => effects.messagesPending() >>> 0,
          does: 'vectors whose message is held back',
        },
      ];
    },
  };
}

/** MSI-X; its table and pending bits lie behind BARs, which the function answers there itself. */
export function msix(shape: MsixShape, at?: number): Capability {
  const { vectors, table, pending } = shape;
  assert(Number.isInteger(vectors) && vectors >= 1 && vectors <= MSIX.mostVectors, `${vectors} vectors of MSI-X`);
  for (const { bar, offset } of [table, pending])
    assert(bar >= 0 && bar < 6 && offset % 8 === 0 && offset >= 0, 'MSI-X lies at a multiple of 8 in a BAR');
  return {
    ...{ id: CAPABILITY.msix, name: 'MSI-X', sizeBytes: 12, msix: shape, ...(at === undefined ? {} : { at }) },
    rows: (base, effects) => [
      {
        ...{ at: base + MSIX.control, bytes: 2, name: 'MSI-X Control', reset: vectors - 1 },
        writable: MSIX.functionMask | MSIX.enable,
        wrote: () => effects.interruptsChanged(),
        does: 'enable; mask of all vectors; size of the table less one',
      },
      {
        ...{ at: base + MSIX.table, bytes: 4, name: 'Table Offset/BIR', reset: (table.offset | table.bar) >>> 0 },
        does: 'where the table lies',
      },
      {
        ...{ at: base + MSIX.pending, bytes: 4, name: 'PBA Offset/BIR', reset: (pending.offset | pending.bar) >>> 0 },
        does: 'where the pending bits lie',
      },
    ],
  };
}

/**
 * Vendor-specific: a length, then what the vendor likes. `sizeBytes` includes the header's three bytes; `rows` gets the
 * capability's offset, and begins at 3.
 */
export function vendorSpecific(of: {
  readonly name: string;
  readonly sizeBytes: number;
  readonly at?: number;
  rows(at: number): ConfigRow[];
}): Capability {
  const { name, sizeBytes } = of;
  assert(sizeBytes >= 3 && sizeBytes <= 0xff, `${name}: bad size`);
  return {
    ...{ id: CAPABILITY.vendor, name, sizeBytes, ...(of.at === undefined ? {} : { at: of.at }) },
    rows: (base) => [
      { at: base + 2, bytes: 1, name: `${name} Length`, reset: sizeBytes, does: 'bytes of the capability' },
      ...of.rows(base),
    ],
  };
}

/** Of a bridge, whose header has no room for it: subsystem vendor and subsystem (section 7.9.23). */
export function subsystem(vendor: number, id: number, at?: number): Capability {
  return {
    ...{ id: CAPABILITY.subsystem, name: 'SSVID', sizeBytes: 8, ...(at === undefined ? {} : { at }) },
    rows: (base) => [
      { at: base + 4, bytes: 2, name: 'Subsystem Vendor ID', reset: vendor, does: 'who built the board' },
      { at: base + 6, bytes: 2, name: 'Subsystem ID', reset: id, does: 'which board' },
    ],
  };
}

/** Uncorrectable errors that have bits, and those that are fatal by default; correctable ones. */
const UNCORRECTABLE = { all: 0x03ff_f030, fatal: 0x0046_2030, masked: 0x0240_0000 } as const;
const CORRECTABLE = { all: 0xf1c1, masked: 0xe000 } as const;
/** ECRC generation and checking: capable (no effect), enabled; multiple headers. */
const AER_CONTROL = { reset: 0x2a0, writable: 0x540 } as const;

/** Advanced error reporting of a root port (section 7.8.4). */
export function advancedErrors(at: number): Capability {
  const { all, fatal, masked } = UNCORRECTABLE;
  const word = (offset: number, name: string, does: string, bits: Partial<ConfigRow> = {}): ConfigRow => {
    return { at: at + offset, bytes: 4, name, does, ...bits };
  };
  return {
    ...{ id: EXTENDED.aer, name: 'AER', sizeBytes: 0x48, at, version: 2 },
    rows: () => [
      word(0x04, 'Uncorrectable Error Status', 'errors seen: none occur', { clears: all, sticky: all }),
      word(0x08, 'Uncorrectable Error Mask', 'errors not reported', { reset: masked, writable: all, sticky: all }),
      word(0x0c, 'Uncorrectable Error Severity', 'errors that are fatal', { reset: fatal, writable: all, sticky: all }),
      word(0x10, 'Correctable Error Status', 'errors seen: none occur', {
        clears: CORRECTABLE.all,
        sticky: CORRECTABLE.all,
      }),
      word(0x14, 'Correctable Error Mask', 'errors not reported', {
        ...{ reset: CORRECTABLE.masked, writable: CORRECTABLE.all, sticky: CORRECTABLE.all },
      }),
      word(0x18, 'AER Capabilities and Control', 'checks of packets: none are damaged', {
        ...{ reset: AER_CONTROL.reset, writable: AER_CONTROL.writable, sticky: AER_CONTROL.writable },
      }),
      word(0x2c, 'Root Error Command', 'errors that interrupt', { writable: 7 }),
      word(0x30, 'Root Error Status', 'errors received', { clears: 0x7f, sticky: 0x7f }),
    ],
  };
}

/** What access control services a root port offers (section 7.7.11): all of one without peer-to-peer egress control. */
const ACS_SERVICES = 0x5f;

/** Access control services. Functions here reach memory through the root complex alone: redirection is always on. */
export function accessControl(at: number): Capability {
  return {
    ...{ id: EXTENDED.acs, name: 'ACS', sizeBytes: 8, at, version: 1 },
    rows: (base) => [
      { at: base + 4, bytes: 2, name: 'ACS Capability', reset: ACS_SERVICES, does: 'services that there are' },
      { at: base + 6, bytes: 2, name: 'ACS Control', writable: ACS_SERVICES, does: 'services that are enabled' },
    ],
  };
}
