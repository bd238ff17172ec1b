/**
 * The virtio-mmio transport, version 2 (virtio 1.2, section 4.2): a page of registers (mmio-registers.ts) with the
 * device's configuration behind them, and one level-triggered line, high while a bit of InterruptStatus is set.
 *
 * QueueNotify, InterruptStatus and InterruptACK touch single words atomically and need no lock: see `isPosted`.
 */
import { struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, InterruptLine } from '../device.ts';
import { accessCounters } from '../registers.ts';
import { CONFIG_AT, type MmioModel, mmioRegisters } from './mmio-registers.ts';
import { INTERRUPT } from './spec.ts';
import type { VirtioState } from './state.ts';
import type { VirtioTransport } from './transport.ts';
import type { VirtioDevice } from './virtio-device.ts';

/** Registers whose accesses need no lock. */
const QUEUE_NOTIFY = 0x50;
const INTERRUPT_STATUS = 0x60;
const INTERRUPT_ACK = 0x64;

const layout = struct('virtio-mmio', {
  ...accessCounters,
  deviceFeaturesSel: 'u32',
  driverFeaturesSel: 'u32',
  queueSel: 'u32',
  interruptStatus: 'u32',
  interrupts: 'u32',
});

/** Where a transport lies. */
export interface MmioPlace {
  readonly name: string;
  readonly block: Block;
  readonly irq: InterruptLine;
}

export class MmioTransport implements Device, VirtioTransport, MmioModel {
  static readonly layout = layout;
  readonly name: string;
  readonly sizeBytes = 0x1000;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;
  readonly features = [];
  readonly device: VirtioDevice<VirtioState>;
  readonly #words: Int32Array;
  readonly #interruptStatusAt: number;
  readonly #irq: InterruptLine;

  constructor(device: VirtioDevice<VirtioState>, { name, block, irq }: MmioPlace) {
    this.device = device;
    this.name = name;
    this.state = layout.view(block.buffer, block.at);
    this.#words = new Int32Array(block.buffer);
    this.#interruptStatusAt = (block.at + layout.offset.interruptStatus) / 4;
    this.#irq = irq;
    device.attach(this);
  }

  /** Of the transport alone: its device is reset besides. */
  reset(): void {
    const { state } = this;
    for (const name of Object.keys(layout.fields) as (keyof typeof layout.fields)[]) state[name] = 0;
    this.#updateLine();
  }

  read(offset: number, bytes: AccessBytes): number {
    if (offset >= CONFIG_AT) return this.device.readConfig(offset - CONFIG_AT, bytes);
    return mmioRegisters.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    if (offset < CONFIG_AT) mmioRegisters.write(this, offset, bytes, value);
    else this.count(this.device.writeConfig(offset - CONFIG_AT, bytes, value));
  }

  /**
   * Notifications and acknowledgements come with every batch, while the I/O thread serves queues with the lock held
   * for long (the vCPU waited 60 microseconds for each; measured).
   */
  isPosted(offset: number): boolean {
    return offset === QUEUE_NOTIFY || offset === INTERRUPT_STATUS || offset === INTERRUPT_ACK;
  }

  configChanged(): void {
    this.#raise(INTERRUPT.CONFIG_CHANGE);
  }

  queueUsed(): void {
    this.#raise(INTERRUPT.USED_BUFFER);
  }

  queueReset(): void {}

  deviceReset(): void {
    Atomics.store(this.#words, this.#interruptStatusAt, 0);
    this.#updateLine();
  }

  drive(): void {
    this.#updateLine();
  }

  // For the rows (mmio-registers.ts).

  /** Counts a write that made no sense. */
  count(taken: boolean): void {
    if (!taken) this.state.unassignedWrites++;
  }

  acknowledge(bits: number): void {
    Atomics.and(this.#words, this.#interruptStatusAt, ~bits);
    this.#updateLine();
  }

  #raise(bits: number): void {
    Atomics.or(this.#words, this.#interruptStatusAt, bits);
    this.state.interrupts++;
    this.#updateLine();
  }

  #updateLine(): void {
    // Without the lock (see isPosted) somebody may change the status in between: whoever comes last sees it.
    let status: number;
    do {
      status = Atomics.load(this.#words, this.#interruptStatusAt);
      this.#irq.set(status !== 0);
    } while (status !== Atomics.load(this.#words, this.#interruptStatusAt));
  }
}
