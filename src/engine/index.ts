/** The engine's door: memory, generated code, vCPU blocks, processors. */

export { division, highProduct } from './arithmetic.ts';
export { STEPS_PER_TICK } from './csr-functions.ts';
export type { Policy } from './decode-tables.ts';
export { type EngineCode, type Exit, generateEngine, Processor, type Signature } from './engine.ts';
export { EVERY_GUEST, guestScope, HOST_SCOPE } from './fence-scope.ts';
export { hostFusesMultiplyAdd } from './float/index.ts';
export { type FrameRights, GuestPhysicalMap } from './guest-physical-map.ts';
export { MachineMemory, type MemoryOptions, type MemoryShape, machineHeader } from './machine-memory.ts';
export {
  DECODED_COVER,
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  DECODED_PROMOTED,
  DECODED_STRIDE,
  decodedHeader,
  FRAME_BYTES,
  headerLayout,
  MARKS,
  OVERLAY,
  OVERLAY_STATE,
  PLAN,
  RECORD,
  REGION_BYTES,
  REGION_LINKS,
  REGION_MISSES,
  REGION_TABLE,
  REGIONS,
  SITE_BYTES,
  SITES,
  SUBSTITUTE,
  USE,
} from './memory-plan.ts';
export { MOST_MISSES, NOT_REACHED, SLOT, slotOffset } from './memory-slots.ts';
export { SPECIAL } from './operations.ts';
export type { Offender, OverlayCounters } from './overlays.ts';
export { forgetProfile } from './profile.ts';
export { REACH } from './protection-code.ts';
export { ALL_RIGHTS, type ProtectionPlan, ProtectionTables, type ProtectionUsage, RIGHT } from './protection-tables.ts';
export { dropRegion, emptyEntries, entryOfRegion, isQuietPage, isRegionHead, withLock } from './region-links.ts';
export { DEFAULT_SHADOWS } from './shadow-layout.ts';
export {
  dropTranslations,
  dropWriteTranslations,
  emptyFetchBuffer,
  fetchTranslations,
  globalEntries,
  placeShadows,
  type ShadowInfo,
  type ShadowModel,
  type ShadowOptions,
  type ShadowStats,
  shadowBytes,
  shadowList,
  shadowStats,
} from './shadows.ts';
export { confirmMarks, seeMarks, trackedFrames, wroteTracked } from './tracked-frames.ts';
export { firstPlace, placesOf, secondPlace } from './translation-buffers.ts';
export {
  EXIT,
  type ExitName,
  FAULT,
  FRESH_PAGES,
  HOT_COUNTERS,
  HOT_QUEUE,
  HOT_QUEUE_WORDS,
  JUMP_SET_WORDS,
  JUMP_SETS,
  JUMP_SLOTS,
  MMIO_ANSWER,
  MOST_POLICIES,
  MOST_SHADOWS,
  PROTECTION_LOG_ENTRIES,
  PROTECTION_LOG_WORDS,
  REMOTE_FENCE_WORDS,
  REMOTE_FENCES,
  REQUEST,
  TLB_BANK_BYTES,
  TRAP_LOG_ENTRIES,
  VALIDATED,
  type VcpuState,
  VIOLATION_KINDS,
  vcpuState,
} from './vcpu-state.ts';
export { Library, WasmMachine } from './wasm-machine.ts';
