/**
 * A virtio-mmio driver for tests, benchmarks and fuzzers: it does what Linux's virtio_mmio and virtio_ring do, over
 * a device's registers and the fake memory, and lets a test do what they never would. `Bench` holds a device's
 * surroundings: memory, interrupt line, doorbell, and a hand-cranked schedule for completions.
 */
import assert from 'node:assert/strict';
import type { AnyLayout } from '../../base/struct.ts';
import type { Block } from '../device.ts';
import { FakeMemory, type FakeMemoryOptions } from './fake-memory.testing.ts';
import { STATUS, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from './spec.ts';
import type { IoPorts, Wiring } from './transport.ts';

/** What the driver needs of a device. */
export interface DrivenDevice {
  read(offset: number, bytes: 1 | 2 | 4): number;
  write(offset: number, bytes: 1 | 2 | 4, value: number): void;
  service(): void;
}

export class Bench {
  readonly memory: FakeMemory;
  readonly scheduled: (() => void)[] = [];
  readonly block: Block;
  line = false;
  rings = 0;
  #served = 0;

  constructor(layout: AnyLayout, options: FakeMemoryOptions = {}) {
    this.memory = new FakeMemory(options);
    this.block = { buffer: new SharedArrayBuffer(layout.sizeBytes + 64), at: 64 };
  }

  get wiring(): Wiring {
    return {
      name: 'virtio@10001000',
      block: this.block,
      irq: {
        set: (level) => {
          this.line = level;
        },
      },
      doorbell: {
        ring: () => {
          this.rings++;
        },
      },
    };
  }

  get io(): IoPorts {
    return { memory: this.memory, schedule: (complete) => this.scheduled.push(complete) };
  }

  /** Services while the doorbell rings, at most `bound` times; true when it then was silent. */
  serve(device: DrivenDevice, bound = 10_000): boolean {
    for (let i = 0; i < bound && this.#served !== this.rings; i++) {
      this.#served = this.rings;
      device.service();
    }
    return this.#served === this.rings;
  }

  /** Runs what completions are scheduled, in order; those that they schedule too. */
  complete(): void {
    for (let next = this.scheduled.shift(); next !== undefined; next = this.scheduled.shift()) next();
  }

  /** Lets the host's promises settle, completes and serves until nothing is left to do. */
  async settle(device: DrivenDevice): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.scheduled.length > 0 || this.#served !== this.rings) quiet = -1;
      this.complete();
      this.serve(device);
    }
  }
}

export interface Buffer {
  readonly gpa: number;
  readonly sizeBytes: number;
}

export interface Used {
  readonly id: number;
  readonly writtenBytes: number;
}

export class FakeDriver {
  readonly device: DrivenDevice;
  readonly memory: FakeMemory;
  #features = new Set<number>();

  constructor(device: DrivenDevice, memory: FakeMemory) {
    this.device = device;
    this.memory = memory;
  }

  /** The device's features, both words. */
  offered(): Set<number> {
    const bits = new Set<number>();
    for (let word = 0; word < 2; word++) {
      this.device.write(0x14, 4, word);
      const value = this.device.read(0x10, 4);
      for (let bit = 0; bit < 32; bit++) if ((value >>> bit) & 1) bits.add(word * 32 + bit);
    }
    return bits;
  }

