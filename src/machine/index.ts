/** The machine's door: the board, boot plans, the device tree, the memory map. */
export { Board, type BoardConfig, type BoardPorts, DOORBELL, type MakeSlot, type SlotConfig } from './board.ts';
export { type BootFile, type BootPlan, type BootRequest, type Decompressors, planBoot } from './boot/index.ts';
export { readDeviceTree, type VirtDescription, virtDeviceTree } from './fdt/index.ts';
export { FrameMemory } from './frame-memory.ts';
export { TIMEBASE_HZ, VIRT, VIRTIO_SLOTS } from './virt-map.ts';
