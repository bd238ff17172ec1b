/**
 * Hostile guests: random bytes as code, page tables with random entries, in all modes. Whatever they do, the engine
 * leaves by an exit, and writes nothing but the guest's own writable frames, its vCPU's block and decoded code. The
 * frames of a second guest lie between those of the first, full of a pattern.
 */
import assert from 'node:assert/strict';
import { must } from '../base/assert.ts';
import { FEATURE, featuresOf, parseCpu, STATE_SCALARS, type StateField } from '../isa/index.ts';
import type { BareHartOptions, HotCode } from './engine.testing.ts';
import { generateEngine, Processor } from './engine.ts';
import { GuestPhysicalMap } from './guest-physical-map.ts';
import { MachineMemory } from './machine-memory.ts';
import { FRAME_BYTES, PLAN } from './memory-plan.ts';
import { Random } from './random.testing.ts';
import { CODE, RAM_BASE, RAM_PAGES, randomWorld, TABLES } from './random-world.testing.ts';
import { placeShadows, shadowBytes } from './shadows.ts';
import { MMIO_ANSWER, vcpuState } from './vcpu-state.ts';

const FIRST_PAGE = RAM_BASE / FRAME_BYTES;
const MAP_PAGES = FIRST_PAGE + RAM_PAGES;
/** Pages that the guest may only read: the last of its data. */
const READ_ONLY = { first: TABLES.first - 4, pages: 4 } as const;
const CANARY = 0xa5;
const PROGRAM_STEPS = 20_000;
const EXITS = new Set(['budget', 'mmio', 'wait', 'call', 'codeFull']);

/** A memory with two guests in it; the programs run in the first. */
export class Prison {
  readonly #memory: MachineMemory;
  readonly #own: GuestPhysicalMap;
  readonly #other: GuestPhysicalMap;
  readonly #vcpu: number;
  readonly #shadows: number;
  readonly #processor: Processor;
  readonly exits = new Map<string, number>();
  /** Changes between host and guest, and traps within guests. */
  nestedEvents = 0;

  readonly #hotCode: HotCode | undefined;

  readonly #extensions: ReadonlySet<string>;

