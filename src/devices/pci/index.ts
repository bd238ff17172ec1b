/** PCI Express: functions, root ports, the host bridge, and the transactions by which they interrupt. */
export type { BarDescription, BarKind, BarRegion } from './bar.ts';
export { type AddressRange, type AddressSpace, type Bridge, Bus } from './bus.ts';
export {
  type BarPlace,
  type Capability,
  type FunctionEffects,
  type MsixShape,
  msi,
  msix,
  powerManagement,
  vendorSpecific,
} from './capabilities.ts';
export { type ConfigRow, ConfigSpace, configAsMarkdown, type ResetDepth } from './config-space.ts';
export { expressEndpoint } from './express.ts';
export {
  checkPlan,
  type FabricAddresses,
  type FabricMaker,
  type FabricPlace,
  type FabricPlan,
  type FunctionPlan,
  type FunctionSeat,
  type MadeFunction,
  PciFabric,
  type PortPlan,
  requesterOf,
} from './fabric.ts';
export { type FunctionLayout, functionLayout, PciFunction } from './function.ts';
export { type FunctionDescription, vectorsOf } from './function-description.ts';
export type { AddressEpoch, FunctionWiring, Upstream } from './function-wiring.ts';
export type { Identity } from './header.ts';
export { Ecam, hostBridgeLayout, PcieWindow, placeHostBridge, type WindowOptions } from './host-bridge.ts';
export { InterruptPort, type PortParts, type PortShape, portLayout } from './interrupt-port.ts';
export { MOST_IDENTIFIERS, RECORD_COUNTER_WORDS, recordLayout } from './interrupt-records.ts';
export type { InterruptMode } from './interrupts.ts';
export { RootPort, type RootPortOptions, type RootPortWiring } from './root-port.ts';
export { type Indicator, Slot } from './slot.ts';
export {
  INTX_PINS,
  type InterruptTransaction,
  type RequesterId,
  requesterId,
  requesterName,
  type TransactionPort,
} from './transaction.ts';
