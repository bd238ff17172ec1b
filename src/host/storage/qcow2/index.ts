/** The door of qcow2 images: opened as disks, and made. */
export { createQcow2, type NewQcow2 } from './create.ts';
export { type OpenQcow2, openQcow2, type Qcow2Options } from './open-image.ts';
