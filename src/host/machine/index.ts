/** The door of the machine process: starts machines, and the types that describe them. */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { agentOverlay, agentOverlayWords } from '../images/index.ts';
import { type ReceiveOptions, Receiver } from '../replication/index.ts';
import { type OpenShare, openShares } from '../shares/index.ts';
import { bootSnapshotPath, isFileAtFault, keepBootSnapshot, prepareFolder, SavedMachine } from '../snapshots/index.ts';
import { readBootFiles } from './boot-files.ts';
import { openDrives, twinDrives } from './drives.ts';
import type { LocalMachine } from './machine.ts';
import type {
  CreateMachine,
  ForkOptions,
  Launch,
  MachineInfo,
  MachineOptions,
  RestoreMachine,
  RestoreOptions,
  VsockOptions,
} from './machine-api.ts';
import type { MachineHome } from './machine-home.ts';
import { type MachineParts, startMachine } from './machine-start.ts';

export type { ReceiveOptions, Receiver } from '../replication/index.ts';
export { absoluteDrive, keepsWrites } from './drives.ts';
export { endAfterCommand } from './end-after-command.ts';
export type * from './machine-api.ts';
export type ReceiveMachine = (options: ReceiveOptions) => Promise<Receiver>;

/** Of a made-up name, as far as it is its original's: names are bounded. */
const MOST_STEM = 56;

/** Starts a machine in this process. Rejects with OperatorError where the options do not fit. */
export const createMachine: CreateMachine = async (options, launch = (create, given) => create(given)) => {
  const path = options.bootSnapshot === true ? bootSnapshotPath(options) : undefined;
  if (path === undefined) return await bootMachine(options, launch);
  const booted = await bootedMachine(path, options);
  if (booted !== undefined) return booted;
  const machine = await bootMachine(options, launch);
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
    const { name, publish = [], signal, codeMemoryBytes, translate, hotThreshold, promotion } = options;
    const { processors, weight, cap, pin, shadows, shadowModel, combinedShadows, relay, vsock, shares } = options;
    const { heartbeatMs, health, lease } = options;
    const machine = await loadMachine(path, {
      publish,
      ...(name === undefined ? {} : { name }),
      ...(signal === undefined ? {} : { signal }),
      ...(codeMemoryBytes === undefined ? {} : { codeMemoryBytes }),
      ...(translate === undefined ? {} : { translate }),
      ...(hotThreshold === undefined ? {} : { hotThreshold }),
      ...(promotion === undefined ? {} : { promotion }),
      ...(vsock === undefined ? {} : { vsock }),
      ...(shares === undefined ? {} : { shares }),
      ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
      ...(health === undefined ? {} : { health }),
      ...(lease === undefined ? {} : { lease }),
      ...(processors === undefined ? {} : { processors }),
      ...(weight === undefined ? {} : { weight }),
      ...(cap === undefined ? {} : { cap }),
      ...(pin === undefined ? {} : { pin }),
      ...(shadows === undefined ? {} : { shadows }),
      ...(shadowModel === undefined ? {} : { shadowModel }),
      ...(combinedShadows === undefined ? {} : { combinedShadows }),
      ...(relay === undefined ? {} : { relay }),
    });
    keepBootSnapshot(path);
    return machine;
  } catch (error) {
    if (!isFileAtFault(error)) throw error;
    rmSync(path, { force: true });
    return undefined;
  }
}

async function bootMachine(options: MachineOptions, launch: Launch, home?: MachineHome): Promise<LocalMachine> {
  const drives = await openDrives(options.drives ?? [], {
    forkable: options.room !== undefined || home !== undefined,
    quick: options.clock !== 'instructions',
  });
  let shares: OpenShare[] = [];
  try {
    shares = openShares(options.shares ?? [], { quick: options.clock !== 'instructions' });
    const overlay = mayNeedAgent(options) ? await agentOverlay() : undefined;
    const files = readBootFiles(options, overlay);
    const append = `${options.append ?? ''} ${agentOverlayWords}`.trim();
    const own = files.hasOverlay ? { ...options, append } : options;
    return await startMachine(
      { options: own, origin: { kind: 'files', files }, drives, shares, ...others(launch) },
      home,
    );
  } catch (error) {
    for (const share of shares) share.close();
    await Promise.all(drives.map((drive) => drive.close()));
    throw error;
  }
}

