/** Opens the drives of a machine: all of them, or none. */
import { type OpenDisk, openDisk } from '../storage/index.ts';
import type { DriveOptions } from './machine-api.ts';

export interface OpenedDrive extends OpenDisk {
  readonly options: DriveOptions;
}

/** Throws OperatorError where a drive cannot be had as asked; nothing stays open then. */
export async function openDrives(drives: readonly DriveOptions[]): Promise<OpenedDrive[]> {
  const opened: OpenedDrive[] = [];
  try {
    for (const drive of drives)
      opened.push({ ...(await openDisk({ path: drive.file, mode: modeOf(drive) })), options: drive });
  } catch (error) {
    await Promise.all(opened.map((drive) => drive.close()));
    throw error;
  }
  return opened;
}

function modeOf(drive: DriveOptions): Parameters<typeof openDisk>[0]['mode'] {
  if (drive.readOnly) return 'read-only';
  if (drive.overlay === undefined || drive.overlay === false) return 'write';
  return drive.overlay === true ? 'temporary' : { overlay: drive.overlay };
}
