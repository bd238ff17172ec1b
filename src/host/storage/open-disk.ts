/**
 * A disk as the operator names it: a raw file, a qcow2 image or what an NBD server exports, read-only or not, or a
 * copy-on-write overlay over it that is kept or thrown away. Everything that was opened is closed together.
 */
import { createHash } from 'node:crypto';
import { OperatorError } from '../../base/errors.ts';
import type { BlockBackend } from '../../devices/index.ts';
import { type ImageFormat, imageFormat } from './image-format.ts';
import { isNbdUri, openNbd } from './nbd/index.ts';
import type { Overlay } from './overlay.ts';
import { type OverlayBase, openOverlayFile, openTemporaryOverlay } from './overlay-file.ts';
import { openQcow2 } from './qcow2/index.ts';
import type { QuickFilePlace } from './quick-file.ts';
import { fileIdentity, openRawFile } from './raw-file.ts';

export interface DiskOptions {
  /** The image. */
  readonly path: string;
  /** Default: by the name (image-format.ts). */
  readonly format?: ImageFormat;
  /**
   * `write` changes the file; `read-only` shows it to the guest as a read-only disk; `temporary` lets the guest write
   * and forgets it at the end; `{ overlay }` keeps what the guest writes in that file.
   */
  readonly mode: 'write' | 'read-only' | 'temporary' | { readonly overlay: string };
  /** Of an overlay's disk, if it is to be larger than the file. */
  readonly sizeBytes?: number;
  readonly lockFolder?: string;
  /** Of files, `write` and `read-only`: as RawFileOptions.quick. */
  readonly quick?: boolean;
  /** False: a qcow2 image that names a file below it is refused. Default true. */
  readonly backing?: boolean;
  /** `ignore`: the disk has no discard. Default `unmap`. */
  readonly discard?: 'unmap' | 'ignore';
  /** Of NBD: seconds for which requests wait for a server that is gone, before they fail. Default 0. */
  readonly reconnectDelaySeconds?: number;
  /** Where temporary overlays go, default the system's folder for temporary files. */
  readonly temporaryFolder?: string;
}

export interface OpenDisk {
  readonly backend: BlockBackend;
  /** Where small requests may be done at once, on other threads too: the file, whose content is the disk's. */
  readonly place?: QuickFilePlace;
  /** What the guest writes, where that is kept in no file of the operator's. */
  readonly temporary?: Overlay;
  /**
   * Of the files that must be as they are now if the disk is to be so again: the one that is written to, else those below.
   * What was flushed counts. Throws OperatorError where nobody can know.
   */
  identity(): Promise<string>;
  close(): Promise<void>;
}

interface Image extends Pick<OpenDisk, 'backend' | 'place' | 'identity' | 'close'> {
  /** What an overlay over it remembers it by, where it has no identity. */
  readonly label?: string;
}

/** Throws OperatorError where the operator can help. */
export async function openDisk(options: DiskOptions): Promise<OpenDisk> {
  const disk = await openWhole(options);
  return options.discard === 'ignore' ? { ...disk, backend: withoutDiscard(disk.backend) } : disk;
}

async function openWhole(options: DiskOptions): Promise<OpenDisk> {
  const { path, mode } = options;
  const image = await openImage(options);
  if (mode === 'write' || mode === 'read-only') return image;
  try {
    const base = await asBase(path, image);
    const size = options.sizeBytes === undefined ? {} : { sizeBytes: options.sizeBytes };
    const folder = options.temporaryFolder === undefined ? {} : { folder: options.temporaryFolder };
    const overlay =
      mode === 'temporary'
        ? await openTemporaryOverlay(base, { ...folder, ...size })
        : await openOverlayFile(mode.overlay, base, { ...lockOf(options), ...size });
    return {
      backend: overlay.disk,
      ...(mode === 'temporary' ? { temporary: overlay.disk } : {}),
      identity: mode === 'temporary' ? () => image.identity() : () => fileIdentity(mode.overlay),
      close: async () => {
        try {
          await overlay.close();
        } finally {
          await image.close();
        }
      },
    };
  } catch (error) {
    await image.close();
    throw error;
  }
}

/** The image itself, to be written where the mode is `write`. */
async function openImage(options: DiskOptions): Promise<Image> {
  const { path, mode } = options;
  const readOnly = mode !== 'write';
  if (isNbdUri(path)) return await openExport(options, readOnly);
  const format = await imageFormat(
    path,
    options.format,
    `Say it: format=qcow2, or format=raw if ${path} is a raw disk`,
  );
  // An overlay's own doings are in the order of its promises.
  const quick = options.quick === true && (mode === 'write' || mode === 'read-only');
  if (format === 'qcow2') {
    const backing = options.backing === undefined ? {} : { backing: options.backing };
    const { disk, identity, close } = await openQcow2(path, { readOnly, quick, ...backing, ...lockOf(options) });
    return { backend: disk, identity, close };
  }
  const file = await openRawFile(path, { readOnly, quick, ...lockOf(options) });
  return {
    backend: file,
    ...(file.place === undefined ? {} : { place: file.place }),
    identity: readOnly ? async () => file.identity : () => fileIdentity(path),
    close: () => file.close(),
  };
}

async function openExport(options: DiskOptions, readOnly: boolean): Promise<Image> {
  const { path, format, reconnectDelaySeconds } = options;
  if (format === 'qcow2') {
    throw new OperatorError(
      'disk-format',
      `${path} cannot be qcow2: exports are raw disks`,
      'Let the server open the image: qemu-nbd -f qcow2 FILE',
    );
  }
  const { disk, close } = await openNbd(path, {
    readOnly,
    ...(reconnectDelaySeconds === undefined ? {} : { reconnectDelaySeconds }),
  });
  return {
    backend: disk,
    label: `${path}, ${disk.sizeBytes} bytes`,
    identity: () =>
      Promise.reject(
        new OperatorError(
          'disk-without-identity',
          `Nobody can tell whether ${path} is changed between a snapshot and its use`,
          'Take the snapshot without that drive, or copy the disk into a file.',
        ),
      ),
    close,
  };
}

/** What an overlay lies over: an overlay's header has room for so much of an identity. */
async function asBase(path: string, { backend, identity, label }: Image): Promise<OverlayBase> {
  const whole = label ?? (await identity());
  return {
    ...{ path, sizeBytes: backend.sizeBytes, readOnly: true },
    identity: whole.length <= 256 ? whole : createHash('sha256').update(whole).digest('hex'),
    read: (offset, into) => backend.read(offset, into),
    write: () => Promise.reject(new Error('the base of an overlay is not written')),
    flush: () => {},
  };
}

function withoutDiscard(backend: BlockBackend): BlockBackend {
  const { writeZeroes } = backend;
  return {
    ...{ sizeBytes: backend.sizeBytes, readOnly: backend.readOnly },
    read: (offset, into) => backend.read(offset, into),
    write: (offset, from) => backend.write(offset, from),
    flush: () => backend.flush(),
    ...(writeZeroes === undefined
      ? {}
      : { writeZeroes: (offset: number, sizeBytes: number) => writeZeroes.call(backend, offset, sizeBytes) }),
  };
}

function lockOf({ lockFolder }: DiskOptions): { lockFolder?: string } {
  return lockFolder === undefined ? {} : { lockFolder };
}
