/**
 * What a device is, and what it asks of its surroundings. A device is a register model: synchronous, event in,
 * effects out. Its whole state is a block of shared memory described by a layout, so that the same model,
 * instantiated on every thread of a machine, is one device, and saving it is saving its block. The machine holds
 * a device's lock around every call into it.
 */
import type { SharedLock } from '../base/lock.ts';
import type { AnyLayout } from '../base/struct.ts';

/** What has its state in a block of shared memory: reset, saved and restored with the machine. */
export interface Model {
  /** Unique in its machine, as in the device tree: `serial@10000000`. */
  readonly name: string;
  readonly layout: AnyLayout;
  /** The accessor object of the block, for `save` and `restore` of base/struct.ts. */
  readonly state: object;
  /** Power-on state. */
  reset(): void;
}

/** A device mapped into guest-physical address space. Accesses are naturally aligned, 1, 2 or 4 bytes. */
export interface Device extends Model {
  /** Bytes of address space. */
  readonly sizeBytes: number;
  /** `offset` is within `sizeBytes`; the result is unsigned. Unassigned registers read as zero. */
  read(offset: number, bytes: AccessBytes): number;
  /** `value` is unsigned and fits `bytes`. Writes to unassigned registers are ignored and counted. */
  write(offset: number, bytes: AccessBytes, value: number): void;
  /** Whether an access to the register at `offset` needs no lock: it is atomic by itself. */
  isPosted?(offset: number): boolean;
  /**
   * Of a window through which other devices are reached, each under a lock of its own: who answers at `offset` now.
   * Undefined: nobody; then `read` and `write` of the window say what that means, without a lock.
   */
  route?(offset: number): Route | undefined;
  /** Where 64-bit accesses are one operation (ACLINT mtime); else the bus makes two of 4 bytes, low half first. */
  readonly wide?: { read(offset: number): bigint; write(offset: number, value: bigint): void };
}

export type AccessBytes = 1 | 2 | 4;

/** Who answers behind a window. Offsets are the window's. Valid until the next call of `route` on the same thread. */
export interface Route {
  /** Held around accesses that are not posted. */
  readonly lock: SharedLock;
  /** Asked with the lock held: whether it is still the one that answers. */
  isCurrent(): boolean;
  isPosted(offset: number): boolean;
  read(offset: number, bytes: AccessBytes): number;
  write(offset: number, bytes: AccessBytes, value: number): void;
}

/** Where a device gets its block: `layout.view(memory, at)` on every thread, at the same place. */
export interface Block {
  readonly buffer: ArrayBufferLike;
  readonly at: number;
}

/** A level-triggered line into an interrupt controller. Setting the level it has is harmless. */
export interface InterruptLine {
  set(level: boolean): void;
}

/**
 * Guest memory as a DMA-capable device sees it: guest-physical addresses, each access checked against the device's
 * rights. False: some byte is not memory that the device may touch; nothing was transferred.
 */
export interface GuestMemory {
  read(gpa: number, into: Uint8Array): boolean;
  write(gpa: number, from: Uint8Array): boolean;
  /**
   * Borrowed views of the range, in order, one per run of contiguous frames, or null as above. For bulk data only:
   * guest code can change what they show at any time. `write` announces that the device will write them.
   */
  spans(gpa: number, sizeBytes: number, access: 'read' | 'write'): Uint8Array[] | null;
}

/** Time as devices see it. `ticks` counts the machine's timebase (10 MHz), `wallMs` milliseconds since 1970. */
export interface DeviceClock {
  ticks(): bigint;
  wallMs(): number;
}

/** Asks that `service` of the device runs on the I/O thread soon (a queue was notified). Cheap, idempotent. */
export interface Doorbell {
  ring(): void;
}
