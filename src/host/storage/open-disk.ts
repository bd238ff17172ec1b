/**
 * A disk as the operator names it: a raw file, read-only or not, or a copy-on-write overlay over it that is kept or
 * thrown away. Everything that was opened is closed together.
 */
import type { BlockBackend } from '../../devices/index.ts';
import type { Overlay } from './overlay.ts';
import { openOverlayFile, openTemporaryOverlay } from './overlay-file.ts';
import type { QuickFilePlace } from './quick-file.ts';
import { fileIdentity, openRawFile } from './raw-file.ts';

export interface DiskOptions {
  /** The raw file. */
  readonly path: string;
  /**
   * `write` changes the file; `read-only` shows it to the guest as a read-only disk; `temporary` lets the guest write
   * and forgets it at the end; `{ overlay }` keeps what the guest writes in that file.
   */
  readonly mode: 'write' | 'read-only' | 'temporary' | { readonly overlay: string };
  /** Of an overlay's disk, if it is to be larger than the file. */
  readonly sizeBytes?: number;
  readonly lockFolder?: string;
  /** Of `write` and `read-only`: as RawFileOptions.quick. */
  readonly quick?: boolean;
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
   * Of the file that must be as it is now if the disk is to be so again: the one that is written to, else the one below.
   * What was flushed counts.
   */
  identity(): Promise<string>;
  close(): Promise<void>;
}

/** Throws OperatorError where the operator can help. */
export async function openDisk(options: DiskOptions): Promise<OpenDisk> {
  const { path, mode } = options;
  const lock = options.lockFolder === undefined ? {} : { lockFolder: options.lockFolder };
  const size = options.sizeBytes === undefined ? {} : { sizeBytes: options.sizeBytes };
  // An overlay's own doings are in the order of its promises.
  const quick = options.quick === true && (mode === 'write' || mode === 'read-only');
  const file = await openRawFile(path, { readOnly: mode !== 'write', quick, ...lock });
  const close = (): Promise<void> => file.close();
  const place = file.place === undefined ? {} : { place: file.place };
  if (mode === 'write') return { backend: file, ...place, identity: () => fileIdentity(path), close };
  if (mode === 'read-only') return { backend: file, ...place, identity: async () => file.identity, close };
  try {
    const folder = options.temporaryFolder === undefined ? {} : { folder: options.temporaryFolder };
    const overlay =
      mode === 'temporary'
        ? await openTemporaryOverlay(file, { ...folder, ...size })
        : await openOverlayFile(mode.overlay, file, { ...lock, ...size });
    return {
      backend: overlay.disk,
      ...(mode === 'temporary' ? { temporary: overlay.disk } : {}),
      identity: mode === 'temporary' ? async () => file.identity : () => fileIdentity(mode.overlay),
      close: async () => {
        try {
          await overlay.close();
        } finally {
          await file.close();
        }
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
