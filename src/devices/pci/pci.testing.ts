/**
 * A fabric for tests: functions with registers of their own in every kind of BAR, a transaction log, and accesses by the
 * way that processors take. `FakeEndpoint` keeps what is written and says what happened to it.
 */
import { must } from '../../base/assert.ts';
import { SharedLock } from '../../base/lock.ts';
import { type AnyLayout, array, roundUp, struct, type View } from '../../base/struct.ts';
import { readDevice, writeDevice } from '../access.ts';
import type { AccessBytes, Block, Device, GuestMemory, Model } from '../device.ts';
import type { BarDescription } from './bar.ts';
import { type Capability, msi, msix, powerManagement, vendorSpecific } from './capabilities.ts';
import { expressEndpoint } from './express.ts';
import { type FabricPlan, type FunctionPlan, type FunctionSeat, type MadeFunction, PciFabric } from './fabric.ts';
import { functionLayout, PciFunction } from './function.ts';
import { vectorsOf } from './function-description.ts';
import type { RootPort } from './root-port.ts';
import type { InterruptTransaction } from './transaction.ts';

/** Where the fake machine has its windows, as QEMU's `virt` with little memory. */
export const WINDOWS = {
  ecam: { at: 0x3000_0000, busAddress: 0, sizeBytes: 0x1000_0000 },
  io: { at: 0x300_0000, busAddress: 0, sizeBytes: 0x1_0000 },
  memory: { at: 0x4000_0000, busAddress: 0x4000_0000, sizeBytes: 0x4000_0000 },
  high: { at: 2 ** 34, busAddress: 2 ** 34, sizeBytes: 2 ** 34 },
} as const;

export interface FakePlan extends FunctionPlan {
  readonly vectors?: number;
  readonly pin?: number;
  readonly useMsi?: boolean;
  readonly losesState?: boolean;
}

const deviceLayout = struct('fake-endpoint', {
  /** What was written behind each BAR, the first 64 dwords of it. */
  words: array('u32', 6 * 64),
  accesses: 'u32',
  resets: 'u32',
  posts: 'u32',
});

/** Vectors of MSI-X's table behind BAR 1, at 0 and 0x800, in BARs of a virtio function's shape, with I/O besides. */
export class FakeEndpoint implements Model {
  readonly name: string;
  readonly layout = deviceLayout;
  readonly state: View<typeof deviceLayout.fields>;
  readonly func: PciFunction;

  static bars(region: (index: number) => BarDescription['region']): BarDescription[] {
    return [
      { index: 0, sizeBytes: 32, kind: 'io', region: region(0) },
      { index: 1, sizeBytes: 4096, kind: 'memory32', region: region(1) },
      { index: 2, sizeBytes: 64 * 1024, kind: 'memory32', prefetchable: true, region: region(2) },
      { index: 4, sizeBytes: 16384, kind: 'memory64', prefetchable: true, region: region(4) },
    ];
  }

  static capabilities(plan: Pick<FakePlan, 'vectors' | 'useMsi' | 'losesState'>): Capability[] {
    const { vectors = 4, useMsi = false, losesState = false } = plan;
    const place = (offset: number) => ({ bar: 1, offset });
    return [
      vendorSpecific({
        ...{ name: 'Fake', sizeBytes: 8 },
        rows: (at) => [{ at: at + 4, bytes: 4, name: 'Scratch', writable: 0xff00_00ff, does: 'kept' }],
      }),
      useMsi ? msi({ vectors: 8 }) : msix({ vectors, table: place(0), pending: place(0x800) }),
      powerManagement({ losesState }),
      expressEndpoint(),
    ];
  }

  constructor(plan: FakePlan, seat: FunctionSeat) {
    const capabilities = FakeEndpoint.capabilities(plan);
    const block = seat.block(functionLayout(vectorsOf({ capabilities })));
    const own = seat.block(deviceLayout);
    this.name = `fake@${seat.place}`;
    this.state = deviceLayout.view(own.buffer, own.at);
    this.func = new PciFunction(
      {
        kind: 'fake',
        identity: { vendor: 0x1af4, device: 0x1041, revision: 1, classCode: 0x02_0000, subsystemVendor: 0x1af4 },
        bars: FakeEndpoint.bars((index) => this.#region(index)),
        capabilities,
        ...(plan.pin === undefined ? {} : { pin: plan.pin }),
        onReset: () => this.reset(),
      },
      { ...seat, name: `fake-function@${seat.place}`, block },
    );
  }

  reset(): void {
    this.state.resets++;
    this.state.words.fill(0);
  }

  #region(index: number): BarDescription['region'] {
    const at = (offset: number) => 64 * index + ((offset >> 2) & 63);
    return {
      read: (offset, bytes) => {
        this.state.accesses++;
        const word = must(this.state.words[at(offset)]) >>> (8 * (offset & 3));
        return bytes === 4 ? word : word & (bytes === 2 ? 0xffff : 0xff);
      },
      write: (offset, _bytes, value) => {
        this.state.accesses++;
        if (offset === 0x100) this.state.posts++;
        this.state.words[at(offset)] = value;
      },
      isPosted: (offset) => offset === 0x100,
    };
  }
}

