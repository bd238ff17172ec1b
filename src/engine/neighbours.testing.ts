/**
 * Generated programs of two partitions on one processor, which have the same guest-physical addresses, and whose frames lie
 * side by side, one of each in turn. Each aims at the other's frames: its guest-physical map leads there by mistake, behind
 * its own RAM; leaves and tables of its page tables do; its pointers do. Its protection tables know better.
 *
 * What must hold: a program that runs in turns with the other does what it does alone, to the last register and byte; and
 * while it runs alone, nothing of the other changes.
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
import { GuestPhysicalMap } from './guest-physical-map.ts';
import { FRAME_BYTES, GPA } from './memory-plan.ts';
import { forgetProfile } from './profile.ts';
import { ALL_RIGHTS, ProtectionTables } from './protection-tables.ts';
import { Random } from './random.testing.ts';
import { CodeGenerator } from './random-code.testing.ts';
import { CODE, RAM_BASE, RAM_BYTES, RAM_PAGES, randomWorld, TABLES, type World } from './random-world.testing.ts';
import { placeShadows, shadowBytes } from './shadows.ts';
import { MMIO_ANSWER, type VcpuState, VIOLATION_KINDS, vcpuState } from './vcpu-state.ts';

const FIRST_PAGE = RAM_BASE / FRAME_BYTES;
const MODES = [0, 1, 3] as const;
const TURNS = 24;
const TURN_STEPS = 300;
/** Of the world's ways on (random-world.testing.ts): where, how many, of how many bytes; pointers in each. */
const WAYS = { at: FRAME_BYTES, count: 32, bytes: 128, pointers: 24, end: 64 } as const;
const plan = { frames: 2 * RAM_PAGES + 32, tables: 2 * MODES.length };
const decoder = createDecoder(DEFAULT_EXTENSIONS);

interface Member {
  readonly state: VcpuState;
  readonly at: number;
  readonly map: GuestPhysicalMap;
  readonly shadows: number;
  readonly tables: readonly number[];
}

export class Neighbours {
  /** Accesses to the other's frames so far that protection tables forbade. */
  violations = 0;
  readonly #hart: BareHart;
  readonly #tables: ProtectionTables;
  readonly #members: readonly [Member, Member];

