/** The virtio devices behind virtio-mmio, and what they are wired to. */
export { type BlockIo, VirtioBlock } from './block.ts';
export type { BlockBackend } from './block-backend.ts';
export { VirtioConsole } from './console.ts';
export { ConsolePort } from './console-port.ts';
export { MemoryBackend } from './memory-backend.ts';
export { VirtioNet } from './net.ts';
export type { NetEvents } from './net-port.ts';
export { VirtioRng } from './rng.ts';
export { type IoPorts, VirtioDevice, type Wiring } from './transport.ts';
