/** Boot loaders: from kernel, firmware and initrd files to segments of guest memory and a start address. */
export type { Segment } from './elf.ts';
export type { BootFile, BootRole } from './file.ts';
export { type AddressRange, type BootPlan, type BootRequest, planBoot } from './plan.ts';
export { RESET_ADDRESS, type ResetVector, resetVector } from './reset-vector.ts';
export type { Decompressors } from './unwrap.ts';
