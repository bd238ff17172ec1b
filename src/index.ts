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
  type MachineHandle,
  type MachineOptions,
} from './host/index.ts';

export { HostError, OperatorError } from './base/errors.ts';
export {
  type BuildOptions,
  buildDebianDisk,
  type CodeExplanation,
  type CodeStatus,
  connectMachine,
  type DriveOptions,
  type ExecOptions,
  type ExecResult,
  type ExitStatus,
  findImage,
  type GuestImage,
  type HotRegion,
  type ImageManifest,
  listImages,
  listMachines,
  type MachineHandle,
  type MachineInfo,
  type MachineOptions,
  type MachineStats,
  type PartitionOptions,
  type Progress,
  type ProgressListener,
  type PullOptions,
  pullDebianImage,
  RemoteMachine,
  removeImage,
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
