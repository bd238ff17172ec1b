/** Debian's archive through the ordinary apt client, and the user's cache folder. */
export { type Archive, type ArchiveRequest, defaultSuite, openArchive } from './archive.ts';
export { cacheFolder, publishFolder } from './cache-folder.ts';
export { archiveCapability, type Capability } from './capability.ts';
export { errorCode, type Output, type RunOptions, run, tryRun } from './command.ts';
export { withLock } from './lock.ts';
export {
  type FetchedPackages,
  fetchPackages,
  type PackageFile,
  type PackageRequest,
  sha256OfFile,
  unpack,
} from './packages.ts';
export type { Progress, ProgressListener, WorkOptions } from './progress.ts';
export { debianKeyring, findDebianMirror } from './sources.ts';
export {
  type FileSystemTools,
  type Firmware,
  fetchFileSystemTools,
  fetchFirmware,
  fetchQemu,
  fetchTool,
  hostArchitecture,
  type Qemu,
  type Tool,
  type ToolManifest,
} from './tools.ts';
