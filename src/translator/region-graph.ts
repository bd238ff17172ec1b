/**
 * What a region is made of: blocks of instructions and how control flows between them, found from a head by following
 * branches, jumps and direct calls as far as code was executed before. A call is followed into a copy of the callee of
 * its own, so that its return has one place to go to; a recursive one goes back into the copy that runs already.
 *
 *   head ... call f ----> f (copy 1) ... ret --+--> behind the call      a return compares its target with the places
 *                              ^     call f    |                         that it is likely to go to, and leaves the
 *                              +--------+      +--> behind the inner     region for any other
 *
 * Positions in code are offsets in bytes from the address of the head's page, as regions may run at any address.
 */
import { must } from '../base/assert.ts';
import type { CodePage, RegionSource } from './code-source.ts';
import { type Instruction, type InstructionCache, isCounterRead, isFloatState, isSensitive } from './instruction.ts';

/** Where control goes: into a block of the region, or out of it, to go on at `offset`. */
export type Edge = { readonly kind: 'block'; readonly to: Block } | { readonly kind: 'exit'; readonly offset: number };

export type Ending =
  | { readonly kind: 'goto'; readonly edge: Edge }
  | { readonly kind: 'branch'; readonly taken: Edge; readonly fallen: Edge }
  /** To an address in a register: one of `guesses` if it is equal, else out of the region. */
  | { readonly kind: 'register'; readonly guesses: readonly { readonly offset: number; readonly to: Block }[] };

export interface Block {
  readonly offset: number;
  readonly call: Call;
  readonly instructions: readonly Placed[];
  ending: Ending;
}

export interface Placed {
  readonly offset: number;
  readonly instruction: Instruction;
  /** The number of the promoted site that it is: a sensitive instruction, or an access that meets devices. */
  readonly site?: number;
}

/** One copy of a function: who called it, and where its calls return to. */
interface Target {
  readonly call: Call;
  readonly offset: number;
}

interface Call {
  readonly entry: number;
  readonly outer: Call | undefined;
  readonly depth: number;
  /** Places behind calls of it: the one in `outer` that made this copy, and recursive ones. */
  readonly returns: Target[];
}

export interface RegionGraph {
  readonly entry: Block;
  readonly blocks: readonly Block[];
  /** Every page that instructions came from, the head's among them. */
  readonly pages: readonly CodePage[];
  readonly instructions: number;
}

export interface GraphLimits {
  /** Instructions, copies counted apart. */
  readonly instructions: number;
  /** Pages. */
  readonly pages: number;
  /** Calls within calls. */
  readonly depth: number;
  /** Code that was never executed is followed, too. */
  readonly followsCold: boolean;
  readonly hasCompressed: boolean;
  /** Number of the site of a promoted instruction with that decoded entry; 0: it is not to be promoted. */
  siteOf(entry: number, pc: bigint, instruction: Instruction): number;
}

/** The graph from the head at `offset` of the source's page; undefined where nothing can be made of it. */
export function findRegion(
  source: RegionSource,
  cache: InstructionCache,
  offset: number,
  limits: GraphLimits,
): RegionGraph | undefined {
  const graph = new Finder(source, cache, limits).find(offset);
  if (graph === undefined || !mixesFloat(graph)) return graph;
  // What regions know of the floating-point state does not outlive changes of the state by CSR.
  const siteOf: GraphLimits['siteOf'] = (entry, pc, instruction) =>
    isSensitive(instruction.role) && !isCounterRead(instruction) ? 0 : limits.siteOf(entry, pc, instruction);
  return new Finder(source, cache, { ...limits, siteOf }).find(offset);
}

/** Whether there is floating point beside sensitive instructions that are more than reads of counters. */
function mixesFloat({ blocks }: RegionGraph): boolean {
  const all = blocks.flatMap(({ instructions }) => instructions.map(({ instruction }) => instruction));
  const usesFloat = all.some(
    (each) => each.floatReads.length > 0 || each.floatWrites !== undefined || isFloatState(each),
  );
  return usesFloat && all.some((each) => isSensitive(each.role) && !isCounterRead(each));
}

/** What ends a run of instructions, before blocks are cut. */
interface Scanned {
  readonly call: Call;
  readonly offset: number;
  readonly instruction: Instruction;
  readonly site?: number;
  /** Where control goes if not to the next instruction. */
  readonly flow: Flow | undefined;
}
type Flow =
  | { readonly kind: 'branch'; readonly target: number }
  | { readonly kind: 'jump'; readonly call: Call; readonly target: number }
  | { readonly kind: 'leave'; readonly target: number }
  | { readonly kind: 'register'; readonly places: readonly Target[] };

