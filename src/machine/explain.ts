/**
 * Explains guest code at an address of a machine that runs: where a fetch would come from, what the interpreter counted,
 * which region stands there, and its WebAssembly. Everything is read from the machine's memory and nothing is written.
 * Harts go on meanwhile: what they drop in between is looked at anew.
 */
import { assert, must } from '../base/assert.ts';
import { OperatorError } from '../base/errors.ts';
import type { Signature } from '../engine/index.ts';
import type { Vcpu } from '../hypervisor/index.ts';
import { disassemble } from '../isa/index.ts';
import {
  type CodePage,
  CodeSource,
  DEFAULT_TRANSLATION,
  type ExplainedBlock,
  type ExplainedRegion,
  explainRegion,
  ModuleLog,
  type RegionLimits,
  type RegionSource,
  type RegionText,
  regionText,
  siteAt,
} from '../translator/index.ts';
import type { Board } from './board.ts';
import { guestCode } from './board-runner.ts';
import { CoveredCode } from './covered-code.ts';
import type { CodeExplanation, CodeStatus, HitBlock, RegionRecord, WasmExplanation } from './explanation.ts';
import { GuestCode, type Level, levelOf, type ModeName } from './guest-code.ts';
import { isCovered, regionAt, reportPage } from './page-report.ts';

export interface ExplainRequest {
  readonly hart: number;
  /** Where the hart was when it last left the engine, by default. */
  readonly pc?: bigint;
  /** As the guest sees the address, or the guest's guest; by default in the hart's own mode, or where it can be fetched. */
  readonly level?: Level;
}

/** Instructions that are shown of code that no region can be made of. */
const FOLLOWING = 16;
/** Characters of WebAssembly: more is cut off. */
const MOST_TEXT = 500_000;
const ATTEMPTS = 3;
const PAGE = 4096n;

/** For one machine; any thread that has its memory. */
export class CodeExplainer {
  readonly #board: Board;
  readonly #options: ExplainerOptions;

  /** `signatures` are the engine's (EngineCode). */
  constructor(board: Board, signatures: ReadonlyMap<string, Signature>) {
    this.#board = board;
    const memory = board.memory.shape.description;
    this.#options = { ...guestCode(board.config, signatures), memory };
  }