  /** Steps 1 to 6 of section 3.1.1, accepting `features` and VERSION_1; true when FEATURES_OK stayed set. */
  negotiate(features: Iterable<number>): boolean {
    const { device } = this;
    device.write(0x70, 4, 0);
    device.write(0x70, 4, STATUS.ACKNOWLEDGE);
    device.write(0x70, 4, STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    this.#features = new Set([...features, VIRTIO_F_VERSION_1]);
    for (let word = 0; word < 2; word++) {
      let value = 0;
      for (const bit of this.#features) if (bit >> 5 === word) value |= 1 << (bit & 31);
      device.write(0x24, 4, word);
      device.write(0x20, 4, value >>> 0);
    }
    device.write(0x70, 4, device.read(0x70, 4) | STATUS.FEATURES_OK);
    return (device.read(0x70, 4) & STATUS.FEATURES_OK) !== 0;
  }

  /** Negotiates everything that is offered, except `without`, sets all queues up and says DRIVER_OK. */
  start(without: readonly number[] = []): FakeQueue[] {
    const features = this.offered();
    for (const bit of without) features.delete(bit);
    assert.ok(this.negotiate(features), 'the device refused its own features');
    const queues: FakeQueue[] = [];
    for (let i = 0; this.queueSizeMax(i) > 0; i++) queues.push(this.setUp(i, this.queueSizeMax(i)));
    this.driverOk();
    return queues;
  }

  driverOk(): void {
    this.device.write(0x70, 4, this.device.read(0x70, 4) | STATUS.DRIVER_OK);
  }

  queueSizeMax(index: number): number {
    this.device.write(0x30, 4, index);
    return this.device.read(0x34, 4);
  }

  setUp(index: number, size: number): FakeQueue {
    const { device, memory } = this;
    const queue = new FakeQueue(this, index, size, this.#features);
    device.write(0x30, 4, index);
    assert.equal(device.read(0x44, 4), 0, 'the queue is in use');
    device.write(0x38, 4, size);
    const words = [
      [0x80, queue.table],
      [0x90, queue.available],
      [0xa0, queue.used],
    ] as const;
    for (const [at, gpa] of words) {
      device.write(at, 4, gpa >>> 0);
      device.write(at + 4, 4, Math.floor(gpa / 2 ** 32));
    }
    device.write(0x44, 4, 1);
    assert.equal(device.read(0x44, 4), 1, 'the device refused the queue');
    assert.equal(memory, this.memory);
    return queue;
  }

  status(): number {
    return this.device.read(0x70, 4);
  }

  /** Reads and acknowledges, as an interrupt handler does. */
  takeInterrupt(): number {
    const bits = this.device.read(0x60, 4);
    if (bits !== 0) this.device.write(0x64, 4, bits);
    return bits;
  }

  /** A buffer of the guest's with these bytes. */
  buffer(bytes: Uint8Array): Buffer {
    const gpa = this.memory.allocate(Math.max(1, bytes.length));
    this.memory.setBytes(gpa, bytes);
    return { gpa, sizeBytes: bytes.length };
  }

  room(sizeBytes: number): Buffer {
    return { gpa: this.memory.allocate(Math.max(1, sizeBytes)), sizeBytes };
  }
}

export class FakeQueue {
  readonly index: number;
  readonly size: number;
  readonly table: number;
  readonly available: number;
  readonly used: number;
  readonly #driver: FakeDriver;
  readonly #memory: FakeMemory;
  readonly #eventIndex: boolean;
  readonly #indirect: boolean;
  readonly #free: number[];
  readonly #held = new Map<number, number[]>();
  #added = 0;
  #kicked = 0;
  #seen = 0;

  constructor(driver: FakeDriver, index: number, size: number, features: ReadonlySet<number>) {
    this.#driver = driver;
    this.#memory = driver.memory;
    this.index = index;
    this.size = size;
    // Deliberately across frames where the alignment rules allow it.
    this.table = driver.memory.allocate(size * 16, 16);
    this.available = driver.memory.allocate(6 + size * 2, 2);
    this.used = driver.memory.allocate(6 + size * 8, 4);
    this.#eventIndex = features.has(VIRTIO_F_EVENT_IDX);
    this.#indirect = features.has(VIRTIO_F_INDIRECT_DESC);
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  /** Offers a chain without notifying; the head. `indirect` puts its descriptors into a table of their own. */
  add(readable: readonly Buffer[], writable: readonly Buffer[] = [], indirect = false): number {
    const parts = [...readable.map((b) => ({ ...b, flags: 0 })), ...writable.map((b) => ({ ...b, flags: 2 }))];
    const head = indirect ? this.#addIndirect(parts) : this.#addDirect(parts);
    this.offer(head);
    return head;
  }

  #addDirect(parts: readonly { gpa: number; sizeBytes: number; flags: number }[]): number {
    const indexes = parts.map(() => this.#take());
    parts.forEach((part, i) => {
      const next = indexes[i + 1];
      const flags = part.flags | (next === undefined ? 0 : 1);
      this.setDescriptor(indexes[i] as number, part.gpa, part.sizeBytes, flags, next ?? 0);
    });
    this.#held.set(indexes[0] as number, indexes);
    return indexes[0] as number;
  }

  #addIndirect(parts: readonly { gpa: number; sizeBytes: number; flags: number }[]): number {
    assert.ok(this.#indirect, 'indirect descriptors were not negotiated');
    const memory = this.#memory;
    const table = memory.allocate(parts.length * 16);
    parts.forEach((part, i) => {
      memory.setU64(table + i * 16, part.gpa);
      memory.setU32(table + i * 16 + 8, part.sizeBytes);
      memory.setU16(table + i * 16 + 12, part.flags | (i + 1 < parts.length ? 1 : 0));
      memory.setU16(table + i * 16 + 14, i + 1);
    });
    const head = this.#take();
    this.setDescriptor(head, table, parts.length * 16, 4, 0);
    this.#held.set(head, [head]);
    return head;
  }

  setDescriptor(index: number, gpa: number, sizeBytes: number, flags: number, next: number): void {
    const at = this.table + index * 16;
    this.#memory.setU64(at, gpa);
    this.#memory.setU32(at + 8, sizeBytes);
    this.#memory.setU16(at + 12, flags);
    this.#memory.setU16(at + 14, next);
  }

  /** Puts a head into the available ring. */
  offer(head: number): void {
    this.#memory.setU16(this.available + 4 + (this.#added % this.size) * 2, head);
    this.#added++;
    this.#memory.setU16(this.available + 2, this.#added & 0xffff);
  }

  /** Notifies if the device wants it; true when it did. */
  kick(): boolean {
    const before = this.#kicked;
    this.#kicked = this.#added;
    if (this.#added === before) return false;
    if (this.#eventIndex) {
      const event = this.#memory.u16(this.used + 4 + this.size * 8);
      if (((this.#added - event - 1) & 0xffff) >= ((this.#added - before) & 0xffff)) return false;
    } else if ((this.#memory.u16(this.used) & 1) !== 0) return false;
    this.#driver.device.write(0x50, 4, this.index);
    return true;
  }

  /** Notifies whether the device wants it or not. */
  forceKick(): void {
    this.#kicked = this.#added;
    this.#driver.device.write(0x50, 4, this.index);
  }

  /** Takes what the device has returned, frees the descriptors, and asks for the next interrupt. */
  take(): Used[] {
    const out: Used[] = [];
    for (; this.#seen !== this.#memory.u16(this.used + 2); this.#seen = (this.#seen + 1) & 0xffff) {
      const at = this.used + 4 + (this.#seen % this.size) * 8;
      const id = this.#memory.u32(at);
      const held = this.#held.get(id);
      assert.ok(held, `the device returned ${id}, which it did not have`);
      this.#held.delete(id);
      this.#free.push(...held);
      out.push({ id, writtenBytes: this.#memory.u32(at + 4) });
    }
    if (this.#eventIndex) this.#memory.setU16(this.available + 4 + this.size * 2, this.#seen);
    return out;
  }

  /** Asks for an interrupt only once `count` more buffers have been returned (event index). */
  wantInterruptAfter(count: number): void {
    this.#memory.setU16(this.available + 4 + this.size * 2, (this.#seen + count - 1) & 0xffff);
  }

  /** VIRTQ_AVAIL_F_NO_INTERRUPT. */
  setNoInterrupt(on: boolean): void {
    this.#memory.setU16(this.available, on ? 1 : 0);
  }

  #take(): number {
    const index = this.#free.pop();
    assert.ok(index !== undefined, 'the driver is out of descriptors');
    return index;
  }
}
