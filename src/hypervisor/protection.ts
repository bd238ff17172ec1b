/**
 * The protection of a partition (mechanism 1): its domains, each with a table of the frames that it may read, write and
 * execute, and what an operator takes away from them while it runs. A domain is a program that reaches memory: the
 * partition's user mode, its kernel, its firmware, each device that masters the bus.
 *
 *   page gets a frame ----> give: the frame enters the partition's tables, without what rules deny for that page
 *   frame is given back --> take: no domain has it; whoever gets it next finds zeros in it
 *   rule changes ---------> tryChange: all processors outside; rules, tables, epoch. isKnown: they forgot what they
 *                           had cached, so that the very next access of each is checked anew
 *
 * Devices do their DMA within a call on the thread that changes rules, or on a processor's that counts as inside the engine
 * meanwhile, and keep no translation: nothing of theirs is under way when rules change. All that is known lies in shared
 * memory; each thread has a Protection over it.
 */
import { assert, must } from '../base/assert.ts';
import { array, struct, type View } from '../base/struct.ts';
import {
  ALL_RIGHTS,
  FRAME_BYTES,
  type FrameRights,
  type GuestPhysicalMap,
  headerLayout,
  type MachineMemory,
  PLAN,
  type ProtectionTables,
  type ProtectionUsage,
  REACH,
  RIGHT,
  VIOLATION_KINDS,
} from '../engine/index.ts';
import type { Exclusion } from './exclusion.ts';
import {
  changed,
  DENIED_WORDS,
  type DeniedRange,
  deniedTo,
  MOST_DOMAINS,
  MOST_RANGES,
  nibbles,
  ofWords,
  type PageRange,
  toWords,
} from './protection-rules.ts';
import type { Vcpu } from './vcpu.ts';
import type { World } from './world.ts';

/** Domains of programs have the number of the privilege mode in which they run; those of devices follow. */
export const DOMAIN = { user: 0, kernel: 1, firmware: 3, firstDevice: 4 } as const;
/** Of the log of accesses that no hart made itself; a power of two. Entries as those of vCPUs. */
export const DEVICE_LOG_ENTRIES = 256;
export const DEVICE_LOG_WORDS = 4;
/** In place of a privilege mode: a device, or the built-in SBI for its caller. */
export const BY_DEVICE = 0xff;
export const BY_SBI = 0xfe;

export const protectionBlock = struct('protection', {
  /** Address of each domain's table; 0: there is no such domain. */
  tables: array('u32', MOST_DOMAINS),
  ranges: 'u32',
  first: array('u32', MOST_RANGES),
  end: array('u32', MOST_RANGES),
  /** DENIED_WORDS for each. */
  denied: array('u64', MOST_RANGES * DENIED_WORDS),
  /** Violations of devices, and of the SBI for its callers: by domain, then by REACH. */
  violations: array('u32', MOST_DOMAINS * VIOLATION_KINDS),
  logNext: 'u32',
  log: array('u64', DEVICE_LOG_ENTRIES * DEVICE_LOG_WORDS),
});

export interface Domain {
  /** Its place among the partition's domains: see DOMAIN. */
  readonly number: number;
  /** `kernel`, `user`, `firmware`, `device:disk0`. */
  readonly name: string;
}

/** Some domains' rights (bits of RIGHT) to some pages are taken away, or given back. */
export interface RightsChange extends PageRange {
  readonly domains: readonly number[];
  readonly rights: number;
  readonly isAllowed: boolean;
}

/** Where a partition's vCPUs run: what is theirs, and the barrier of all processors. */
export interface Ground {
  readonly world: World;
  readonly exclusion: Exclusion;
}

export class Protection implements FrameRights {
  readonly domains: readonly Domain[];
  readonly block: View<typeof protectionBlock.fields>;
  readonly #memory: MachineMemory;
  readonly #tables: ProtectionTables;
  readonly #map: GuestPhysicalMap;
  readonly #vcpus: readonly Vcpu[];
  readonly #known: number[] = [];
  /** What `set` is given: page after page is handed out. */
  readonly #rights: number[];

