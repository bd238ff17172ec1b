/**
 * Several harts on random programs against as many harts of the reference machine, in the same order: turns of random
 * length go to random harts. All share code, data, page tables and words for atomics; they rewrite each other's code,
 * change each other's page tables, and devices write in between. After each turn the hart's state and what was written
 * are compared.
 *
 * What the reference machine cannot know, and how it is kept out:
 * - translations: a hart that changes page tables has all others drop theirs before they run (a shootdown); one that
 *   translates before its own fence gives the program up;
 * - code: in some turns a hart goes on as in one long slice, not told what others began to execute. What it writes then
 *   may be executed stale, by anybody, until it is told, at the latest by somebody's fence.i (slow-hart.testing.ts); a
 *   program that does is given up. In all other turns every write is seen by the next fetch.
 */
import { must } from '../base/assert.ts';
import type { BareHartOptions } from '../engine/engine.testing.ts';
import { Random } from '../engine/random.testing.ts';
import { CodeGenerator } from '../engine/random-code.testing.ts';
import {
  CODE,
  DATA,
  type HartWorld,
  RAM_BASE,
  RAM_BYTES,
  RAM_PAGES,
  randomHart,
  randomWorld,
} from '../engine/random-world.testing.ts';
import { comparable, FIELDS, isSame, SlowHart, WatchedMemory, WatchedRam } from '../engine/slow-hart.testing.ts';
import {
  createDecoder,
  type Decoder,
  disassemble,
  FEATURE,
  featuresOf,
  parseCpu,
  pendingInterrupt,
} from '../isa/index.ts';
import { Harts } from './harts.testing.ts';
import { EVERYTHING } from './vcpu.ts';

export interface InterleavingOptions {
  readonly harts?: number;
  readonly threads?: 'one' | 'each';
  readonly width?: 32 | 64;
  readonly cpu?: string;
  readonly codeBytes?: number;
  readonly translate?: (decoders: { decoder: Decoder }) => BareHartOptions['translate'];
}

export interface InterleavingProgress {
  steps: number;
  turns: number;
  programs: number;
  givenUp: number;
  traps: number;
  /** Turns that went on without a look at the world while others had begun to execute code; shootdowns; fence.i. */
  unaware: number;
  shootdowns: number;
  fences: number;
}

/** Steps of a program by all harts, at most, and of a turn. */
const PROGRAM_STEPS = 12_000;
const TURN_STEPS = 300;
/** So many traps of each hart with nothing between them: the program goes nowhere any more. */
const HOPELESS_TRAPS = 40;
const FENCE_I = 0x0000_100f;

interface Turn {
  readonly hart: number;
  readonly steps: number;
  readonly lines: bigint;
  readonly goesOn: boolean;
  /** What a device writes before, and where in RAM. */
  readonly device: { readonly at: number; readonly bytes: Uint8Array } | undefined;
}

export class Interleaving {
  readonly progress: InterleavingProgress = {
    ...{ steps: 0, turns: 0, programs: 0, givenUp: 0, traps: 0, unaware: 0, shootdowns: 0, fences: 0 },
  };
  readonly #harts: Harts;
  readonly #decoder: Decoder;
  readonly #features: bigint;

  constructor(options: InterleavingOptions = {}) {
    const { harts = 2, threads = 'each', width = 32, cpu = 'rv64', codeBytes = 4 << 20, translate } = options;
    const extensions = parseCpu(cpu);
    this.#decoder = createDecoder(extensions);
    this.#features = (featuresOf(extensions) | FEATURE.svadu) & ~FEATURE.sbi & ~FEATURE.sstc;
    this.#harts = new Harts({
      ...{ harts, threads, width, codeBytes, extensions, ramBase: RAM_BASE, ramBytes: RAM_BYTES },
      translate: translate?.({ decoder: this.#decoder }),
    });
  }

  get regionsMade(): number {
    return this.#harts.memory.header.regionsMade;
  }
  get codeFlushes(): number {
    return this.#harts.memory.header.codeFlushes;
  }