  /** The hart must be there. Rejects with OperatorError where it has no guest and level 2 is asked for. */
  explain(request: ExplainRequest): CodeExplanation {
    const vcpu = must(this.#board.vcpus[request.hart], `no hart ${request.hart}`);
    const pc = BigInt.asUintN(64, request.pc ?? vcpu.state.pc);
    const { header } = this.#board.memory;
    const modes = GuestCode.modes(this.#board, vcpu, request.level);
    if (modes.length === 0)
      throw new OperatorError('no-such-level', `Hart ${request.hart} has no guest of its own`, 'Leave out --level');
    for (let attempt = 1; ; attempt++) {
      const epoch = header.decodedEpoch;
      try {
        return new Explainer(this.#board, this.#options, { vcpu, pc, modes }).explain();
      } catch (error) {
        // Code was dropped under our eyes: then anything may be read.
        if (attempt === ATTEMPTS || header.decodedEpoch === epoch) throw error;
      }
    }
  }
}

type ExplainerOptions = Omit<Parameters<typeof explainRegion>[2], 'limits' | 'number' | 'twins'>;

class Explainer {
  readonly #board: Board;
  readonly #options: ExplainerOptions;
  readonly #vcpu: Vcpu;
  readonly #pc: bigint;
  readonly #modes: readonly ModeName[];
  readonly #code: GuestCode;
  readonly #source: CodeSource;
  /** Of the page, and the pc's in it. */
  readonly #base: bigint;
  readonly #offset: number;

  constructor(
    board: Board,
    options: ExplainerOptions,
    { vcpu, pc, modes }: { readonly vcpu: Vcpu; readonly pc: bigint; readonly modes: readonly ModeName[] },
  ) {
    this.#board = board;
    this.#options = options;
    this.#vcpu = vcpu;
    this.#pc = pc;
    this.#modes = modes;
    const views = modes.map((mode) => new GuestCode(board, vcpu, mode));
    this.#code = views.find((view) => view.locate(pc).kind !== 'fault') ?? must(views[0]);
    const { fetchBank, jumps } = vcpu.state;
    this.#source = new CodeSource(board.memory, { pc, bank: Number(fetchBank), jumps }, (offset) =>
      this.#code.page((pc & -PAGE) + BigInt(offset), offset),
    );
    this.#base = pc & -PAGE;
    this.#offset = Number(pc % PAGE);
  }

  explain(): CodeExplanation {
    const place = this.#code.locate(this.#pc);
    if (place.kind === 'fault')
      return this.#told('unmapped', `Nothing can be executed there: a fetch faults in ${listed(this.#modes)} mode`);
    const physical = `0x${place.gpa.toString(16)}`;
    if (place.kind === 'elsewhere')
      return this.#told('device', `No memory is there: a device, or nothing, has guest-physical ${physical}`, {
        physical,
      });
    if (place.host === 0)
      return this.#told('untouched', 'Memory that nobody has written yet: zeros, and no code', { physical });
    const page = this.#source.page(this.#offset);
    const common = {
      physical,
      ...(page === undefined ? {} : { page: reportPage(this.#board.memory, page, this.#base) }),
    };
    if (this.#pc % 2n !== 0n) return this.#told('illegal', 'Instructions begin at even addresses', common);
    if (this.#bits() === undefined)
      return this.#told('illegal', 'The bits there are no instruction of this hart', {
        ...common,
        blocks: [this.#following()],
      });
    return { ...this.#executed(page), ...common };
  }

  /** There is an instruction. */
  #executed(page: CodePage | undefined): CodeExplanation {
    const isInside = page !== undefined && isCovered(this.#board.memory, page, this.#offset);
    if (page === undefined || !(isInside || this.#source.wasExecuted(this.#offset)))
      return this.#told('unexecuted', 'Not executed since code was last dropped, so nothing is made of it', {
        blocks: [this.#following()],
      });
    const head = regionAt(this.#board.memory, page, this.#base, this.#offset);
    if (head !== undefined) return this.#translated(head);
    // What runs in a region alone may have been forgotten by the interpreter.
    const source = isInside ? new CoveredCode(this.#source, this.#board.memory) : this.#source;
    const proposal = this.#proposal(must(this.#limits[0]), 0, source);
    if (proposal === undefined)
      return this.#told('interpreted', 'Executed, and left to the interpreter each time', {
        blocks: [this.#following()],
      });
    const { region } = proposal;
    const shown = {
      blocks: this.#hits(region.blocks),
      wasm: wasmOf('proposal', true, region.wasm),
    };
    const [threshold] = this.#thresholds;
    if (isInside)
      return this.#told('inside', 'Part of a region that begins elsewhere; a region from here would be this', shown);
    if (threshold === undefined)
      return this.#told('cold', 'Translation is off; a region from here would be this', shown);
    const reached = this.#reached(this.#offset);
    if (reached < threshold)
      return this.#told(
        'cold',
        `Reached ${reached} times by jumps, and translated from ${threshold} on; the region would be this`,
        shown,
      );
    return this.#told('hot', 'Hot, but without a region: it waits for others, or was dropped. It would be this', shown);
  }

  #translated(region: RegionRecord): CodeExplanation {
    const name = `region${region.number}`;
    const bytes = new ModuleLog(this.#board.memory).find(region.module);
    const text = bytes && regionText(bytes, name);
    assert(bytes !== undefined && text !== undefined, `${name} has no module`);
    const code = text.lines.join('\n');
    let [same, like]: (ExplainedRegion | undefined)[] = [];
    for (const made of this.#proposals(region.number)) {
      // What is made now has the guest's instructions beside it; it is the region's code if it is the same without.
      if (regionText(made.module, name)?.lines.join('\n') === code) same = made.region;
      if (like === undefined || made.region.instructions === region.instructions) like = made.region;
      if (same !== undefined) break;
    }
    const shown = same ?? like;
    const counts = `${counted(region.instructions, 'instruction')}, entered ${counted(region.entered, 'time')}`;
    const stale = same === undefined ? '. What is around it has changed since it was made: the blocks are of now' : '';
    return this.#told('translated', `Translated: region ${region.number}, ${counts}${stale}`, {
      region,
      blocks: shown === undefined ? [this.#following()] : this.#hits(shown.blocks),
      wasm: wasmOf('region', same !== undefined, same?.wasm ?? text),
    });
  }

  /**
   * What the region may have been made as, within the limits of the first translation and of the second. More was
   * executed since; what no region was made of was not in this one either.
   */
  *#proposals(number: number) {
    for (const source of [this.#source, new CoveredCode(this.#source, this.#board.memory)]) {
      for (const limits of this.#limits) {
        const made = this.#proposal(limits, number, source);
        if (made !== undefined) yield made;
      }
    }
  }

  /** The region that would be made now within these limits. */
  #proposal(limits: RegionLimits & { twins: boolean }, number: number, source: RegionSource = this.#source) {
    const { followsCold } = this.#board.config.translation ?? DEFAULT_TRANSLATION;
    const { hasCompressed } = this.#options;
    const { memory } = this.#board;
    return explainRegion(source, this.#offset, {
      ...this.#options,
      ...{ limits: { ...limits, followsCold, hasCompressed, siteOf: (entry) => siteAt(memory, entry) }, number },
      twins: limits.twins,
      hasTotalStoreOrder: memory.header.totalStoreOrder !== 0,
    });
  }

  get #limits() {
    const { first, second, promoted } = this.#board.config.translation ?? DEFAULT_TRANSLATION;
    return [
      { ...first, twins: false },
      { ...second, twins: false },
      { ...second, twins: true },
      { ...promoted, twins: false },
    ];
  }

  get #thresholds(): readonly number[] {
    const { translation } = this.#board.config;
    return translation === undefined ? [] : [translation.threshold, translation.secondThreshold].filter((n) => n > 0);
  }

  #told(status: CodeStatus, sentence: string, more: Partial<CodeExplanation> = {}): CodeExplanation {
    return {
      hart: this.#vcpu.id,
      pc: hex(this.#pc),
      mode: this.#code.mode,
      level: levelOf(this.#code.mode),
      status,
      summary: `${sentence}.`,
      reached: this.#reached(this.#offset),
      thresholds: this.#thresholds,
      blocks: [],
      ...more,
    };
  }

  /** What the hart's interpreter counted for the entry at `offset` (engine/profile.ts). */
  #reached(offset: number): number {
    const page = this.#source.page(offset);
    if (page === undefined) return 0;
    const { hotCounters } = this.#vcpu.state;
    return hotCounters[((page.decoded + (offset - page.offset) * 4) >>> 3) % hotCounters.length] ?? 0;
  }

  #hits(blocks: readonly ExplainedBlock[]): HitBlock[] {
    return blocks.map((block) => ({
      ...block,
      reached: this.#reached(Number(BigInt.asIntN(64, BigInt(block.at) - this.#base))),
    }));
  }

