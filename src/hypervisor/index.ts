/** The hypervisor's door: vCPUs, the loop that runs them, the SBI, what threads agree on. */
export type { EmulationOptions } from './emulation.ts';
export { EXIT_KINDS, GATE, HART, hartBlock, RUN, STOP, worldBlock } from './hart-block.ts';
export {
  BY_DEVICE,
  BY_SBI,
  DEVICE_LOG_ENTRIES,
  DEVICE_LOG_WORDS,
  DOMAIN,
  type Domain,
  Protection,
  protectionBlock,
  type RightsChange,
} from './protection.ts';
export { type DeniedRange, deniedTo, type PageRange } from './protection-rules.ts';
export { type MmioPort, Runner, type RunnerOptions, type RunnerPorts, type Slice } from './runner.ts';
export type { SbiPorts } from './sbi.ts';
export { IRQ, Vcpu } from './vcpu.ts';
export { type Stop, World } from './world.ts';
