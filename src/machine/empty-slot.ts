/**
 * A virtio-mmio slot with nothing in it: the transport answers, its device ID is 0, and drivers leave it alone
 * (virtio 1.2, section 4.2.3.1.1). QEMU's `virt` has eight slots whether filled or not, and guests probe them all.
 */
import { struct, type View } from '../base/struct.ts';
import type { AccessBytes, Block, Device } from '../devices/index.ts';

const MAGIC = 0x7472_6976;
const VERSION = 2;

const layout = struct('empty-slot', {
  /** Writes, which have no effect. */
  unassignedWrites: 'u32',
});

export class EmptySlot implements Device {
  static readonly layout = layout;
  readonly name: string;
  readonly sizeBytes = 0x1000;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;

  constructor(name: string, block: Block) {
    this.name = name;
    this.state = layout.view(block.buffer, block.at);
  }

  reset(): void {
    this.state.unassignedWrites = 0;
  }

  read(offset: number, bytes: AccessBytes): number {
    if (bytes !== 4) return 0;
    return offset === 0 ? MAGIC : offset === 4 ? VERSION : 0;
  }

  write(): void {
    this.state.unassignedWrites++;
  }
}
