/** The hypervisor's door: vCPUs, the loop that runs them, the SBI, what threads agree on. */
export type { EmulationOptions } from './emulation.ts';
export { Exclusion, exclusionBlock } from './exclusion.ts';
export { EXIT_KINDS, GATE, HART, hartBlock, RUN, STOP, worldBlock } from './hart-block.ts';
export { DEFAULT_THROTTLE, type ThrottleOptions } from './interrupt-meter.ts';
export type { Requests, ServedPort, ServicePorts } from './interrupt-outside.ts';
export {
  InterruptService,
  SERVICE_COUNTER_WORDS,
  type ServiceLock,
  type ServiceParts,
  serviceLayout,
  serviceRows,
} from './interrupt-service.ts';
export {
  type Assignment,
  functionRow,
  type InterruptMessage,
  LATENCY_BUCKETS,
  ROW_COUNTER_WORDS,
  type RouteTarget,
} from './interrupt-table.ts';
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
export { QUANTUM_MS, Scheduler, type Sleeper } from './scheduler.ts';
export { MOST_PROCESSORS, NOBODY, type SchedulerShape } from './scheduler-block.ts';
export { DEFAULT_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT, type ShareOptions } from './shares.ts';
export { IRQ, type Scheduled, Vcpu } from './vcpu.ts';
export { type Stop, World } from './world.ts';
