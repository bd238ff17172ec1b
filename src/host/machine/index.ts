/** The door of the machine process: starts machines, and the types that describe them. */

import { openDrives } from './drives.ts';
import { LocalMachine } from './machine.ts';
import type { CreateMachine } from './machine-api.ts';

export type * from './machine-api.ts';

/** Starts a machine in this process. Rejects with OperatorError where the options do not fit. */
export const createMachine: CreateMachine = async (options) => {
  const drives = await openDrives(options.drives ?? []);
  try {
    return await LocalMachine.start({ options, drives });
  } catch (error) {
    await Promise.all(drives.map((drive) => drive.close()));
    throw error;
  }
};
