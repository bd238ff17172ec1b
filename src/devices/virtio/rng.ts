/**
 * The entropy device (virtio 1.2, section 5.4): one queue of device-writable buffers that are filled from a source.
 * Its rate is bounded, for a guest can ask without end: a bucket holds up to a second's worth of bytes; when it is
 * empty, requests stay in the queue and an alarm brings the device back. A buffer may be filled in part; drivers
 * look at the used length (section 5.4.6.1).
 */
import { struct, type View } from '../../base/struct.ts';
import type { DeviceClock } from '../device.ts';
import { Chain } from './chain.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_RNG = 4;
const QUEUE_SIZE = 64;
/** A chain is filled up to here; Linux asks for 64 bytes or fewer at a time. */
const CHAIN_BYTES_MAX = 4096;
/** Chains of one service. */
const SERVICE_CHAINS_MAX = 256;

const fields = {
  ...virtioFields(1, 0),
  /** Bytes that may be given out now, and the clock's time when that was computed. */
  bucketBytes: 'u32',
  everFilled: 'u32',
  filledAtTicks: 'u64',
} as const;
const layout = struct('virtio-rng', fields);

export interface EntropySource {
  /** Fills all of `into`; it is ordinary memory, not shared. */
  fill(into: Uint8Array): void;
}

export interface RngIo extends IoPorts {
  readonly source: EntropySource;
  readonly clock: DeviceClock;
  /** Of `clock.ticks`. */
  readonly ticksPerSecond: number;
  /** Rings this device's doorbell once `ticks` have passed. */
  ringAfter(ticks: number): void;
  /** Default 1 MiB. */
  readonly bytesPerSecond?: number;
}

export class VirtioRng extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  readonly #io: RngIo | undefined;
  readonly #chain: Chain | undefined;
  readonly #scratch = new Uint8Array(CHAIN_BYTES_MAX);

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: RngIo) {
    super(VIRTIO_ID_RNG, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
    if (io === undefined) return;
    this.#chain = new Chain(io.memory);
    this.strap();
  }

  protected override strap(): void {
    this.offer([], [QUEUE_SIZE]);
  }

  override reset(): void {
    super.reset();
    this.state.bucketBytes = 0;
    this.state.everFilled = 0;
    this.state.filledAtTicks = 0n;
  }

  protected override serve(): void {
    const io = this.#io;
    const chain = this.#chain;
    const queue = this.openQueue(0);
    if (io === undefined || chain === undefined || queue === undefined) return;
    const { state } = this;
    this.#fillBucket(io);
    let chains = 0;
    do {
      while (state.bucketBytes > 0 && chains < SERVICE_CHAINS_MAX && queue.pop(chain)) {
        chains++;
        const bytes = this.#scratch.subarray(0, Math.min(chain.writableBytes, CHAIN_BYTES_MAX, state.bucketBytes));
        if (bytes.length === 0) {
          this.violated('chain-format');
          return;
        }
        io.source.fill(bytes);
        if (!chain.write(0, bytes)) {
          this.violated('dma');
          return;
        }
        state.bucketBytes -= bytes.length;
        queue.push(chain.head, bytes.length);
      }
      this.publish(queue);
      if (state.bucketBytes === 0) {
        // Notifications are worth nothing while the bucket is empty; the alarm comes in any case.
        this.keepNotified(1);
        io.ringAfter(Math.ceil(io.ticksPerSecond / 100));
        return;
      }
      if (chains >= SERVICE_CHAINS_MAX) {
        this.serveAgain(1);
        return;
      }
    } while (queue.arm());
  }

  #fillBucket(io: RngIo): void {
    const { state } = this;
    const bytesPerSecond = io.bytesPerSecond ?? 1 << 20;
    const now = io.clock.ticks();
    const passed = now - state.filledAtTicks;
    if (state.everFilled === 0 || passed < 0n || passed >= BigInt(io.ticksPerSecond)) {
      state.bucketBytes = bytesPerSecond;
    } else {
      const earned = Math.floor((Number(passed) * bytesPerSecond) / io.ticksPerSecond);
      // Less than a byte's time is kept for the next look.
      if (earned === 0) return;
      state.bucketBytes = Math.min(bytesPerSecond, state.bucketBytes + earned);
    }
    state.everFilled = 1;
    state.filledAtTicks = now;
  }
}
