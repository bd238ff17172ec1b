/**
 * A device's surroundings: memory, blocks, a transport with its interrupt line, doorbell, and a hand-cranked schedule
 * for completions. A device that takes another's place over the same block (another thread's instance, one that was
 * restored) is plugged in like the first.
 */
import type { AnyLayout } from '../../base/struct.ts';
import type { Block } from '../device.ts';
import { type DriverRegisters, MmioDriverRegisters } from './driver-registers.testing.ts';
import { FakeMemory, type FakeMemoryOptions } from './fake-memory.testing.ts';
import { MmioTransport } from './mmio-transport.ts';
import type { VirtioState } from './state.ts';
import type { IoPorts, VirtioDevice, Wiring } from './virtio-device.ts';

export type AnyVirtioDevice = VirtioDevice<VirtioState>;

export type TransportKind = 'mmio';
export interface BenchOptions extends FakeMemoryOptions {
  /** Default mmio. */
  readonly transport?: TransportKind;
}

export class Bench {
  readonly memory: FakeMemory;
  readonly scheduled: (() => void)[] = [];
  readonly block: Block;
  /** Of the device that was plugged in last. */
  readonly registers: DriverRegisters;
  line = false;
  /** Told of every rise of the interrupt line, as a processor is. */
  onInterrupt: () => void = () => {};
  rings = 0;
  #transport: MmioTransport | undefined;
  readonly #transportBlock: Block;
  #served = 0;

  constructor(layout: AnyLayout, options: BenchOptions = {}) {
    this.memory = new FakeMemory(options);
    this.block = { buffer: new SharedArrayBuffer(layout.sizeBytes + 64), at: 64 };
    this.#transportBlock = { buffer: new SharedArrayBuffer(MmioTransport.layout.sizeBytes), at: 0 };
    this.registers = new MmioDriverRegisters({
      read: (offset, bytes) => this.transport.read(offset, bytes),
      write: (offset, bytes, value) => this.transport.write(offset, bytes, value),
    });
  }

  /** The transport of the device that was plugged in last. */
  get transport(): MmioTransport {
    if (this.#transport === undefined) throw new Error('no device is plugged in');
    return this.#transport;
  }

  get wiring(): Wiring {
    return { name: 'virtio0', block: this.block, doorbell: { ring: () => void this.rings++ } };
  }

  get io(): IoPorts {
    return { memory: this.memory, schedule: (complete) => this.scheduled.push(complete) };
  }

  /** Gives the device a transport; from now on the registers are this one's. */
  plug<D extends AnyVirtioDevice>(device: D): D {
    this.#transport = new MmioTransport(device, {
      name: 'virtio_mmio@10001000',
      block: this.#transportBlock,
      irq: {
        set: (level) => {
          this.line = level;
          if (level) this.onInterrupt();
        },
      },
    });
    return device;
  }

  /** Plugged in, if it is not yet, and at power-on. */
  start<D extends AnyVirtioDevice>(device: D): D {
    if (this.#transport?.device !== device) this.plug(device);
    this.transport.reset();
    device.reset();
    return device;
  }

  /** Both blocks as a process finds them that restores. */
  scrub(): void {
    for (const { buffer } of [this.block, this.#transportBlock]) new Uint8Array(buffer).fill(0xff);
  }

  /** Services while the doorbell rings, at most `bound` times; true when it then was silent. */
  serve(device: { service(): void }, bound = 10_000): boolean {
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
  async settle(device: { service(): void }): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.scheduled.length > 0 || this.#served !== this.rings) quiet = -1;
      this.complete();
      this.serve(device);
    }
  }
}
