/** Opens the drives of a machine: all of them, or none. */
import { resolve } from 'node:path';
import {
  type DiskOptions,
  ForkableDisk,
  isNbdUri,
  type OpenDisk,
  openDisk,
  type QuickFilePlace,
} from '../storage/index.ts';
import type { DriveOptions } from './machine-api.ts';

export interface OpenedDrive extends OpenDisk {
  readonly options: DriveOptions;
  /** The drive of a twin, which begins with what is on this one when it is frozen. Where partitions fork. */
  readonly twin?: () => Promise<OpenedDrive>;
  /** Of a twin's: what it begins with is what its original's drive holds now. Nothing is under way there. */
  readonly freeze?: () => void;
}

/** A drive whose files can be found from any folder. */
export function absoluteDrive(drive: DriveOptions): DriveOptions {
  const { file, overlay } = drive;
  return {
    ...drive,
    file: isNbdUri(file) ? file : resolve(file),
    ...(typeof overlay === 'string' ? { overlay: resolve(overlay) } : {}),
  };
}

/** Whether one of the drives keeps what is written to it, so that its file systems want to be closed. */
export function keepsWrites(drives: readonly DriveOptions[] = []): boolean {
  return drives.some((drive) => drive.readOnly !== true && drive.overlay !== true);
}

/**
 * Throws OperatorError where a drive cannot be had as asked; nothing stays open then. `forkable`: for twins, too. `quick`:
 * how long a request takes may show in what the guest sees.
 */
export async function openDrives(
  drives: readonly DriveOptions[],
  { forkable, quick }: { readonly forkable: boolean; readonly quick: boolean },
): Promise<OpenedDrive[]> {
  return await allOrNone(drives, async (options) => {
    const opened = await openDisk({ ...imageOptions(options), mode: modeOf(options), quick });
    if (!forkable) return { ...opened, options };
    if (options.readOnly) return readOnlyDrive(opened, options);
    const { backend, identity, temporary } = opened;
    const disk = new ForkableDisk(backend, () => opened.close());
    return { ...forkableDrive(disk, options), identity, ...(temporary === undefined ? {} : { temporary }) };
  });
}

/** Of drives in their order: files of those that processors' threads may read and write at once, by device. */
export function quickPlaces(drives: readonly OpenedDrive[]): Record<string, QuickFilePlace> {
  return Object.fromEntries(drives.flatMap(({ place }, i) => (place === undefined ? [] : [[`disk${i}`, place]])));
}

/** The drives of a twin. */
export async function twinDrives(drives: readonly OpenedDrive[]): Promise<OpenedDrive[]> {
  return await allOrNone(drives, async ({ twin }) => {
    if (twin === undefined) throw new Error('the drives of a machine without room have no twins');
    return await twin();
  });
}

function readOnlyDrive(opened: OpenDisk, options: DriveOptions): OpenedDrive {
  const twin = async (): Promise<OpenedDrive> =>
    readOnlyDrive(await openDisk({ ...imageOptions(options), mode: 'read-only' }), options);
  return { ...opened, options, twin };
}

function forkableDrive(disk: ForkableDisk, options: DriveOptions): OpenedDrive {
  return {
    options,
    backend: disk,
    identity: async () => "a twin's, kept in no file",
    close: () => disk.close(),
    twin: async () => {
      const prepared = await disk.prepareTwin();
      const own = new ForkableDisk(prepared.backend, () => prepared.close());
      return { ...forkableDrive(own, options), freeze: () => prepared.freeze() };
    },
  };
}

async function allOrNone<T>(items: readonly T[], open: (item: T) => Promise<OpenedDrive>): Promise<OpenedDrive[]> {
  const opened: OpenedDrive[] = [];
  try {
    for (const item of items) opened.push(await open(item));
    return opened;
  } catch (error) {
    await Promise.all(opened.map((drive) => drive.close()));
    throw error;
  }
}

function imageOptions({
  file,
  format,
  backing,
  discard,
  reconnectDelaySeconds,
}: DriveOptions): Omit<DiskOptions, 'mode'> {
  return {
    path: file,
    ...(format === undefined ? {} : { format }),
    ...(backing === undefined ? {} : { backing }),
    ...(discard === undefined ? {} : { discard }),
    ...(reconnectDelaySeconds === undefined ? {} : { reconnectDelaySeconds }),
  };
}

function modeOf(drive: DriveOptions): DiskOptions['mode'] {
  if (drive.readOnly) return 'read-only';
  if (drive.overlay === undefined || drive.overlay === false) return 'write';
  return drive.overlay === true ? 'temporary' : { overlay: drive.overlay };
}
