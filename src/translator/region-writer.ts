/**
 * Writes a region as one Wasm function, (vCPU, budget) -> what is left of the budget. It starts at the vCPU's pc, which
 * is the region's head, and leaves the pc at which to go on.
 *
 *   budget too small, or a page is not where it was?  -> return at once
 *   load registers
 *   +-- exit: ------------------------------------------------+
 *   |  blocks, structured by dominators: loops, merges, ifs   |
 *   +---------------------------------------------------------+
 *   store registers and pc
 *
 * Steps are charged block by block. The budget is looked at where the region and its loops begin, and must suffice for
 * the longest way to the next such place; if it does not, the interpreter does the rest, to the step.
 *
 * Groups of accesses to memory share a check of their page slot. Where that misses, the region is left, and the
 * interpreter does the access. A region that is left so often is made again with twins: each block with accesses is
 * written twice, fast, and slow, with a call for each access, and fast code that misses goes on in the slow code.
 */
import { must } from '../base/assert.ts';
import {
  firstPlace,
  type Library,
  PLAN,
  REGION_BYTES,
  REGION_MISSES,
  secondPlace,
  VALIDATED,
  vcpuState,
} from '../engine/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, Label, Local, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { groupAccesses } from './accesses.ts';
import { analyse, type ControlFlow, type Place } from './control-flow.ts';
import { FloatFile, registers } from './float-file.ts';
import { floatUse } from './float-registers.ts';
import type { Block, Edge, Placed, RegionGraph } from './region-graph.ts';
import { type RegionLocals, RegionMachine } from './region-machine.ts';

const at = vcpuState.offset;

export interface WrittenRegion {
  readonly function: FunctionRef;
  /** Bytes of its code, and of these what promoted instructions take. */
  readonly bytes: number;
  readonly promotionBytes: number;
}

export interface RegionOptions {
  /** The region's number. */
  readonly number: number;
  readonly name: string;
  /** The host's relaxed multiply-add rounds once. */
  readonly fuses: boolean;
  /** The host's processors have total store order. */
  readonly hasTotalStoreOrder: boolean;
  /** Blocks have a slow twin, so that a miss does not leave the region. */
  readonly twins: boolean;
}

/** Defines the function in `module`; `library` imports what it calls. */
export function writeRegion(
  module: ModuleBuilder,
  library: Library,
  graph: RegionGraph,
  options: RegionOptions,
): WrittenRegion {
  const flow = analyse(graph);
  let bytes = 0;
  let promotionBytes = 0;
  const ref = module.function(options.name, [module.pointerType, 'i32'], ['i32'], (f) => {
    promotionBytes = new Writer(f, library, graph, flow, options).write();
    bytes = f.code.length;
  });
  return { function: ref, bytes, promotionBytes };
}

class Writer {
  readonly #f: FunctionBuilder;
  readonly #library: Library;
  readonly #graph: RegionGraph;
  readonly #flow: ControlFlow;
  readonly #options: RegionOptions;
  readonly #vcpu: Ptr;
  readonly #budget: Local<I32>;
  /** Labels that lead to a place: its loop's, for jumps back, and the block's that ends where it begins. */
  readonly #loops = new Map<Place, Label>();
  readonly #merges = new Map<Place, Label>();
  #locals: RegionLocals | undefined;
  #machine: RegionMachine | undefined;
  /** Where the region is left for an access that missed. */
  #missed: Label | undefined;

  constructor(f: FunctionBuilder, library: Library, graph: RegionGraph, flow: ControlFlow, options: RegionOptions) {
    this.#f = f;
    this.#library = library;
    this.#graph = graph;
    this.#flow = flow;
    this.#options = options;
    this.#vcpu = f.param<Ptr>(0).get;
    this.#budget = f.param<I32>(1);
  }