/** How partitions join the machine, from files or as twins. */
function others(launch: Launch): Pick<MachineParts, 'another' | 'twin'> {
  return {
    another: async (given, within) => await launch((named) => bootMachine(named, launch, within), given),
    twin: async (original, given) => {
      const name = given.name ?? twinName(original.info);
      return await launch((named) => forkMachine(original, named, launch), { ...given, name });
    },
  };
}

/** The original's name, or that of whose twin it is, and something behind it. */
function twinName({ name, fork }: MachineInfo): string {
  const stem = fork === undefined ? name : name.replace(/-[0-9a-f]{6}$/, '');
  return `${stem.slice(0, MOST_STEM)}-${randomBytes(3).toString('hex')}`;
}

async function forkMachine(
  original: LocalMachine,
  { quiesce = false, ...given }: ForkOptions,
  launch: Launch,
): Promise<LocalMachine> {
  const drives = await twinDrives(original.drives);
  const shares = original.shares.map((share) => share.twin());
  try {
    // What was the original's own: whom it listened to, what it wrote to, what it published.
    const { name: _, publish: __, signal: ___, gdbPort: ____, room: _____, ...kept } = original.options;
    const { trapLog: ______, protectionLog: _______, startPaused: ________, seed, weight, cap, pin, ...same } = kept;
    const options = { ...same, ...(same.vsock === undefined ? {} : { vsock: withoutSocket(same.vsock) }), ...given };
    return await startMachine(
      { options, origin: { kind: 'twin', original, quiesce }, drives, shares, ...others(launch) },
      original.home,
    );
  } catch (error) {
    for (const share of shares) share.close();
    await Promise.all(drives.map((drive) => drive.close()));
    throw error;
  }
}

/** The twin has the device, and nobody of the host behind it: the path is its original's. */
function withoutSocket({ socket: _, ...vsock }: VsockOptions): VsockOptions {
  return vsock;
}

/** Makes the machine of a snapshot in this process. Rejects with OperatorError where the file or a disk does not fit. */
export const restoreMachine: RestoreMachine = async (file, options = {}) => await loadMachine(file, options);

/** Only machines for one guest have snapshots. */
function roomless(): Promise<never> {
  return Promise.reject(new Error('a restored machine has no room'));
}

async function loadMachine(file: string, asked: RestoreOptions): Promise<LocalMachine> {
  const saved = SavedMachine.open(file, asked);
  try {
    const { options } = saved;
    const drives = await openDrives(options.drives ?? [], { forkable: false, quick: options.clock !== 'instructions' });
    let shares: OpenShare[] = [];
    try {
      await saved.fillDisks(drives);
      shares = openShares(options.shares ?? [], { quick: options.clock !== 'instructions' });
      const origin = { kind: 'snapshot', saved } as const;
      return await startMachine({ options, origin, drives, shares, another: roomless, twin: roomless });
    } catch (error) {
      for (const share of shares) share.close();
      await Promise.all(drives.map((drive) => drive.close()));
      throw error;
    }
  } finally {
    await saved.close();
  }
}

/** Waits for a guest that runs elsewhere, to stand in for it. Rejects with OperatorError where it cannot listen. */
export const receiveMachine: ReceiveMachine = async (options) =>
  await Receiver.listen(options, async (replica) => {
    const { options: own, drives } = replica;
    return await startMachine({
      options: own,
      origin: { kind: 'replica', replica },
      drives,
      shares: [],
      another: roomless,
      twin: roomless,
    });
  });

/** Whether the agent is to be put into an initramfs without it: where there is one, with no init of its own. */
function mayNeedAgent({ agent, initrd, append, bios }: MachineOptions): boolean {
  const isOurs = agent !== false && agent !== 'off' && agent !== 'qemu';
  return isOurs && initrd !== undefined && bios === undefined && !append?.includes('rdinit=');
}
