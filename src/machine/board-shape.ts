/**
 * What a board is made of, before there is one: its configuration, plain data that is the same on every thread, and what it
 * asks of who makes it.
 */
import type { AnyLayout } from '../base/struct.ts';
import type { DeviceClock, VirtioDevice, VirtioState, Wiring } from '../devices/index.ts';
import type { Policy, ShadowOptions } from '../engine/index.ts';
import type { ShareOptions } from '../hypervisor/index.ts';
import type { TranslatorOptions } from '../translator/index.ts';
import type { InterruptOptions } from './interrupt-controller.ts';
import type { PciConfig } from './pci-functions.ts';

/** What is on the board: plain data, the same on every thread. */
export interface BoardConfig extends InterruptOptions {
  readonly harts: number;
  /** Threads that run the harts; 0: one runs them in turns. */
  readonly processors: number;
  /** What the guest may claim of them. */
  readonly share: ShareOptions;
  /** Room for more partitions; absent: the machine is for one guest alone. */
  readonly room?: MachineRoom;
  readonly memoryBytes: number;
  readonly codeBytes: number;
  readonly width: 32 | 64;
  readonly shared: boolean;
  /** Features of the harts, bits of FEATURE. */
  readonly features: bigint;
  readonly misa: bigint;
  readonly clock: 'real' | 'instructions';
  /** The harts' extensions, and those emulated for them, as `--cpu` names them. */
  readonly cpu: string;
  /** Of another partition: whether its harts have the hypervisor extension of `cpu`. */
  readonly nested?: boolean;
  /** How hot code is translated; absent: it is interpreted. */
  readonly translation?: TranslatorOptions;
  /** Shadow tables of each hart. */
  readonly shadows: ShadowOptions;
  /** What is trapped by policy. */
  readonly policies: readonly TrapPolicy[];
  /** Places for code overlays; 0: none are made. */
  readonly overlays: number;
  /** Ports of PCI Express have interrupt relays; else plain wires. The machine's first partition says. */
  readonly relay: boolean;
  /** Interrupts a second that a function of PCI Express may have at most; the first partition says that, too. */
  readonly interruptRate: number;
  /** Every access is checked against its domain's protection table. */
  readonly protection: boolean;
  /** virtio-mmio devices, slot by slot. */
  readonly slots: readonly SlotConfig[];
  /** PCI Express: root ports and functions; absent: there is no root complex. */
  readonly pci?: PciConfig;
}

/** What a machine for several partitions is made with. */
export interface MachineRoom {
  readonly partitions: number;
  readonly vcpus: number;
  /** Guest memory of all of them together. */
  readonly memoryBytes: number;
  /** For their blocks. */
  readonly blockBytes: number;
}

/** A policy by the name that the operator gave it. */
export interface TrapPolicy extends Policy {
  readonly name: string;
}

export interface SlotConfig {
  readonly kind: 'block' | 'console' | 'rng' | 'net' | 'balloon' | 'vsock' | 'p9';
  /** Distinguishes devices of a kind: disk0, disk1. */
  readonly id: string;
  /** Queues of a disk, pairs of queues of a network interface. Default 1. */
  readonly queues?: number;
}

/** A slot's device: made by the machine's owner, who knows backends. */
export type MakeSlot = (slot: SlotConfig, wiring: Wiring) => SlotDevice;

/** A device in a slot, of whatever kind. */
export type SlotDevice = VirtioDevice<VirtioState>;

export interface BoardPorts {
  readonly clock: DeviceClock;
  readonly slot: MakeSlot;
  /** The host's processors have total store order: most fences cost nothing then. */
  readonly hasTotalStoreOrder?: boolean;
  /** Layout of a slot's device, before it exists. */
  slotLayout(slot: SlotConfig): AnyLayout;
}
