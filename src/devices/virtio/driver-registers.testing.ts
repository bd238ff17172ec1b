/**
 * A transport's registers as a driver reaches them: what Linux's `virtio_config_ops` are. The fake driver and the
 * fuzzer are written against this, so that they drive a device over any transport.
 */
import type { AccessBytes } from '../device.ts';

export interface QueueAddresses {
  readonly table: number;
  readonly available: number;
  readonly used: number;
}

export interface DriverRegisters {
  /** Offered features, 32 at a time. */
  offered(word: number): number;
  accept(word: number, bits: number): void;
  status(): number;
  setStatus(value: number): void;
  config(at: number, bytes: AccessBytes): number;
  setConfig(at: number, bytes: AccessBytes, value: number): void;
  generation(): number;
  /** 0: there is no such queue. */
  queueSizeMax(index: number): number;
  isReady(index: number): boolean;
  setSize(index: number, size: number): void;
  setAddresses(index: number, at: QueueAddresses): void;
  enable(index: number): void;
  notify(index: number): void;
  /** Reads and acknowledges, as an interrupt handler does: bits of INTERRUPT. */
  takeInterrupt(): number;
}

/** What is behind the registers of the virtio-mmio transport. */
export interface MmioWindow {
  read(offset: number, bytes: AccessBytes): number;
  write(offset: number, bytes: AccessBytes, value: number): void;
}

/** Section 4.2.2. */
export class MmioDriverRegisters implements DriverRegisters {
  readonly #window: MmioWindow;

  constructor(window: MmioWindow) {
    this.#window = window;
  }

  offered(word: number): number {
    this.#window.write(0x14, 4, word);
    return this.#window.read(0x10, 4);
  }

  accept(word: number, bits: number): void {
    this.#window.write(0x24, 4, word);
    this.#window.write(0x20, 4, bits);
  }

  status(): number {
    return this.#window.read(0x70, 4);
  }

  setStatus(value: number): void {
    this.#window.write(0x70, 4, value);
  }

  config(at: number, bytes: AccessBytes): number {
    return this.#window.read(0x100 + at, bytes);
  }

  setConfig(at: number, bytes: AccessBytes, value: number): void {
    this.#window.write(0x100 + at, bytes, value);
  }

  generation(): number {
    return this.#window.read(0xfc, 4);
  }

  queueSizeMax(index: number): number {
    this.#select(index);
    return this.#window.read(0x34, 4);
  }

  isReady(index: number): boolean {
    this.#select(index);
    return this.#window.read(0x44, 4) === 1;
  }

  setSize(index: number, size: number): void {
    this.#select(index);
    this.#window.write(0x38, 4, size);
  }

  setAddresses(index: number, { table, available, used }: QueueAddresses): void {
    this.#select(index);
    for (const [at, gpa] of [
      [0x80, table],
      [0x90, available],
      [0xa0, used],
    ] as const) {
      this.#window.write(at, 4, gpa >>> 0);
      this.#window.write(at + 4, 4, Math.floor(gpa / 2 ** 32));
    }
  }

  enable(index: number): void {
    this.#select(index);
    this.#window.write(0x44, 4, 1);
  }

  notify(index: number): void {
    this.#window.write(0x50, 4, index);
  }

  takeInterrupt(): number {
    const bits = this.#window.read(0x60, 4);
    if (bits !== 0) this.#window.write(0x64, 4, bits);
    return bits;
  }

  #select(index: number): void {
    this.#window.write(0x30, 4, index);
  }
}
