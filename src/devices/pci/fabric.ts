/**
 * The PCI Express fabric of a machine: host bridge, root ports, and functions in their places, made from a plan that is
 * the same on every thread. What the functions are, their maker knows.
 *
 *     plan: ports [{id, device, func, slot}], functions [{port, device, func}]  ->  Ecam, windows, buses
 */
import { assert, must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import type { SharedLock } from '../../base/lock.ts';
import { type AnyLayout, roundUp } from '../../base/struct.ts';
import type { Block, Device, Model } from '../device.ts';
import type { PciFunction } from './function.ts';
import type { FunctionWiring } from './function-wiring.ts';
import { Ecam, hostBridgeLayout, PcieWindow, placeHostBridge, type WindowOptions } from './host-bridge.ts';
import { RootPort } from './root-port.ts';
import { INTX_PINS, type RequesterId, requesterId, requesterName, type TransactionPort } from './transaction.ts';

/** A root port: plain data. */
export interface PortPlan {
  readonly id: string;
  /** Its place on the root bus. */
  readonly device: number;
  readonly func: number;
  /** Physical slot number; by default its place among the ports, from 1 on. */
  readonly slot?: number;
  /** False: the card comes later. */
  readonly isPlugged?: boolean;
}

/** A function's place: plain data. */
export interface FunctionPlan {
  readonly id: string;
  /** The port that it is behind; absent: on the root bus. */
  readonly port?: string;
  /** Behind a port there is device 0 alone. */
  readonly device: number;
  readonly func: number;
}

export interface FabricPlan<F extends FunctionPlan> {
  readonly ports: readonly PortPlan[];
  readonly functions: readonly F[];
}

/** Guest-physical addresses of ECAM and of the windows. */
export interface FabricAddresses {
  readonly ecam: number;
  readonly windows: readonly (WindowOptions & { readonly at: number })[];
}

/** What a maker of functions is given: all but the function's kind. */
export interface FunctionSeat extends Omit<FunctionWiring, 'block' | 'name'> {
  /** `01:00.0`: as the fabric numbers buses. */
  readonly place: string;
  /** A block for each of its layouts, in their order. */
  block(layout: AnyLayout): Block;
}

/** A function, and what is behind it, which shares its lock. */
export interface MadeFunction {
  readonly func: PciFunction;
  readonly models: readonly Model[];
}

export interface FabricMaker<F extends FunctionPlan, M extends MadeFunction = MadeFunction> {
  make(plan: F, seat: FunctionSeat): M;
  /** Of the function's own block, and of those of what is behind it. */
  layouts(plan: F): readonly AnyLayout[];
}

export interface FabricPlace {
  block(layout: AnyLayout): Block;
  /** A lock in shared memory. */
  lock(): SharedLock;
  /** Puts a window on the bus. */
  map(base: number, window: Device): void;
  /** What is reset, saved and restored with the machine. */
  keep(model: Model, lock: SharedLock): void;
  /** Where transactions of a bus go: 0 is the root bus, n + 1 the one behind port n. */
  transactionPort(bus: number): TransactionPort;
  /** Asks the I/O thread for service of a function, by its number in the plan. */
  doorbell(index: number): { ring(): void };
}

const DEVICES = 32;
const FUNCTIONS = 8;
const MOST_SLOTS = 0x2000;

export class PciFabric<F extends FunctionPlan, M extends MadeFunction = MadeFunction> {
  readonly ecam: Ecam;
  readonly hostBridge: PciFunction;
  readonly ports: readonly RootPort[];
  /** In the plan's order. */
  readonly functions: readonly M[];
  readonly #plan: FabricPlan<F>;

  /** Bytes of blocks, and how many locks and blocks there are. */
  static account<F extends FunctionPlan>(
    plan: FabricPlan<F>,
    windows: number,
    maker: Pick<FabricMaker<F>, 'layouts'>,
  ): { bytes: number; locks: number } {
    const layouts = [
      Ecam.layout,
      hostBridgeLayout,
      ...new Array<AnyLayout>(windows).fill(PcieWindow.layout),
      ...plan.ports.map(() => RootPort.layout),
      ...plan.functions.flatMap((one) => maker.layouts(one)),
    ];
    const bytes = layouts.reduce((sum, { sizeBytes }) => sum + roundUp(sizeBytes, 64) + 64, 0);
    return { bytes, locks: 2 + windows + plan.ports.length + plan.functions.length };
  }

  /** The plan has been checked. */
  constructor(plan: FabricPlan<F>, addresses: FabricAddresses, place: FabricPlace, maker: FabricMaker<F, M>) {
    this.#plan = plan;
    const ecam = new Ecam(`pcie-ecam@${addresses.ecam.toString(16)}`, place.block(Ecam.layout));
    this.ecam = ecam;
    place.map(addresses.ecam, ecam);
    for (const { at, ...window } of addresses.windows) {
      place.map(at, new PcieWindow(window, place.block(PcieWindow.layout), ecam));
    }
    const lock = place.lock();
    this.hostBridge = placeHostBridge(ecam, place.block(hostBridgeLayout), lock);
    place.keep(this.hostBridge, lock);
    this.ports = plan.ports.map((port, i) => this.#port(port, i, place));
    this.functions = plan.functions.map((one, i) => this.#function(one, i, place, maker));
    ecam.root.check();
    for (const { behind } of this.ports) behind.check();
  }

  /** The root port of that id. */
  port(id: string): RootPort | undefined {
    return this.ports[this.#plan.ports.findIndex((port) => port.id === id)];
  }

  /** Which of the root complex's four lines a pin is (section 2.2.8.1): 0 for INTA of device 0, and so on round. */
  lineOf(requester: RequesterId, pin: number): number {
    const bus = requester >> 8;
    const device = (requester >> 3) & 31;
    if (bus === 0) return (device + pin - 1) % INTX_PINS;
    // Device 0 behind a port keeps its pin there.
    const port = must(this.ports[bus - 1], `no bus ${bus}`);
    return this.lineOf(port.func.requester, 1 + ((device + pin - 1) % INTX_PINS));
  }

  /** After a restore. */
  drive(): void {
    this.hostBridge.lock.with(() => this.hostBridge.drive());
    for (const port of this.ports) port.func.lock.with(() => port.drive());
    for (const { func } of this.functions) func.lock.with(() => func.drive());
    this.ecam.epoch.advance();
  }

  #port(port: PortPlan, index: number, place: FabricPlace): RootPort {
    const { device, func } = port;
    const slot = slotOf(this.#plan, index);
    const requester = requesterId(0, device, func);
    const lock = place.lock();
    const made = new RootPort(
      { slot, hasCard: port.isPlugged !== false && this.#plan.functions.some((one) => one.port === port.id) },
      {
        ...{ name: `pcie-root-port@${requesterName(requester)}`, block: place.block(RootPort.layout), lock, requester },
        ...{ port: place.transactionPort(0), epoch: this.ecam.epoch, isMultiFunction: isShared(this.#plan, port) },
      },
    );
    this.ecam.root.place(made.func, made);
    place.keep(made, lock);
    return made;
  }

  #function(one: F, index: number, place: FabricPlace, maker: FabricMaker<F, M>): M {
    const port = one.port === undefined ? undefined : must(this.port(one.port), `no port ${one.port}`);
    const requester = requesterOf(one, this.#plan);
    const lock = place.lock();
    const made = maker.make(one, {
      ...{ place: requesterName(requester), block: place.block, lock, requester, epoch: this.ecam.epoch },
      ...{ port: place.transactionPort(requester >> 8), isMultiFunction: isShared(this.#plan, one) },
      ...{ doorbell: place.doorbell(index), ...(port === undefined ? {} : { upstream: port }) },
    });
    assert(made.func.requester === requester, `${made.func.name}: made for another place`);
    (port?.behind ?? this.ecam.root).place(made.func);
    for (const model of [made.func, ...made.models]) place.keep(model, lock);
    return made;
  }
}

/** As the fabric numbers it: the bus behind port n is n + 1. */
export function requesterOf({ port, device, func }: FunctionPlan, { ports }: FabricPlan<FunctionPlan>): RequesterId {
  return requesterId(port === undefined ? 0 : 1 + ports.findIndex(({ id }) => id === port), device, func);
}

/** By default its place among the ports, from 1 on. */
function slotOf({ ports }: FabricPlan<FunctionPlan>, index: number): number {
  return ports[index]?.slot ?? index + 1;
}

/** Another function has the same device number on the same bus. */
function isShared(plan: FabricPlan<FunctionPlan>, one: PortPlan | FunctionPlan): boolean {
  return everyPlace(plan).filter(({ bus, device }) => bus === busOf(one) && device === one.device).length > 1;
}

function busOf(one: PortPlan | FunctionPlan): string {
  return 'port' in one ? (one.port ?? '') : '';
}

/** Bus is the port's id, '' for the root bus. */
function everyPlace({ ports, functions }: FabricPlan<FunctionPlan>) {
  return [...ports, ...functions].map((one) => ({ one, bus: busOf(one), device: one.device, func: one.func }));
}

/** Throws OperatorError where things cannot be in the places that they are given. */
export function checkPlan(plan: FabricPlan<FunctionPlan>): void {
  const taken = new Map<string, string>([['/0.0', 'the host bridge']]);
  const ids = new Set<string>();
  const slots = new Map<number, string>();
  plan.ports.forEach(({ id, slot = 0 }, i) => {
    if (!isNumber(slot, MOST_SLOTS))
      throw bad(`${id}: no slot has number ${slot}`, `Give slots numbers from 0 to ${MOST_SLOTS - 1}.`);
    const number = slotOf(plan, i);
    const other = slots.get(number);
    if (other !== undefined)
      throw bad(`${id} and ${other} have both slot number ${number}`, 'Give each root port a slot number of its own.');
    slots.set(number, id);
  });
  for (const { one, bus, device, func } of everyPlace(plan)) {
    if (ids.has(one.id)) throw bad(`there are two devices called ${one.id}`, 'Give each device an id of its own.');
    ids.add(one.id);
    if (!isNumber(device, DEVICES) || !isNumber(func, FUNCTIONS))
      throw bad(
        `${one.id}: there is no place ${device}.${func} on a bus`,
        `Give device numbers from 0 to ${DEVICES - 1}, function numbers from 0 to ${FUNCTIONS - 1}.`,
      );
    if (bus !== '' && !plan.ports.some(({ id }) => id === bus))
      throw bad(`${one.id}: there is no root port ${bus}`, 'Name one of the root ports, or make it.');
    if (bus !== '' && device !== 0)
      throw bad(`${one.id}: behind a root port there is no device ${device}`, 'Give it device number 0.');
    const place = `${bus}/${device}.${func}`;
    const before = taken.get(place);
    if (before !== undefined) throw bad(`${one.id}: ${before} is in its place`, 'Give it another place.');
    taken.set(place, one.id);
  }
  for (const { one, bus, device } of everyPlace(plan))
    if (!taken.has(`${bus}/${device}.0`))
      throw bad(
        `${one.id}: its device has no function 0, so that no guest would find it`,
        'Give one of the functions number 0.',
      );
}

function isNumber(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

function bad(message: string, fix: string): OperatorError {
  return new OperatorError('bad-pci', message, fix);
}
