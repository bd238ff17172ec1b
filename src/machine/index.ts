/** The machine's door: the board, boot plans, the device tree, the memory map; the threads that run it. */

export type { BlockBackend } from '../devices/index.ts';
export type { ShadowInfo, ShadowModel, ShadowStats } from '../engine/index.ts';
export { machineHeader } from '../engine/index.ts';
export type { PromotionMode } from '../translator/index.ts';
export { type BalloonReport, balloonReport, setBalloon } from './balloon.ts';
export { Board, DOORBELL } from './board.ts';
export { type BoardOptions, boardConfig, checkPartition, extensionsOf, partitionConfig } from './board-config.ts';
export { boardRunner, SLICE_STEPS, tellOfFrames } from './board-runner.ts';
export type { BoardConfig, BoardPorts, MakeSlot, SlotConfig, TrapPolicy } from './board-shape.ts';
export { type BoardStats, boardStats, type VcpuStats } from './board-stats.ts';
export { type BootFile, type BootPlan, type BootRequest, type Decompressors, planBoot } from './boot/index.ts';
export { setCap } from './cap.ts';
export { Commons, TRANSLATOR } from './commons.ts';
export { type ExitStatus, exitStatus } from './exit-status.ts';
export { CodeExplainer, type ExplainRequest } from './explain.ts';
export {
  CODE_STATUSES,
  type CodeExplanation,
  type CodeStatus,
  type HitBlock,
  type HotRegion,
  MOST_TOUCHING,
  type PageExplanation,
  type PromotedSite,
  type RegionRecord,
  type WasmExplanation,
} from './explanation.ts';
export { explanationLines } from './explanation-text.ts';
export { readDeviceTree, type VirtDescription, virtDeviceTree } from './fdt/index.ts';
export { forkBoard, prepareFork } from './fork.ts';
export { FrameMemory } from './frame-memory.ts';
export type { ModeName } from './guest-code.ts';
export type { HostPorts } from './host-ports.ts';
export { hotRegions } from './hot-regions.ts';
export type { Aia } from './interrupt-controller.ts';
export type { FabricStats, RequesterStats } from './interrupts/index.ts';
export { DEFAULT_MAC, IoSlots } from './io-slots.ts';
export { IoThread } from './io-thread.ts';
export type { PciFunctionOptions, PciOptions } from './pci-plan.ts';
export {
  changeSlot,
  type PciFunctionReport,
  type PciPortReport,
  type PciReport,
  pciReport,
  type SlotAction,
} from './pci-report.ts';
export { type ProcessorStart, type ProcessorThreadPorts, runProcessor, type ThreadStart } from './processor-thread.ts';
export { promotedSites } from './promoted-sites.ts';
export { ProtectionLog, VIOLATION_ACCESSES, VIOLATORS, type Violation, violationLine } from './protection-log.ts';
export {
  latestViolations,
  MOST_VIOLATIONS,
  type ProtectionChange,
  type ProtectionDomain,
  type ProtectionReport,
  type ProtectionRule,
  protectionOf,
  protectionReport,
  rightsChange,
} from './protection-report.ts';
export { bareSlot, slotLayout } from './slots.ts';
export * from './snapshot/index.ts';
export { PROMOTION_MODES, type Switches, switchesOf, throwSwitches } from './switches.ts';
export { runTranslation, type TranslationThreadPorts } from './translation-thread.ts';
export { type LoggedBoard, TrapLog, type TrappedExecution, trapLine } from './trap-log.ts';
export { TurnLoop, type TurnParts } from './turn-loop.ts';
export { planVirtBoot, type VirtBoot } from './virt-boot.ts';
export { TICKS_PER_MS, TIMEBASE_HZ, VIRT, VIRTIO_SLOTS } from './virt-map.ts';
