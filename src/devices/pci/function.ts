/**
 * A PCI Express function: configuration space, what lies behind its BARs, interrupts, resets, and its door to guest
 * memory. Everything that a device does on the bus goes through it:
 *
 *     guest  -> config space, BAR regions        (ECAM and windows of the host bridge, with the function's lock)
 *     device -> setInterrupt, raise              (transactions to its port)
 *     device -> memory                           (while Bus Master Enable lets it)
 *
 * The device itself (virtio, say) is another object with a block of its own, made with the same lock. As a Device of the
 * board a function is its configuration space; its whole state is its block.
 */
import type { SharedLock } from '../../base/lock.ts';
import { array, type Layout, struct, structs, type View } from '../../base/struct.ts';
import type { AccessBytes, Device, GuestMemory } from '../device.ts';
import { accessCounters } from '../registers.ts';
import { type BarDescription, FIRST_BAR_AT } from './bar.ts';
import { busMasterMemory } from './bus-master.ts';
import {
  capabilityRows,
  type FunctionEffects,
  type MsixShape,
  type PlacedCapability,
  placeCapabilities,
} from './capabilities.ts';
import { allOnes, CONFIG_BYTES, ConfigSpace, type ResetDepth } from './config-space.ts';
import { checkMsix, type FunctionDescription, msixOf, pendingBytes, vectorsOf } from './function-description.ts';
import type { AddressEpoch, FunctionWiring } from './function-wiring.ts';
import { endpointHeader } from './header.ts';
import { FunctionInterrupts, type InterruptLayout, type InterruptMode, interruptLayout } from './interrupts.ts';
import { CAPABILITY, COMMAND, HEADER, MSIX, PM } from './spec.ts';
import type { RequesterId } from './transaction.ts';

/** By hot reset, or without power: bits. */
const CUT_OFF = { function: 1, power: 2 } as const;

function functionFields(vectors: number) {
  return {
    ...accessCounters,
    config: array('u8', CONFIG_BYTES),
    interruptState: structs(interruptLayout(vectors) as InterruptLayout, 1),
    /** Accesses to guest memory refused, as Bus Master Enable was off. */
    refused: 'u32',
    resets: 'u32',
    /** Of CUT_OFF: it was, and forgets before anybody reaches it again. */
    cutOff: 'i32',
  } as const;
}

export type FunctionLayout = Layout<ReturnType<typeof functionFields>>;

/** The block of a function with so many vectors of MSI-X. */
export function functionLayout(vectors: number): FunctionLayout {
  return struct('pci-function', functionFields(vectors));
}

/** Where a BAR lies now: `end` is the first byte behind. */
export interface BarRange {
  readonly bar: BarDescription;
  readonly base: number;
  readonly end: number;
}

export class PciFunction implements Device {
  readonly name: string;
  readonly description: FunctionDescription;
  readonly requester: RequesterId;
  readonly lock: SharedLock;
  readonly layout: FunctionLayout;
  readonly state: View<ReturnType<typeof functionFields>>;
  readonly config: ConfigSpace;
  readonly sizeBytes = CONFIG_BYTES;
  readonly interrupts: FunctionInterrupts;
  readonly #placed: readonly PlacedCapability[];
  readonly #epoch: AddressEpoch;
  readonly #powerAt: number | undefined;
  readonly #wiring: FunctionWiring;
  readonly #msix: MsixShape | undefined;
  readonly #words: Int32Array;
  readonly #cutOffAt: number;

