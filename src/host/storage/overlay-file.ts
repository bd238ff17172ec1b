/**
 * Overlays as files: made, opened again with the base that they were made over, or temporary and without a name.
 * A new one appears under its name only when it is whole. Its base is known by size and time of modification: an
 * overlay over a base that somebody changed would be a broken disk, so it is refused.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { type BlockBackend, SECTOR_BYTES } from '../../devices/index.ts';
import { type DiskLock, lockDisk } from './disk-lock.ts';
import { isValidMap, Overlay } from './overlay.ts';
import {
  clusterBytesFor,
  dataAt,
  decodeHeader,
  encodeHeader,
  fileBytes,
  HEADER_BYTES,
  MAP_AT,
  type OverlayShape,
} from './overlay-format.ts';
import { NodeFile } from './storage-file.ts';

/** A base as `openRawFile` makes it. */
export interface OverlayBase extends BlockBackend {
  readonly path: string;
  readonly identity: string;
}

export interface OverlayFileOptions {
  /** Size of a new overlay's disk, default the base's; larger: zeros follow. */
  readonly sizeBytes?: number;
  readonly lockFolder?: string;
}

export interface OpenOverlay {
  readonly disk: Overlay;
  /** Flushes and closes the overlay, not the base. */
  close(): Promise<void>;
}

/** Opens the overlay at `path`, or makes it where there is none. Only one machine has it at a time. */
export async function openOverlayFile(
  path: string,
  base: OverlayBase,
  options: OverlayFileOptions = {},
): Promise<OpenOverlay> {
  const handle = (await openExisting(path)) ?? (await create(path, shapeFor(base, options.sizeBytes)));
  let lock: DiskLock | undefined;
  try {
    lock = await lockDisk(path, await handle.stat({ bigint: true }), 'exclusive', options.lockFolder);
    const held = lock;
    const file = new NodeFile(handle, path);
    const shape = await readShape(path, handle, base);
    const map = new Uint8Array(dataAt(shape) - MAP_AT);
    await file.read(MAP_AT, [map]);
    if (!isValidMap(map, shape)) throw damaged(path, 'has a damaged map');
    const disk = new Overlay(shape, base, file, map);
    return {
      disk,
      close: async () => {
        try {
          await disk.close();
        } finally {
          held.release();
        }
      },
    };
  } catch (error) {
    lock?.release();
    await handle.close();
    throw error;
  }
}

/** An overlay whose file has no name: it is gone with the process, whatever ends that. `folder` defaults to the system's. */
export async function openTemporaryOverlay(
  base: OverlayBase,
  options: { readonly folder?: string; readonly sizeBytes?: number } = {},
): Promise<OpenOverlay> {
  const path = join(options.folder ?? tmpdir(), `kagemusha-overlay-${randomUUID()}`);
  const shape = shapeFor(base, options.sizeBytes);
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'wx+', 0o600);
    await rm(path);
    await handle.truncate(fileBytes(shape));
  } catch (error) {
    await handle?.close();
    throw new OperatorError(
      'overlay-not-writable',
      `No temporary overlay can be made in ${dirname(path)}`,
      'Set TMPDIR to a folder that you may write, on a file system with room.',
      { cause: error },
    );
  }
  const map = new Uint8Array(dataAt(shape) - MAP_AT);
  const disk = new Overlay(shape, base, new NodeFile(handle, path), map, { temporary: true });
  return { disk, close: () => disk.close() };
}

function shapeFor(base: OverlayBase, sizeBytes = base.sizeBytes): OverlayShape {
  if (sizeBytes < base.sizeBytes || sizeBytes % SECTOR_BYTES !== 0) {
    throw new OperatorError(
      'overlay-size',
      `An overlay of ${sizeBytes} bytes does not fit over ${base.path} with ${base.sizeBytes}`,
      `Give at least the base's size, in a multiple of ${SECTOR_BYTES}.`,
    );
  }
  const clusterBytes = clusterBytesFor(sizeBytes);
  return { sizeBytes, clusterBytes, baseIdentity: base.identity, basePath: base.path };
}

async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    const fix = code === 'EISDIR' ? 'Name a file.' : `Allow reading and writing: chmod u+rw ${path}`;
    throw new OperatorError('overlay-not-writable', `The overlay ${path} cannot be opened`, fix, { cause: error });
  }
}

async function create(path: string, shape: OverlayShape): Promise<FileHandle> {
  const draft = `${path}.${randomUUID()}`;
  let handle: FileHandle | undefined;
  try {
    await mkdir(dirname(path), { recursive: true });
    handle = await open(draft, 'wx+', 0o600);
    await handle.truncate(fileBytes(shape));
    await handle.write(encodeHeader(shape), 0, HEADER_BYTES, 0);
    await handle.sync();
    await rename(draft, path);
    return handle;
  } catch (error) {
    await handle?.close();
    if (handle !== undefined) await rm(draft, { force: true });
    throw new OperatorError(
      'overlay-not-writable',
      `The overlay ${path} cannot be made`,
      'Name a file in a folder that you may write, on a file system with room.',
      { cause: error },
    );
  }
}

async function readShape(path: string, handle: FileHandle, base: OverlayBase): Promise<OverlayShape> {
  const header = new Uint8Array(HEADER_BYTES);
  const { bytesRead } = await handle.read(header, 0, HEADER_BYTES, 0);
  const shape = decodeHeader(header);
  if (bytesRead < HEADER_BYTES || typeof shape === 'string') {
    throw damaged(path, typeof shape === 'string' ? shape : 'is too short for an overlay');
  }
  if (shape.baseIdentity !== base.identity) {
    throw new OperatorError(
      'overlay-base-changed',
      `The overlay ${path} was made over ${shape.basePath} (${shape.baseIdentity}), which is now ${base.identity}`,
      'Bring the base back as it was (copies with `cp -p`), or start a new overlay.',
    );
  }
  if ((await handle.stat()).size < fileBytes(shape)) throw damaged(path, 'has lost its end');
  return shape;
}

function damaged(path: string, how: string): OperatorError {
  return new OperatorError('overlay-damaged', `${path} ${how}`, 'Name another file, or remove this one to start anew.');
}
