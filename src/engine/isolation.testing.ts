/**
 * Generated programs beside frames that are not theirs. Random code in all modes, behind random page tables that map all
 * of memory, while protection tables take rights away at random; some pages are wholly forbidden, and hold a secret.
 *
 * What must hold is that the secret makes no difference: a program that runs twice, with another secret each time, does
 * the same, to the last register and byte of memory; and the secret stays as it was. In steps of one instruction, each
 * violation is seen to be the fault that the architecture says, and nothing else.
 */
import assert from 'node:assert/strict';
import { must } from '../base/assert.ts';
import {
  createDecoder,
  DEFAULT_EXTENSIONS,
  FEATURE,
  featuresOf,
  STATE_SCALARS,
  type StateField,
} from '../isa/index.ts';
import { BareHart, type BareHartOptions } from './engine.testing.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { REACH } from './protection-code.ts';
import { ALL_RIGHTS, ProtectionTables, RIGHT } from './protection-tables.ts';
import { Random } from './random.testing.ts';
import { CodeGenerator, POINTERS } from './random-code.testing.ts';
import { CODE, DATA, RAM_BASE, RAM_BYTES, RAM_PAGES, randomWorld, TABLES, type World } from './random-world.testing.ts';
import { placeShadows, type ShadowOptions } from './shadows.ts';
import { PROTECTION_LOG_ENTRIES, PROTECTION_LOG_WORDS, VIOLATION_KINDS, vcpuState } from './vcpu-state.ts';

const FIRST_PAGE = RAM_BASE / FRAME_BYTES;
const MODES = [0, 1, 3] as const;
const PROGRAM_STEPS = 4000;
const CHUNK_STEPS = 400;
const SINGLE_STEPS = 600;
const MPRV = 1n << 17n;
const MPP = 3n << 11n;
/** Where M-mode's handler goes on (random-world.testing.ts). */
const WAYS = { count: 32, bytes: 128 } as const;
const KINDS = ['fetch', 'load', 'store', 'walk', 'update'] as const;
const plan = { frames: RAM_PAGES + 16, tables: MODES.length };
const decoder = createDecoder(DEFAULT_EXTENSIONS);

/** What a program is given: the same for both secrets. */
interface Trial {
  readonly world: World;
  /** Rights of each page, by mode. */
  readonly rights: ReadonlyMap<number, readonly number[]>;
  /** Pages that hold the secret. */
  readonly secret: readonly number[];
  /** Steps and interrupt lines of each chunk. */
  readonly chunks: readonly { readonly steps: number; readonly lines: bigint }[];
}

export class Isolation {
  /** Violations so far, by kind of access: to see that programs got somewhere. */
  readonly violations: Record<(typeof KINDS)[number], number> = { fetch: 0, load: 0, store: 0, walk: 0, update: 0 };
  readonly #hart: BareHart;
  readonly #tables: ProtectionTables;
  readonly #own: readonly number[];

  readonly #shadows: ShadowOptions | undefined;

