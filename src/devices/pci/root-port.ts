/**
 * A root port: the bridge between the root bus and one slot (PCI Express Base 6.0, sections 1.3.1 and 7.5.1.3). It
 * forwards bus numbers and addresses as its type 1 header says, and has a slot whose cards can be changed. Identity and
 * registers are those of QEMU's `pcie-root-port`.
 *
 * A card is one device of up to eight functions. Requests of its functions pass upstream while Bus Master Enable of the
 * port is set, as their own is; INTx passes always.
 */
import { type Layout, struct, structs, type View } from '../../base/struct.ts';
import type { AccessBytes, Device } from '../device.ts';
import type { BarDescription } from './bar.ts';
import { type AddressRange, type AddressSpace, type Bridge, Bus } from './bus.ts';
import { accessControl, advancedErrors, msix, subsystem } from './capabilities.ts';
import type { ResetDepth } from './config-space.ts';
import { expressRootPort } from './express.ts';
import { functionLayout, PciFunction } from './function.ts';
import type { FunctionDescription } from './function-description.ts';
import type { FunctionWiring, Upstream } from './function-wiring.ts';
import { bridgeHeader } from './header.ts';
import { Slot, slotLayout } from './slot.ts';
import { BRIDGE_CONTROL, COMMAND, HEADER } from './spec.ts';

const VENDOR_RED_HAT = 0x1b36;
const ROOT_PORT = 0x000c;
const PCI_BRIDGE_CLASS = 0x06_0400;
const BAR_BYTES = 4096;
const PENDING_AT = 0x800;
/** Where QEMU's capabilities lie. */
const AT = { subsystem: 0x40, msix: 0x48, express: 0x54, aer: 0x100, acs: 0x148 } as const;

const fields = {
  func: structs(functionLayout(1), 1),
  slot: structs(slotLayout, 1),
} as const;
const layout: Layout<typeof fields> = struct('pci-root-port', fields);

export interface RootPortOptions {
  /** Number of its slot. */
  readonly slot: number;
  /** There is a card when the machine starts. */
  readonly hasCard: boolean;
}

/** `block`: of `RootPort.layout`. It is on the root bus, and its own interrupts go to `port`. */
export type RootPortWiring = Omit<FunctionWiring, 'upstream' | 'doorbell'>;

export class RootPort implements Device, Bridge, Upstream {
  static readonly layout = layout;
  readonly name: string;
  readonly layout = layout;
  readonly state: View<typeof fields>;
  readonly sizeBytes: number;
  readonly func: PciFunction;
  readonly slot: Slot;
  /** The card's functions. */
  readonly behind: Bus;
  readonly #options: RootPortOptions;

  constructor(options: RootPortOptions, wiring: RootPortWiring) {
    const { buffer, at } = wiring.block;
    this.name = wiring.name;
    this.#options = options;
    this.state = layout.view(buffer, at);
    const slot = new Slot(options.slot, {
      state: slotLayout.view(buffer, at + layout.offset.slot),
      config: () => this.func.config,
      interrupt: (level, begins) => this.#interrupt(level, begins),
      resetCard: (depth) => this.#resetCard(depth),
      linkChanged: () => wiring.epoch.advance(),
    });
    this.slot = slot;
    this.behind = new Bus(() => slot.isUp);
    this.func = new PciFunction(
      this.#description(() => this.#forwardingChanged()),
      { ...wiring, block: { buffer, at: at + layout.offset.func } },
    );
    this.sizeBytes = this.func.sizeBytes;
  }