  constructor(width: 32 | 64, translate?: BareHartOptions['translate']) {
    const mapPages = FIRST_PAGE + 2 * RAM_PAGES;
    this.#hart = new BareHart({
      ...{ extensions: DEFAULT_EXTENSIONS, ramBase: RAM_BASE, ramBytes: RAM_BYTES, width, translate },
      moreFrames: RAM_PAGES + 16,
      blockBytes:
        ProtectionTables.sizeBytes(plan) + 2 * (mapPages * 4 + 64) + vcpuState.sizeBytes + shadowBytes() + 256,
    });
    const { memory, state, at, hotCode } = this.#hart;
    this.#tables = new ProtectionTables(memory, memory.block(ProtectionTables.sizeBytes(plan)), plan);
    const map = (): GuestPhysicalMap => {
      const made = new GuestPhysicalMap(memory, memory.block(mapPages * 4), mapPages);
      made.declare(RAM_BASE, RAM_BYTES, { readOnly: false });
      return made;
    };
    const tables = (): readonly number[] => MODES.map(() => this.#tables.create());
    const other = memory.block(vcpuState.sizeBytes);
    const otherState = vcpuState.view(memory.buffer, other);
    this.#members = [
      { state, at, map: map(), shadows: Number(state.shadowPool), tables: tables() },
      { state: otherState, at: other, map: map(), shadows: memory.block(shadowBytes()), tables: tables() },
    ];
    placeShadows(memory, otherState, this.#member(1).shadows);
    hotCode?.start(otherState);
    this.#placeFrames();
  }

  /** Two programs of that seed, alone and in turns; throws where one of them made a difference to the other. */
  run(seed: number): void {
    const random = new Random(seed);
    const worlds = this.#members.map((_, i) => this.#world(random, i));
    const steps = Array.from({ length: TURNS }, () => 1 + random.below(TURN_STEPS));
    const alone = [0, 1].map((one) => {
      const before = this.#load(worlds);
      for (const count of steps) this.#run(one, count);
      assert.deepEqual(this.#everything(1 - one), before[1 - one], `seed ${seed}: the one beside it changed`);
      this.#count(one);
      return this.#everything(one);
    });
    this.#load(worlds);
    for (const count of steps) for (const one of [0, 1]) this.#run(one, count);
    for (const one of [0, 1])
      assert.deepEqual(this.#everything(one), alone[one], `seed ${seed}: partition ${one} is not as it is alone`);
  }

  /** One frame of each in turn; behind its own RAM the map of each leads to the other's. */
  #placeFrames(): void {
    for (let page = 0; page < RAM_PAGES; page++)
      for (const { map } of this.#members) assert.notEqual(map.host(FIRST_PAGE + page, 'setup'), 0);
    this.#members.forEach(({ map, tables }, one) => {
      const other = this.#member(1 - one);
      for (let page = 0; page < RAM_PAGES; page++) {
        const entry = (other.map.frame(FIRST_PAGE + page) << 8) | GPA.ram | GPA.present;
        this.#hart.memory.u32[map.at / 4 + FIRST_PAGE + RAM_PAGES + page] = entry;
        const rights = MODES.map(() => ALL_RIGHTS);
        this.#tables.set(map.frame(FIRST_PAGE + page), tables, rights);
      }
    });
  }

  #member(one: number): Member {
    return must(this.#members[one]);
  }

  /** A world whose page tables and pointers lead to the other's frames, now and then. */
  #world(random: Random, one: number): World {
    const world = randomWorld(
      random,
      new CodeGenerator(random, decoder, { csrs: 'all' }).bytes(CODE.pages * FRAME_BYTES),
    );
    const view = new DataView(world.ram.buffer);
    const abroad = (): number => {
      const page = random.below(RAM_PAGES);
      // By its own map, or by the frame's number, which means nothing there.
      return random.chance(0.8) ? FIRST_PAGE + RAM_PAGES + page : this.#member(1 - one).map.frame(FIRST_PAGE + page);
    };
    for (let at = TABLES.first * FRAME_BYTES; at < RAM_BYTES; at += 8) {
      const entry = view.getBigUint64(at, true);
      if ((entry & 1n) === 0n || !random.chance(0.08)) continue;
      const kept = entry & ~(((1n << 44n) - 1n) << 10n);
      view.setBigUint64(at, kept | (BigInt(abroad()) << 10n), true);
    }
    for (let way = 0; way < WAYS.count; way++)
      for (let at = WAYS.pointers; at < WAYS.end; at += 8)
        if (random.chance(0.1))
          view.setBigUint64(
            WAYS.at + way * WAYS.bytes + at,
            BigInt(abroad() * FRAME_BYTES + 8 * random.below(512)),
            true,
          );
    return world;
  }

  /** Both as at the beginning; what there is of each. */
  #load(worlds: readonly World[]): unknown[] {
    const { memory, processor } = this.#hart;
    this.#dropCode(() => memory.dropCode());
    this.#members.forEach(({ state, at, map, shadows, tables }, one) => {
      const world = must(worlds[one]);
      const features = (featuresOf(DEFAULT_EXTENSIONS) | FEATURE.svadu) & ~FEATURE.sbi & ~FEATURE.sstc;
      const { hotThreshold, hotterThreshold } = state;
      memory.u8.fill(0, at, at + vcpuState.sizeBytes);
      Object.assign(state, { hotThreshold, hotterThreshold, clockMode: 1 });
      state.gpaMap = BigInt(map.at);
      state.gpaPages = BigInt(map.pages);
      placeShadows(memory, state, shadows);
      for (const field of Object.keys(STATE_SCALARS) as StateField[]) state[field] = world.state[field] ?? 0n;
      state.x.set(world.x);
      state.f.set(world.f);
      state.features = features;
      for (let page = 0; page < RAM_PAGES; page++)
        this.#page(one, page).set(world.ram.subarray(page * FRAME_BYTES, (page + 1) * FRAME_BYTES));
      MODES.forEach((mode, i) => {
        state.protection[mode] = this.#tables.pointer(must(tables[i]));
      });
      processor.contextChanged(at);
    });
    return this.#members.map((_, one) => this.#everything(one));
  }

  #run(one: number, steps: number): void {
    const { state, at } = this.#member(one);
    const { memory, processor, hotCode } = this.#hart;
    const end = state.steps + BigInt(steps);
    while (state.steps < end) {
      while (hotCode?.prepare(state) === false) this.#dropCode(() => memory.makeRoomForCode());
      const { kind } = processor.run(at, state, Number(end - state.steps));
      if (kind === 'mmio') state.mmioAnswer = MMIO_ANSWER.refused;
      else if (kind === 'codeFull') this.#dropCode(() => memory.makeRoomForCode());
      else if (kind !== 'budget') return;
    }
  }

  #dropCode(act: () => void): void {
    act();
    for (const { at, state } of this.#members) {
      this.#hart.processor.flushTranslation(at);
      forgetProfile(state);
    }
  }

  #page(one: number, page: number): Uint8Array {
    const host = this.#member(one).map.host(FIRST_PAGE + page, 'read');
    return this.#hart.memory.u8.subarray(host, host + FRAME_BYTES);
  }

  #everything(one: number): unknown {
    const { state } = this.#member(one);
    const pages = Array.from({ length: RAM_PAGES }, (_, page) => this.#page(one, page));
    return {
      scalars: Object.fromEntries((Object.keys(STATE_SCALARS) as StateField[]).map((field) => [field, state[field]])),
      x: [...state.x.subarray(0, 32)],
      f: [...state.f],
      steps: state.steps,
      violations: [...state.violations],
      memory: Buffer.concat(pages).toString('latin1'),
    };
  }

  #count(one: number): void {
    const { violations } = this.#member(one).state;
    for (const mode of MODES)
      for (let kind = 0; kind < VIOLATION_KINDS; kind++)
        this.violations += must(violations[mode * VIOLATION_KINDS + kind]);
  }
}
