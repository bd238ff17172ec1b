/** What a function (function.ts) is wired to: on every thread, over the same shared memory. */
import type { SharedLock } from '../../base/lock.ts';
import type { Block, Doorbell } from '../device.ts';
import type { RequesterId, TransactionPort } from './transaction.ts';

export interface FunctionWiring {
  /** Unique in its machine: `virtio-net-pci@01:00.0`. */
  readonly name: string;
  /** Of `functionLayout(vectorsOf(description))`. */
  readonly block: Block;
  /** Orders accesses to the function and to the device behind it. */
  readonly lock: SharedLock;
  readonly requester: RequesterId;
  readonly port: TransactionPort;
  /** There are further functions of its device. */
  readonly isMultiFunction: boolean;
  /** Counts changes of who answers where: every one adds one, so that all threads look again. */
  readonly epoch: AddressEpoch;
  /** The port that it is behind; absent: it is on the root bus. */
  readonly upstream?: Upstream;
  /** Rung when the function was cut off, so that the I/O thread calls `settle`. */
  readonly doorbell?: Doorbell;
}

/** What lies between a function and the root complex. Read on any thread, without a lock. */
export interface Upstream {
  /** The link is up: anything passes at all. */
  readonly isUp: boolean;
  /** Requests (reads and writes of memory, messages among them) pass. */
  readonly forwardsRequests: boolean;
}

/** A word in shared memory. */
export interface AddressEpoch {
  advance(): void;
}
