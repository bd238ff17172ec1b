/**
 * What the translator makes of guest code, for people to read: the blocks of a region, why control leaves it, and its
 * WebAssembly as text. Pure: it reads the machine's memory and writes nothing, so the guest cannot tell.
 */
import { hostFusesMultiplyAdd, PLAN, REGION_BYTES, type Signature } from '../engine/index.ts';
import { disassembleDecoded } from '../isa/index.ts';
import { type MemoryDescription, ModuleBuilder } from '../wasm/index.ts';
import type { RegionSource } from './code-source.ts';
import { ImportLibrary } from './import-library.ts';
import { type CodeDecoders, type Instruction, InstructionCache, isSensitive } from './instruction.ts';
import { type Block, type Edge, findRegion, type GraphLimits, type Placed, type RegionGraph } from './region-graph.ts';
import { type RegionText, regionText } from './region-text.ts';
import { writeRegion } from './region-writer.ts';

/** What of a machine decides its generated code. */
export interface ExplainOptions extends CodeDecoders {
  readonly hasCompressed: boolean;
  readonly signatures: ReadonlyMap<string, Signature>;
  readonly memory: MemoryDescription;
  readonly limits: GraphLimits;
  readonly twins: boolean;
  /** The region's number, which its code contains. */
  readonly number: number;
  /** Whether the host's relaxed multiply-add rounds once; what the host does by default. */
  readonly fuses?: boolean;
  readonly hasTotalStoreOrder?: boolean;
}

/** Addresses are written `0x80000000`. */
export interface ExplainedRegion {
  readonly instructions: number;
  /** Addresses of the pages that its instructions come from. */
  readonly pages: readonly string[];
  readonly blocks: readonly ExplainedBlock[];
  readonly wasm: RegionText;
}

export interface ExplainedBlock {
  readonly at: string;
  /** Calls that were followed to come here: 0 in the function of the head. */
  readonly depth: number;
  readonly instructions: readonly ExplainedInstruction[];
  /** Of a branch: where it goes if it is taken, then where if not. Of a jump to a register: the guesses. */
  readonly ending: 'goto' | 'branch' | 'register';
  readonly edges: readonly ExplainedEdge[];
}

export interface ExplainedInstruction {
  readonly at: string;
  readonly bits: string;
  readonly text: string;
  /** The hart is without it: a substitute stands for it. */
  readonly emulated?: boolean;
}

export interface ExplainedEdge {
  readonly to: string;
  /** Absent: to a block of the region. */
  readonly leaves?: string;
}

/**
 * The region with its head at `offset` of the source's page, as it would be made now, and the module with it alone;
 * undefined: nothing can be made.
 */
export function explainRegion(
  source: RegionSource,
  offset: number,
  options: ExplainOptions,
): { readonly region: ExplainedRegion; readonly module: Uint8Array } | undefined {
  const cache = new InstructionCache(options);
  const graph = findRegion(source, cache, offset, options.limits);
  if (graph === undefined) return undefined;
  const module = new ModuleBuilder(options.memory, { importsLate: true });
  const library = new ImportLibrary(module, options.signatures, { hasCompressed: options.hasCompressed });
  const name = `region${options.number}`;
  const fuses = options.fuses ?? hostFusesMultiplyAdd();
  const ref = writeRegion(module, library, graph, {
    number: options.number,
    name,
    fuses,
    hasTotalStoreOrder: options.hasTotalStoreOrder ?? false,
    twins: options.twins,
  }).function;
  const texts = new Map<number, string>();
  const { base } = source;
  for (const { offset: at, instruction } of graph.blocks.flatMap((block) => block.instructions))
    texts.set(at, `${hex(base, at)}  ${textOf(instruction, base + BigInt(at))}`);
  const addresses = new Map(graph.pages.map((page) => [page.decoded, `code.${hex(base, page.offset)}`]));
  addresses.set(PLAN.regions + options.number * REGION_BYTES, `${name}.record`);
  const bytes = module.build();
  const wasm = regionText(bytes, name, {
    addresses,
    notes: module.notesOf(ref),
    noteText: (at) => texts.get(at) ?? '',
  });
  if (wasm === undefined) return undefined;
  const explainer = new Explainer(source, cache, graph, options.limits);
  const region = {
    instructions: graph.instructions,
    pages: graph.pages.map((page) => hex(base, page.offset)),
    blocks: graph.blocks.map((block) => explainer.block(block)),
    wasm,
  };
  return { region, module: bytes };
}

