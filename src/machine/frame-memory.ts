/**
 * Guest-physical memory as devices, loaders and debuggers reach it: page by page through the map, frames allocated
 * at first touch. Writes drop decoded code that they overwrite, as a vCPU's own would.
 */
import type { GuestMemory } from '../devices/index.ts';
import { emptyEntries, FRAME_BYTES, type GuestPhysicalMap, type MachineMemory, wroteTracked } from '../engine/index.ts';

/** Whether the frame at `host` may be accessed as the guest-physical address `gpa`. */
export type FrameCheck = (host: number, gpa: number, access: 'read' | 'write') => boolean;

export class FrameMemory implements GuestMemory {
  readonly #memory: MachineMemory;
  readonly #map: GuestPhysicalMap;
  readonly #permits: FrameCheck | undefined;
  readonly #codeWrites: CodeWrite[] = [];
  /** Frames that are being written, where writes to page tables are tracked. */
  readonly #writtenFrames: number[] = [];

  /** `permits`: of a domain. Without, it is the operator's view: of who loads and debugs. */
  constructor(memory: MachineMemory, map: GuestPhysicalMap, permits?: FrameCheck) {
    this.#memory = memory;
    this.#map = map;
    this.#permits = permits;
  }

  read(gpa: number, into: Uint8Array): boolean {
    const spans = this.spans(gpa, into.length, 'read');
    if (spans === null) return false;
    let at = 0;
    for (const span of spans) {
      into.set(span, at);
      at += span.length;
    }
    return true;
  }

  write(gpa: number, from: Uint8Array): boolean {
    return this.#store(gpa, from, 'write');
  }

  /** Whether `write` would succeed; touches the frames. */
  isWritable(gpa: number, bytes: number): boolean {
    return this.spans(gpa, bytes, 'write') !== null;
  }

  /** As `write`, into read-only memory too: what is there when the machine is switched on. */
  setUp(gpa: number, from: Uint8Array): boolean {
    // What holds zeros already needs no frame: a fifth of a kernel's image. The rest is stored in runs of pages.
    let stored = 0;
    let done = 0;
    const store = (end: number): boolean =>
      end === stored || this.#store(gpa + stored, from.subarray(stored, end), 'setup');
    while (done < from.length) {
      const page = Math.floor((gpa + done) / FRAME_BYTES);
      const end = Math.min(from.length, (page + 1) * FRAME_BYTES - gpa);
      if (isZero(from, done, end) && this.#map.isUntouched(page)) {
        if (!store(done)) return false;
        stored = end;
      }
      done = end;
    }
    return store(done);
  }

  spans(gpa: number, sizeBytes: number, access: 'read' | 'write'): Uint8Array[] | null {
    return this.#spans(gpa, sizeBytes, access);
  }

  #store(gpa: number, from: Uint8Array, access: 'write' | 'setup'): boolean {
    const spans = this.#spans(gpa, from.length, access);
    if (spans === null) return false;
    let at = 0;
    for (const span of spans) {
      span.set(from.subarray(at, at + span.length));
      at += span.length;
    }
    this.settle();
    return true;
  }

  #spans(gpa: number, sizeBytes: number, access: 'read' | 'write' | 'setup'): Uint8Array[] | null {
    if (!Number.isSafeInteger(gpa) || gpa < 0 || sizeBytes < 0 || gpa + sizeBytes > this.#map.pages * FRAME_BYTES)
      return null;
    const spans: Uint8Array[] = [];
    let runStart = 0;
    let runBytes = 0;
    let done = 0;
    while (done < sizeBytes) {
      const offset = (gpa + done) % FRAME_BYTES;
      const host = this.#map.host(Math.floor((gpa + done) / FRAME_BYTES), access);
      if (host === 0) return null;
      if (access !== 'setup' && this.#permits?.(host, gpa + done, access) === false) return null;
      const bytes = Math.min(FRAME_BYTES - offset, sizeBytes - done);
      if (access !== 'read') this.#dropCode(host, offset, bytes);
      if (runBytes > 0 && runStart + runBytes === host + offset) runBytes += bytes;
      else {
        if (runBytes > 0) spans.push(this.#memory.u8.subarray(runStart, runStart + runBytes));
        runStart = host + offset;
        runBytes = bytes;
      }
      done += bytes;
    }
    if (runBytes > 0) spans.push(this.#memory.u8.subarray(runStart, runStart + runBytes));
    return spans;
  }

  /**
   * Empties the decoded entries of the bytes, as the engine's `written` does. Spans are written after this; what is
   * decoded in between is dropped by `settle`, which the machine calls before it lets a device complete.
   */
  #dropCode(host: number, offset: number, bytes: number): void {
    if (this.#memory.header.trackTable !== 0) this.#writtenFrames.push(host);
    if (this.#memory.decodedPage(host) === 0) return;
    const write = { host, first: Math.max(0, (offset >> 1) - 1), last: (offset + bytes - 1) >> 1 };
    this.#codeWrites.push(write);
    this.#empty(write);
  }

  /** All code may have been dropped since the write, and other code taken its place: so the page is looked up each time. */
  #empty({ host, first, last }: CodeWrite): void {
    this.#memory.withCode(() => {
      const page = this.#memory.decodedPage(host);
      if (page === 0) return;
      emptyEntries(this.#memory, page + first * 8, page + (last + 1) * 8);
      this.#memory.dropRegions(page);
      this.#memory.dropOverlays(page, 'write');
    });
  }

  /** After borrowed spans were written: entries that were decoded meanwhile are emptied again, page tables are told of. */
  settle(): void {
    for (const write of this.#codeWrites) this.#empty(write);
    this.#codeWrites.length = 0;
    for (const host of this.#writtenFrames) wroteTracked(this.#memory, host);
    this.#writtenFrames.length = 0;
  }
}

/** Whether the bytes from `start` to below `end` are zeros. */
function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}

interface CodeWrite {
  /** Linear address of the frame. */
  readonly host: number;
  readonly first: number;
  readonly last: number;
}
