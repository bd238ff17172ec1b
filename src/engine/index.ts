/** The engine's door: memory, generated code, vCPU blocks, processors. */

export { STEPS_PER_TICK } from './csr-functions.ts';
export { type EngineCode, type Exit, generateEngine, Processor } from './engine.ts';
export { GuestPhysicalMap, MachineMemory, type MemoryOptions, type MemoryShape } from './machine-memory.ts';
export { DECODED_STRIDE, FRAME_BYTES, headerLayout, MARKS, PLAN } from './memory-plan.ts';
export {
  BANKS,
  EXIT,
  MMIO_ANSWER,
  REQUEST,
  TLB_BANK_BYTES,
  type VcpuState,
  vcpuState,
  WALK_CACHE_BYTES,
} from './vcpu-state.ts';