  /** `at`: a zeroed block, `devices`: names of what masters the bus; both the same on every thread. */
  constructor(
    memory: MachineMemory,
    at: number,
    parts: {
      readonly tables: ProtectionTables;
      readonly map: GuestPhysicalMap;
      readonly vcpus: readonly Vcpu[];
      readonly devices: readonly string[];
    },
  ) {
    this.block = protectionBlock.view(memory.buffer, at);
    this.#memory = memory;
    this.#tables = parts.tables;
    this.#map = parts.map;
    this.#vcpus = parts.vcpus;
    this.domains = [
      { number: DOMAIN.kernel, name: 'kernel' },
      { number: DOMAIN.user, name: 'user' },
      { number: DOMAIN.firmware, name: 'firmware' },
      ...parts.devices.map((name, i) => ({ number: DOMAIN.firstDevice + i, name: `device:${name}` })),
    ];
    this.#rights = this.domains.map(() => 0);
    assert(
      this.domains.every(({ number }) => number < MOST_DOMAINS),
      'more devices than there are domains',
    );
    parts.map.rights = this;
  }

  /** Makes the tables, once for all threads, and registers them with the vCPUs. */
  powerOn(): void {
    this.#tables.exclusive(() => {
      for (const { number } of this.domains) this.block.tables[number] = this.#tables.create();
    });
    for (const { state } of this.#vcpus) {
      for (const mode of [DOMAIN.user, DOMAIN.kernel, DOMAIN.firmware])
        state.protection[mode] = this.#tables.pointer(must(this.block.tables[mode]));
      state.seenProtection = this.epoch;
    }
  }

  /**
   * What the other partition's domains may do with its frames, this one's may too, and the same is denied to them. Both have
   * the same domains, and no vCPU of either runs. Behind powerOn.
   */
  copyFrom(other: Protection): void {
    const { block } = this;
    other.exclusive(() =>
      this.exclusive(() => {
        this.#tables.copyFrom(other.#tables);
        const distance = must(block.tables[DOMAIN.kernel]) - must(other.block.tables[DOMAIN.kernel]);
        assert(
          this.domains.every(({ number: n }) => must(block.tables[n]) - must(other.block.tables[n]) === distance),
          'both were powered on alike',
        );
        block.ranges = other.block.ranges;
        for (const field of ['first', 'end'] as const) block[field].set(other.block[field]);
        block.denied.set(other.block.denied);
      }),
    );
  }

  /** Number of the last change. */
  get epoch(): number {
    return Atomics.load(this.#memory.u32, EPOCH);
  }

  get usage(): ProtectionUsage {
    return this.#tables.usage;
  }

  exclusive<T>(act: () => T): T {
    return this.#tables.exclusive(act);
  }

  give(frame: number, page: number): void {
    const most = this.#map.declared(page) === 'read-only' ? RIGHT.read | RIGHT.execute : ALL_RIGHTS;
    this.#set(frame, most, this.#deniedAt(page));
  }

  take(frame: number): void {
    this.#set(frame, 0, 0n);
  }

  /** For Processor.onHanded. */
  handed(frame: number, page: number): void {
    this.exclusive(() => (page < 0 ? this.take(frame) : this.give(frame, page)));
  }

  /** A frame goes back to the machine, for whoever comes next: nobody has rights to it, and nothing of its content stays. */
  surrender(frame: number): void {
    this.exclusive(() => this.take(frame));
    this.#memory.u8.fill(0, frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
  }

  /** Whether the domain may do that (REACH) to the frame at a linear address. Else it is counted and logged. */
  permits(domain: number, host: number, gpa: number, kind: number, by: number): boolean {
    const frame = Math.floor(host / FRAME_BYTES);
    const right = kind === REACH.store ? RIGHT.write : RIGHT.read;
    if ((this.#tables.rights(must(this.block.tables[domain]), frame) & right) !== 0) return true;
    this.exclusive(() => this.#note(domain, frame, gpa, kind, by));
    return false;
  }

  /** What a domain's table says of the page's frame; undefined: it has none. */
  rights(domain: number, page: number): number | undefined {
    const frame = this.#map.frame(page);
    return frame === 0 ? undefined : this.frameRights(domain, frame);
  }

  /** The same of a frame by its number, whoever has it. */
  frameRights(domain: number, frame: number): number {
    return this.#tables.rights(must(this.block.tables[domain]), frame);
  }

  /** What is denied, range by range. */
  get ranges(): readonly DeniedRange[] {
    const { ranges, first, end } = this.block;
    return Array.from({ length: ranges }, (_, i) => ({
      first: must(first[i]),
      end: must(end[i]),
      denied: this.#denied(i),
    }));
  }

  /**
   * Changes rights, while no processor is in the engine. The number of the change, to be asked for with isKnown; undefined:
   * somebody else keeps the processors outside just now, and it is to be tried again. On the thread that serves the devices.
   * Throws OperatorError where the change cannot be kept; then nothing has changed.
   */
  tryChange({ world, exclusion }: Ground, change: RightsChange): number | undefined {
    const bits = nibbles(change.domains, change.rights);
    const ranges = changed(this.ranges, change, bits, change.isAllowed);
    const isDone = exclusion.exclude(() => {
      this.exclusive(() => this.#apply(ranges, change, world));
      Atomics.add(this.#memory.u32, EPOCH, 1);
    });
    return isDone ? this.epoch : undefined;
  }

  /** Whether no vCPU goes on with what it had cached before that change: what it does next is checked anew. */
  isKnown(epoch: number): boolean {
    return this.#vcpus.every(({ busy, state }) => !busy || ((state.seenProtection - epoch) | 0) >= 0);
  }

  /** Violations of a domain so far, by REACH. */
  violations(domain: number): readonly number[] {
    const own = (counters: Uint32Array): Uint32Array =>
      counters.subarray(domain * VIOLATION_KINDS, (domain + 1) * VIOLATION_KINDS);
    const all = [...own(this.block.violations)];
    if (domain < DOMAIN.firstDevice)
      for (const { state } of this.#vcpus)
        own(state.violations).forEach((count, kind) => (all[kind] = (all[kind] ?? 0) + count));
    return all;
  }

  #apply(ranges: readonly DeniedRange[], change: RightsChange, world: World): void {
    const { block } = this;
    ranges.forEach(({ first, end, denied }, i) => {
      block.first[i] = first;
      block.end[i] = end;
      block.denied.set(toWords(denied), i * DENIED_WORDS);
    });
    block.ranges = ranges.length;
    let [least, most] = [Number.POSITIVE_INFINITY, 0];
    for (let page = change.first; page < change.end; page++) {
      const frame = this.#map.frame(page);
      if (frame === 0) continue;
      this.give(frame, page);
      least = Math.min(least, frame);
      most = Math.max(most, frame);
    }
    // Chunks that end are used anew: not while somebody may be on the way to one, outside the engine.
    if (most > 0 && world.isStill) this.#tables.shareEqual(this.#all, least, most);
  }

  #deniedAt(page: number): bigint {
    const { ranges, first, end } = this.block;
    for (let i = 0; i < ranges; i++) if (page >= must(first[i]) && page < must(end[i])) return this.#denied(i);
    return 0n;
  }

  /** Of a range. */
  #denied(range: number): bigint {
    return ofWords(this.block.denied.subarray(range * DENIED_WORDS, (range + 1) * DENIED_WORDS));
  }

  #set(frame: number, most: number, denied: bigint): void {
    const rights = this.#rights;
    if (denied === 0n) rights.fill(most);
    else this.domains.forEach(({ number }, i) => (rights[i] = most & ~deniedTo(denied, number)));
    this.#tables.set(frame, this.#all, rights);
  }

  /** The tables of the domains, in their order: they are there when the first board has been powered on. */
  get #all(): readonly number[] {
    if (this.#known.length === 0)
      this.#known.push(...this.domains.map(({ number }) => must(this.block.tables[number])));
    return this.#known;
  }

  #note(domain: number, frame: number, gpa: number, kind: number, by: number): void {
    const { violations, log, logNext } = this.block;
    const counter = domain * VIOLATION_KINDS + kind;
    violations[counter] = (violations[counter] ?? 0) + 1;
    const what = BigInt(frame) | (BigInt(kind) << 32n) | (BigInt(domain) << 40n) | (BigInt(by) << 48n);
    log.set([0n, 0n, BigInt(gpa), what], (logNext & (DEVICE_LOG_ENTRIES - 1)) * DEVICE_LOG_WORDS);
    this.block.logNext = (logNext + 1) >>> 0;
  }
}

const EPOCH = (PLAN.header + headerLayout.offset.protectionEpoch) / 4;
