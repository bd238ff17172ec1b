/** The door of the machine process: starts machines, and the types that describe them. */
import { existsSync, rmSync } from 'node:fs';
import { agentOverlay, agentOverlayWords } from '../images/index.ts';
import { bootSnapshotPath, isFileAtFault, keepBootSnapshot, prepareFolder, SavedMachine } from '../snapshots/index.ts';
import { readBootFiles } from './boot-files.ts';
import { openDrives } from './drives.ts';
import { LocalMachine } from './machine.ts';
import type { CreateMachine, MachineOptions, RestoreMachine, RestoreOptions } from './machine-api.ts';

export type * from './machine-api.ts';

/** Starts a machine in this process. Rejects with OperatorError where the options do not fit. */
export const createMachine: CreateMachine = async (options) => {
  const path = options.bootSnapshot === true ? bootSnapshotPath(options) : undefined;
  if (path === undefined) return await bootMachine(options);
  const booted = await bootedMachine(path, options);
  if (booted !== undefined) return booted;
  const machine = await bootMachine(options);
  try {
    prepareFolder();
    machine.keepBoot(path);
  } catch {
    // Where the folder cannot be made, each machine boots.
  }
  return machine;
};

/** The machine as an earlier one like it had booted; undefined where there is none that can be used. */
async function bootedMachine(path: string, options: MachineOptions): Promise<LocalMachine | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const {
      name,
      publish = [],
      signal,
      codeMemoryBytes,
      translate,
      hotThreshold,
      promotion,
      shadows,
      shadowModel,
    } = options;
    const machine = await loadMachine(path, {
      publish,
      ...(name === undefined ? {} : { name }),
      ...(signal === undefined ? {} : { signal }),
      ...(codeMemoryBytes === undefined ? {} : { codeMemoryBytes }),
      ...(translate === undefined ? {} : { translate }),
      ...(hotThreshold === undefined ? {} : { hotThreshold }),
      ...(promotion === undefined ? {} : { promotion }),
      ...(shadows === undefined ? {} : { shadows }),
      ...(shadowModel === undefined ? {} : { shadowModel }),
    });
    keepBootSnapshot(path);
    return machine;
  } catch (error) {
    if (!isFileAtFault(error)) throw error;
    rmSync(path, { force: true });
    return undefined;
  }
}

async function bootMachine(options: MachineOptions): Promise<LocalMachine> {
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
}

/** Makes the machine of a snapshot in this process. Rejects with OperatorError where the file or a disk does not fit. */
export const restoreMachine: RestoreMachine = async (file, options = {}) => await loadMachine(file, options);

async function loadMachine(file: string, asked: RestoreOptions): Promise<LocalMachine> {
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
    await saved.close();
  }
}

/** Whether the agent is to be put into an initramfs without it: where there is one, with no init of its own. */
function mayNeedAgent({ agent, initrd, append, bios }: MachineOptions): boolean {
  return agent !== false && initrd !== undefined && bios === undefined && !append?.includes('rdinit=');
}
