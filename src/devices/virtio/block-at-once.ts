/**
 * Requests of a disk that are done where the driver notifies, on the vCPU's own thread: reads and writes of what the host has
 * at hand, and flushes while its medium is fast. Nobody has to be woken, for the request or for its answer, and data goes between file and guest memory without a
 * buffer between: the call that checks the device's rights to it is the one that transfers it.
 *
 * Whatever is out of the ordinary (another kind of request, a chain that makes no sense, memory out of reach, a disk that
 * makes wait) is left as it was found, for the I/O thread, which knows what to do about it.
 */
import type { GuestMemory } from '../device.ts';
import { type QuickDisk, SECTOR_BYTES } from './block-backend.ts';
import { BlockRequest, HEADER_BYTES, VIRTIO_BLK_S, VIRTIO_BLK_T } from './block-request.ts';

/** Longer ones would keep the vCPU for more than some 100 us. */
const REQUEST_BYTES_MAX = 1 << 20;
/** The host takes 1024 at a time. */
const PIECES_MAX = 1000;

/** What the device is now. */
export interface DiskShape {
  readonly sizeBytes: number;
  /** False: it may be written, and every write is followed by a flush, or it may not. */
  readonly isWritable: boolean;
}

export class QuickRequests {
  readonly request: BlockRequest;
  readonly #disk: QuickDisk;

  constructor(memory: GuestMemory, disk: QuickDisk) {
    this.request = new BlockRequest(memory);
    this.#disk = disk;
  }

  /** Does what the request asks for, which was popped: bytes written for the used ring; -1: it is not to be done here. */
  perform(shape: DiskShape): number {
    const { request } = this;
    const { chain } = request;
    if (!request.wellFormed || !request.readHeader()) return -1;
    switch (request.type) {
      case VIRTIO_BLK_T.IN: {
        const { wantedBytes } = request;
        if (!this.#fits(wantedBytes, shape)) return -1;
        const into = chain.spans('write', 0, wantedBytes, PIECES_MAX);
        if (into === null || !this.#disk.read(request.offset, into)) return -1;
        return request.answer(VIRTIO_BLK_S.OK, []) < 0 ? -1 : wantedBytes + 1;
      }
      case VIRTIO_BLK_T.OUT: {
        const { sentBytes } = request;
        if (!shape.isWritable || !this.#fits(sentBytes, shape)) return -1;
        const from = chain.spans('read', HEADER_BYTES, sentBytes, PIECES_MAX);
        if (from === null || !this.#disk.write(request.offset, from)) return -1;
        return request.answer(VIRTIO_BLK_S.OK, []);
      }
      case VIRTIO_BLK_T.FLUSH:
        return this.#disk.flush() ? request.answer(VIRTIO_BLK_S.OK, []) : -1;
      default:
        return -1;
    }
  }

  #fits(sizeBytes: number, shape: DiskShape): boolean {
    const { offset } = this.request;
    return (
      sizeBytes > 0 &&
      sizeBytes % SECTOR_BYTES === 0 &&
      sizeBytes <= REQUEST_BYTES_MAX &&
      offset + sizeBytes <= shape.sizeBytes
    );
  }
}
