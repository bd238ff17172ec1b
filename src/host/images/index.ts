/** Guest images: making them, finding them. */
export { agentOverlay, agentOverlayWords } from './agent-overlay.ts';
export { type BootPlan, type BuildOptions, basePackages, buildDebianDisk } from './disk.ts';
export { type Images, imageFor, withBootSnapshot, withImage } from './image-options.ts';
export { type KernelImage, unwrapKernel } from './kernel-image.ts';
export { nestedArchive, nestedCommandLine, smallInitramfs } from './nested.ts';
export { debianImageName, type PullOptions, pullDebianImage } from './pull.ts';
export { pullNestedImage } from './pull-nested.ts';
export { isPulled, type PulledName, pulledNames, pullImage } from './pulled.ts';
export { findImage, type GuestImage, type ImageManifest, listImages, removeImage } from './store.ts';
