/**
 * The engine in lockstep with the reference machine on random programs. Both run the same number of steps; then all
 * registers, CSRs and memory are compared. A difference is run again from the start and halved down to the first step
 * that differs.
 *
 * A program whose stores reach its page tables and that translates before it fences is given up: the reference
 * machine caches nothing, and the engine may. The engine clears the reservation at traps, which the manual leaves
 * open: it is cleared here for the reference machine, too. Sstc's timer is off: its line moves when the engine is
 * left, which is not a matter of steps. Untranslated addresses of more
 * than 56 bits fault in the engine, those of cache-block management among them, where the reference machine faults
 * only what reads or writes.
 */
import { assert } from '../base/assert.ts';
import {
  createDecoder,
  type Decoder,
  disassemble,
  FEATURE,
  featuresOf,
  parseCpuModel,
  pendingInterrupt,
  type StateField,
} from '../isa/index.ts';
import { BareHart, type BareHartOptions } from './engine.testing.ts';
import type { Exit } from './engine.ts';
import { Random } from './random.testing.ts';
import { CodeGenerator } from './random-code.testing.ts';
import { CODE, RAM_BASE, RAM_BYTES, randomWorld, type World } from './random-world.testing.ts';
import { comparable, FIELDS, isSame, SlowHart, WatchedMemory, WatchedRam } from './slow-hart.testing.ts';

/** What the harts have. */
export interface Configuration {
  readonly decoder: Decoder;
  readonly features: bigint;
  readonly hasGuests: boolean;
  readonly offence: ((exit: Exit) => void) | undefined;
}

export interface LockstepOptions {
  readonly width?: 32 | 64;
  readonly cpu?: string;
  /** Makes what makes a translator; `emulation` decodes what is emulated, too. */
  readonly translate?: (decoders: { decoder: Decoder; emulation: Decoder }) => BareHartOptions['translate'];
  /** Code memory: with little, all code is dropped again and again. */
  readonly codeBytes?: number;
  readonly shadows?: BareHartOptions['shadows'];
  readonly emulation?: { readonly overlays: number; attach(engine: BareHart): (exit: Exit) => void };
}
/** Steps of a program, at most, and at once. */
const PROGRAM_STEPS = 8000;
const CHUNK_STEPS = 200;
/** So many traps with nothing between them: the program goes nowhere any more. */
const HOPELESS_TRAPS = 40;

export interface Progress {
  steps: number;
  programs: number;
  givenUp: number;
  traps: number;
  /** Steps of guests. */
  guestSteps: number;
  /** Times each row was executed. */
  readonly rows: Map<string, number>;
}

interface Chunk {
  readonly steps: number;
  readonly lines: bigint;
}

export class Lockstep {
  readonly progress: Progress = { steps: 0, programs: 0, givenUp: 0, traps: 0, guestSteps: 0, rows: new Map() };
  readonly #engine: BareHart;
  readonly #configuration: Configuration;

