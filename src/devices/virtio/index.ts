/**
 * The door of the virtio devices: block, console, rng and net and their transports
 * (docs/virtio.md), the interfaces that they ask of the host, and the disk in memory.
 */

export { type BalloonIo, type BalloonStatistics, type PageRange, VirtioBalloon } from './balloon.ts';
export { type BlockAtOnce, type BlockCounters, type BlockIo, VirtioBlock } from './block.ts';
export { type BlockBackend, type QuickDisk, SECTOR_BYTES, totalBytes } from './block-backend.ts';
export { BLOCK_QUEUES_MAX } from './block-config.ts';
export { type ConsoleIo, DEFAULT_CONSOLE_PORTS, VirtioConsole } from './console.ts';
export type { ConsolePort, ConsolePortOptions } from './console-port.ts';
export { MemoryBackend, type MemoryBackendOptions } from './memory-backend.ts';
export { mmioRegisters } from './mmio-registers.ts';
export { type MmioPlace, MmioTransport } from './mmio-transport.ts';
export { type NetCounters, type NetIo, VirtioNet } from './net.ts';
export type { FrameOffload, FramePort, GuestOffload, NetEvents } from './net-port.ts';
export { NET_PAIRS_MAX } from './net-state.ts';
export { P9_TAG_BYTES_MAX, type P9Counters, type P9Io, VirtioP9 } from './p9.ts';
export { P9_MESSAGE_BYTES_MAX, P9_REPLY_BYTES_MIN, type P9Server } from './p9-port.ts';
export { type VirtioKind, virtioIdentity, virtioKind } from './pci-identity.ts';
export { pciRegisters } from './pci-registers.ts';
export { type PciPlace, PciTransport } from './pci-transport.ts';
export { type EntropySource, type RngIo, VirtioRng } from './rng.ts';
export type { Violation } from './spec.ts';
export type { VirtioState } from './state.ts';
export type { VirtioTransport } from './transport.ts';
export { type AtOncePorts, type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';
export { VirtioVsock, type VsockCounters, type VsockIo } from './vsock.ts';
export { CID_FIRST_GUEST, CID_LAST_GUEST } from './vsock-packet.ts';
export type { VsockEvents, VsockFailure, VsockRequest, VsockStream } from './vsock-port.ts';
