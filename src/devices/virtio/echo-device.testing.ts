/**
 * The simplest virtio device: what a chain's device-readable part says is written into its device-writable part.
 * It shows the transport and the queues without a device's own rules, to tests and to the fuzzer.
 */
import { struct, type View } from '../../base/struct.ts';
import { Chain } from './chain.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const fields = { ...virtioFields(2, 8), echoed: 'u32', ended: 'u32' } as const;
const layout = struct('virtio-echo', fields);

/** Chains of one service: small, so that tests meet the bound. */
export const ECHO_SERVICE_CHAINS = 32;
const CHAIN_BYTES_MAX = 1 << 16;

export class EchoDevice extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  readonly #chain: Chain | undefined;
  #queueSize = 0;
  readonly #scratch = new Uint8Array(CHAIN_BYTES_MAX);

  constructor(wiring: Wiring, io?: IoPorts, queueSize = 16) {
    super(42, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    if (io === undefined) return;
    this.#chain = new Chain(io.memory);
    this.#queueSize = queueSize;
    this.strap();
    this.setConfig(0, 8, 0x0102_0304_0506);
  }

  protected override strap(): void {
    this.offer([], [this.#queueSize, this.#queueSize]);
  }

  /** As a device whose host changes something. */
  changeConfig(value: number): void {
    this.setConfig(0, 8, value);
    this.configChanged();
  }

  protected override resetState(): void {
    this.state.echoed = 0;
  }

  protected override queueEnded(): void {
    this.state.ended++;
  }

  protected override serve(notified: number): void {
    for (let i = 0; i < 2; i++) if ((notified >>> i) & 1) this.#serveQueue(i);
  }

  #serveQueue(index: number): void {
    const queue = this.openQueue(index);
    const chain = this.#chain;
    if (queue === undefined || chain === undefined) return;
    queue.disarm();
    let chains = 0;
    do {
      while (chains < ECHO_SERVICE_CHAINS && queue.pop(chain)) {
        chains++;
        const bytes = this.#scratch.subarray(0, Math.min(chain.readableBytes, chain.writableBytes, CHAIN_BYTES_MAX));
        if (!chain.read(0, bytes) || !chain.write(0, bytes)) {
          this.violated('dma');
          return;
        }
        this.state.echoed++;
        queue.push(chain.head, bytes.length);
      }
      this.publish(queue);
      if (chains === ECHO_SERVICE_CHAINS) {
        this.serveAgain(1 << index);
        return;
      }
    } while (queue.arm());
  }
}