class Explainer {
  readonly #source: RegionSource;
  readonly #cache: InstructionCache;
  readonly #graph: RegionGraph;
  readonly #limits: GraphLimits;

  constructor(source: RegionSource, cache: InstructionCache, graph: RegionGraph, limits: GraphLimits) {
    this.#source = source;
    this.#cache = cache;
    this.#graph = graph;
    this.#limits = limits;
  }

  block(block: Block): ExplainedBlock {
    const { ending } = block;
    const edges =
      ending.kind === 'goto'
        ? [ending.edge]
        : ending.kind === 'branch'
          ? [ending.taken, ending.fallen]
          : ending.guesses.map(({ to }): Edge => ({ kind: 'block', to }));
    return {
      at: hex(this.#source.base, block.offset),
      depth: block.call.depth,
      instructions: block.instructions.map((placed) => explained(placed, this.#source.base)),
      ending: ending.kind,
      edges: edges.map((edge) => this.#edge(block, edge)),
    };
  }

  #edge(from: Block, edge: Edge): ExplainedEdge {
    if (edge.kind === 'block') return { to: hex(this.#source.base, edge.to.offset) };
    return { to: hex(this.#source.base, edge.offset), leaves: this.#reason(from, edge.offset) };
  }

  /** Why the region does not go on at `offset`. */
  #reason(from: Block, offset: number): string {
    const isInside = this.#graph.blocks.some((block) => block.offset === offset && block.call === from.call);
    if (isInside) return 'it would enter a loop elsewhere than at its head';
    if (this.#source.page(offset) === undefined) return 'its page was not executed lately';
    const instruction = this.#source.instruction(offset, this.#cache);
    if (instruction === undefined) return 'no instruction, or one with a breakpoint or a trap';
    if (instruction.role === 'interpret')
      return `left to the interpreter: ${textOf(instruction, this.#source.base + BigInt(offset))}`;
    if (isSensitive(instruction.role) && this.#source.promoted(offset) === undefined)
      return `emulated, not promoted: ${textOf(instruction, this.#source.base + BigInt(offset))}`;
    if (!this.#limits.followsCold && !this.#source.wasExecuted(offset)) return 'never executed';
    return 'the region is large enough';
  }
}

/** Lines for people: the block's instructions, and where control goes. `note` stands behind its address. */
export function blockLines(block: ExplainedBlock, note = ''): string[] {
  const lines = [`block ${block.at}${block.depth === 0 ? '' : `, ${times(block.depth, 'call')} deep`}${note}`];
  for (const { at, bits, text, emulated } of block.instructions)
    lines.push(`  ${at.slice(2)}  ${bits.padEnd(8)}  ${text}${emulated ? '  (emulated)' : ''}`);
  const [first, second] = block.edges.map(({ to, leaves }) => (leaves === undefined ? to : `out to ${to} (${leaves})`));
  if (block.ending === 'goto') lines.push(...(first === undefined ? [] : [`  -> ${first}`]));
  else if (block.ending === 'branch') lines.push(`  -> ${first} if taken`, `  -> ${second} if not`);
  else {
    for (const { to } of block.edges) lines.push(`  -> ${to} if the register says so`);
    lines.push('  -> out to where the register says');
  }
  return lines;
}

function times(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function explained({ offset, instruction }: Placed, base: bigint): ExplainedInstruction {
  return {
    at: hex(base, offset),
    bits: instruction.bits.toString(16).padStart(instruction.length * 2, '0'),
    text: textOf(instruction, BigInt.asUintN(64, base + BigInt(offset))),
    ...(instruction.isEmulated ? { emulated: true } : {}),
  };
}

function textOf(instruction: Instruction, pc: bigint): string {
  return disassembleDecoded(instruction, pc);
}

function hex(base: bigint, offset: number): string {
  return `0x${BigInt.asUintN(64, base + BigInt(offset)).toString(16)}`;
}
