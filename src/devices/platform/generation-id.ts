/**
 * The guest's generation: 16 bytes that are others whenever this guest may be one of several that went out from the same
 * state (restored from a snapshot). A guest whose kernel knows `microsoft,vmgenid` (Linux, drivers/virt/vmgenid.c) mixes
 * it into its random numbers at once when the interrupt comes, before any program of the guest draws one.
 *
 * Deviation: QEMU's `virt` has it on other architectures, through ACPI; the binding in the device tree is Linux's.
 */
import { array, struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, InterruptLine } from '../device.ts';
import { accessCounters, RegisterTable } from '../registers.ts';

export const GENERATION_BYTES = 16;
const WORDS = GENERATION_BYTES / 4;

const layout = struct('generation-id', {
  ...accessCounters,
  id: array('u32', WORDS),
});

export class GenerationId implements Device {
  static readonly layout = layout;
  static readonly registers = new RegisterTable<GenerationId>([
    {
      at: 0,
      bytes: 4,
      name: 'GENERATION',
      array: { count: WORDS, strideBytes: 4 },
      read: (device, index) => device.state.id[index] ?? 0,
      does: 'the generation, 16 bytes; an interrupt says that it is another',
    },
  ]);

  readonly name: string;
  readonly sizeBytes = 0x1000;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;
  readonly #line: InterruptLine;

  constructor(name: string, block: Block, line: InterruptLine) {
    this.name = name;
    this.state = layout.view(block.buffer, block.at);
    this.#line = line;
  }

  /** A guest that starts anew keeps its generation. */
  reset(): void {
    this.state.unassignedReads = this.state.unassignedWrites = 0;
  }

  read(offset: number, bytes: AccessBytes): number {
    return GenerationId.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    GenerationId.registers.write(this, offset, bytes, value);
  }

  /** Another generation, GENERATION_BYTES that no other machine has; `tells` the guest by an interrupt. */
  renew(id: Uint8Array, options: { readonly tells: boolean }): void {
    const data = new DataView(id.buffer, id.byteOffset, GENERATION_BYTES);
    for (let i = 0; i < WORDS; i++) this.state.id[i] = data.getUint32(i * 4, true);
    if (!options.tells) return;
    // An edge: the interrupt controller keeps the request.
    this.#line.set(true);
    this.#line.set(false);
  }
}