  constructor(description: FunctionDescription, wiring: FunctionWiring) {
    const { block, requester, port, isMultiFunction, upstream } = wiring;
    const vectors = vectorsOf(description);
    const { pin = 1, identity, bars, capabilities } = description;
    checkMsix(description);
    this.name = wiring.name;
    this.description = description;
    this.requester = requester;
    this.lock = wiring.lock;
    this.layout = functionLayout(vectors);
    this.state = this.layout.view(block.buffer, block.at);
    this.#wiring = wiring;
    this.#msix = msixOf(description);
    this.#epoch = wiring.epoch;
    this.#words = new Int32Array(block.buffer);
    this.#cutOffAt = (block.at + this.layout.offset.cutOff) / 4;
    this.#placed = placeCapabilities(capabilities);
    this.#powerAt = this.capabilityAt(CAPABILITY.power);
    const effects = this.#effects();
    const isInterrupting = () => this.interrupts.isPinWanted;
    const shape = { identity, bars, pin, isMultiFunction, hasCapabilities: capabilities.length > 0, isInterrupting };
    const rows = [...(description.header ?? endpointHeader)(shape, effects), ...capabilityRows(this.#placed, effects)];
    this.config = new ConfigSpace(rows, this.state.config);
    const msiAt = this.capabilityAt(CAPABILITY.msi);
    const msixAt = this.capabilityAt(CAPABILITY.msix);
    this.interrupts = new FunctionInterrupts(
      { buffer: block.buffer, at: block.at + this.layout.offset.interruptState },
      {
        ...{ config: this.config, pin, vectors },
        ...(msiAt === undefined ? {} : { msiAt }),
        ...(msixAt === undefined ? {} : { msixAt }),
        ...(this.#powerAt === undefined ? {} : { powerAt: this.#powerAt }),
      },
      {
        ...{ requester, port },
        isConnected: () => this.#isConnected(),
        forwardsRequests: () => upstream?.forwardsRequests ?? true,
      },
    );
  }

  /** An access to configuration space, with the lock. */
  read(offset: number, bytes: AccessBytes): number {
    this.settle();
    if (offset >= (this.description.configBytes ?? CONFIG_BYTES)) return allOnes(bytes);
    return this.config.read(offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.settle();
    const isThere = offset < (this.description.configBytes ?? CONFIG_BYTES);
    if (!isThere || !this.config.write(offset, bytes, value)) this.state.unassignedWrites++;
  }

  /** Power-on. */
  reset(): void {
    const { state } = this;
    state.unassignedReads = state.unassignedWrites = 0;
    state.refused = state.resets = state.cutOff = 0;
    this.config.reset('power');
    this.interrupts.powerOn();
    this.#epoch.advance();
  }

  /** Function-level reset (section 6.6.2), or as `settle` finds, with the lock. */
  resetFunction(depth: ResetDepth = 'function'): void {
    this.state.resets++;
    this.config.reset(depth);
    this.interrupts.reset();
    this.description.onReset?.();
    this.#epoch.advance();
  }

  /**
   * The link goes down, or comes up again, on any thread, without the lock: who holds it may be waiting for the caller's
   * processor. Nothing passes any more from now on; what there is to forget is forgotten by `settle`.
   */
  cut(depth: ResetDepth): void {
    Atomics.or(this.#words, this.#cutOffAt, CUT_OFF[depth]);
    this.interrupts.update();
    this.#epoch.advance();
    this.#wiring.doorbell?.ring();
  }

  /** Forgets what it has to, with the lock: before every access, and before the device behind it is served. */
  settle(): void {
    if (Atomics.load(this.#words, this.#cutOffAt) === 0) return;
    const how = Atomics.exchange(this.#words, this.#cutOffAt, 0);
    this.resetFunction((how & CUT_OFF.power) === 0 ? 'function' : 'power');
  }

  /** After a restore: nobody holds the locks that were saved with the block, and everybody looks where BARs are. */
  drive(): void {
    this.interrupts.drive();
    this.#epoch.advance();
  }

  /** The condition behind INTx, a level, on any thread, with or without the lock. Counts where messages are off. */
  setInterrupt(level: boolean): void {
    this.interrupts.setInterrupt(level);
  }

  /** An event of a vector, on any thread, with or without the lock. Counts where messages are on. */
  raise(vector: number): void {
    this.interrupts.raise(vector);
  }

  /** What `kage stats` shows of it. */
  get counters(): Record<string, number> {
    const { unassignedReads, unassignedWrites, refused, resets } = this.state;
    const { messages, asserts, lost } = this.interrupts.state;
    return {
      messages,
      asserts,
      lostMessages: lost,
      refusedAccesses: refused,
      resets,
      unassignedReads,
      unassignedWrites,
    };
  }

  get interruptMode(): InterruptMode {
    return this.interrupts.mode;
  }

  /** Guest memory as the device may reach it: not at all while it is no bus master, or sleeps. */
  memory(behind: GuestMemory): GuestMemory {
    return busMasterMemory(
      behind,
      () => this.#command(COMMAND.busMaster) && (this.#wiring.upstream?.forwardsRequests ?? true),
      () => {
        this.state.refused++;
      },
    );
  }

  /** Offset of a capability of the first 256 bytes, the first of its kind. */
  capabilityAt(id: number): number | undefined {
    return this.#placed.find(({ capability }) => capability.id === id && capability.version === undefined)?.at;
  }

  /** Where BARs lie that answer now, in `space`. A BAR at 0 answers nowhere: it has not been placed. */
  barRanges(space: 'memory' | 'io'): BarRange[] {
    if (!this.#command(space === 'io' ? COMMAND.io : COMMAND.memory)) return [];
    return this.description.bars.flatMap((bar) => {
      if ((bar.kind === 'io') !== (space === 'io')) return [];
      const base = this.#barBase(bar);
      return base === 0 || !Number.isSafeInteger(base + bar.sizeBytes)
        ? []
        : [{ bar, base, end: base + bar.sizeBytes }];
    });
  }

  /** Whether an access behind that BAR needs no lock. */
  isBarPosted({ index, region }: BarDescription, offset: number): boolean {
    return this.#msixPlace(index, offset) !== undefined || region.isPosted?.(offset) === true;
  }

  /** An access behind a BAR. */
  readBar({ index, region }: BarDescription, offset: number, bytes: AccessBytes): number {
    const place = this.#msixPlace(index, offset);
    if (place === undefined) return region.read(offset, bytes);
    return place.kind === 'table'
      ? this.interrupts.readTable(place.offset, bytes)
      : this.interrupts.readPending(place.offset, bytes);
  }

  writeBar({ index, region }: BarDescription, offset: number, bytes: AccessBytes, value: number): void {
    const place = this.#msixPlace(index, offset);
    if (place === undefined) region.write(offset, bytes, value);
    else if (place.kind === 'pending' || !this.interrupts.writeTable(place.offset, bytes, value))
      this.state.unassignedWrites++;
  }

  /** Whether a bit of Command is set, of a function that is awake and connected. */
  #command(bit: number): boolean {
    if (!this.#isConnected()) return false;
    const isAwake = this.#powerAt === undefined || (this.config.get(this.#powerAt + PM.control, 2) & PM.state) === 0;
    return isAwake && (this.config.get(HEADER.command, 2) & bit) !== 0;
  }

  #isConnected(): boolean {
    return Atomics.load(this.#words, this.#cutOffAt) === 0 && (this.#wiring.upstream?.isUp ?? true);
  }

  #barBase(bar: BarDescription): number {
    const at = FIRST_BAR_AT + 4 * bar.index;
    const low = this.config.get(at, 4);
    const base = bar.kind === 'io' ? low - (low % 4) : low - (low % 16);
    return bar.kind === 'memory64' ? this.config.get(at + 4, 4) * 2 ** 32 + base : base;
  }

  /** What of MSI-X lies there. */
  #msixPlace(bar: number, offset: number): { kind: 'table' | 'pending'; offset: number } | undefined {
    if (this.#msix === undefined) return undefined;
    const { table, pending, vectors } = this.#msix;
    const inTable = offset - table.offset;
    if (bar === table.bar && inTable >= 0 && inTable < vectors * MSIX.entryBytes)
      return { kind: 'table', offset: inTable };
    const inPending = offset - pending.offset;
    if (bar === pending.bar && inPending >= 0 && inPending < pendingBytes(vectors))
      return { kind: 'pending', offset: inPending };
    return undefined;
  }

  #effects(): FunctionEffects {
    return {
      interruptsChanged: () => this.interrupts.update(),
      addressesChanged: () => this.#epoch.advance(),
      powerChanged: () => {
        this.#epoch.advance();
        this.interrupts.update();
      },
      resetFunction: () => this.resetFunction(),
      messagesPending: () => this.interrupts.pendingWord,
    };
  }
}
