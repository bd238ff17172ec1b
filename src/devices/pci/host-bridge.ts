/**
 * The root complex: configuration space by ECAM (PCI Express Base 6.0, section 7.2.2), and the windows through which
 * processors reach what lies behind BARs. As QEMU's `gpex-pcihost`: function 00:00.0 is a host bridge with a header and
 * nothing else; where nobody answers, reads are all ones and writes go nowhere.
 *
 *     ECAM offset = bus << 20 | device << 15 | function << 12 | register
 */
import type { SharedLock } from '../../base/lock.ts';
import { struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, Route } from '../device.ts';
import { accessCounters } from '../registers.ts';
import { AddressMap, ConfigRoute, SharedEpoch } from './address-map.ts';
import { type AddressSpace, Bus } from './bus.ts';
import { allOnes, EXTENDED_AT } from './config-space.ts';
import { functionLayout, PciFunction } from './function.ts';
import type { FunctionDescription } from './function-description.ts';
import { requesterId, type TransactionPort } from './transaction.ts';

const VENDOR_RED_HAT = 0x1b36;
const PCIE_HOST = 0x0008;
const HOST_BRIDGE_CLASS = 0x06_0000;
const SUBSYSTEM = { vendor: 0x1af4, id: 0x1100 } as const;

export const HOST_BRIDGE: FunctionDescription = {
  kind: 'pcie-host-bridge',
  identity: {
    ...{ vendor: VENDOR_RED_HAT, device: PCIE_HOST, revision: 0, classCode: HOST_BRIDGE_CLASS },
    ...{ subsystemVendor: SUBSYSTEM.vendor, subsystem: SUBSYSTEM.id },
  },
  bars: [],
  capabilities: [],
  pin: 0,
  configBytes: EXTENDED_AT,
};

const ecamLayout = struct('pcie-ecam', {
  ...accessCounters,
  /** Advanced when somebody answers elsewhere than before. */
  epoch: 'i32',
});
const windowLayout = struct('pcie-window', accessCounters);
const BUSES = 256;

/** A window of the guest-physical address space. */
export interface WindowOptions {
  readonly name: string;
  readonly space: AddressSpace;
  /** Address on the bus at which it begins. */
  readonly busAddress: number;
  readonly sizeBytes: number;
}

/** Configuration space of all buses. */
export class Ecam implements Device {
  static readonly layout = ecamLayout;
  readonly name: string;
  readonly sizeBytes = BUSES << 20;
  readonly layout = ecamLayout;
  readonly state: View<typeof ecamLayout.fields>;
  readonly epoch: SharedEpoch;
  readonly root: Bus;
  readonly #routes = new Map<PciFunction, ConfigRoute>();
  #seen: number | undefined;

  constructor(name: string, block: Block) {
    this.name = name;
    this.state = ecamLayout.view(block.buffer, block.at);
    this.epoch = new SharedEpoch(block.buffer, block.at + ecamLayout.offset.epoch);
    this.root = new Bus();
  }

  reset(): void {
    this.state.unassignedReads = this.state.unassignedWrites = 0;
    this.epoch.advance();
  }

  /** Nobody is there. */
  read(_offset: number, bytes: AccessBytes): number {
    this.state.unassignedReads++;
    return allOnes(bytes);
  }

  write(): void {
    this.state.unassignedWrites++;
  }

  route(offset: number): Route | undefined {
    const { now } = this.epoch;
    const func = this.root.find(0, offset >>> 20, (offset >>> 12) & 0xff);
    if (func === undefined) return undefined;
    if (now !== this.#seen) {
      this.#routes.clear();
      this.#seen = now;
    }
    const known = this.#routes.get(func);
    if (known !== undefined) return known;
    const route = new ConfigRoute(func, () => this.epoch.now === now);
    this.#routes.set(func, route);
    return route;
  }
}

/** One of the windows to what lies behind BARs. */
export class PcieWindow implements Device {
  static readonly layout = windowLayout;
  readonly name: string;
  readonly sizeBytes: number;
  readonly layout = windowLayout;
  readonly state: View<typeof windowLayout.fields>;
  readonly #map: AddressMap;

  constructor(options: WindowOptions, block: Block, { root, epoch }: Ecam) {
    const { name, space, busAddress, sizeBytes } = options;
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.state = windowLayout.view(block.buffer, block.at);
    this.#map = new AddressMap(root, space, { start: busAddress, end: busAddress + sizeBytes }, epoch);
  }

  reset(): void {
    this.state.unassignedReads = this.state.unassignedWrites = 0;
  }

  /** Nobody is there. */
  read(_offset: number, bytes: AccessBytes): number {
    this.state.unassignedReads++;
    return allOnes(bytes);
  }

  write(): void {
    this.state.unassignedWrites++;
  }

  route(offset: number): Route | undefined {
    return this.#map.find(offset);
  }
}

/** Function 00:00.0, on the root bus of `ecam`. */
export function placeHostBridge(ecam: Ecam, block: Block, lock: SharedLock): PciFunction {
  const nobody: TransactionPort = { send: () => undefined };
  const func = new PciFunction(HOST_BRIDGE, {
    ...{ name: 'pcie-host-bridge@00:00.0', block, lock, requester: requesterId(0, 0, 0), port: nobody },
    ...{ isMultiFunction: false, epoch: ecam.epoch },
  });
  ecam.root.place(func);
  return func;
}

/** Of the block that `placeHostBridge` takes. */
export const hostBridgeLayout = functionLayout(0);
