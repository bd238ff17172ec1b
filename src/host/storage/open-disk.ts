/**
 * A disk as the operator names it: a raw file, read-only or not, or a copy-on-write overlay over it that is kept or
 * thrown away. Everything that was opened is closed together.
 */
import type { BlockBackend } from '../../devices/index.ts';
import { openOverlayFile, openTemporaryOverlay } from './overlay-file.ts';
import { openRawFile } from './raw-file.ts';

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
  /** Where temporary overlays go, default the system's folder for temporary files. */
  readonly temporaryFolder?: string;
}

export interface OpenDisk {
  readonly backend: BlockBackend;
  close(): Promise<void>;
}

/** Throws OperatorError where the operator can help. */
export async function openDisk(options: DiskOptions): Promise<OpenDisk> {
  const { path, mode } = options;
  const lock = options.lockFolder === undefined ? {} : { lockFolder: options.lockFolder };
  const size = options.sizeBytes === undefined ? {} : { sizeBytes: options.sizeBytes };
  const file = await openRawFile(path, { readOnly: mode !== 'write', ...lock });
  if (mode === 'write' || mode === 'read-only') return { backend: file, close: () => file.close() };
  try {
    const folder = options.temporaryFolder === undefined ? {} : { folder: options.temporaryFolder };
    const overlay =
      mode === 'temporary'
        ? await openTemporaryOverlay(file, { ...folder, ...size })
        : await openOverlayFile(mode.overlay, file, { ...lock, ...size });
    return {
      backend: overlay.disk,
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
