/** The door of disks that NBD servers export. */
export { type NbdOptions, type OpenNbd, openNbd } from './open-nbd.ts';
export { isNbdUri } from './uri.ts';
