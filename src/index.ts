/**
 * The library: real Linux servers from TypeScript, as `kage` runs them.
 *
 * ```ts
 * import { createMachine, pullDebianImage } from 'kagemusha';
 *
 * const image = await pullDebianImage();
 * await using machine = await createMachine({
 *   kernel: image.kernel,
 *   initrd: image.initrd,
 *   append: image.commandLine,
 *   memoryBytes: 512 * 1024 * 1024,
 * });
 * const { code, stdout } = await machine.exec(['uname', '-a']);
 * console.log(code, new TextDecoder().decode(stdout));
 * ```
 *
 * Leaving the block ends the machine. docs/library.md says more.
 */
import {
  createMachine as createUnreachableMachine,
  launchMachine,
  launchRestored,
  type MachineHandle,
  type MachineOptions,
  type RestoreOptions,
  restoreMachine as restoreUnreachableMachine,
} from './host/index.ts';

export { HostError, OperatorError } from './base/errors.ts';
export {
  type AgentChoice,
  type AgentEvent,
  type AgentReport,
  type BalloonReport,
  type BuildOptions,
  buildDebianDisk,
  type CodeExplanation,
  type CodeStatus,
  connectMachine,
  createQcow2,
  type DriveOptions,
  type ExecOptions,
  type ExecResult,
  type ExitStatus,
  type ForkOptions,
  findImage,
  type GuestImage,
  type HealthCheck,
  type HealthOptions,
  type HealthReport,
  type HeartbeatReport,
  type HotRegion,
  type ImageManifest,
  type Installation,
  inspectSnapshot,
  installAgent,
  type Lease,
  type LeaseAnswer,
  type LeaseGrant,
  type LeaseReport,
  listImages,
  listMachines,
  type MachineHandle,
  type MachineInfo,
  type MachineOptions,
  type MachineStats,
  type NewQcow2,
  type PartitionOptions,
  type PciFunctionReport,
  type PciOptions,
  type PciPortReport,
  type PciReport,
  type Progress,
  type ProgressListener,
  type PromotedSite,
  type ProtectionChange,
  type ProtectionDomain,
  type ProtectionReport,
  type ProtectionRule,
  type PullOptions,
  pullDebianImage,
  pullNestedImage,
  RemoteMachine,
  type RestoreOptions,
  removeImage,
  type ShareOptions,
  type SlotAction,
  type SnapshotInfo,
  type SnapshotOptions,
  type SnapshotResult,
  uninstallAgent,
  type Violation,
  type VsockOptions,
  type WorkOptions,
} from './host/index.ts';

/**
 * Starts a machine in this process; it runs on threads of its own. Other processes of the user reach it by its name
 * (`kage ps`, `kage exec NAME`, `connectMachine`) until it ends.
 *
 * Rejects with OperatorError where the options do not fit: `code` is stable (`kernel-not-found`, `name-in-use`,
 * `port-in-use` ...), `fix` says what to do. Nothing is left behind then. Dispose of the handle (`await using`), or
 * call `stop()` or `kill()`: a machine that runs keeps the process alive.
 */
export async function createMachine(options: MachineOptions): Promise<MachineHandle> {
  return await launchMachine(createUnreachableMachine, options);
}

/**
 * Makes the machine of a snapshot (`machine.snapshot(file)`) in this process, and lets it go on where it stood: under
 * the name that it had, unless another is given. The guest's clock is set, its random numbers are its own.
 *
 * Rejects with OperatorError: `snapshot-not-found`, `snapshot-not-recognized`, `snapshot-damaged`, `snapshot-version`,
 * `snapshot-other-machine`, `snapshot-base`, `disk-changed`, and what `createMachine` may reject with.
 */
export async function restoreMachine(file: string, options: RestoreOptions = {}): Promise<MachineHandle> {
  return await launchRestored(restoreUnreachableMachine, file, options);
}