  /**
   * `cpu` as operators name it (isa/extensions.ts); the reference machine has what is emulated. `emulation`: what
   * answers the engine's exits where it is without.
   */
  constructor({ width = 32, cpu = 'rv64', codeBytes = 4 << 20, shadows, emulation, translate }: LockstepOptions = {}) {
    const { extensions, emulated } = parseCpuModel(cpu);
    const features = (featuresOf(extensions) | FEATURE.svadu) & ~FEATURE.sbi & ~FEATURE.sstc;
    const decoder = createDecoder(new Set([...extensions, ...emulated]));
    this.#engine = new BareHart({
      ...{ extensions, emulated, ramBase: RAM_BASE, ramBytes: RAM_BYTES, width, codeBytes },
      ...{ overlays: emulation?.overlays ?? 0, blockBytes: 4096 },
      ...(shadows ? { shadows } : {}),
      ...(translate ? { translate: translate({ decoder: createDecoder(extensions), emulation: decoder }) } : {}),
    });
    const hasGuests = extensions.has('h');
    this.#configuration = { decoder, features, hasGuests, offence: emulation?.attach(this.#engine) };
  }

  /** Regions that were translated. */
  get regionsMade(): number {
    return this.#engine.memory.header.regionsMade;
  }

  /** Steps that regions did in the last program. */
  get regionSteps(): bigint {
    return this.#engine.state.regionSteps;
  }

  /** Runs the program of that seed; returns what differs, as text, or undefined. */
  run(seed: number): string | undefined {
    const random = new Random(seed);
    const { decoder, hasGuests } = this.#configuration;
    // Most instructions of the hypervisor extension are of that kind.
    const weights = hasGuests ? { weights: { system: 8, csr: 8 } } : {};
    const generator = new CodeGenerator(random, decoder, { csrs: 'all', ...weights });
    const world = randomWorld(random, generator.bytes(CODE.pages * 4096), hasGuests);
    const pair = new Pair(this.#engine, world, this.#configuration);
    const chunks: Chunk[] = [];
    this.progress.programs++;
    while (pair.steps < PROGRAM_STEPS) {
      const chunk = {
        steps: 1 + random.below(random.chance(0.3) ? 8 : CHUNK_STEPS),
        lines: random.chance(0.15) ? random.wide() & 0xa88n : 0n,
      };
      chunks.push(chunk);
      const end = pair.run(chunk, this.progress);
      if (end === 'stale') {
        this.progress.givenUp++;
        return undefined;
      }
      if (end === 'hopeless') break;
      if (end === 'differs') return `seed ${seed}: ${this.#describe(world, chunks, pair)}`;
    }
    this.progress.steps += pair.steps;
    if (pair.differsSomewhere()) pair.run({ steps: 1, lines: 0n });
    if (pair.differsSomewhere()) return `seed ${seed}: memory that nobody wrote\n${pair.differences().join('\n')}`;
    return undefined;
  }

  #describe(world: World, chunks: readonly Chunk[], found: Pair): string {
    const first = [...found.trail(), ...found.differences()].join('\n');
    const last = chunks.at(-1);
    assert(last, 'a chunk differed');
    const replay = (steps: number): Pair | undefined => {
      const pair = new Pair(this.#engine, world, this.#configuration);
      for (const chunk of chunks.slice(0, -1)) pair.run(chunk);
      return pair.run({ ...last, steps }) === 'differs' ? pair : undefined;
    };
    let [same, differs] = [0, last.steps];
    while (differs - same > 1) {
      const middle = Math.floor((same + differs) / 2);
      if (replay(middle)) differs = middle;
      else same = middle;
    }
    const pair = replay(differs);
    if (!pair) return `differs after ${last.steps} steps at once, not when run again\n${first}`;
    const place = chunks.slice(0, -1).reduce((sum, chunk) => sum + chunk.steps, 0) + differs;
    return `step ${place} (${differs} of a run of ${last.steps})\n${pair.trail().join('\n')}\n${pair.differences().join('\n')}`;
  }
}

/** The two harts. */
class Pair {
  steps = 0;
  /** What the reference machine did last. */
  readonly #trail: { pc: bigint; bits: number | undefined; trap: string }[] = [];
  readonly #engine: BareHart;
  readonly #slow: SlowHart;
  readonly #decoder: Decoder;
  readonly #offence: Configuration['offence'];
  readonly #clock = { steps: 0 };
  #trapsRunning = 0;

  constructor(engine: BareHart, world: World, configuration: Configuration) {
    this.#engine = engine;
    this.#decoder = configuration.decoder;
    this.#offence = configuration.offence;
    const ram = new WatchedRam(new WatchedMemory(world.ram));
    this.#slow = new SlowHart(ram, this.#clock, configuration);
    const { registers } = this.#slow;
    for (const [name, value] of Object.entries(world.state)) registers[name as StateField] = value;
    registers.x.set(world.x);
    registers.f.set(world.f);
    const { state } = engine;
    for (const field of FIELDS) state[field] = registers[field];
    state.x.set(registers.x);
    state.f.set(registers.f);
    state.steps = 0n;
    engine.write(RAM_BASE, world.ram);
    engine.processor.contextChanged(engine.at);
  }