  /** The instruction's bits; undefined where they are none, or its second half cannot be fetched. */
  #bits(): number | undefined {
    const bits = this.#fetch(this.#pc);
    if (bits === undefined) return undefined;
    const { decoder, emulation } = this.#options;
    return (emulation ?? decoder).decode(bits) === undefined ? undefined : bits;
  }

  #fetch(va: bigint): number | undefined {
    const low = this.#code.halfword(va);
    if (low === undefined || (low & 3) !== 3) return low;
    const high = this.#code.halfword(va + 2n);
    return high === undefined ? undefined : (low | (high << 16)) >>> 0;
  }

  /** The instructions that follow, one after the other. */
  #following(): HitBlock {
    const { decoder, emulation } = this.#options;
    const instructions = [];
    let at = this.#pc;
    while (instructions.length < FOLLOWING) {
      const bits = this.#fetch(at);
      if (bits === undefined) break;
      const length = (bits & 3) === 3 ? 4 : 2;
      instructions.push({
        at: hex(at),
        bits: bits.toString(16).padStart(length * 2, '0'),
        text: disassemble(emulation ?? decoder, bits, at),
      });
      at += BigInt(length);
    }
    return {
      at: hex(this.#pc),
      depth: 0,
      instructions,
      ending: 'goto',
      edges: [],
      reached: this.#reached(this.#offset),
    };
  }
}

function wasmOf(of: WasmExplanation['of'], isCurrent: boolean, { bytes, lines }: RegionText): WasmExplanation {
  let [end, size] = [0, 0];
  for (const line of lines) {
    size += line.length + 1;
    if (size > MOST_TEXT) break;
    end++;
  }
  const rest = end === lines.length ? [] : [`;; ${lines.length - end} more lines`];
  return { of, isCurrent, bytes, lines: [...lines.slice(0, end), ...rest] };
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function listed(modes: readonly ModeName[]): string {
  return modes.length === 1 ? must(modes[0]) : `${modes.slice(0, -1).join(', ')} and ${modes.at(-1)}`;
}

function hex(address: bigint): string {
  return `0x${BigInt.asUintN(64, address).toString(16)}`;
}
