/**
 * The shared-memory block of a virtio device: what any transport shows of it and what its queues remember. A device
 * spreads `virtioFields` into its own layout and adds what it must keep. Every thread of the machine has an accessor
 * over the same block; the device's lock orders them. What a transport has of its own (selectors, pending
 * interrupts) is in a block of the transport's.
 *
 *     straps      offered, config, queues[].sizeMax: set by the I/O thread, kept over every reset
 *     registers   status, accepted, queues[]: whichever processor thread the driver runs on
 *     positions   queues[].nextAvail, nextUsed, signalledUsed: the I/O thread
 */
import { array, type Layout, struct, structs, type View } from '../../base/struct.ts';
import { VIOLATIONS } from './spec.ts';

/** One split virtqueue. All fields are 32 bits wide: the I/O thread reads them as words (see queue.ts). */
export const queueLayout = struct('virtqueue', {
  ready: 'u32',
  /** 0: this queue does not exist. */
  sizeMax: 'u32',
  size: 'u32',
  descLow: 'u32',
  descHigh: 'u32',
  driverLow: 'u32',
  driverHigh: 'u32',
  deviceLow: 'u32',
  deviceHigh: 'u32',
  /** Positions in the available and the used ring, modulo 2^16. */
  nextAvail: 'u32',
  nextUsed: 'u32',
  /** `nextUsed` when an interrupt was last considered: the old index of section 2.7.10. */
  signalledUsed: 'u32',
  /** Counts the lives of the queue: what was begun in an earlier one must not touch its rings. */
  epoch: 'u32',
});

/** Fields of every virtio device with up to `queueCount` queues (at most 32) and `configBytes` of configuration. */
export function virtioFields(queueCount: number, configBytes: number) {
  return {
    offered: array('u32', 2),
    config: array('u8', configBytes),
    status: 'u32',
    accepted: array('u32', 2),
    configGeneration: 'u32',
    /** Bit per queue: the driver's notification has not been served yet. */
    notified: 'u32',
    /** Counts resets by the driver or the machine, so that the I/O thread sees each. */
    resets: 'u32',
    kicks: 'u32',
    /** Indexed like VIOLATIONS. */
    violations: array('u32', VIOLATIONS.length),
    queues: structs(queueLayout, queueCount),
  } as const;
}

export type VirtioFields = ReturnType<typeof virtioFields>;
export type VirtioState = View<VirtioFields>;
export type VirtioLayout = Layout<VirtioFields>;

/** What a driver sets of a queue before it makes it ready. */
export type QueueField = 'size' | 'descLow' | 'descHigh' | 'driverLow' | 'driverHigh' | 'deviceLow' | 'deviceHigh';