  run(chunk: Chunk, progress?: Progress, isLate = false): 'same' | 'differs' | 'hopeless' | 'stale' {
    const { registers } = this.#slow;
    const { state } = this.#engine;
    registers.lines = state.lines = chunk.lines;
    for (let done = 0; done < chunk.steps; ) {
      const pc = registers.pc;
      const step = this.#slow.step();
      if (step.kind === 'trapped') {
        registers.reservationSize = 0n;
        this.#trapsRunning++;
        if (progress) progress.traps++;
      } else this.#trapsRunning = 0;
      this.#note(pc, step.kind === 'trapped' ? ` trap ${step.cause} ${step.tval.toString(16)}` : '');
      if (this.#slow.ram.isStale) return 'stale';
      if (step.kind === 'trapped' && step.isInterrupt) continue;
      done++;
      this.#clock.steps++;
      const name = this.#slow.executed?.row.name;
      if (progress && registers.virtual !== 0n) progress.guestSteps++;
      if (progress && name) progress.rows.set(name, (progress.rows.get(name) ?? 0) + 1);
    }
    this.steps += chunk.steps;
    this.#runEngine(BigInt(chunk.steps));
    // Where the two stand before an interrupt that is due, the engine may have taken it already.
    this.#engine.processor.run(this.#engine.at, state, 0);
    while (pendingInterrupt(this.#slow) < 64n) {
      this.#slow.step();
      registers.reservationSize = 0n;
    }
    const difference = this.#difference();
    // The engine looks the next instruction up before it leaves, and may have set an A bit for it: one step more.
    if (difference === 'memory' && !isLate) return this.run({ steps: 1, lines: chunk.lines }, progress, true);
    if (difference !== 'none') return 'differs';
    return this.#trapsRunning > HOPELESS_TRAPS ? 'hopeless' : 'same';
  }

  #runEngine(steps: bigint): void {
    const { state } = this.#engine;
    const end = state.steps + steps;
    while (state.steps < end) {
      const exit = this.#engine.run(Number(end - state.steps));
      if (exit.kind === 'codeFull') this.#engine.memory.makeRoomForCode();
      if (exit.kind === 'codeFull') this.#engine.processor.flushTranslation(this.#engine.at);
      else if (exit.kind === 'illegal' && this.#offence) this.#offence(exit);
      else assert(exit.kind === 'budget' || exit.kind === 'wait', `the engine left: ${exit.kind}`);
    }
  }

  #note(pc: bigint, trap: string): void {
    this.#trail.push({ pc, bits: this.#slow.executed?.bits, trap });
    if (this.#trail.length > 4) this.#trail.shift();
  }

  /** The last steps, disassembled. */
  trail(): string[] {
    return this.#trail.map(({ pc, bits, trap }) => {
      const text =
        bits === undefined ? 'fetches nothing' : `${bits.toString(16)} ${disassemble(this.#decoder, bits, pc)}`;
      return `${pc.toString(16)} ${text}${trap}`;
    });
  }

  #difference(): 'none' | 'registers' | 'memory' {
    const { registers } = this.#slow;
    const { state } = this.#engine;
    for (const field of FIELDS)
      if (comparable(field, registers[field]) !== comparable(field, state[field])) return 'registers';
    for (let i = 0; i < 32; i++) if (registers.x[i] !== state.x[i] || registers.f[i] !== state.f[i]) return 'registers';
    const { ram } = this.#slow;
    for (const page of ram.memory.written) {
      const right = ram.bytes.subarray(page * 4096, (page + 1) * 4096);
      if (!isSame(right, this.#engine.read(RAM_BASE + page * 4096, 4096))) return 'memory';
    }
    ram.memory.written.clear();
    return 'none';
  }

  /** Whether some page differs that the reference machine has not written. */
  differsSomewhere(): boolean {
    return !isSame(this.#slow.ram.bytes, this.#engine.contents());
  }

  differences(): string[] {
    const { registers, ram } = this.#slow;
    const { state } = this.#engine;
    const out: string[] = [];
    const note = (name: string, right: bigint | undefined, wrong: bigint | undefined): void => {
      if (right !== wrong) out.push(`${name}: reference ${right?.toString(16)} engine ${wrong?.toString(16)}`);
    };
    for (const field of FIELDS) note(field, comparable(field, registers[field]), comparable(field, state[field]));
    for (let i = 0; i < 32; i++) {
      note(`x${i}`, registers.x[i], state.x[i]);
      note(`f${i}`, registers.f[i], state.f[i]);
    }
    const memory = this.#engine.contents();
    for (let i = 0, shown = 0; i < memory.length && shown < 16; i++) {
      if (memory[i] === ram.bytes[i]) continue;
      note((RAM_BASE + i).toString(16), BigInt(ram.bytes[i] ?? 0), BigInt(memory[i] ?? 0));
      shown++;
    }
    const context = FIELDS.map((field) => `${field}=${registers[field].toString(16)}`).join(' ');
    return [...out, context, Array.from(registers.x, (value, i) => `x${i}=${value.toString(16)}`).join(' ')];
  }
}
