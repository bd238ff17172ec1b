/**
 * A disk as a machine has it where processors' threads do requests at once: the driver meets the instance that does, the
 * other one over the same block is the I/O thread's. Rings and completions are as of a Bench.
 */
import { type BlockAtOnce, type BlockIo, VirtioBlock } from './block.ts';
import type { VirtioTransport } from './transport.ts';
import type { Wiring } from './virtio-device.ts';

export class TwoThreadBlock extends VirtioBlock {
  readonly io: VirtioBlock;

  constructor(wiring: Wiring, atOnce: BlockAtOnce, io: BlockIo) {
    super(wiring, atOnce);
    this.io = new VirtioBlock(wiring, io);
  }

  override attach(transport: VirtioTransport): void {
    super.attach(transport);
    this.io.attach(transport);
  }

  override service(): void {
    this.io.service();
  }

  override resume(): void {
    this.io.resume();
  }
}
