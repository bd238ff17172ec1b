/** The door of the disks on Node: raw files, copy-on-write overlays, and both by what the operator says. */
export { ForkableDisk } from './forkable-disk.ts';
export { type DiskOptions, type OpenDisk, openDisk } from './open-disk.ts';
export type { Overlay } from './overlay.ts';
export { type OpenOverlay, type OverlayBase, openOverlayFile, openTemporaryOverlay } from './overlay-file.ts';
export { Patience } from './patience.ts';
export { openRawFile, type RawFile, type RawFileOptions } from './raw-file.ts';