export type Sent = InterruptTransaction & { readonly bus: number };

export class FakeMachine {
  readonly fabric: PciFabric<FakePlan>;
  readonly endpoints: FakeEndpoint[] = [];
  readonly sent: Sent[] = [];
  readonly rung: number[] = [];
  readonly windows: { base: number; device: Device; lock: SharedLock }[] = [];
  readonly models: Model[] = [];
  readonly buffer: SharedArrayBuffer;
  #next = 64;

  /**
   * Over `buffer`: another thread's instance of the same machine; without, it is made and powered on. `onSend` is called
   * while the function holds back its next transaction.
   */
  constructor(plan: FabricPlan<FakePlan>, buffer?: SharedArrayBuffer, onSend: (sent: Sent) => void = () => {}) {
    const layouts = (one: FakePlan): AnyLayout[] => [
      functionLayout(vectorsOf({ capabilities: FakeEndpoint.capabilities(one) })),
      deviceLayout,
    ];
    const { bytes, locks } = PciFabric.account(plan, 3, { layouts });
    this.buffer = buffer ?? new SharedArrayBuffer(roundUp(bytes + 128 * (locks + 8), 64));
    const { ecam, ...windows } = WINDOWS;
    this.fabric = new PciFabric(
      plan,
      {
        ecam: ecam.at,
        windows: Object.entries(windows).map(([name, window]) => ({
          ...{ name: `pcie-${name}`, space: name === 'io' ? 'io' : 'memory' },
          ...window,
        })),
      },
      {
        block: (layout) => this.#block(layout.sizeBytes),
        lock: () => this.#lock(),
        map: (base, device) => {
          this.windows.push({ base, device, lock: this.#lock() });
          this.models.push(device);
        },
        keep: (model) => this.models.push(model),
        transactionPort: (bus) => ({
          send: (transaction) => {
            const sent = { ...transaction, bus };
            this.sent.push(sent);
            onSend(sent);
          },
        }),
        doorbell: (index) => ({ ring: () => this.rung.push(index) }),
      },
      {
        layouts,
        make: (one, seat): MadeFunction => {
          const endpoint = new FakeEndpoint(one, seat);
          this.endpoints.push(endpoint);
          return { func: endpoint.func, models: [endpoint] };
        },
      },
    );
    if (buffer === undefined) for (const model of this.models) model.reset();
  }

  endpoint(index = 0): FakeEndpoint {
    return must(this.endpoints[index]);
  }

  port(index = 0): RootPort {
    return must(this.fabric.ports[index]);
  }

  /** Guest-physical accesses; undefined: nothing is mapped there. */
  read(gpa: number, bytes: AccessBytes): number | undefined {
    const place = this.#find(gpa);
    const value = place && readDevice(place, gpa - place.base, bytes);
    return value === undefined || value === 'busy' ? undefined : Number(value);
  }

  write(gpa: number, bytes: AccessBytes, value: number): void {
    const place = this.#find(gpa);
    if (place) writeDevice(place, gpa - place.base, bytes, BigInt(value));
  }

  /** Configuration accesses; `bdf` as lspci writes it, with the guest's bus numbers. */
  config(bdf: string, at: number, bytes: AccessBytes): number {
    return this.read(this.#ecam(bdf) + at, bytes) ?? 0;
  }

  setConfig(bdf: string, at: number, bytes: AccessBytes, value: number): void {
    this.write(this.#ecam(bdf) + at, bytes, value >>> 0);
  }

  /** What was sent since the last call. */
  take(): string[] {
    return this.sent.splice(0).map(({ bus, requester, kind, address, data }) => {
      const to = kind === 'message' ? `${address.toString(16)}=${data.toString(16)}` : `INT${' ABCD'[data]}`;
      return `${bus}:${requester.toString(16)} ${kind} ${to}`;
    });
  }

  #ecam(bdf: string): number {
    const [bus = 0, device = 0, func = 0] = bdf.split(/[:.]/).map((part) => Number.parseInt(part, 16));
    return WINDOWS.ecam.at + bus * 2 ** 20 + device * 2 ** 15 + func * 2 ** 12;
  }

  #find(gpa: number) {
    return this.windows.find(({ base, device }) => gpa >= base && gpa < base + device.sizeBytes);
  }

  #block(bytes: number): Block {
    const at = this.#next;
    this.#next = roundUp(at + bytes, 64);
    return { buffer: this.buffer, at };
  }

  #lock(): SharedLock {
    return new SharedLock(new Int32Array(this.buffer), this.#block(4).at / 4);
  }
}

/** Memory that takes and gives anything. */
export const anyMemory: GuestMemory = {
  read: () => true,
  write: () => true,
  spans: (_gpa, sizeBytes) => [new Uint8Array(sizeBytes)],
};
