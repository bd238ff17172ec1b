/**
 * A virtio driver for tests, benchmarks and fuzzers: it does what Linux's virtio_ring and a transport's driver do, over
 * a device's registers and the fake memory, and lets a test do what they never would.
 */
import assert from 'node:assert/strict';
import type { DriverRegisters } from './driver-registers.testing.ts';
import type { FakeMemory } from './fake-memory.testing.ts';
import { STATUS, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from './spec.ts';

export interface Buffer {
  readonly gpa: number;
  readonly sizeBytes: number;
}

export interface Used {
  readonly id: number;
  readonly writtenBytes: number;
}

export class FakeDriver {
  readonly registers: DriverRegisters;
  readonly memory: FakeMemory;
  #features = new Set<number>();

  /** As of a test bench (bench.testing.ts). */
  constructor({ registers, memory }: { readonly registers: DriverRegisters; readonly memory: FakeMemory }) {
    this.registers = registers;
    this.memory = memory;
  }

  /** The device's features, both words. */
  offered(): Set<number> {
    const bits = new Set<number>();
    for (let word = 0; word < 2; word++) {
      const value = this.registers.offered(word);
      for (let bit = 0; bit < 32; bit++) if ((value >>> bit) & 1) bits.add(word * 32 + bit);
    }
    return bits;
  }

  /** Steps 1 to 6 of section 3.1.1, accepting `features` and VERSION_1; true when FEATURES_OK stayed set. */
  negotiate(features: Iterable<number>): boolean {
    const { registers } = this;
    registers.setStatus(0);
    registers.setStatus(STATUS.ACKNOWLEDGE);
    registers.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    this.#features = new Set([...features, VIRTIO_F_VERSION_1]);
    for (let word = 0; word < 2; word++) {
      let value = 0;
      for (const bit of this.#features) if (bit >> 5 === word) value |= 1 << (bit & 31);
      registers.accept(word, value >>> 0);
    }
    registers.setStatus(registers.status() | STATUS.FEATURES_OK);
    return (registers.status() & STATUS.FEATURES_OK) !== 0;
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
    this.registers.setStatus(this.registers.status() | STATUS.DRIVER_OK);
  }

  queueSizeMax(index: number): number {
    return this.registers.queueSizeMax(index);
  }

  setUp(index: number, size: number): FakeQueue {
    const { registers } = this;
    const queue = new FakeQueue(this, index, size, this.#features);
    assert.ok(!registers.isReady(index), 'the queue is in use');
    registers.setSize(index, size);
    registers.setAddresses(index, queue);
    registers.enable(index);
    assert.ok(registers.isReady(index), 'the device refused the queue');
    return queue;
  }

  status(): number {
    return this.registers.status();
  }

  /** Reads the device's configuration. */
  config(at: number, bytes: 1 | 2 | 4): number {
    return this.registers.config(at, bytes);
  }

  /** Reads and acknowledges, as an interrupt handler does. */
  takeInterrupt(): number {
    return this.registers.takeInterrupt();
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
    this.#driver.registers.notify(this.index);
    return true;
  }

  /** Notifies whether the device wants it or not. */
  forceKick(): void {
    this.#kicked = this.#added;
    this.#driver.registers.notify(this.index);
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