  /** Returns the bytes that promoted instructions take. */
  write(): number {
    const f = this.#f;
    const use = registersOf(this.#flow.places.map((place) => place.block));
    const float = new FloatFile(f, this.#vcpu, floatUse(this.#graph));
    const entry = must(this.#flow.places[0]);
    const giveUp = (): void => f.return(this.#budget.get);
    f.if(f.i32.compare('lt_s', this.#budget.get, f.i32.const(entry.longest)), giveUp, undefined, 'unlikely');
    const base = f.local('i64');
    f.set(base, f.i64.and(f.i64.load(this.#vcpu, at.pc), f.i64.const(-4096)));
    float.check(giveUp);
    this.#validate(base.get, giveUp);
    const record = f.ptr.const(PLAN.regions + this.#options.number * REGION_BYTES);
    f.i32.store(record, 4, f.i32.add(f.i32.load(record, 4), f.i32.const(1)));
    const locals: RegionLocals = {
      budget: this.#budget,
      base,
      pc: f.local('i64'),
      target: f.local('i64'),
      slots: f.pointerLocal(),
      x: registers((i) => (use.used & (1 << i) ? f.local('i64') : undefined)),
      float: float.locals,
      epoch: f.local('i64'),
    };
    this.#locals = locals;
    f.set(locals.slots, f.ptr.load(this.#vcpu, at.slotBank));
    if (this.#flow.places.some(({ block }) => block.instructions.some(({ site }) => site !== undefined)))
      f.set(locals.epoch, f.i64.load(this.#vcpu, at.fetchEpoch));
    locals.x.forEach((local, i) => local && f.set(local, f.i64.load(this.#vcpu, at.x + i * 8)));
    float.load();
    f.block((exit) => {
      this.#machine = new RegionMachine(f, this.#vcpu, this.#library, locals, exit, this.#options);
      const checks = this.#flow.places.some(({ block }) => groupAccesses(block.instructions).size > 0);
      if (this.#options.twins || !checks) this.#place(entry);
      else {
        f.block((missed) => {
          this.#missed = missed;
          this.#place(entry);
        });
        this.#countMiss();
      }
    });
    locals.x.forEach((local, i) => local && use.written & (1 << i) && f.i64.store(this.#vcpu, at.x + i * 8, local.get));
    float.store();
    f.i64.store(this.#vcpu, at.pc, locals.pc.get);
    f.return(this.#budget.get);
    return must(this.#machine).promotionBytes;
  }

  /**
   * Pages beside the head's must lie at the same distance as when the region was made. The fetch buffer knows; and that
   * it did is remembered by region until fetch translations are dropped (fetchEpoch), for this address and mode.
   */
  #validate(base: I64, giveUp: () => void): void {
    const others = this.#graph.pages.filter((page) => page.offset !== 0);
    if (others.length === 0) return;
    const f = this.#f;
    const record = at.validated + (this.#options.number % VALIDATED) * 16;
    const distinct = Math.floor(this.#options.number / VALIDATED) << 2;
    const key = f.let(f.i64.or(f.i64.or(base, f.i64.load(this.#vcpu, at.mode)), f.i64.const(distinct)));
    const epoch = f.let(f.i64.load(this.#vcpu, at.fetchEpoch));
    const isKnown = f.i32.and(
      f.i64.eq(f.i64.load(this.#vcpu, record), epoch),
      f.i64.eq(f.i64.load(this.#vcpu, record + 8), key),
    );
    f.if(f.i32.eqz(isKnown), () => {
      const bank = f.let(f.ptr.load(this.#vcpu, at.fetchBank));
      for (const page of others) {
        const va = f.let(f.i64.add(base, f.i64.const(page.offset)));
        const isAt = (place: Ptr): I32 => {
          const entry = f.let(f.ptr.add(bank, place));
          const isPage = f.i64.eq(f.i64.load(entry), va);
          return f.i32.and(isPage, f.ptr.eq(f.ptr.load(entry, 8), f.ptr.const(page.decoded)));
        };
        f.if(f.i32.eqz(isAt(firstPlace(f, va))), () => f.if(f.i32.eqz(isAt(secondPlace(f, va))), giveUp));
      }
      f.i64.store(this.#vcpu, record, epoch);
      f.i64.store(this.#vcpu, record + 8, key);
    });
  }

  /** A place, within its loop if it begins one. */
  #place(place: Place): void {
    const f = this.#f;
    if (!place.isLoop) {
      this.#body(place);
      return;
    }
    f.loop((label) => {
      this.#loops.set(place, label);
      const isTooLittle = f.i32.compare('lt_s', this.#budget.get, f.i32.const(place.longest));
      f.if(isTooLittle, () => must(this.#machine).leaveFor(place.block.offset), undefined, 'unlikely');
      this.#body(place);
    });
  }

  /** A place and what it dominates: merges follow behind blocks, the last one outermost. */
  #body(place: Place): void {
    const merges = place.children.filter((child) => child.isMerge);
    const within = (count: number): void => {
      const merge = merges[count - 1];
      if (merge === undefined) {
        this.#block(place);
        return;
      }
      this.#f.block((label) => {
        this.#merges.set(merge, label);
        within(count - 1);
      });
      this.#place(merge);
    };
    within(merges.length);
  }

  #block(place: Place): void {
    const f = this.#f;
    const machine = must(this.#machine);
    const { budget, target, base } = must(this.#locals);
    const { block } = place;
    const count = block.instructions.length;
    f.set(budget, f.i32.sub(budget.get, f.i32.const(count)));
    // What ends the block stands behind the place where fast and slow code meet, so that its condition is used at once.
    const last = block.instructions.at(-1);
    const isEnded = last !== undefined && last.instruction.role !== 'inside';
    this.#instructions(isEnded ? block.instructions.slice(0, -1) : block.instructions, count);
    const { ending } = block;
    if (isEnded && ending.kind !== 'branch') f.scope(() => machine.emit({ ...last, owed: 1 }));
    switch (ending.kind) {
      case 'goto':
        this.#edge(place, ending.edge);
        return;
      case 'branch':
        f.if(
          machine.condition({ ...must(last), owed: 1 }),
          () => this.#edge(place, ending.taken),
          () => this.#edge(place, ending.fallen),
        );
        return;
      case 'register':
        for (const guess of ending.guesses) {
          const expected = f.i64.add(base.get, f.i64.const(guess.offset));
          f.if(f.i64.eq(target.get, expected), () => this.#edge(place, { kind: 'block', to: guess.to }));
        }
        f.set(must(this.#locals).pc, target.get);
        machine.exit();
        return;
    }
  }

  /** `charged`: steps of the whole block. */
  #instructions(instructions: readonly Placed[], charged: number): void {
    const f = this.#f;
    const machine = must(this.#machine);
    const groups = groupAccesses(instructions);
    const checks = [...new Set([...groups.values()].map((group) => group.first))].sort((a, b) => a - b);
    const owed = (index: number): number => charged - index;
    machine.beginBlock();
    const slow = (from: number, to: number): void => {
      for (let index = from; index < to; index++)
        f.scope(() => machine.emit({ ...must(instructions[index]), owed: owed(index) }));
    };
    if (checks.length === 0) {
      slow(0, instructions.length);
      return;
    }
    const misses = new Map<number, Label>();
    const fast = (): void => {
      const hosts = new Map([...new Set(groups.values())].map((group) => [group, f.pointerLocal()]));
      instructions.forEach((placed, index) => {
        const group = groups.get(index);
        const access = group && {
          group,
          checks: group.first === index,
          miss: must(misses.get(group.first)),
          host: must(hosts.get(group)),
        };
        f.scope(() => machine.emit({ ...placed, owed: owed(index), ...(access ? { access } : {}) }));
      });
    };
    f.block((done) => {
      const nest = (count: number): void => {
        const first = checks[count - 1];
        if (first === undefined) {
          fast();
          f.br(done);
          return;
        }
        f.block((label) => {
          misses.set(first, label);
          nest(count - 1);
        });
        if (this.#options.twins) {
          machine.beginBlock();
          slow(first, checks[count] ?? instructions.length);
        } else {
          machine.leaveAt(must(instructions[first]).offset, owed(first), must(this.#missed));
        }
      };
      nest(checks.length);
    });
  }

  #countMiss(): void {
    const { i32, ptr } = this.#f;
    const record = ptr.const(PLAN.regions + this.#options.number * REGION_BYTES);
    i32.store(record, REGION_MISSES, i32.add(i32.load(record, REGION_MISSES), i32.const(1)));
  }

  #edge(from: Place, edge: Edge): void {
    const f = this.#f;
    if (edge.kind === 'exit') {
      must(this.#machine).leaveFor(edge.offset);
      return;
    }
    const to = this.#flow.place(edge.to);
    if (to.number <= from.number) f.br(must(this.#loops.get(to)));
    else if (to.isMerge) f.br(must(this.#merges.get(to)));
    else this.#place(to);
  }
}

/** Bit masks of registers that the blocks use, and write: what is written is stored wherever the region is left. */
function registersOf(blocks: readonly Block[]): { used: number; written: number } {
  let used = 0;
  let written = 0;
  for (const { instructions } of blocks) {
    for (const { instruction } of instructions) {
      used |= instruction.reads;
      if (instruction.writes !== undefined) written |= 1 << instruction.writes;
    }
  }
  return { used: used | written, written };
}
