/** Opens the drives of a machine: all of them, or none. */

import type { OpenedDrive } from './machine.ts';
import type { DriveOptions } from './machine-api.ts';

export async function openDrives(drives: readonly DriveOptions[]): Promise<OpenedDrive[]> {
  const opened: OpenedDrive[] = [];
  try {
    for (const drive of drives) opened.push(await openDrive(drive));
  } catch (error) {
    await Promise.all(opened.map((drive) => drive.close()));
    throw error;
  }
  return opened;
}

async function openDrive(_drive: DriveOptions): Promise<OpenedDrive> {
  throw new Error('storage backends are being written');
}
