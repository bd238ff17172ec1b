/** The door of the verbs on partitions, and of their supervisor. */
export { pushed } from './attached.ts';
export type { Launching } from './launcher.ts';
export { NameLocks } from './name-locks.ts';
export { Partitions, type PartitionsOptions } from './partitions.ts';
export { checkDeclaration } from './spec-options.ts';
export { Supervisor } from './supervisor.ts';
