/** The door of the disks on Node: raw files, qcow2 images, copy-on-write overlays, by what the operator says. */
export { ForkableDisk } from './forkable-disk.ts';
export {
  type FenceResult,
  fenceAtGate,
  type GateCall,
  GateControl,
  type GateOptions,
  type GateReport,
  gateControl,
  gateExportName,
  gateStatus,
  StorageGate,
} from './gate/index.ts';
export { isNbdUri } from './nbd/index.ts';
export { type DiskOptions, type OpenDisk, openDisk } from './open-disk.ts';
export type { Overlay } from './overlay.ts';
export { type OpenOverlay, type OverlayBase, openOverlayFile, openTemporaryOverlay } from './overlay-file.ts';
export { Patience } from './patience.ts';
export { createQcow2, type NewQcow2, openQcow2 } from './qcow2/index.ts';
export { QuickFile, type QuickFilePlace } from './quick-file.ts';
export { openRawFile, type RawFile, type RawFileOptions } from './raw-file.ts';
