/**
 * A device's surroundings: memory, blocks, a transport with its interrupts, doorbell, and a hand-cranked schedule for
 * completions. A device that takes another's place over the same block (another thread's instance, one that was
 * restored) is plugged in like the first.
 */
import assert from 'node:assert/strict';
import { SharedLock } from '../../base/lock.ts';
import { type AnyLayout, roundUp } from '../../base/struct.ts';
import type { Block, GuestMemory, Model } from '../device.ts';
import { functionLayout, type InterruptTransaction, requesterId } from '../pci/index.ts';
import { type DriverRegisters, MmioDriverRegisters } from './driver-registers.testing.ts';
import { FakeMemory, type FakeMemoryOptions } from './fake-memory.testing.ts';
import { MmioTransport } from './mmio-transport.ts';
import { PciDriverRegisters } from './pci-driver.testing.ts';
import { PciTransport } from './pci-transport.ts';
import type { VirtioState } from './state.ts';
import type { IoPorts, VirtioDevice, Wiring } from './virtio-device.ts';

export type AnyVirtioDevice = VirtioDevice<VirtioState>;
export const TRANSPORTS = ['mmio', 'pci'] as const;
export type TransportKind = (typeof TRANSPORTS)[number];

export interface BenchOptions extends FakeMemoryOptions {
  /** Default mmio. */
  readonly transport?: TransportKind;
  /** Of MSI-X. Default 4. */
  readonly vectors?: number;
}

export class Bench {
  readonly memory: FakeMemory;
  readonly scheduled: (() => void)[] = [];
  readonly block: Block;
  /** Of the device that was plugged in last. */
  readonly registers: DriverRegisters;
  /** The interrupt line, or INTx. */
  line = false;
  /** Data of the messages so far, and how many others went elsewhere than `PciDriverRegisters.enableMessages` says. */
  readonly messages: number[] = [];
  strayMessages = 0;
  /** Told of every rise of the interrupt line, as a processor is. */
  onInterrupt: () => void = () => {};
  rings = 0;
  readonly #kind: TransportKind;
  readonly #vectors: number;
  #transport: MmioTransport | PciTransport | undefined;
  readonly #transportBlock: Block;
  readonly #functionBlock: Block;
  #served = 0;

  constructor(layout: AnyLayout, options: BenchOptions = {}) {
    this.memory = new FakeMemory(options);
    this.#kind = options.transport ?? 'mmio';
    this.#vectors = options.vectors ?? 4;
    const block = (sizeBytes: number): Block => ({
      buffer: new SharedArrayBuffer(roundUp(sizeBytes, 64) + 64),
      at: 64,
    });
    this.block = block(layout.sizeBytes);
    this.#transportBlock = block(Math.max(MmioTransport.layout.sizeBytes, PciTransport.layout.sizeBytes));
    this.#functionBlock = block(functionLayout(this.#vectors).sizeBytes);
    this.registers =
      this.#kind === 'pci'
        ? new PciDriverRegisters(() => this.pci.function)
        : new MmioDriverRegisters({
            read: (offset, bytes) => this.mmio.read(offset, bytes),
            write: (offset, bytes, value) => this.mmio.write(offset, bytes, value),
          });
  }

  /** The transport of the device that was plugged in last. */
  get transport(): MmioTransport | PciTransport {
    if (this.#transport === undefined) throw new Error('no device is plugged in');
    return this.#transport;
  }

  get mmio(): MmioTransport {
    if (this.transport instanceof MmioTransport) return this.transport;
    throw new Error('the device has another transport');
  }

  get pci(): PciTransport {
    if (this.transport instanceof PciTransport) return this.transport;
    throw new Error('the device has another transport');
  }

  /** What is saved and restored. */
  get models(): Model[] {
    const { transport } = this;
    return [transport.device, transport, ...(transport instanceof PciTransport ? [transport.function] : [])];
  }

  get wiring(): Wiring {
    return { name: 'virtio0', block: this.block, doorbell: { ring: () => void this.rings++ } };
  }

  /** Guest memory as the transport lets the device have it. */
  reach(memory: GuestMemory): GuestMemory {
    if (this.#kind === 'mmio') return memory;
    return {
      read: (gpa, into) => this.pci.function.memory(memory).read(gpa, into),
      write: (gpa, from) => this.pci.function.memory(memory).write(gpa, from),
      spans: (gpa, sizeBytes, access) => this.pci.function.memory(memory).spans(gpa, sizeBytes, access),
    };
  }

  get io(): IoPorts {
    return { memory: this.reach(this.memory), schedule: (complete) => this.scheduled.push(complete) };
  }

  /** Gives the device a transport; from now on the registers are this one's. */
  plug<D extends AnyVirtioDevice>(device: D): D {
    this.#transport = this.#kind === 'pci' ? this.#pciTransport(device) : this.#mmioTransport(device);
    return device;
  }

  /** Plugged in, if it is not yet, at power-on, and, where that is to be done, found by firmware. */
  start<D extends AnyVirtioDevice>(device: D): D {
    if (this.#transport?.device !== device) this.plug(device);
    for (const model of this.models) model.reset();
    this.line = false;
    if (this.registers instanceof PciDriverRegisters) this.registers.enableFunction();
    return device;
  }

  /** The blocks as a process finds them that restores. */
  scrub(): void {
    const blocks = [this.block, this.#transportBlock, this.#functionBlock];
    for (const { buffer } of blocks) new Uint8Array(buffer).fill(0xff);
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

  #mmioTransport(device: AnyVirtioDevice): MmioTransport {
    return new MmioTransport(device, {
      name: 'virtio_mmio@10001000',
      block: this.#transportBlock,
      irq: { set: (level) => this.#setLine(level) },
    });
  }

  #pciTransport(device: AnyVirtioDevice): PciTransport {
    return new PciTransport(device, {
      name: 'virtio-pci@01:00.0/virtio',
      block: this.#transportBlock,
      vectors: this.#vectors,
      function: {
        name: 'virtio-pci@01:00.0',
        block: this.#functionBlock,
        lock: new SharedLock(new Int32Array(new SharedArrayBuffer(4)), 0),
        requester: requesterId(1, 0, 0),
        isMultiFunction: false,
        epoch: { advance: () => undefined },
        port: { send: (transaction) => this.#receive(transaction) },
      },
    });
  }

  #receive({ kind, address, data }: InterruptTransaction): void {
    if (kind === 'message') {
      if (address === 0x1000 + 4 * data) this.messages.push(data);
      else this.strayMessages++;
      return;
    }
    assert.notEqual(kind === 'assert', this.line, 'INTx is asserted and deasserted in turns');
    this.#setLine(kind === 'assert');
  }

  #setLine(level: boolean): void {
    this.line = level;
    if (level) this.onInterrupt();
  }
}
