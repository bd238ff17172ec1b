/**
 * A guest that is elsewhere, on its way to being one here: what its machine is to be made of, and what came of it so far.
 * `LocalMachine` is made of it, held, and stands in when it is told to (machine/machine.ts).
 */
import { must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import { FRAME_BYTES } from '../../engine/index.ts';
import { type Board, checkLayouts, countData, decodeRuns, RUN } from '../../machine/index.ts';
import {
  applyChanges,
  badStream,
  type DiskChange,
  type DriveChange,
  type TargetMachine,
} from '../../replication/index.ts';
import { ConsoleHistory } from '../machine/console-history.ts';
import { type OpenedDrive, openDrives } from '../machine/drives.ts';
import type { Lease, MachineOptions, RestoreOptions } from '../machine/machine-api.ts';
import { checkLease } from '../machine/machine-lease.ts';
import { checkDrives, checkKind } from '../snapshots/index.ts';
import { type GuestState, type Hello, readGuestState } from './hello.ts';
import { LateDisk } from './late-disk.ts';

/** Commands that the source's agent may be told after it has said where its numbers are. */
const COMMANDS_APART = 1_000_000;
/** A process that was killed has its locks for a moment yet. */
const LOCK_TRIES = 40;
const LOCK_AGAIN_MS = 25;
const NAME = 'that is received';

/** What the guest is given where it goes on, besides what it was. */
export interface PromoteOptions {
  /** Until when it may run there. */
  readonly lease?: Lease;
  /** Drives, by their number, that have another address from now on: a later generation's, say. */
  readonly files?: readonly { readonly drive: number; readonly file: string }[];
}

export interface Succession {
  readonly lease: Lease | undefined;
  /** Drives that were opened for it, by their number. */
  readonly drives: ReadonlyMap<number, OpenedDrive>;
}

/** The machine that stands by. */
export interface Understudy {
  readonly board: Board;
  /** Its clock, unshifted. */
  ticks(): number;
  /** The guest goes on here. */
  standIn(state: GuestState, shiftTicks: number, as: Succession): Promise<void>;
  kill(): Promise<unknown>;
}

export class Replica implements TargetMachine {
  readonly options: MachineOptions;
  readonly ticks: bigint;
  readonly nextCommand: number;
  readonly mtuBytes: number;
  readonly drives: OpenedDrive[] = [];
  readonly #hello: Hello;
  readonly #late = new Map<number, LateDisk>();
  #given: PromoteOptions = {};
  #machine: Understudy | undefined;
  /** The state of a round that comes to its end, and of the last one that was whole. */
  #read: GuestState | undefined;
  #state: GuestState | undefined;
  readonly #console = new ConsoleHistory();
  /** Writes to layers, one behind the other. */
  #layers: Promise<void> = Promise.resolve();
  /** Writes to disks of both hosts, by the round that they came with: it may be that they never reached the disk. */
  #waiting: { number: number; readonly changes: DriveChange[] }[] = [];
  #fresh: DriveChange[] = [];
  /** How much further the source's clock is, as far as it was heard; the most is the nearest to the truth. */
  #aheadTicks = Number.NEGATIVE_INFINITY;
  onDiscard: (() => void) | undefined;
  /** A layer does not take what the guest wrote: this can be no standby any more. */
  onBroken: ((error: unknown) => void) | undefined;

  /** Throws OperatorError. */
  constructor(hello: Hello, asked: RestoreOptions) {
    checkKind(hello.head, NAME);
    checkReplicable(hello);
    if (hello.drives.length !== hello.head.drives.length) throw badStream('its drives do not fit together');
    this.#hello = hello;
    this.ticks = BigInt(Math.floor(hello.ticks));
    this.nextCommand = Math.min(hello.nextCommand + COMMANDS_APART, 999_999_999);
    this.mtuBytes = hello.mtuBytes;
    this.options = { ...hello.head.options, name: hello.head.name, ...asked };
  }

  /** Opens what the guest has for itself, and what it only reads. Rejects with OperatorError `disk-changed` and others. */
  async open(): Promise<void> {
    const { head } = this.#hello;
    try {
      for (const [i, options] of (this.options.drives ?? []).entries()) {
        const was = head.drives[i];
        const offers = this.#hello.drives[i];
        if (was === undefined || offers === undefined) throw badStream('its drives do not fit together');
        if (options.readOnly || was.isHere) {
          const quick = this.options.clock !== 'instructions';
          this.drives.push(...(await openDrives([options], { forkable: false, quick })));
          continue;
        }
        const backend = new LateDisk(was.sizeBytes, offers);
        this.#late.set(i, backend);
        this.drives.push({
          ...{ options, backend },
          identity: async () => (await backend.disk?.identity()) ?? was.identity,
          close: async () => await backend.disk?.close(),
        });
      }
      await checkDrives(head, this.drives, NAME);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.drives.map((drive) => drive.close()));
  }

  /** The machine was made, and is held. Throws OperatorError where it is of other layouts. */
  attach(machine: Understudy): void {
    checkLayouts(machine.board, this.#hello.head.layouts, NAME);
    this.#machine = machine;
  }

  get driveSizes(): readonly number[] {
    return this.drives.map(({ backend }) => backend.sizeBytes);
  }

  get memoryBytes(): number {
    return this.#hello.head.options.memoryBytes;
  }

  checkPages(meta: Uint8Array, data: Uint8Array): number {
    const { map } = this.#board;
    const runs = decodeRuns(meta, map.pages);
    if (runs === undefined || countData(runs) * FRAME_BYTES !== data.length)
      throw badStream('a list of pages makes no sense');
    let pages = 0;
    for (const { first, count } of runs) {
      pages += count;
      for (let page = first; page < first + count; page++)
        if (map.declared(page) === 'nothing') throw badStream('pages where the machine has no memory');
    }
    return pages;
  }

  putPages(meta: Uint8Array, data: Uint8Array): void {
    const { map, memory } = this.#board;
    let at = 0;
    for (const { first, count, kind } of decodeRuns(meta, map.pages) ?? [])
      for (let page = first; page < first + count; page++) {
        if (kind === RUN.zero && map.isUntouched(page)) continue;
        const host = map.host(page, 'setup');
        if (host === 0) throw badStream('pages where the machine has no memory');
        if (kind === RUN.zero) memory.u8.fill(0, host, host + FRAME_BYTES);
        else {
          memory.u8.set(data.subarray(at, at + FRAME_BYTES), host);
          at += FRAME_BYTES;
        }
      }
  }

  putDisks(changes: readonly DriveChange[]): void {
    const layers = changes.filter(({ drive }) => this.drives[drive]?.temporary !== undefined);
    this.#fresh.push(...changes.filter(({ drive }) => this.#late.has(drive)));
    if (layers.length === 0) return;
    this.#layers = this.#layers.then(async () => {
      for (const { drive, change } of layers) await applyChanges(must(this.drives[drive]).backend, [change]);
    });
    this.#layers.catch((error: unknown) => this.onBroken?.(error));
  }

  applied(number: number): void {
    this.#waiting = this.#waiting.filter((one) => one.number > number);
  }

  heardClock(ticks: number): void {
    this.#aheadTicks = Math.max(this.#aheadTicks, ticks - must(this.#machine).ticks());
  }

  readState(state: Uint8Array): void {
    this.#read = readGuestState(state);
  }

  whole(number: number): void {
    const state = must(this.#read, 'a state is read before its round is whole');
    this.#console.push(state.console);
    this.#state = state;
    if (this.#fresh.length > 0) this.#waiting.push({ number, changes: this.#fresh });
    this.#fresh = [];
  }

  /** Before `run`. Throws OperatorError `bad-usage`. */
  give(given: PromoteOptions): void {
    if (given.lease !== undefined) checkLease(given.lease);
    for (const { drive } of given.files ?? []) {
      const { options, temporary } = this.drives[drive] ?? {};
      if (options !== undefined && temporary === undefined) continue;
      throw new OperatorError(
        'bad-usage',
        options === undefined ? `there is no drive ${drive}` : `drive ${drive} is the guest's own, and is here already`,
        'Name drives of both hosts, by their number from 0.',
      );
    }
    this.#given = given;
  }

  async run(): Promise<void> {
    const machine = must(this.#machine);
    const read = must(this.#state, 'only what is whole runs');
    await this.#layers;
    const drives = await this.#openDrives();
    // Never behind what the guest has seen of time.
    const least = Number(read.state.ticks) - machine.ticks();
    const state = { ...read, console: this.#console.bytes() };
    await machine.standIn(state, Math.max(this.#aheadTicks, least), { lease: this.#given.lease, drives });
  }

  /** Those that are opened where the guest runs, and those that have another address there. */
  async #openDrives(): Promise<ReadonlyMap<number, OpenedDrive>> {
    const drives = new Map<number, OpenedDrive>();
    const files = new Map(this.#given.files?.map(({ drive, file }) => [drive, file]));
    for (const [i, was] of this.drives.entries()) {
      const file = files.get(i);
      const late = this.#late.get(i);
      const options = { ...was.options, ...(file === undefined ? {} : { file }) };
      if (late !== undefined) {
        await this.#openLate(i, options, late);
        drives.set(i, { ...was, options });
      } else if (file !== undefined) {
        const opened = await this.#unlocked(options);
        this.#checkSize(opened, was.backend.sizeBytes);
        await was.close();
        drives.set(i, opened);
      }
    }
    return drives;
  }

  discard(): void {
    this.onDiscard?.();
  }

  /** The disk is this host's from here on, with what may not have reached it. */
  async #openLate(drive: number, options: OpenedDrive['options'], late: LateDisk): Promise<void> {
    const opened = await this.#unlocked(options);
    const changes: DiskChange[] = this.#waiting.flatMap((round) =>
      round.changes.filter((one) => one.drive === drive).map(({ change }) => change),
    );
    try {
      this.#checkSize(opened, late.sizeBytes);
      await applyChanges(opened.backend, changes);
      if (changes.length > 0) await opened.backend.flush();
    } catch (error) {
      await opened.close();
      throw error;
    }
    late.open(opened);
  }

  #checkSize({ options, backend }: OpenedDrive, sizeBytes: number): void {
    if (backend.sizeBytes === sizeBytes) return;
    throw new OperatorError(
      'disk-changed',
      `${options.file} has ${backend.sizeBytes} bytes here, and ${sizeBytes} where the guest was`,
      'Both hosts must have the same disk.',
    );
  }

  async #unlocked(options: OpenedDrive['options']): Promise<OpenedDrive> {
    for (let attempt = 1; ; attempt++) {
      try {
        return must((await openDrives([options], { forkable: false, quick: true }))[0]);
      } catch (error) {
        const isLocked = error instanceof OperatorError && error.code === 'disk-in-use';
        if (!isLocked || attempt === LOCK_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, LOCK_AGAIN_MS));
      }
    }
  }

  get #board(): Board {
    return must(this.#machine, 'the machine is made before it is filled').board;
  }
}

/** What its source would have refused, too (machine/machine.ts). Throws OperatorError `not-replicable`. */
function checkReplicable({ head: { options } }: Hello): void {
  if ((options.shares ?? []).length === 0 && options.clock !== 'instructions') return;
  throw new OperatorError(
    'not-replicable',
    'a guest with shared folders, or by the instruction clock, is not replicated',
    'Start it without -v and --clock instructions.',
  );
}
