/** Compressed clusters as they are read: some of them are kept unpacked, for whoever reads little at a time reads the next part of one soon. */
import { decompress } from './compressed.ts';
import type { Cluster } from './entries.ts';
import type { Qcow2Header } from './header.ts';
import type { ImageFile } from './image-file.ts';

const KEPT_BYTES = 1 << 20;

export class UnpackedClusters {
  readonly #header: Qcow2Header;
  readonly #file: ImageFile;
  /** By place, which holds nothing else that is compressed for as long as the image is open; the oldest first. */
  readonly #kept = new Map<number, Promise<Uint8Array>>();

  constructor(header: Qcow2Header, file: ImageFile) {
    this.#header = header;
    this.#file = file;
  }

  /** From the cluster's byte `within` on. */
  async read(cluster: Cluster & { kind: 'compressed' }, within: number, into: readonly Uint8Array[]): Promise<void> {
    const bytes = await this.#unpacked(cluster);
    for (const piece of into) {
      piece.set(bytes.subarray(within, within + piece.length));
      within += piece.length;
    }
  }

  #unpacked({ at, sizeBytes }: Cluster & { kind: 'compressed' }): Promise<Uint8Array> {
    const kept = this.#kept.get(at);
    if (kept !== undefined) return kept;
    const unpacking = this.#unpack(at, sizeBytes);
    this.#kept.set(at, unpacking);
    unpacking.catch(() => this.#kept.delete(at));
    const [oldest] = this.#kept.keys();
    const most = Math.max(2, KEPT_BYTES / this.#header.clusterBytes);
    if (this.#kept.size > most && oldest !== undefined) this.#kept.delete(oldest);
    return unpacking;
  }

  async #unpack(at: number, sizeBytes: number): Promise<Uint8Array> {
    const stored = new Uint8Array(sizeBytes);
    await this.#file.read(at, [stored]);
    return await decompress(stored, this.#header.compression, this.#header.clusterBytes);
  }
}
