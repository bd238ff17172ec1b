/**
 * Brings a machine to where nothing of it changes by itself: no vCPU runs, no device serves its queues, no disk or
 * shared folder has anything under way. What the console said so far is out; what the guest has asked of its devices since stays in its
 * queues, which are part of its memory.
 */
import { HostError } from '../../base/errors.ts';
import { VirtioBlock, VirtioP9 } from '../../devices/index.ts';
import { RUN } from '../../hypervisor/index.ts';
import type { Board, IoThread } from '../../machine/index.ts';

const LOOK_AGAIN_MS = 1;
const MOMENT_MS = 20;
const NAP_MS = 0.05;
const NOTHING = new Int32Array(new SharedArrayBuffer(4));
/** A disk that answers nothing for so long is taken for broken. */
const MOST_WAIT_MS = 60_000;

/**
 * The same without giving this thread away, for who cannot let the guest stand long: undefined if that takes more than a
 * moment, or a disk has something under way. The guest is held then, and `holdStill` is to follow.
 */
export function holdAtOnce(board: Board, io: IoThread): (() => void) | undefined {
  const { world } = board;
  world.setHeld(true);
  const late = performance.now() + MOMENT_MS;
  while (!world.isStill && performance.now() < late) Atomics.wait(NOTHING, 0, 0, NAP_MS);
  if (!world.isStill || world.run !== RUN.running) return undefined;
  io.serve();
  if (isUnderWay(board)) return undefined;
  io.hold();
  return () => {
    io.release();
    world.setHeld(false);
  };
}

/** Resolves when it stands still; the function that it returns lets it go on, if nobody else pauses it. */
export async function holdStill(board: Board, io: IoThread): Promise<() => void> {
  const { world } = board;
  world.setHeld(true);
  const release = (): void => {
    io.release();
    world.setHeld(false);
  };
  try {
    const late = performance.now() + MOST_WAIT_MS;
    const until = async (holds: () => boolean): Promise<void> => {
      while (!holds()) {
        if (world.run !== RUN.running) throw ended();
        if (performance.now() > late)
          throw new HostError('machine-not-still', 'the machine does not stand still: a disk does not answer');
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      }
    };
    await until(() => world.isStill);
    io.serve();
    io.hold();
    await until(() => !isUnderWay(board));
    if (world.run !== RUN.running) throw ended();
    return release;
  } catch (error) {
    release();
    throw error;
  }
}

/** Whether a disk or a shared folder has something to answer. */
function isUnderWay({ virtioDevices }: Board): boolean {
  return virtioDevices.some(
    (device) => (device instanceof VirtioBlock || device instanceof VirtioP9) && device.underWay > 0,
  );
}

function ended(): HostError {
  return new HostError('machine-gone', 'the machine ended while its snapshot was taken');
}
