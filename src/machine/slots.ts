/** The virtio devices that a machine has, from its options; the same list on every thread. */
import {
  VirtioBalloon,
  VirtioBlock,
  VirtioConsole,
  VirtioNet,
  VirtioP9,
  VirtioRng,
  VirtioVsock,
} from '../devices/index.ts';
import type { BoardPorts, SlotConfig } from './board-shape.ts';

/** Console with the agent's port, entropy, network, balloon, sockets, shared folders, disks: in this order, so that disks can be added behind. */
export function slotsOf(options: {
  network?: boolean;
  balloon?: boolean;
  vsock?: object;
  shares?: readonly unknown[];
  drives?: readonly unknown[];
}): SlotConfig[] {
  return [
    { kind: 'console', id: 'console0' },
    { kind: 'rng', id: 'rng0' },
    ...(options.network === false ? [] : [{ kind: 'net', id: 'net0' } as const]),
    ...(options.balloon === true ? [{ kind: 'balloon', id: 'balloon0' } as const] : []),
    ...(options.vsock === undefined ? [] : [{ kind: 'vsock', id: 'vsock0' } as const]),
    ...(options.shares ?? []).map((_, i) => ({ kind: 'p9', id: `share${i}` }) as const),
    ...(options.drives ?? []).map((_, i) => ({ kind: 'block', id: `disk${i}` }) as const),
  ];
}

const CLASSES = {
  balloon: VirtioBalloon,
  block: VirtioBlock,
  console: VirtioConsole,
  rng: VirtioRng,
  net: VirtioNet,
  p9: VirtioP9,
  vsock: VirtioVsock,
} as const;

export const slotLayout: BoardPorts['slotLayout'] = (slot) => CLASSES[slot.kind].layout;

/** A slot's device as a processor's thread has it: registers only. */
export const bareSlot: BoardPorts['slot'] = (slot, wiring) => new CLASSES[slot.kind](wiring);
