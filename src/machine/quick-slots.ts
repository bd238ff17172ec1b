/**
 * The devices of the slots as a processor's thread has them where it may do a disk's requests at once
 * (devices/virtio/block-at-once.ts): a request is done by the thread of the vCPU that made it, while that counts as inside
 * the engine. So what changes frames, or rights to them, waits for it as it waits for a vCPU; and a guest that is held has
 * nothing under way.
 */
import { type GuestMemory, type QuickDisk, VirtioBlock } from '../devices/index.ts';
import type { World } from '../hypervisor/index.ts';
import type { Board } from './board.ts';
import type { BoardPorts } from './board-shape.ts';
import { bareSlot } from './slots.ts';

export interface QuickSlotParts {
  /** The board, once it exists: devices are made while it is being built. */
  board(): Board;
  /** The processor whose thread it is. */
  readonly processor: number;
  /** The disk of that device, if requests of it may be done at once. */
  disk(id: string): QuickDisk | undefined;
  /** Now, on the clock of the world's deadline. */
  readonly deadlineClockMs?: ((suspendedMs: number) => number) | undefined;
}

export function quickSlot(parts: QuickSlotParts): BoardPorts['slot'] {
  return (slot, wiring) => {
    const disk = slot.kind === 'block' ? parts.disk(slot.id) : undefined;
    if (disk === undefined) return bareSlot(slot, wiring);
    const { board, processor } = parts;
    let door: GuestMemory | undefined;
    const reached = once(() => board().deviceMemory(slot));
    const dma = (): GuestMemory => (door ??= board().dmaMemory(slot, reached()));
    const place = once(() => ({
      lock: board().lockOf(device),
      func: board().pci?.functions.find((one) => one.device === device)?.func,
    }));
    const device: VirtioBlock = new VirtioBlock(wiring, {
      disk: untilDeadline(disk, () => board().world.block, parts.deadlineClockMs),
      memory: {
        read: (gpa, into) => dma().read(gpa, into),
        write: (gpa, from) => dma().write(gpa, from),
        spans: (gpa, sizeBytes, access) => dma().spans(gpa, sizeBytes, access),
      },
      run: (act) => {
        if (board().world.servesApart) return false;
        const { lock, func } = place();
        if (!lock.tryAcquire()) return false;
        try {
          return board().exclusion.within(processor, () => {
            func?.settle();
            const isDone = act();
            reached().settle();
            return isDone;
          });
        } finally {
          lock.release();
        }
      },
    });
    return device;
  };
}

/**
 * The disk, that writes nothing from the world's deadline on. It is looked at in the step that writes: the thread may have been
 * stopped at any moment before. Where no clock is known, any deadline counts as passed.
 */
export function untilDeadline(
  disk: QuickDisk,
  world: () => Pick<World['block'], 'deadlineMs' | 'suspendedMs'>,
  clockMs: QuickSlotParts['deadlineClockMs'],
): QuickDisk {
  const isOverdue = (): boolean => {
    const { deadlineMs, suspendedMs } = world();
    return deadlineMs !== 0 && (clockMs?.(suspendedMs) ?? deadlineMs) >= deadlineMs;
  };
  return {
    read: (offset, into) => disk.read(offset, into),
    write: (offset, from) => !isOverdue() && disk.write(offset, from),
    flush: () => disk.flush(),
  };
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