/** The register of a call's return address: x1, or x5 by convention. */
const isLink = (register: number): boolean => register === 1 || register === 5;

class Finder {
  readonly #source: RegionSource;
  readonly #cache: InstructionCache;
  readonly #limits: GraphLimits;
  readonly #scanned = new Map<Call, Map<number, Scanned>>();
  readonly #leaders = new Map<Call, Set<number>>();
  readonly #queue: { call: Call; offset: number }[] = [];
  readonly #pages = new Map<number, CodePage>();
  readonly #blocks = new Map<Call, Map<number, Block>>();
  #count = 0;

  constructor(source: RegionSource, cache: InstructionCache, limits: GraphLimits) {
    this.#source = source;
    this.#cache = cache;
    this.#limits = limits;
  }

  find(offset: number): RegionGraph | undefined {
    const outermost: Call = { entry: offset, outer: undefined, depth: 0, returns: [] };
    this.#lead(outermost, offset);
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift())
      this.#scan(next.call, next.offset);
    const entry = this.#edge(outermost, offset);
    if (entry.kind === 'exit') return undefined;
    const blocks = [...this.#blocks.values()].flatMap((blocks) => [...blocks.values()]);
    const instructions = blocks.reduce((sum, block) => sum + block.instructions.length, 0);
    return { entry: entry.to, blocks, pages: [...this.#pages.values()], instructions };
  }

  #lead(call: Call, offset: number): void {
    let leaders = this.#leaders.get(call);
    if (leaders === undefined) {
      leaders = new Set();
      this.#leaders.set(call, leaders);
      this.#scanned.set(call, new Map());
    }
    if (leaders.has(offset)) return;
    leaders.add(offset);
    if (!must(this.#scanned.get(call)).has(offset)) this.#queue.push({ call, offset });
  }

  /** Takes instructions from `start` on until control must go elsewhere, or has been here before. */
  #scan(call: Call, start: number): void {
    const scanned = must(this.#scanned.get(call));
    if (!this.#limits.followsCold && !this.#source.wasExecuted(start)) return;
    for (let offset = start; ; ) {
      if (scanned.has(offset)) {
        must(this.#leaders.get(call)).add(offset);
        return;
      }
      if (this.#count >= this.#limits.instructions) return;
      const instruction = this.#instruction(offset);
      if (instruction === undefined || instruction.role === 'interpret') return;
      const site = this.#site(offset, instruction);
      if (site === 0 && isSensitive(instruction.role)) return;
      const flow = this.#flow(call, offset, instruction);
      if (flow === 'cannot') return;
      this.#count++;
      scanned.set(offset, { call, offset, instruction, flow, ...(site === 0 ? {} : { site }) });
      const next = offset + instruction.length;
      if (flow === undefined) {
        offset = next;
        continue;
      }
      if (flow.kind === 'branch') {
        this.#lead(call, flow.target);
        this.#lead(call, next);
      } else if (flow.kind === 'jump') this.#lead(flow.call, flow.target);
      else if (flow.kind === 'register') for (const place of flow.places) this.#lead(place.call, place.offset);
      return;
    }
  }

  #site(offset: number, instruction: Instruction): number {
    const { row, role } = instruction;
    if (!isSensitive(role) && row.kind !== 'load' && row.kind !== 'store') return 0;
    const entry = this.#source.promoted(offset);
    return entry === undefined ? 0 : this.#limits.siteOf(entry, this.#source.base + BigInt(offset), instruction);
  }

  #instruction(offset: number): Instruction | undefined {
    const instruction = this.#source.instruction(offset, this.#cache);
    if (instruction === undefined) return undefined;
    for (const at of [offset, offset + instruction.length - 1]) {
      const page = must(this.#source.page(at));
      if (this.#pages.has(page.offset)) continue;
      if (this.#pages.size >= this.#limits.pages) return undefined;
      this.#pages.set(page.offset, page);
    }
    return instruction;
  }

  #flow(call: Call, offset: number, instruction: Instruction): Flow | undefined | 'cannot' {
    const target = offset + instruction.imm;
    switch (instruction.role) {
      case 'branch':
      case 'jump':
        // Without C the interpreter raises the fault of a misaligned target.
        if (!this.#limits.hasCompressed && (target & 2) !== 0) return 'cannot';
        if (instruction.role === 'branch') return { kind: 'branch', target };
        if (instruction.writes === undefined) return { kind: 'jump', call, target };
        if (!isLink(instruction.writes)) return { kind: 'leave', target };
        return this.#enter(call, target, offset + instruction.length);
      case 'jumpRegister':
        return { kind: 'register', places: this.#targets(call, offset, instruction) };
      case 'sensitive':
        // Nothing that was known before it is known behind it: a block of its own begins there.
        return { kind: 'jump', call, target: offset + instruction.length };
      case 'away':
        return { kind: 'register', places: [] };
      default:
        return undefined;
    }
  }

  /**
   * Where a jump to a register is likely to go: a return from a copy behind its calls, all others where they went before.
   */
  #targets(call: Call, offset: number, instruction: Instruction): readonly Target[] {
    const isReturn = instruction.writes === undefined && isLink(instruction.rs1);
    if (isReturn && call.outer !== undefined) return call.returns;
    const seen = this.#source.jumps(offset).filter((target) => this.#limits.hasCompressed || (target & 2) === 0);
    if (instruction.writes === undefined) return seen.map((target) => ({ call, offset: target }));
    if (!isLink(instruction.writes)) return [];
    return seen.flatMap((target) => {
      const flow = this.#enter(call, target, offset + instruction.length);
      return flow.kind === 'jump' ? [{ call: flow.call, offset: target }] : [];
    });
  }

  /** A call: into the copy that is under way, if it is recursive, else into a new one, if it was ever made. */
  #enter(call: Call, target: number, returnTo: number): Flow {
    for (let outer: Call | undefined = call; outer !== undefined; outer = outer.outer) {
      if (outer.entry !== target || outer.outer === undefined) continue;
      if (!outer.returns.some((place) => place.call === call && place.offset === returnTo)) {
        outer.returns.push({ call, offset: returnTo });
        this.#relink(outer);
      }
      return { kind: 'jump', call: outer, target };
    }
    const canFollow = call.depth < this.#limits.depth && (this.#limits.followsCold || this.#source.wasExecuted(target));
    if (!canFollow) return { kind: 'leave', target };
    const inner: Call = {
      entry: target,
      outer: call,
      depth: call.depth + 1,
      returns: [{ call, offset: returnTo }],
    };
    return { kind: 'jump', call: inner, target };
  }

  /** Returns that were scanned before learn of a new place to return to. */
  #relink(call: Call): void {
    for (const { flow } of this.#scanned.get(call)?.values() ?? [])
      if (flow?.kind === 'register' && flow.places === call.returns)
        for (const place of flow.places) this.#lead(place.call, place.offset);
  }

  #edge(call: Call, offset: number): Edge {
    const scanned = this.#scanned.get(call);
    if (!scanned?.has(offset)) return { kind: 'exit', offset };
    return { kind: 'block', to: this.#block(call, offset) };
  }

  #block(call: Call, start: number): Block {
    let blocks = this.#blocks.get(call);
    if (blocks === undefined) {
      blocks = new Map();
      this.#blocks.set(call, blocks);
    }
    const known = blocks.get(start);
    if (known !== undefined) return known;
    const scanned = must(this.#scanned.get(call));
    const leaders = must(this.#leaders.get(call));
    const instructions: Placed[] = [];
    const block: Block = {
      offset: start,
      call,
      instructions,
      ending: { kind: 'goto', edge: { kind: 'exit', offset: start } },
    };
    blocks.set(start, block);
    for (let offset = start; ; ) {
      const here = scanned.get(offset);
      if (here === undefined || (offset !== start && leaders.has(offset))) {
        block.ending = { kind: 'goto', edge: this.#edge(call, offset) };
        return block;
      }
      instructions.push(here);
      const next = offset + here.instruction.length;
      if (here.flow !== undefined) {
        block.ending = this.#ending(here, here.flow, next);
        return block;
      }
      offset = next;
    }
  }

  #ending({ call }: Scanned, flow: Flow, next: number): Ending {
    switch (flow.kind) {
      case 'branch':
        return { kind: 'branch', taken: this.#edge(call, flow.target), fallen: this.#edge(call, next) };
      case 'jump':
        return { kind: 'goto', edge: this.#edge(flow.call, flow.target) };
      case 'leave':
        return { kind: 'goto', edge: { kind: 'exit', offset: flow.target } };
      case 'register': {
        const guesses = [];
        for (const place of flow.places) {
          const edge = this.#edge(place.call, place.offset);
          if (edge.kind === 'block') guesses.push({ offset: place.offset, to: edge.to });
        }
        return { kind: 'register', guesses };
      }
    }
  }
}

/** Blocks that control may go to from here. */
export function successors(block: Block): readonly Block[] {
  const { ending } = block;
  switch (ending.kind) {
    case 'goto':
      return ending.edge.kind === 'block' ? [ending.edge.to] : [];
    case 'branch': {
      const edges = [ending.taken, ending.fallen];
      return edges.flatMap((edge) => (edge.kind === 'block' ? [edge.to] : []));
    }
    case 'register':
      return ending.guesses.map((guess) => guess.to);
  }
}