  constructor(width: 32 | 64, translate?: BareHartOptions['translate'], shadows?: ShadowOptions) {
    this.#shadows = shadows;
    const blockBytes = ProtectionTables.sizeBytes(plan) + 64;
    const ram = { ramBase: RAM_BASE, ramBytes: RAM_BYTES };
    this.#hart = new BareHart({
      extensions: DEFAULT_EXTENSIONS,
      ...ram,
      width,
      blockBytes,
      translate,
      ...(shadows && { shadows }),
    });
    const { memory, map } = this.#hart;
    this.#tables = new ProtectionTables(memory, memory.block(ProtectionTables.sizeBytes(plan)), plan);
    this.#own = MODES.map(() => this.#tables.create());
    for (let page = 0; page < RAM_PAGES; page++) assert.notEqual(map.host(FIRST_PAGE + page, 'setup'), 0);
  }

  /** Regions that were translated. */
  get regionsMade(): number {
    return this.#hart.memory.header.regionsMade;
  }

  /** A program of that seed, with secrets that nobody may reach; throws where one made a difference. */
  run(seed: number): void {
    const random = new Random(seed);
    const trial = this.#trial(random, MODES);
    const outcome = (secret: number): unknown => {
      this.#load(trial, secret);
      for (const { steps, lines } of trial.chunks) {
        this.#hart.state.lines = lines;
        this.#hart.run(steps);
      }
      this.#count();
      return this.#everything(trial, secret, seed);
    };
    assert.deepEqual(outcome(0xa5), outcome(0x5a), `seed ${seed}: the secret made a difference`);
  }

  /**
   * The same in single steps, with a secret from supervisor and user mode, or from machine mode; for as long as the
   * program stays where that is forbidden.
   */
  step(seed: number): number {
    const random = new Random(seed);
    const isMachine = random.chance(0.4);
    const trial = this.#trial(random, isMachine ? [3] : [0, 1]);
    const way = wayOf(trial.world, random, isMachine);
    if (way === undefined) return 0;
    const outcome = (secret: number): { steps: number; everything: unknown } => {
      this.#load(trial, secret);
      const { state, processor, at } = this.#hart;
      Object.assign(state, { mode: way.mode, pc: way.pc, satp: way.satp, mstatus: way.mstatus });
      POINTERS.forEach((pointer, i) => {
        state.x[pointer] = must(way.pointers[i]);
      });
      processor.contextChanged(at);
      let steps = 0;
      const isForbidden = (): boolean =>
        isMachine ? state.mode === 3n && (state.mstatus & MPRV) === 0n : state.mode !== 3n;
      while (steps < SINGLE_STEPS && isForbidden()) {
        const before = state.protectionLogNext;
        this.#hart.run(1);
        steps++;
        if (state.protectionLogNext !== before) this.#checkTrap(before, seed);
      }
      this.#count();
      return { steps, everything: this.#everything(trial, secret, seed) };
    };
    const one = outcome(0xa5);
    assert.deepEqual(one, outcome(0x5a), `seed ${seed}: the secret made a difference`);
    return one.steps;
  }

  #trial(random: Random, forbidden: readonly number[]): Trial {
    const generator = new CodeGenerator(random, decoder, { csrs: 'all' });
    const world = randomWorld(random, generator.bytes(CODE.pages * FRAME_BYTES));
    const rights = new Map<number, readonly number[]>();
    const secret: number[] = [];
    for (let page = 0; page < RAM_PAGES; page++) {
      const isData = page >= DATA.first && page < DATA.first + DATA.pages;
      const isTable = page >= TABLES.first;
      if (isData && random.chance(0.3)) {
        secret.push(page);
        rights.set(
          page,
          MODES.map((mode) => (forbidden.includes(mode) ? 0 : ALL_RIGHTS)),
        );
      } else if (isTable && random.chance(0.4)) {
        // Read, but neither A nor D is set.
        rights.set(
          page,
          MODES.map(() => (random.chance(0.8) ? ALL_RIGHTS & ~RIGHT.write : ALL_RIGHTS)),
        );
      } else if (random.chance(isTable ? 0.05 : page >= CODE.first ? 0.1 : 0))
        rights.set(
          page,
          MODES.map(() => (random.chance(0.3) ? ALL_RIGHTS : random.below(8))),
        );
    }
    const chunks: { steps: number; lines: bigint }[] = [];
    for (let steps = 0; steps < PROGRAM_STEPS; ) {
      const chunk = 1 + random.below(CHUNK_STEPS);
      chunks.push({ steps: chunk, lines: random.chance(0.1) ? random.wide() & 0xa88n : 0n });
      steps += chunk;
    }
    return { world, rights, secret, chunks };
  }

  #load({ world, rights, secret }: Trial, value: number): void {
    const { memory, state, at, map, processor } = this.#hart;
    this.#hart.dropCode();
    const features = (featuresOf(DEFAULT_EXTENSIONS) | FEATURE.svadu) & ~FEATURE.sbi & ~FEATURE.sstc;
    const { gpaMap, gpaPages, hotThreshold, hotterThreshold, shadowPool } = state;
    memory.u8.fill(0, at, at + vcpuState.sizeBytes);
    Object.assign(state, { gpaMap, gpaPages, hotThreshold, hotterThreshold, features, clockMode: 1 });
    placeShadows(memory, state, Number(shadowPool), this.#shadows);
    for (const field of Object.keys(STATE_SCALARS) as StateField[]) state[field] = world.state[field] ?? 0n;
    state.x.set(world.x);
    state.f.set(world.f);
    state.features = features;
    for (let page = 0; page < RAM_PAGES; page++) {
      const content = world.ram.subarray(page * FRAME_BYTES, (page + 1) * FRAME_BYTES);
      this.#page(page).set(content);
      const own = rights.get(page) ?? MODES.map(() => ALL_RIGHTS);
      this.#tables.set(map.frame(FIRST_PAGE + page), this.#own, own);
    }
    for (const page of secret) this.#page(page).fill(value);
    MODES.forEach((mode, i) => {
      state.protection[mode] = this.#tables.pointer(must(this.#own[i]));
    });
    processor.contextChanged(at);
  }

  #page(page: number): Uint8Array {
    const host = this.#hart.map.host(FIRST_PAGE + page, 'read');
    return this.#hart.memory.u8.subarray(host, host + FRAME_BYTES);
  }

  /** All that a program could have carried away; the secret itself is as it was. */
  #everything({ secret }: Trial, value: number, seed: number): unknown {
    const { state } = this.#hart;
    for (const page of secret)
      assert.ok(
        this.#page(page).every((byte) => byte === value),
        `seed ${seed}: page ${page} of the secret was written`,
      );
    const pages = Array.from({ length: RAM_PAGES }, (_, page) => page).filter((page) => !secret.includes(page));
    return {
      scalars: Object.fromEntries((Object.keys(STATE_SCALARS) as StateField[]).map((field) => [field, state[field]])),
      x: [...state.x.subarray(0, 32)],
      f: [...state.f],
      steps: state.steps,
      violations: [...state.violations],
      memory: Buffer.concat(pages.map((page) => this.#page(page))).toString('latin1'),
    };
  }

  /** The violation that was just logged is the trap that was just taken. */
  #checkTrap(entry: number, seed: number): void {
    const { state } = this.#hart;
    const at = (entry & (PROTECTION_LOG_ENTRIES - 1)) * PROTECTION_LOG_WORDS;
    const [pc = 0n, va = 0n, , what = 0n] = state.protectionLog.subarray(at, at + PROTECTION_LOG_WORDS);
    const kind = Number((what >> 32n) & 0xffn);
    const isMachine = state.mode === 3n;
    const [cause, tval, epc] = isMachine
      ? [state.mcause, state.mtval, state.mepc]
      : [state.scause, state.stval, state.sepc];
    const causes = { [REACH.fetch]: [1n], [REACH.load]: [5n, 7n], [REACH.store]: [7n] }[kind] ?? [1n, 5n, 7n];
    assert.ok(causes.includes(cause), `seed ${seed}: ${KINDS[kind]} is trapped with cause ${cause}`);
    assert.deepEqual([tval, epc], [va, pc], `seed ${seed}: ${KINDS[kind]}`);
  }

  #count(): void {
    const { violations } = this.#hart.state;
    for (const mode of MODES)
      KINDS.forEach((kind, i) => {
        this.violations[kind] += must(violations[mode * VIOLATION_KINDS + i]);
      });
  }
}

/** A way of the world's handler that leads into a mode of the kind, as that handler would take it. */
function wayOf({ ram }: World, random: Random, isMachine: boolean) {
  const view = new DataView(ram.buffer);
  const ways = Array.from({ length: WAYS.count }, (_, i) => {
    const at = FRAME_BYTES + i * WAYS.bytes;
    const word = (index: number): bigint => view.getBigUint64(at + 8 * index, true);
    const mstatus = word(1);
    return {
      ...{ pc: word(0), mode: (mstatus >> 11n) & 3n, satp: word(2), mstatus: mstatus & ~(MPRV | MPP) },
      pointers: POINTERS.map((_, n) => word(3 + n)),
    };
  }).filter(({ mode }) => (mode === 3n) === isMachine);
  return ways.length === 0 ? undefined : random.pick(ways);
}
