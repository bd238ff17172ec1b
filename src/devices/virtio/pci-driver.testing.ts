/**
 * A function as a driver of the virtio over PCI transport has it (virtio 1.2, section 4.1): it walks the capabilities in
 * configuration space, as Linux's virtio_pci_modern does, and from there on knows where things lie.
 */
import assert from 'node:assert/strict';
import type { AccessBytes } from '../device.ts';
import type { PciFunction } from '../pci/index.ts';
import type { DriverRegisters, QueueAddresses } from './driver-registers.testing.ts';

/** cfg_type, section 4.1.4. */
export const CFG_TYPE = { common: 1, notify: 2, isr: 3, device: 4, access: 5 } as const;
const CAPABILITIES_AT = 0x34;
const VENDOR_SPECIFIC = 9;
const MSIX = 0x11;

interface Part {
  readonly bar: number;
  readonly offset: number;
  readonly length: number;
}

export class PciDriverRegisters implements DriverRegisters {
  readonly #function: () => PciFunction;
  #parts: Readonly<Record<number, Part>> | undefined;
  #multiplier = 0;

  /** Of the function that is plugged in when it is used. */
  constructor(func: () => PciFunction) {
    this.#function = func;
  }

  /** Capabilities of an ID, by their offsets. */
  static capabilities(func: PciFunction, id: number): number[] {
    const found: number[] = [];
    let left = 48;
    for (let at = func.read(CAPABILITIES_AT, 1); at !== 0; at = func.read(at + 1, 1)) {
      assert.ok(left-- > 0, 'the list of capabilities has no end');
      if (func.read(at, 1) === id) found.push(at);
    }
    return found;
  }

  /** What pci_enable_device and pci_set_master do. */
  enableFunction(): void {
    this.#function().write(0x04, 2, 6);
  }

  read(type: number, at: number, bytes: AccessBytes): number {
    const { bar, offset } = this.#part(type, at, bytes);
    return this.#function().readBar(this.#bar(bar), offset + at, bytes);
  }

  write(type: number, at: number, bytes: AccessBytes, value: number): void {
    const { bar, offset } = this.#part(type, at, bytes);
    this.#function().writeBar(this.#bar(bar), offset + at, bytes, value);
  }

  offered(word: number): number {
    this.write(CFG_TYPE.common, 0x00, 4, word);
    return this.read(CFG_TYPE.common, 0x04, 4);
  }

  accept(word: number, bits: number): void {
    this.write(CFG_TYPE.common, 0x08, 4, word);
    this.write(CFG_TYPE.common, 0x0c, 4, bits);
  }

  status(): number {
    return this.read(CFG_TYPE.common, 0x14, 1);
  }

  setStatus(value: number): void {
    this.write(CFG_TYPE.common, 0x14, 1, value);
  }

  config(at: number, bytes: AccessBytes): number {
    return this.read(CFG_TYPE.device, at, bytes);
  }

  setConfig(at: number, bytes: AccessBytes, value: number): void {
    this.write(CFG_TYPE.device, at, bytes, value);
  }

  generation(): number {
    return this.read(CFG_TYPE.common, 0x15, 1);
  }

  queueSizeMax(index: number): number {
    this.#select(index);
    return this.read(CFG_TYPE.common, 0x18, 2);
  }

  isReady(index: number): boolean {
    this.#select(index);
    return this.read(CFG_TYPE.common, 0x1c, 2) === 1;
  }

  setSize(index: number, size: number): void {
    this.#select(index);
    this.write(CFG_TYPE.common, 0x18, 2, size & 0xffff);
  }

  setAddresses(index: number, { table, available, used }: QueueAddresses): void {
    this.#select(index);
    for (const [at, gpa] of [
      [0x20, table],
      [0x28, available],
      [0x30, used],
    ] as const) {
      this.write(CFG_TYPE.common, at, 4, gpa >>> 0);
      this.write(CFG_TYPE.common, at + 4, 4, Math.floor(gpa / 2 ** 32));
    }
  }

  enable(index: number): void {
    this.#select(index);
    this.write(CFG_TYPE.common, 0x1c, 2, 1);
  }

  notify(index: number): void {
    this.#select(index);
    const at = this.read(CFG_TYPE.common, 0x1e, 2) * this.#multiplier;
    this.write(CFG_TYPE.notify, at, 2, index);
  }

  takeInterrupt(): number {
    return this.read(CFG_TYPE.isr, 0, 1);
  }

  /** queue_msix_vector; what the device made of it. */
  setQueueVector(index: number, vector: number): number {
    this.#select(index);
    this.write(CFG_TYPE.common, 0x1a, 2, vector);
    return this.read(CFG_TYPE.common, 0x1a, 2);
  }

  /** config_msix_vector. */
  setConfigVector(vector: number): number {
    this.write(CFG_TYPE.common, 0x10, 2, vector);
    return this.read(CFG_TYPE.common, 0x10, 2);
  }

  /** Enables MSI-X, with message n at 0x1000 + 4n with the data n for each of the first vectors. */
  enableMessages(vectors: number): void {
    const func = this.#function();
    const [at = 0] = PciDriverRegisters.capabilities(func, MSIX);
    func.write(at + 2, 2, 0xc000);
    const { bar, offset } = { bar: func.read(at + 4, 1) & 7, offset: func.read(at + 4, 4) & ~7 };
    for (let i = 0; i < vectors; i++) {
      for (const [word, value] of [0x1000 + 4 * i, 0, i, 0].entries())
        func.writeBar(this.#bar(bar), offset + 16 * i + 4 * word, 4, value);
    }
    func.write(at + 2, 2, 0x8000);
  }

  #select(index: number): void {
    this.write(CFG_TYPE.common, 0x16, 2, index);
  }

  #bar(index: number) {
    const bar = this.#function().description.bars.find((one) => one.index === index);
    assert.ok(bar, `there is no BAR${index}`);
    return bar;
  }

  #part(type: number, at: number, bytes: number): Part {
    this.#parts ??= this.#find();
    const part = this.#parts[type];
    assert.ok(part && at + bytes <= part.length, `the device has no part ${type} of ${at + bytes} bytes`);
    return part;
  }

  #find(): Readonly<Record<number, Part>> {
    const func = this.#function();
    const parts: Record<number, Part> = {};
    for (const at of PciDriverRegisters.capabilities(func, VENDOR_SPECIFIC)) {
      const type = func.read(at + 3, 1);
      parts[type] = { bar: func.read(at + 4, 1), offset: func.read(at + 8, 4), length: func.read(at + 12, 4) };
      if (type === CFG_TYPE.notify) this.#multiplier = func.read(at + 16, 4);
    }
    return parts;
  }
}