  constructor(width: 32 | 64, translate?: BareHartOptions['translate'], cpu = 'rv64') {
    this.#extensions = parseCpu(cpu);
    const blockBytes = MAP_PAGES * 8 + vcpuState.sizeBytes + shadowBytes() + 4096;
    this.#memory = MachineMemory.create({
      width,
      shared: false,
      blockBytes,
      codeBytes: 1 << 20,
      frames: 2 * RAM_PAGES,
    });
    const code = generateEngine(this.#memory.shape.description, this.#extensions);
    code.tables.write(this.#memory.buffer);
    const map = (): GuestPhysicalMap =>
      new GuestPhysicalMap(this.#memory, this.#memory.block(MAP_PAGES * 4), MAP_PAGES);
    this.#own = map();
    // The block lies between the two maps: what runs out of it falls into one of them.
    this.#vcpu = this.#memory.block(vcpuState.sizeBytes);
    this.#shadows = this.#memory.block(shadowBytes());
    this.#other = map();
    for (const guest of [this.#own, this.#other]) guest.declare(RAM_BASE, RAM_PAGES * FRAME_BYTES, { readOnly: false });
    this.#own.declare(RAM_BASE + READ_ONLY.first * FRAME_BYTES, READ_ONLY.pages * FRAME_BYTES, { readOnly: true });
    for (let page = 0; page < RAM_PAGES; page++) {
      for (const guest of [this.#own, this.#other]) assert.notEqual(guest.host(FIRST_PAGE + page, 'setup'), 0);
      this.#frame(this.#other, page).fill(CANARY);
    }
    const module = new WebAssembly.Module(code.bytes);
    this.#processor = new Processor(module, this.#memory.memory, { width, ticks: () => 0 });
    const { signatures } = code;
    this.#hotCode = translate?.({ memory: this.#memory, processor: this.#processor, module, signatures });
  }

  /** Regions that were translated. */
  get regionsMade(): number {
    return this.#memory.header.regionsMade;
  }

  /** Runs the program of that seed; throws where it got out. */
  run(seed: number): void {
    const random = new Random(seed);
    const world = randomWorld(random, random.bytes(CODE.pages * FRAME_BYTES), this.#extensions.has('h'));
    const ram = world.ram.slice();
    const entries = new BigUint64Array(ram.buffer, TABLES.first * FRAME_BYTES, (TABLES.pages * FRAME_BYTES) / 8);
    for (let i = 0; i < entries.length; i++)
      if (random.chance(0.05)) entries[i] = random.wide() | (random.chance(0.7) ? 1n : 0n);
    for (let page = 0; page < RAM_PAGES; page++)
      this.#frame(this.#own, page).set(ram.subarray(page * FRAME_BYTES, (page + 1) * FRAME_BYTES));
    this.#memory.dropCode();
    const { buffer } = this.#memory;
    new Uint8Array(buffer, this.#vcpu, vcpuState.sizeBytes).fill(0);
    const state = vcpuState.view(buffer, this.#vcpu);
    placeShadows(this.#memory, state, this.#shadows);
    for (const field of Object.keys(STATE_SCALARS) as StateField[]) state[field] = world.state[field] ?? 0n;
    state.x.set(world.x);
    state.f.set(world.f);
    state.features = featuresOf(this.#extensions) & ~(random.chance(0.5) ? FEATURE.sbi : 0n);
    state.gpaMap = BigInt(this.#own.at);
    state.gpaPages = BigInt(MAP_PAGES);
    state.clockMode = 1;
    const before = this.#everythingElse();
    const { features } = state;
    this.#processor.contextChanged(this.#vcpu);
    this.#hotCode?.start(state);
    // Exits cost no steps: they are counted, too.
    for (let exits = 0; state.steps < PROGRAM_STEPS && exits < PROGRAM_STEPS; exits++) {
      if (random.chance(0.05)) state.lines = random.wide() & 0xaaan;
      if (this.#hotCode?.prepare(state) === false) {
        this.#memory.makeRoomForCode();
        this.#processor.flushTranslation(this.#vcpu);
        continue;
      }
      const exit = this.#processor.run(this.#vcpu, state, 1 + random.below(3000));
      assert.ok(EXITS.has(exit.kind), exit.kind);
      this.exits.set(exit.kind, (this.exits.get(exit.kind) ?? 0) + 1);
      if (exit.kind === 'codeFull') {
        this.#memory.makeRoomForCode();
        this.#processor.flushTranslation(this.#vcpu);
      }
      if (exit.kind === 'mmio') {
        assert.ok(exit.gpa < RAM_BASE || exit.gpa >= RAM_BASE + READ_ONLY.first * FRAME_BYTES, `${exit.gpa}`);
        assert.ok([1, 2, 4, 8].includes(exit.bytes), `${exit.bytes} bytes`);
        state.exitValue = random.wide();
        const answered = exit.isWrite ? MMIO_ANSWER.written : MMIO_ANSWER.read;
        state.mmioAnswer = random.chance(0.5) ? answered : MMIO_ANSWER.refused;
      }
    }
    assert.deepEqual(
      [state.gpaMap, state.gpaPages, state.features, state.x[0]],
      [BigInt(this.#own.at), BigInt(MAP_PAGES), features, 0n],
    );
    assert.ok([0n, 1n, 3n].includes(state.mode), `mode ${state.mode}`);
    assert.ok(state.virtual === 0n || (state.virtual === 1n && state.mode !== 3n), `V ${state.virtual}`);
    this.nestedEvents += Number(state.areaCounts.reduce((sum, count) => sum + count, 0n));
    const after = this.#everythingElse();
    for (const [name, bytes] of before)
      assert.ok(Buffer.compare(bytes, must(after.get(name))) === 0, `seed ${seed}: ${name} was written`);
    for (let page = 0; page < RAM_PAGES; page++)
      assert.ok(
        this.#frame(this.#other, page).every((byte) => byte === CANARY),
        `seed ${seed}: another guest's frame`,
      );
  }

  /** Copies of what no guest may change, by name. */
  #everythingElse(): Map<string, Uint8Array> {
    const { u8 } = this.#memory;
    const { first, pages } = READ_ONLY;
    const readOnly = Array.from({ length: pages }, (_, i) => this.#frame(this.#own, first + i));
    return new Map([
      ['memory below the header', u8.slice(0, PLAN.header)],
      ['a decoding table', u8.slice(PLAN.decodeBuckets, PLAN.regions)],
      ["the guest's map", u8.slice(this.#own.at, this.#own.at + MAP_PAGES * 4)],
      ["another guest's map", u8.slice(this.#other.at, this.#other.at + MAP_PAGES * 4)],
      ['a read-only page', Uint8Array.from(readOnly.flatMap((bytes) => [...bytes]))],
      ['memory behind the frames', u8.slice(this.#memory.header.frameLimit * FRAME_BYTES)],
    ]);
  }

  #frame(guest: GuestPhysicalMap, page: number): Uint8Array {
    const host = guest.host(FIRST_PAGE + page, 'read');
    return this.#memory.u8.subarray(host, host + FRAME_BYTES);
  }
}
