/** The door of the machine process: starts machines, and the types that describe them. */
import { readFile } from 'node:fs/promises';
import { agentOverlay, agentOverlayWords } from '../images/index.ts';
import { openDrives } from './drives.ts';
import { LocalMachine } from './machine.ts';
import type { CreateMachine, MachineOptions } from './machine-api.ts';

export type * from './machine-api.ts';

/** What an initramfs holds that has the guest agent already. */
const AGENT_MARK = 'etc/kagemusha/agent';

/** Starts a machine in this process. Rejects with OperatorError where the options do not fit. */
export const createMachine: CreateMachine = async (options) => {
  const drives = await openDrives(options.drives ?? []);
  try {
    if (!(await needsAgent(options))) return await LocalMachine.start({ options, drives });
    const append = `${options.append ?? ''} ${agentOverlayWords}`.trim();
    return await LocalMachine.start({ options: { ...options, append }, drives, agentInitrd: await agentOverlay() });
  } catch (error) {
    await Promise.all(drives.map((drive) => drive.close()));
    throw error;
  }
};

/** Whether the agent is to be put into the initramfs: where there is one, without it, and with no init of its own. */
async function needsAgent({ agent, initrd, append, bios }: MachineOptions): Promise<boolean> {
  if (agent === false || initrd === undefined || bios !== undefined || append?.includes('rdinit=')) return false;
  const bytes = await readFile(initrd).catch(() => undefined);
  // A file that cannot be read is reported when the boot is planned.
  return bytes !== undefined && !bytes.includes(AGENT_MARK);
}