  read(offset: number, bytes: AccessBytes): number {
    return this.func.read(offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.func.write(offset, bytes, value);
  }

  reset(): void {
    this.func.reset();
    this.slot.reset(this.#options.hasCard);
  }

  get counters(): Record<string, number> {
    const { plugs, removals } = this.slot.counters;
    return { ...this.func.counters, plugs, removals };
  }

  /** After a restore. */
  drive(): void {
    this.func.drive();
    this.slot.update();
  }

  get secondary(): number {
    return this.func.config.get(HEADER.secondaryBus, 1);
  }

  get subordinate(): number {
    return this.func.config.get(HEADER.subordinateBus, 1);
  }

  get isUp(): boolean {
    return this.slot.isUp;
  }

  get forwardsRequests(): boolean {
    return (this.func.config.get(HEADER.command, 2) & COMMAND.busMaster) !== 0;
  }

  windows(space: AddressSpace): AddressRange[] {
    const { config } = this.func;
    const enable = space === 'io' ? COMMAND.io : COMMAND.memory;
    if ((config.get(HEADER.command, 2) & enable) === 0) return [];
    return space === 'io' ? this.#ioWindows() : [this.#memoryWindow(), this.#prefetchableWindow()].filter(isOpen);
  }

  #memoryWindow(): AddressRange {
    const { config } = this.func;
    const start = megabytes(config.get(HEADER.memoryBase, 2));
    return { start, end: megabytes(config.get(HEADER.memoryLimit, 2)) + 2 ** 20 };
  }

  #prefetchableWindow(): AddressRange {
    const { config } = this.func;
    const high = (at: number) => config.get(at, 4) * 2 ** 32;
    const start = high(HEADER.prefetchableBaseUpper) + megabytes(config.get(HEADER.prefetchableBase, 2));
    const last = high(HEADER.prefetchableLimitUpper) + megabytes(config.get(HEADER.prefetchableLimit, 2));
    return { start, end: last + 2 ** 20 };
  }

  #ioWindows(): AddressRange[] {
    const { config } = this.func;
    const start = (config.get(HEADER.ioBase, 1) & 0xf0) << 8;
    const end = ((config.get(HEADER.ioLimit, 1) & 0xf0) << 8) + 0x1000;
    if ((config.get(HEADER.bridgeControl, 2) & BRIDGE_CONTROL.isa) === 0) return [{ start, end }].filter(isOpen);
    const first256: AddressRange[] = [];
    for (let at = start; at < end; at += 0x400) first256.push({ start: at, end: at + 0x100 });
    return first256;
  }

  #interrupt(level: boolean, begins: boolean): void {
    if (begins) this.func.raise(0);
    this.func.setInterrupt(level);
  }

  #resetCard(depth: ResetDepth): void {
    for (const func of this.behind.functions) func.cut(depth);
  }

  /** Messages that the port held back may pass. */
  #forwardingChanged(): void {
    for (const func of this.behind.functions) func.interrupts.update();
  }

  #description(commanded: () => void): FunctionDescription {
    const place = (offset: number) => ({ bar: 0, offset });
    const unused: BarDescription['region'] = { read: () => 0, write: () => undefined };
    return {
      kind: 'pcie-root-port',
      identity: { vendor: VENDOR_RED_HAT, device: ROOT_PORT, revision: 0, classCode: PCI_BRIDGE_CLASS },
      bars: [{ index: 0, sizeBytes: BAR_BYTES, kind: 'memory32', region: unused }],
      capabilities: [
        expressRootPort(AT.express, this.slot, (at) => this.slot.rows(at)),
        msix({ vectors: 1, table: place(0), pending: place(PENDING_AT) }, AT.msix),
        subsystem(VENDOR_RED_HAT, 0, AT.subsystem),
        advancedErrors(AT.aer),
        accessControl(AT.acs),
      ],
      header: (shape, effects) => {
        const interruptsChanged = () => {
          effects.interruptsChanged();
          commanded();
        };
        return bridgeHeader(
          shape,
          { ...effects, interruptsChanged },
          { secondaryReset: (level) => this.slot.setReset(level) },
        );
      },
    };
  }
}

function megabytes(register: number): number {
  return (register & 0xfff0) * 2 ** 16;
}

function isOpen({ start, end }: AddressRange): boolean {
  return start < end && Number.isSafeInteger(end);
}
