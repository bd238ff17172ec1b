/**
 * The virtio over PCI transport (virtio 1.2, section 4.1): a PciFunction whose BAR 4 shows the device (pci-registers.ts
 * and the parts that pci-capabilities.ts names), and which interrupts for it.
 *
 *     MSI-X enabled    a message of the vector that the driver gave the queue, or configuration changes
 *     otherwise        a bit of the ISR status, and INTx while one is set; reading it clears it (section 4.1.4.5)
 *
 * Notifications and the ISR status touch single words atomically and need no lock. The function, the transport and the
 * device are of one lock. A reset of the function is a reset by the driver to the device behind it.
 */
import { assert, must } from '../../base/assert.ts';
import { array, struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Model } from '../device.ts';
import { type BarRegion, type FunctionDescription, type FunctionWiring, PciFunction } from '../pci/index.ts';
import { accessCounters } from '../registers.ts';
import {
  MSIX_BAR,
  NOTIFY_BYTES,
  PART,
  PART_BYTES,
  VECTORS_MAX,
  VIRTIO_BAR,
  VIRTIO_BAR_BYTES,
  virtioCapabilities,
} from './pci-capabilities.ts';
import { virtioIdentity, virtioKind } from './pci-identity.ts';
import { NO_VECTOR, type PciModel, pciRegisters } from './pci-registers.ts';
import { INTERRUPT, VIRTIO_F_RING_RESET } from './spec.ts';
import type { VirtioState } from './state.ts';
import type { VirtioTransport } from './transport.ts';
import type { VirtioDevice } from './virtio-device.ts';

/** Most queues of a device. */
const QUEUES_MAX = 32;

const layout = struct('virtio-pci', {
  ...accessCounters,
  deviceFeatureSelect: 'u32',
  driverFeatureSelect: 'u32',
  queueSelect: 'u32',
  isr: 'u32',
  configVector: 'u32',
  /** By queue. */
  vectors: array('u16', QUEUES_MAX),
  interrupts: 'u32',
});

/** Where a transport lies, and what its function is wired to. */
export interface PciPlace {
  /** Unique in its machine, and not the function's: `virtio-net-pci@01:00.0/virtio`. */
  readonly name: string;
  readonly block: Block;
  /** MSI-X vectors, 1 to VECTORS_MAX: of `virtioKind`, and the same on every thread. */
  readonly vectors: number;
  /** The function's own, its block of `functionLayout(vectors)`. */
  readonly function: FunctionWiring;
}

export class PciTransport implements Model, VirtioTransport, PciModel {
  static readonly layout = layout;
  readonly name: string;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;
  readonly features = [VIRTIO_F_RING_RESET];
  readonly device: VirtioDevice<VirtioState>;
  readonly function: PciFunction;
  readonly #vectors: number;
  readonly #words: Int32Array;
  readonly #isrAt: number;

  constructor(device: VirtioDevice<VirtioState>, place: PciPlace) {
    const { block, vectors } = place;
    assert(vectors >= 1 && vectors <= VECTORS_MAX, `${place.name}: ${vectors} vectors`);
    assert(device.state.queues.length <= QUEUES_MAX, `${place.name}: too many queues`);
    this.device = device;
    this.name = place.name;
    this.state = layout.view(block.buffer, block.at);
    this.#vectors = vectors;
    this.#words = new Int32Array(block.buffer);
    this.#isrAt = (block.at + layout.offset.isr) / 4;
    this.function = new PciFunction(this.#describe(), place.function);
    device.attach(this);
  }

  /** Of the transport alone: its device and its function are reset besides. */
  reset(): void {
    const { state } = this;
    state.unassignedReads = state.unassignedWrites = 0;
    state.interrupts = 0;
    this.#forget();
  }

  configChanged(): void {
    this.#interrupt(INTERRUPT.CONFIG_CHANGE, this.state.configVector);
  }

  queueUsed(index: number): void {
    this.#interrupt(INTERRUPT.USED_BUFFER, must(this.state.vectors[index]));
  }

  queueReset(index: number): void {
    this.state.vectors[index] = NO_VECTOR;
  }

  deviceReset(): void {
    this.state.configVector = NO_VECTOR;
    Atomics.store(this.#words, this.#isrAt, 0);
    this.#updatePin();
  }

  drive(): void {
    this.#updatePin();
  }

  // For the rows (pci-registers.ts).

  /** Counts a write that made no sense. */
  count(taken: boolean): void {
    if (!taken) this.state.unassignedWrites++;
  }

  vectorOf(wanted: number): number {
    return wanted < this.#vectors ? wanted : NO_VECTOR;
  }

  /** What the driver had set and the device's own reset does not cover. */
  #forget(): void {
    const { state } = this;
    state.deviceFeatureSelect = state.driverFeatureSelect = state.queueSelect = 0;
    state.vectors.fill(NO_VECTOR);
    this.deviceReset();
  }

  #interrupt(bit: number, vector: number): void {
    this.state.interrupts++;
    if (this.function.interruptMode !== 'intx') {
      if (vector !== NO_VECTOR) this.function.raise(vector);
      return;
    }
    Atomics.or(this.#words, this.#isrAt, bit);
    this.#updatePin();
  }

  #updatePin(): void {
    // Without the lock somebody may change the bits in between: whoever comes last sees them.
    let bits: number;
    do {
      bits = Atomics.load(this.#words, this.#isrAt);
      this.function.setInterrupt(bits !== 0);
    } while (bits !== Atomics.load(this.#words, this.#isrAt));
  }

  #readIsr(): number {
    const bits = Atomics.exchange(this.#words, this.#isrAt, 0);
    if (bits !== 0) this.#updatePin();
    return bits;
  }

  #read(offset: number, bytes: AccessBytes): number {
    const at = offset % PART_BYTES;
    switch (offset - at) {
      case PART.common:
        return pciRegisters.read(this, at, bytes);
      case PART.isr:
        return at === 0 ? this.#readIsr() : 0;
      case PART.device:
        return this.device.readConfig(at, bytes);
      default:
        return 0;
    }
  }

  #write(offset: number, bytes: AccessBytes, value: number): void {
    const at = offset % PART_BYTES;
    switch (offset - at) {
      case PART.common:
        pciRegisters.write(this, at, bytes, value);
        break;
      case PART.device:
        this.count(this.device.writeConfig(at, bytes, value));
        break;
      case PART.notify:
        // The place says which queue it is; what is written says so once more.
        this.count(at % NOTIFY_BYTES === 0 && this.device.notify(at / NOTIFY_BYTES));
        break;
      default:
        this.count(false);
    }
  }

  #describe(): FunctionDescription {
    const { deviceId } = this.device;
    const region: BarRegion = {
      read: (offset, bytes) => this.#read(offset, bytes),
      write: (offset, bytes, value) => this.#write(offset, bytes, value),
      isPosted: (offset) => offset >= PART.notify || (offset >= PART.isr && offset < PART.device),
    };
    const nothing: BarRegion = { read: () => 0, write: () => this.count(false) };
    return {
      kind: virtioKind(deviceId).name,
      identity: virtioIdentity(deviceId),
      bars: [
        { index: MSIX_BAR, sizeBytes: PART_BYTES, kind: 'memory32', region: nothing },
        { index: VIRTIO_BAR, sizeBytes: VIRTIO_BAR_BYTES, kind: 'memory64', prefetchable: true, region },
      ],
      capabilities: virtioCapabilities(this.#vectors, region, () => this.function.config),
      onReset: () => {
        this.device.writeStatus(0);
        this.#forget();
      },
    };
  }
}