  /** Runs the program of that seed; returns what differs, as text, or undefined. */
  run(seed: number): string | undefined {
    const { progress } = this;
    const random = new Random(seed);
    const generator = new CodeGenerator(random, this.#decoder, { csrs: 'all' });
    const world = randomWorld(random, withFences(random, generator.bytes(CODE.pages * 4096)));
    const hartWorlds = this.#harts.vcpus.map((_, id) => (id === 0 ? world : randomHart(random)));
    const pair = new Machines(this.#harts, world.ram, hartWorlds, this.#decoder, this.#features);
    progress.programs++;
    let last: Turn | undefined;
    for (let turns = 0, steps = 0; steps < PROGRAM_STEPS; turns++) {
      const turn = this.#turn(random, generator, last);
      last = turn;
      // Code memory is full now and then; behind it, each frame that is executed is news to the other harts.
      if (random.chance(0.05)) this.#harts.dropCode();
      steps += turn.steps;
      const end = pair.run(turn, progress);
      if (end === 'stale') {
        progress.givenUp++;
        return undefined;
      }
      if (end === 'differs')
        return `seed ${seed}, turn ${turns}: hart ${turn.hart}, ${turn.steps} steps\n${pair.describe(turn.hart).join('\n')}`;
      if (end !== 'same') break;
      progress.turns++;
      progress.steps += turn.steps;
    }
    // The engine may have set an A bit for the instruction that comes next on some hart: one step more of each.
    for (const { id } of this.#harts.vcpus) {
      if (pair.isSame) break;
      pair.run({ hart: id, steps: 1, lines: 0n, goesOn: false, device: undefined }, progress);
    }
    return pair.isSame ? undefined : `seed ${seed}: memory that nobody wrote\n${pair.describe(0).join('\n')}`;
  }

  #turn(random: Random, generator: CodeGenerator, last: Turn | undefined): Turn {
    // One that went on unaware comes out soon, most times before others can execute what it wrote.
    const comesOut = last?.goesOn === true && random.chance(0.7);
    const hart = comesOut ? last.hart : random.below(this.#harts.vcpus.length);
    const steps = 1 + random.below(random.chance(0.3) ? 8 : TURN_STEPS);
    const lines = random.chance(0.15) ? random.wide() & 0xa88n : 0n;
    const goesOn = !comesOut && random.chance(0.6);
    const pages = random.chance(0.7) ? CODE : DATA;
    const at = (pages.first + random.below(pages.pages - 1)) * 4096 + 2 * random.below(2048);
    const device = random.chance(0.05) ? { at, bytes: generator.bytes(4 * (1 + random.below(40))) } : undefined;
    return { hart, steps, lines, goesOn, device };
  }
}

/** With fence.i here and there, which chance alone makes rarely. */
function withFences(random: Random, code: Uint8Array): Uint8Array {
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  for (let i = 0; i < code.length / 400; i++) view.setUint32(random.below(code.length / 2 - 1) * 2, FENCE_I, true);
  return code;
}

/** The harts of the engine and those of the reference machine. */
class Machines {
  readonly #harts: Harts;
  readonly #memory: WatchedMemory;
  readonly #slow: readonly SlowHart[];
  readonly #clocks: readonly { steps: number }[];
  readonly #decoder: Decoder;
  readonly #trapsRunning: number[];
  readonly #trail: string[] = [];

  constructor(harts: Harts, ram: Uint8Array, worlds: readonly HartWorld[], decoder: Decoder, features: bigint) {
    this.#harts = harts;
    this.#decoder = decoder;
    this.#memory = new WatchedMemory(ram);
    this.#clocks = worlds.map(() => ({ steps: 0 }));
    this.#trapsRunning = worlds.map(() => 0);
    harts.write(RAM_BASE, ram);
    this.#slow = worlds.map((world, id) => {
      const slow = new SlowHart(new WatchedRam(this.#memory), must(this.#clocks[id]), { decoder, features });
      const { registers } = slow;
      Object.assign(registers, world.state);
      registers.mhartid = BigInt(id);
      registers.x.set(world.x);
      registers.f.set(world.f);
      const vcpu = must(harts.vcpus[id]);
      for (const field of FIELDS) vcpu.state[field] = registers[field];
      vcpu.state.x.set(registers.x);
      vcpu.state.f.set(registers.f);
      vcpu.state.steps = 0n;
      harts.changed(id);
      return slow;
    });
  }

  run(turn: Turn, progress: InterleavingProgress, isLate = false): 'same' | 'differs' | 'hopeless' | 'stale' {
    const slow = must(this.#slow[turn.hart]);
    if (turn.device && !isLate) this.#device(turn.device);
    const goesOn = turn.goesOn && this.#harts.mayGoOn(turn.hart);
    if (goesOn) slow.ram.isUnaware = this.#harts.isUnaware(turn.hart);
    else slow.ram.acknowledge();
    if (goesOn && slow.ram.isUnaware) progress.unaware++;
    if (this.#runSlow(turn, progress) === 'stale') return 'stale';
    this.#harts.run(turn.hart, turn.steps, { lines: turn.lines, goesOn });
    // Where the two stand before an interrupt that is due, the engine has taken it already.
    while (pendingInterrupt(slow) < 64n) {
      slow.step();
      slow.registers.reservationSize = 0n;
    }
    const difference = this.#difference(turn.hart);
    // The engine looks the next instruction up before it leaves, and may have set an A bit for it: one step more.
    if (difference === 'memory' && !isLate) return this.run({ ...turn, steps: 1 }, progress, true);
    if (difference !== 'none') return 'differs';
    this.#shootDown(turn.hart, progress);
    return this.#trapsRunning.every((traps) => traps > HOPELESS_TRAPS) ? 'hopeless' : 'same';
  }

  #runSlow(turn: Turn, progress: InterleavingProgress): 'ran' | 'stale' {
    const { hart } = turn;
    const slow = must(this.#slow[hart]);
    slow.registers.lines = turn.lines;
    for (let done = 0; done < turn.steps; ) {
      const { pc } = slow.registers;
      const step = slow.step();
      const isTrap = step.kind === 'trapped';
      if (isTrap) {
        slow.registers.reservationSize = 0n;
        progress.traps++;
      }
      this.#trapsRunning[hart] = isTrap ? must(this.#trapsRunning[hart]) + 1 : 0;
      this.#note(hart, pc, isTrap ? ` trap ${step.cause} ${step.tval.toString(16)}` : '');
      if (slow.ram.isStale) return 'stale';
      if (isTrap && step.isInterrupt) continue;
      if (slow.executed?.row.name === 'fence.i' && !isTrap) progress.fences++;
      done++;
      must(this.#clocks[hart]).steps++;
    }
    return 'ran';
  }

  #device({ at, bytes }: { readonly at: number; readonly bytes: Uint8Array }): void {
    this.#harts.write(RAM_BASE + at, bytes);
    this.#memory.bytes.set(bytes, at);
  }

  /** Whoever changed page tables has the others drop their translations, as the SBI's remote fences do. */
  #shootDown(hart: number, progress: InterleavingProgress): void {
    for (const [id, { ram }] of this.#slow.entries()) {
      if (id === hart || !ram.isDirty) continue;
      for (const fence of EVERYTHING) must(this.#harts.vcpus[id]).requestFence(fence);
      ram.isDirty = false;
      progress.shootdowns++;
    }
  }

  #difference(hart: number): 'none' | 'registers' | 'memory' {
    const { registers } = must(this.#slow[hart]);
    const { state } = must(this.#harts.vcpus[hart]);
    for (const field of FIELDS)
      if (comparable(field, registers[field]) !== comparable(field, state[field])) return 'registers';
    for (let i = 0; i < 32; i++) if (registers.x[i] !== state.x[i] || registers.f[i] !== state.f[i]) return 'registers';
    for (const page of this.#memory.written) if (!this.#isSamePage(page)) return 'memory';
    this.#memory.written.clear();
    return 'none';
  }

  #isSamePage(page: number): boolean {
    return isSame(this.#memory.bytes.subarray(page * 4096, (page + 1) * 4096), this.#harts.page(page));
  }

  #note(hart: number, pc: bigint, trap: string): void {
    const executed = must(this.#slow[hart]).executed;
    const text = executed
      ? `${executed.bits.toString(16)} ${disassemble(this.#decoder, executed.bits, pc)}`
      : 'nothing';
    this.#trail.push(`hart ${hart} ${pc.toString(16)} ${text}${trap}`);
    if (this.#trail.length > 16) this.#trail.shift();
  }

  /** Whether all of memory is the same, what nobody wrote included. */
  get isSame(): boolean {
    for (let page = 0; page < RAM_PAGES; page++) if (!this.#isSamePage(page)) return false;
    return true;
  }

  /** The last steps and what differs, for people. */
  describe(hart: number): string[] {
    const { registers } = must(this.#slow[hart]);
    const { state } = must(this.#harts.vcpus[hart]);
    const out = [...this.#trail];
    const note = (name: string, right: bigint | undefined, wrong: bigint | undefined): void => {
      if (right !== wrong) out.push(`${name}: reference ${right?.toString(16)} engine ${wrong?.toString(16)}`);
    };
    for (const field of FIELDS) note(field, comparable(field, registers[field]), comparable(field, state[field]));
    for (let i = 0; i < 32; i++) {
      note(`x${i}`, registers.x[i], state.x[i]);
      note(`f${i}`, registers.f[i], state.f[i]);
    }
    for (let page = 0, shown = 0; page < RAM_PAGES; page++) {
      const right = this.#memory.bytes.subarray(page * 4096, (page + 1) * 4096);
      const wrong = this.#harts.page(page);
      for (let i = 0; i < 4096 && shown < 16; i++) {
        if (right[i] === wrong[i]) continue;
        note((RAM_BASE + page * 4096 + i).toString(16), BigInt(must(right[i])), BigInt(must(wrong[i])));
        shown++;
      }
    }
    return out;
  }
}
