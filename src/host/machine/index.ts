/** The door of the machine process: starts machines, and the types that describe them. */
import { agentOverlay, agentOverlayWords } from '../images/index.ts';
import { SavedMachine } from '../snapshots/index.ts';
import { readBootFiles } from './boot-files.ts';
import { openDrives } from './drives.ts';
import { LocalMachine } from './machine.ts';
import type { CreateMachine, MachineOptions, RestoreMachine } from './machine-api.ts';

export type * from './machine-api.ts';

/** Starts a machine in this process. Rejects with OperatorError where the options do not fit. */
export const createMachine: CreateMachine = async (options) => {
  const drives = await openDrives(options.drives ?? []);
  try {
    const overlay = mayNeedAgent(options) ? await agentOverlay() : undefined;
    const files = readBootFiles(options, overlay);
    const append = `${options.append ?? ''} ${agentOverlayWords}`.trim();
    return await LocalMachine.start({
      options: files.hasOverlay ? { ...options, append } : options,
      from: files,
      drives,
    });
  } catch (error) {
    await Promise.all(drives.map((drive) => drive.close()));
    throw error;
  }
};

/** Makes the machine of a snapshot in this process. Rejects with OperatorError where the file or a disk does not fit. */
export const restoreMachine: RestoreMachine = async (file, asked = {}) => {
  const saved = SavedMachine.open(file, asked);
  try {
    const { options } = saved;
    const drives = await openDrives(options.drives ?? []);
    try {
      await saved.fillDisks(drives);
      return await LocalMachine.start({ options, from: saved, drives });
    } catch (error) {
      await Promise.all(drives.map((drive) => drive.close()));
      throw error;
    }
  } finally {
    saved.close();
  }
};

/** Whether the agent is to be put into an initramfs without it: where there is one, with no init of its own. */
function mayNeedAgent({ agent, initrd, append, bios }: MachineOptions): boolean {
  return agent !== false && initrd !== undefined && bios === undefined && !append?.includes('rdinit=');
}
