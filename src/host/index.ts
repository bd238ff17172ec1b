/** The door of the host: machines in this process, their control sockets, guest images. */
export {
  ControlServer,
  checkMachineName,
  connectMachine,
  launchMachine,
  launchRestored,
  listMachines,
  RemoteMachine,
  runtimeFolder,
} from './control/index.ts';
export type { Progress, ProgressListener, WorkOptions } from './debian/index.ts';
export { type DemoOptions, type DemoServer, demoPort, startDemo } from './demo/index.ts';
export {
  type BootPlan,
  type BuildOptions,
  buildDebianDisk,
  debianImageName,
  findImage,
  type GuestImage,
  type ImageManifest,
  listImages,
  type PullOptions,
  pullDebianImage,
  removeImage,
} from './images/index.ts';
export {
  type BalloonReport,
  type CodeExplanation,
  type CodeStatus,
  type CreateMachine,
  createMachine,
  type DriveOptions,
  type ExecOptions,
  type ExecResult,
  type ExitStatus,
  type ForkOptions,
  type HotRegion,
  keepsWrites,
  type MachineHandle,
  type MachineInfo,
  type MachineOptions,
  type MachineStats,
  type PartitionOptions,
  type ProtectionChange,
  type ProtectionDomain,
  type ProtectionReport,
  type ProtectionRule,
  type RestoreMachine,
  type RestoreOptions,
  restoreMachine,
  type SnapshotOptions,
  type SnapshotResult,
  type Violation,
} from './machine/index.ts';
export { isPublished } from './package-files.ts';
export { inspectSnapshot, type SnapshotInfo, whyItBoots } from './snapshots/index.ts';
