/**
 * The interrupt fabric as a thread of the machine has it: which partitions' controllers it reaches, what time it is there,
 * and whom it tells that functions that interrupted too often are to be looked at again.
 */
import { OperatorError } from '../../base/errors.ts';
import type { RequesterId } from '../../devices/index.ts';
import { TIMEBASE_HZ } from '../virt-map.ts';
import { InterruptFabric, type InterruptFabricOptions, type PartitionController } from './fabric.ts';

/** What the fabric needs of a machine's first partition. */
export interface FabricConfig {
  readonly pci?: { readonly ports: readonly unknown[]; readonly functions: readonly unknown[] };
  readonly room?: { readonly partitions: number } | undefined;
  readonly relay: boolean;
  /** Interrupts a second that a function may have at most. */
  readonly interruptRate: number;
  readonly clock: 'real' | 'instructions';
}

/** A partition as the fabric reaches it from a thread. */
export interface FabricMember {
  readonly controller: PartitionController;
  isRunning(): boolean;
  ticks(): bigint;
  /** Has the partition's I/O thread call `attend`. */
  ring(): void;
}

/** Ports of a machine that has room for so many guests, and functions behind each: sixteen functions a guest, or more. */
function sharedBy(partitions: number): { readonly ports: number; readonly functions: number } {
  return { ports: partitions > 128 ? 16 : 8, functions: partitions > 64 ? 256 : 128 };
}
const MOST_PORTS = 8;
/** A function's interrupts are counted in so many windows a second. */
const WINDOWS = 100;

/** Undefined: nothing of the machine interrupts that way, now or ever. */
function optionsOf({ pci, room, relay, interruptRate, clock }: FabricConfig): InterruptFabricOptions | undefined {
  // By the instruction clock nothing may depend on when the host's timers come.
  const throttle =
    clock === 'instructions'
      ? { most: Number.POSITIVE_INFINITY, windowTicks: 1 }
      : { most: Math.ceil(interruptRate / WINDOWS), windowTicks: TIMEBASE_HZ / WINDOWS };
  if (room !== undefined) return { ...sharedBy(room.partitions), relay, throttle };
  if (pci === undefined) return undefined;
  const all = pci.ports.length + pci.functions.length;
  const ports = Math.min(1 + pci.ports.length, MOST_PORTS);
  return { ports, functions: Math.min(Math.ceil(all / 32) * 32, 256), relay, throttle };
}

export class MachineInterrupts {
  readonly fabric: InterruptFabric;
  readonly #members = new Map<number, FabricMember>();
  /** Has a partition join that this thread does not know yet. */
  attach: (partition: number) => void = () => {};

  static sizeBytes(config: FabricConfig): number {
    const options = optionsOf(config);
    return options === undefined ? 0 : InterruptFabric.sizeBytes(options);
  }

  /** `at`: bytes, a zeroed block of `sizeBytes`. Undefined where there is no fabric. */
  static make(buffer: ArrayBufferLike, at: number, config: FabricConfig): MachineInterrupts | undefined {
    const options = optionsOf(config);
    return options === undefined ? undefined : new MachineInterrupts(buffer, at, options);
  }

  private constructor(buffer: ArrayBufferLike, at: number, options: InterruptFabricOptions) {
    this.fabric = new InterruptFabric(buffer, at, options, {
      ticks: () => this.#ticks(),
      controllerOf: (partition) => {
        this.attach(partition);
        return this.#members.get(partition)?.controller;
      },
      // Whose I/O thread it is does not matter: it is one that goes on.
      lookAfter: () => [...this.#members.values()].find((member) => member.isRunning())?.ring(),
    });
  }

  /** On this thread the partition is reached so, from now on. */
  join(partition: number, member: FabricMember): void {
    this.#members.set(partition, member);
  }

  /** This thread knows nothing of it any more. */
  forget(partition: number): void {
    this.#members.delete(partition);
  }

  /** The functions are the partition's. Throws OperatorError where there is no room for them. */
  add(
    partition: number,
    functions: readonly { readonly requester: RequesterId; readonly sources: readonly number[] }[],
  ): void {
    if (functions.every((one) => this.fabric.add({ partition, ...one }))) return;
    this.leave(
      partition,
      functions.map(({ requester }) => requester),
    );
    throw new OperatorError(
      'machine-full',
      'the machine has no room for more PCI Express functions',
      'Give the partition fewer, or start another machine.',
    );
  }

  /** The partition ends: on the thread that made it, before others forget it. */
  leave(partition: number, functions: readonly RequesterId[]): void {
    for (const requester of functions) this.fabric.remove({ partition, requester });
    this.forget(partition);
    // Whoever was to look again may have been its I/O thread.
    if (this.#members.size > 0) this.fabric.service.look();
  }

  /** For an I/O thread that was rung: serves, and says how many ticks later to `look`; undefined: nobody has to. */
  attend(): number | undefined {
    const { service } = this.fabric;
    if (service.hasNews) service.serve();
    return service.dueIn();
  }

  #ticks(): number {
    const [first] = this.#members.values();
    return first === undefined ? 0 : Number(first.ticks());
  }
}
