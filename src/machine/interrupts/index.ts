/** Interrupts by PCI Express: the machine's fabric of ports and relays, what a thread has of it, its counters. */
export { type FabricPorts, type FunctionPlace, InterruptFabric, type PartitionController } from './fabric.ts';
export type { FabricStats, RequesterStats } from './fabric-stats.ts';
export { type FabricMember, MachineInterrupts } from './machine-interrupts.ts';
export { countersLayout } from './saved-counters.ts';
