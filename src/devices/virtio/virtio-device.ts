/**
 * What every virtio device does, whatever transport shows it: feature negotiation, device status, queues,
 * configuration with its generation, reset (virtio 1.2, section 2), and the frame in which its queues are served.
 *
 *     any processor thread, device locked:  what a transport calls      -> state block, doorbell, interrupts
 *     the I/O thread, device locked:        service, what `schedule` runs, resume
 *
 * The same class is constructed on every thread over the same block; the I/O thread's instance is given guest memory,
 * serves queues and talks to the host. A device whose requests can be done at once may be given what that takes on a
 * processor's thread, too (AtOncePorts): then a notification is served where it is made, and the others by the I/O thread. A driver that breaks the protocol puts the device
 * in DEVICE_NEEDS_RESET: it is counted, told (configuration interrupt), and the queues rest until the driver resets.
 */
import { assert, must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import type { Block, Doorbell, GuestMemory, Model } from '../device.ts';
import { addressOf, Queue } from './queue.ts';
import {
  STATUS,
  VIOLATIONS,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  type Violation,
} from './spec.ts';
import { type QueueField, queueLayout, type VirtioLayout, type VirtioState } from './state.ts';
import type { VirtioTransport } from './transport.ts';

/** What a device is wired to on every thread. */
export interface Wiring {
  readonly name: string;
  readonly block: Block;
  readonly doorbell: Doorbell;
}

/** What the I/O thread's instance has besides. */
export interface IoPorts {
  readonly memory: GuestMemory;
  /**
   * Runs `complete` later, on the I/O thread, with the device's lock held, in the order of the calls and at a time
   * that the machine chooses (`--clock instructions`). Called without the lock, from the host's event loop.
   */
  schedule(complete: () => void): void;
}

/** What an instance on a processor's thread has besides where that may serve its queues itself. */
export interface AtOncePorts {
  readonly memory: GuestMemory;
  /**
   * Runs `act` with the device's lock held, while guest memory and the device's rights to it stay as they are; its result.
   * False, and nothing is done: not now, somebody else has the device or is about to change memory.
   */
  run(act: () => boolean): boolean;
}

/** A driver writes these bits; DEVICE_NEEDS_RESET is ours. */
const DRIVER_BITS = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK | STATUS.FEATURES_OK | STATUS.FAILED;

export abstract class VirtioDevice<S extends VirtioState> implements Model {
  readonly name: string;
  readonly layout: VirtioLayout;
  readonly state: S;
  readonly deviceId: number;
  readonly #words: Int32Array;
  readonly #notifiedAt: number;
  readonly #doorbell: Doorbell;
  readonly #queues: readonly Queue[];
  readonly #isServed: boolean;
  #transport: VirtioTransport | undefined;

  protected constructor(
    deviceId: number,
    layout: VirtioLayout,
    state: S,
    wiring: Wiring,
    memory: GuestMemory | undefined,
    { isServed = memory !== undefined }: { readonly isServed?: boolean } = {},
  ) {
    this.#isServed = isServed;
    this.deviceId = deviceId;
    this.layout = layout;
    this.state = state;
    this.name = wiring.name;
    this.#words = new Int32Array(wiring.block.buffer);
    this.#notifiedAt = (wiring.block.at + layout.offset.notified) / 4;
    this.#doorbell = wiring.doorbell;
    const { buffer, at } = wiring.block;
    const violated = (what: Violation) => this.violated(what);
    this.#queues =
      memory === undefined
        ? []
        : this.state.queues.map((_, i) => {
            const start = at + layout.offset.queues + i * queueLayout.sizeBytes;
            return new Queue(i, memory, new Uint32Array(buffer, start, queueLayout.sizeBytes / 4), violated);
          });
  }

  /** By the transport, once, before the device is used. */
  attach(transport: VirtioTransport): void {
    assert(this.#transport === undefined, `${this.name} has a transport already`);
    this.#transport = transport;
    if (this.#isServed) this.#offerBits(transport.features);
  }

  reset(): void {
    const { state } = this;
    this.#resetByDriver();
    state.configGeneration = 0;
    state.kicks = 0;
    state.violations.fill(0);
  }

  /**
   * Serves the queues that were notified and takes up what the host has left at the device's doors. On the I/O
   * thread, with the device's lock. Bounded: what is left over rings the doorbell again.
   */
  service(): void {
    assert(this.#isServed, `${this.name}: only the I/O thread's instance is serviced`);
    this.hostEvents();
    const notified = Atomics.exchange(this.#words, this.#notifiedAt, 0);
    if (this.live) this.serve(notified);
  }

  /**
   * To be called on the I/O thread, with the lock, once the block has been restored (instead of `reset`): forgets
   * what this process had under way and takes up what the block says was. The host's side may have changed meanwhile
   * (a grown disk, another address): the driver is told as of any change of configuration. Throws OperatorError
   * when the guest uses a feature that is no longer there.
   */
  resume(): void {
    const { state } = this;
    const before = state.config.slice();
    this.strap();
    const negotiated = (state.status & STATUS.FEATURES_OK) !== 0;
    if (negotiated && state.accepted.some((bits, i) => (bits & ~(state.offered[i] ?? 0)) !== 0)) {
      throw new OperatorError(
        'device-changed',
        `${this.name}: the saved guest uses features that the device does not have now`,
        'Start it with the options that it was saved with (disk read-only or not, network offloads).',
      );
    }
    if (before.some((byte, i) => byte !== state.config[i])) this.configChanged();
    this.transport.drive();
    this.#serveAll();
  }

  /** Whether the driver has finished its part and nothing stands in the way of the queues. */
  get live(): boolean {
    const stop = STATUS.DEVICE_NEEDS_RESET | STATUS.FAILED;
    return (this.state.status & (STATUS.DRIVER_OK | stop)) === STATUS.DRIVER_OK;
  }

  /** Up to the last one that there is. */
  get queueCount(): number {
    return this.state.queues.findLastIndex(({ sizeMax }) => sizeMax !== 0) + 1;
  }

  /** How often drivers broke the protocol, by rule; only rules that were broken. */
  get violations(): Partial<Record<Violation, number>> {
    const counts: Partial<Record<Violation, number>> = {};
    VIOLATIONS.forEach((what, i) => {
      const count = this.state.violations[i] ?? 0;
      if (count > 0) counts[what] = count;
    });
    return counts;
  }

  /** Whether the driver has accepted a feature, by bit number. */
  accepted(feature: number): boolean {
    return (((this.state.accepted[feature >> 5] ?? 0) >>> (feature & 31)) & 1) !== 0;
  }

  /** Counts a broken rule; all but `negotiation` stop the device until the driver resets it. */
  violated(what: Violation): void {
    const { state } = this;
    const index = VIOLATIONS.indexOf(what);
    state.violations[index] = (state.violations[index] ?? 0) + 1;
    if (what === 'negotiation' || (state.status & STATUS.DEVICE_NEEDS_RESET) !== 0) return;
    state.status |= STATUS.DEVICE_NEEDS_RESET;
    // Section 2.1.2: only a driver that is up is told.
    if ((state.status & STATUS.DRIVER_OK) !== 0) this.transport.configChanged();
  }

  // What registers do, for the transport. False: the access made no sense and changed nothing.

  /** Little-endian; zero beyond the configuration. */
  readConfig(at: number, bytes: 1 | 2 | 4): number {
    const { config } = this.state;
    if (at + bytes > config.length) return 0;
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (config[at + i] as number);
    return value;
  }

  /** The driver writes a configuration field, on any thread: the block only. */
  writeConfig(_at: number, _bytes: number, _value: number): boolean {
    return false;
  }

  /** An available buffer notification. Needs no lock: it touches single words, atomically. */
  notify(queue: number): boolean {
    const { state } = this;
    state.kicks++;
    if (!this.live) return true;
    if ((state.queues[queue]?.ready ?? 0) === 0) return false;
    if (this.serveAtOnce(queue)) return true;
    Atomics.or(this.#words, this.#notifiedAt, 1 << queue);
    this.#doorbell.ring();
    return true;
  }

  acceptFeatures(word: number, bits: number): boolean {
    const { state } = this;
    if (word >= 2 || (state.status & STATUS.FEATURES_OK) !== 0) return bits === 0;
    state.accepted[word] = bits;
    return true;
  }

  writeStatus(value: number): void {
    if (value === 0) {
      this.#resetByDriver();
      return;
    }
    const { state } = this;
    // Section 2.1.1: a driver never clears a bit, except by a reset.
    let added = value & DRIVER_BITS & ~state.status;
    if ((added & STATUS.FEATURES_OK) !== 0 && !this.#featuresFit()) {
      added &= ~STATUS.FEATURES_OK;
      this.violated('negotiation');
    }
    if ((added & STATUS.DRIVER_OK) !== 0 && ((state.status | added) & STATUS.FEATURES_OK) === 0) {
      added &= ~STATUS.DRIVER_OK;
      this.violated('negotiation');
    }
    state.status |= added;
    if ((added & STATUS.DRIVER_OK) !== 0) this.#serveAll();
  }

  setQueue(index: number, field: QueueField, value: number): boolean {
    const queue = this.state.queues[index];
    if (queue === undefined || queue.ready !== 0) return false;
    queue[field] = value;
    return true;
  }

  setQueueReady(index: number, ready: boolean): boolean {
    const queue = this.state.queues[index];
    if (queue === undefined || queue.sizeMax === 0) return false;
    if (ready === (queue.ready !== 0)) return true;
    const { size, sizeMax } = queue;
    const sizeFits = size > 0 && size <= sizeMax && (size & (size - 1)) === 0;
    const aligned = queue.descLow % 16 === 0 && queue.driverLow % 2 === 0 && queue.deviceLow % 4 === 0;
    const reachable =
      addressOf(queue.descLow, queue.descHigh) >= 0 &&
      addressOf(queue.driverLow, queue.driverHigh) >= 0 &&
      addressOf(queue.deviceLow, queue.deviceHigh) >= 0;
    if (ready && !(sizeFits && aligned && reachable)) {
      this.violated('queue-setup');
      return true;
    }
    this.#newLife(index);
    queue.ready = ready ? 1 : 0;
    // Once more in use after a reset of its own: nobody says DRIVER_OK again.
    if (ready && this.live) this.serveAgain(1 << index);
    return true;
  }

  /** Virtqueue reset (section 2.6.1): nothing of the queue is used any more when this returns. */
  resetQueue(index: number): boolean {
    const queue = this.state.queues[index];
    if (queue === undefined || queue.sizeMax === 0 || !this.accepted(VIRTIO_F_RING_RESET)) return false;
    this.#clearQueue(index);
    return true;
  }

  // For the devices.

  /** Sets features, queues and configuration from the host's side, on the I/O thread: in the constructor and `resume`. */
  protected abstract strap(): void;

  /** Serves queues: bit n of `notified` says that queue n may have new buffers. Only while live. */
  protected abstract serve(notified: number): void;

  /** Takes up what the host asked for and tells it what changed; at every service, live or not. */
  protected hostEvents(): void {}

  /** Clears the device's own state at a reset by the driver, on any thread: the block only. */
  protected resetState(): void {}

  /**
   * The driver has notified a queue that is ready, of a live device: on its thread, without the lock. True: what is to be done
   * has been, and the I/O thread need not know.
   */
  protected serveAtOnce(_queue: number): boolean {
    return false;
  }

  /** A queue's life ended (reset, or no longer ready), on any thread: the block only. */
  protected queueEnded(_index: number): void {}

  /** Whether the accepted features go together (the device's own dependencies between bits). */
  protected featuresFit(): boolean {
    return true;
  }

  /** Sets what the device offers, by bit number, and which queues there are. Straps: the I/O thread, before use. */
  protected offer(features: readonly number[], queueSizes: readonly number[]): void {
    const { offered, queues } = this.state;
    offered.fill(0);
    this.#offerBits([VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, ...features]);
    this.#offerBits(this.#transport?.features ?? []);
    queues.forEach((queue, i) => {
      queue.sizeMax = queueSizes[i] ?? 0;
      if (queue.size === 0) queue.size = queue.sizeMax;
    });
  }

  /** Writes a little-endian configuration field. */
  protected setConfig(at: number, bytes: 1 | 2 | 4 | 8, value: number): void {
    for (let i = 0; i < bytes; i++) {
      this.state.config[at + i] = value % 256;
      value = Math.floor(value / 256);
    }
  }

  /** After `setConfig` on a device in use: a new generation, and the driver is told. */
  protected configChanged(): void {
    const { state } = this;
    state.configGeneration = (state.configGeneration + 1) >>> 0;
    if (this.live) this.transport.configChanged();
  }

  protected queue(index: number): Queue {
    return must(this.#queues[index], `${this.name} has no queue ${index} on this thread`);
  }

  /** The queue with its rings mapped, or undefined when it cannot be used now. */
  protected openQueue(index: number): Queue | undefined {
    if (!this.live) return undefined;
    const queue = this.queue(index);
    const usable = queue.begin(this.accepted(VIRTIO_F_EVENT_IDX), this.accepted(VIRTIO_F_INDIRECT_DESC));
    return usable ? queue : undefined;
  }

  /** Shows the driver what was pushed and interrupts it if it wants that. */
  protected publish(queue: Queue): void {
    if (queue.publish()) this.transport.queueUsed(queue.index);
  }

  /** Asks for another service of these queues. */
  protected serveAgain(queues: number): void {
    this.keepNotified(queues);
    this.ring();
  }

  /** Remembers these queues for the next service, whenever that is. */
  protected keepNotified(queues: number): void {
    Atomics.or(this.#words, this.#notifiedAt, queues);
  }

  protected ring(): void {
    this.#doorbell.ring();
  }

  protected get transport(): VirtioTransport {
    return must(this.#transport, `${this.name} has no transport`);
  }

  #offerBits(features: readonly number[]): void {
    const { offered } = this.state;
    for (const bit of features) offered[bit >> 5] = (offered[bit >> 5] ?? 0) | (1 << (bit & 31));
  }

  #serveAll(): void {
    const { state } = this;
    state.queues.forEach((queue, i) => {
      if (queue.ready !== 0) Atomics.or(this.#words, this.#notifiedAt, 1 << i);
    });
    this.#doorbell.ring();
  }

  #resetByDriver(): void {
    const { state } = this;
    state.status = 0;
    state.accepted.fill(0);
    state.notified = 0;
    state.resets++;
    for (const index of state.queues.keys()) this.#clearQueue(index);
    this.resetState();
    this.transport.deviceReset();
    this.#doorbell.ring();
  }

  #clearQueue(index: number): void {
    const queue = must(this.state.queues[index]);
    this.#newLife(index);
    queue.ready = 0;
    queue.size = queue.sizeMax;
    queue.descLow = 0;
    queue.descHigh = 0;
    queue.driverLow = 0;
    queue.driverHigh = 0;
    queue.deviceLow = 0;
    queue.deviceHigh = 0;
    this.transport.queueReset(index);
  }

  #newLife(index: number): void {
    const queue = must(this.state.queues[index]);
    queue.nextAvail = 0;
    queue.nextUsed = 0;
    queue.signalledUsed = 0;
    queue.epoch++;
    this.queueEnded(index);
  }

  #featuresFit(): boolean {
    const { offered, accepted } = this.state;
    const unknown = accepted.some((bits, i) => (bits & ~(offered[i] ?? 0)) !== 0);
    return !unknown && this.accepted(VIRTIO_F_VERSION_1) && this.featuresFit();
  }
}
