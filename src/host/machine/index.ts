/** The door of the machine process: starts machines, and the types that describe them. */
import { agentOverlay, agentOverlayWords } from '../images/index.ts';
import { readBootFiles } from './boot-files.ts';
import { openDrives } from './drives.ts';
import { LocalMachine } from './machine.ts';
import type { CreateMachine, Launch, MachineHandle, MachineOptions, PartitionOptions } from './machine-api.ts';
import type { MachineHome } from './machine-home.ts';

export type * from './machine-api.ts';

/** Starts a machine in this process. Rejects with OperatorError where the options do not fit. */
export const createMachine: CreateMachine = async (options, launch = (create, given) => create(given)) =>
  await start(options, launch, undefined);

async function start(options: MachineOptions, launch: Launch, home: MachineHome | undefined): Promise<MachineHandle> {
  const drives = await openDrives(options.drives ?? []);
  try {
    const overlay = mayNeedAgent(options) ? await agentOverlay() : undefined;
    const files = readBootFiles(options, overlay);
    const append = `${options.append ?? ''} ${agentOverlayWords}`.trim();
    const own = files.hasOverlay ? { ...options, append } : options;
    const another = async (given: PartitionOptions, within: MachineHome): Promise<MachineHandle> =>
      await launch((named) => start(named, launch, within), given);
    return await LocalMachine.start({ options: own, files, drives, another }, home);
  } catch (error) {
    await Promise.all(drives.map((drive) => drive.close()));
    throw error;
  }
}

/** Whether the agent is to be put into an initramfs without it: where there is one, with no init of its own. */
function mayNeedAgent({ agent, initrd, append, bios }: MachineOptions): boolean {
  return agent !== false && initrd !== undefined && bios === undefined && !append?.includes('rdinit=');
}
