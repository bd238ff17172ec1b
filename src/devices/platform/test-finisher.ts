/**
 * SiFive's test finisher (`sifive,test1`): how a guest of `virt` ends its machine. One register; the low 16 bits
 * name the wish, the high 16 bits carry a failure's code. Linux reaches it through syscon-poweroff and
 * syscon-reboot, OpenSBI directly (with 16-bit writes).
 */
import { struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Device } from '../device.ts';
import { accessCounters, RegisterTable } from '../registers.ts';

/** The values that the device tree's poweroff and reboot nodes name. */
export const FINISH = { FAIL: 0x3333, PASS: 0x5555, RESET: 0x7777 } as const;

/** What the guest asked for. A machine exits with 0 after `poweroff`, with `code` (1 to 65535) after `failure`. */
export type Finish =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'failure'; readonly code: number }
  | { readonly kind: 'reset' };

/** Told once for each wish; the machine acts on it outside the device's lock. */
export interface FinishPort {
  finish(wish: Finish): void;
}

const layout = struct('test-finisher', {
  ...accessCounters,
  /** Writes that name no wish: ignored. */
  unknownWishes: 'u32',
});

export class TestFinisher implements Device {
  static readonly layout = layout;
  static readonly registers = new RegisterTable<TestFinisher>([
    {
      at: 0,
      bytes: 4,
      alsoAs: [2],
      name: 'FINISH',
      read: () => 0,
      write: (finisher, value) => finisher.#finish(value),
      reset: 0,
      does: '0x5555 powers off, 0x3333 fails with the code in bits 31:16, 0x7777 resets',
    },
  ]);

  readonly name: string;
  readonly sizeBytes = 0x1000;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;
  readonly #port: FinishPort;

  constructor(name: string, block: Block, port: FinishPort) {
    this.name = name;
    this.state = layout.view(block.buffer, block.at);
    this.#port = port;
  }

  reset(): void {
    this.state.unassignedReads = this.state.unassignedWrites = this.state.unknownWishes = 0;
  }

  read(offset: number, bytes: AccessBytes): number {
    return TestFinisher.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    TestFinisher.registers.write(this, offset, bytes, value);
  }

  /** Nothing to drive: wishes are events. Here so that every platform device can be treated alike. */
  drive(): void {}

  #finish(value: number): void {
    const code = value >>> 16;
    switch (value & 0xffff) {
      case FINISH.PASS:
        this.#port.finish({ kind: 'poweroff' });
        break;
      case FINISH.FAIL:
        // A failure never looks like success, whatever code the guest gave.
        this.#port.finish({ kind: 'failure', code: code === 0 ? 1 : code });
        break;
      case FINISH.RESET:
        this.#port.finish({ kind: 'reset' });
        break;
      default:
        this.state.unknownWishes++;
    }
  }
}
