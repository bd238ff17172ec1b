/**
 * The engine: the generated module for a processor configuration, and processors that run vCPUs with it. One module
 * serves all vCPUs of a machine; each thread instantiates it once.
 */
import { AssertionError } from '../base/assert.ts';
import { COMPRESSED_CODES, createDecoder } from '../isa/index.ts';
import { type MemoryDescription, ModuleBuilder, type ValueType } from '../wasm/index.ts';
import { defineArithmetic } from './arithmetic.ts';
import { defineCodePages, defineWritten } from './code-pages.ts';
import { defineCsrs } from './csr-functions.ts';
import { DecodeTables } from './decode-tables.ts';
import { defineFloat } from './float/index.ts';
import { defineInterpreter } from './interpreter.ts';
import { ACCESS, REGION_TABLE } from './memory-plan.ts';
import { defineSlots } from './memory-slots.ts';
import { defineMmu } from './mmu.ts';
import { Operations } from './operations.ts';
import { defineOverlays } from './overlay-code.ts';
import { definePromotion } from './promotion.ts';
import { defineRegions } from './regions.ts';
import { dropTranslations } from './shadows.ts';
import { EXIT, type VcpuState, vcpuState } from './vcpu-state.ts';
import { Library } from './wasm-machine.ts';

export interface EngineCode {
  /** The Wasm module's bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tables: DecodeTables;
  /** What the module exports for translated code to call, by name. */
  readonly signatures: ReadonlyMap<string, Signature>;
}

/** What a function takes and gives. */
export interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/**
 * Generates the engine for a set of extensions (see isa/extensions.ts). `emulated` are extensions that the hart is
 * without: their instructions leave the engine, or are executed where an overlay says so.
 */
export function generateEngine(
  memory: MemoryDescription,
  extensions: ReadonlySet<string>,
  emulated: ReadonlySet<string> = new Set<string>(),
): EngineCode {
  const decoder = createDecoder(extensions);
  const emulation = emulated.size === 0 ? decoder : createDecoder(new Set([...extensions, ...emulated]));
  const own = new Set(decoder.rows.map((code) => code.row));
  const rows = emulation.rows.map((code) => code.row);
  const operations = new Operations(
    rows,
    new Set(COMPRESSED_CODES.map((code) => code.target.row.name)),
    new Set(rows.filter((row) => !own.has(row))),
  );
  const tables = new DecodeTables(decoder, emulation, operations);
  const module = new ModuleBuilder(memory);
  const hostTime = module.importFunction('time', [], ['f64']);
  const told = {
    hot: module.importFunction('hot', [module.pointerType], []),
    sensitive: module.importFunction('sensitive', [module.pointerType], []),
  };
  const device = module.importFunction('device', [module.pointerType], ['i32']);
  const call = module.importFunction('call', [module.pointerType], ['i32']);
  const handed = module.importFunction('handed', ['i32', 'i32', 'i32'], []);
  const library = new Library({
    hasCompressed: extensions.has('c'),
    emulates: emulated.size > 0,
    hasHypervisor: extensions.has('h'),
  });
  defineArithmetic(module, library);
  defineFloat(module, library);
  defineRegions(module, library);
  defineOverlays(module, library);
  defineWritten(module, library);
  defineMmu(module, library, handed);
  defineSlots(module, library);
  definePromotion(module, library, { device, call });
  defineCodePages(module, library, tables);
  defineCsrs(module, library, hostTime);
  const run = defineInterpreter(module, library, operations, told);
  module.export('run', run);
  // All of the library: for the processor, and for regions of translated code.
  for (const [name, ref] of library.entries()) module.export(name, ref);
  module.exportTable('table');
  const signatures = new Map<string, Signature>();
  for (const [name, { params, results }] of library.entries()) signatures.set(name, { params, results });
  return { bytes: module.build(), tables, signatures };
}

/** Why a vCPU left the engine. */
export type Exit =
  | {
      readonly kind: 'budget' | 'call' | 'wait' | 'breakpoint' | 'codeFull' | 'memoryFull' | 'fenceInstruction';
    }
  /** The instruction at pc, whose bits these are, is one that is emulated. */
  | { readonly kind: 'illegal'; readonly bits: number }
  /** The instruction at pc is trapped by policy `policy`, counted from 1: state.pass lets it be executed. */
  | { readonly kind: 'trapped'; readonly bits: number; readonly policy: number }
  /** A breakpoint is wanted in the frame of the pc. */
  | { readonly kind: 'overlay' }
  /** The page at this guest-physical address is to have a frame of its own (GuestPhysicalMap.own), as it is to be written. */
  | { readonly kind: 'copyPage'; readonly gpa: number }
  | {
      readonly kind: 'mmio';
      readonly gpa: number;
      readonly bytes: number;
      readonly isWrite: boolean;
      readonly value: bigint;
    };

/** Linux's own limit: above it, it fences everything. */
const MOST_FENCED_BYTES = 64n * 4096n;

type Address = number | bigint;
interface Exports {
  readonly table: WebAssembly.Table;

  readonly region_missing: () => number;
  run(vcpu: Address, budget: number): number;
  drop_regions(vcpu: Address, page: Address): void;
  context(vcpu: Address): void;
  flush_translation(vcpu: Address): void;
  flush_space(vcpu: Address, asid: bigint, scope: bigint): void;
  flush_page(vcpu: Address, va: bigint, asid: bigint, scope: bigint): void;
  return_frames(vcpu: Address): void;
  timer(vcpu: Address): void;
  written(vcpu: Address, host: Address, bytes: number): void;
  walk(vcpu: Address, va: bigint, access: number, mode: number): bigint;
  walk_virtual(vcpu: Address, va: bigint, access: number, mode: number, isHlvx: number): bigint;
  csr_read(vcpu: Address, number: number): bigint;
  csr_write(vcpu: Address, number: number, value: bigint, changes: bigint, old: bigint): void;
  host_address(vcpu: Address, va: bigint, bytes: number, access: number): Address;
  take_trap(vcpu: Address, pc: bigint): void;
  /** Of harts with the hypervisor extension. */
  describe_fault?(vcpu: Address, bits: number): void;
  select_host?(vcpu: Address): void;
  select_guest?(vcpu: Address): void;
  load_slow(vcpu: Address, va: bigint, bytes: number): bigint;
  store_slow(vcpu: Address, va: bigint, bytes: number, value: bigint): void;
}

/** Executes vCPUs on the calling thread. */
export class Processor {
  readonly #exports: Exports;
  /** What modules of translated code import: made once, it has hundreds of properties. */
  readonly #library: ConstructorParameters<typeof WebAssembly.Instance>[1];
  readonly #isWide: boolean;
  #state: VcpuState | undefined;
  /** Told of the vCPU that runs when its pc became hot; it goes on behind. */
  onHot: ((state: VcpuState) => void) | undefined;
  /** Told of the vCPU that runs when the instruction at its sitePc was emulated often; it goes on with that. */
  onSensitive: ((state: VcpuState) => void) | undefined;
  /** Promoted code: answers the access to a device that the exit fields describe (as after an exit); false: it cannot. */
  onDevice: ((state: VcpuState) => boolean) | undefined;
  /** Promoted code: answers a call of the SBI; false: it is to leave the engine. */
  onCall: ((state: VcpuState) => boolean) | undefined;
  /**
   * Told that a page of a partition gets a frame (both by number), before anybody reaches it there; page -1: that the
   * frame is nobody's again. Only where vCPUs have protection tables.
   */
  onHanded: ((partition: number, frame: number, page: number) => void) | undefined;
  /** Has the host collect this thread's garbage at once: much translated code was dropped. */
  collectGarbage: (() => void) | undefined;

  /** `ticks` is the time that guests read where their clock is the host's: timebase ticks, a fraction is cut off. */
  constructor(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    options: { width: 32 | 64; ticks: () => number },
  ) {
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory,
        time: options.ticks,
        hot: () => this.#state && this.onHot?.(this.#state),
        sensitive: () => this.#state && this.onSensitive?.(this.#state),
        device: () => (this.#state && this.onDevice?.(this.#state) === true ? 1 : 0),
        call: () => (this.#state && this.onCall?.(this.#state) === true ? 1 : 0),
        handed: (partition: number, frame: number, page: number) => this.onHanded?.(partition, frame, page),
      },
    });
    this.#exports = instance.exports as unknown as Exports;
    this.#isWide = options.width === 64;
    this.#library = { env: { ...instance.exports, memory } };
  }

  /** Puts a module of translated code into this thread's table. */
  instantiate(module: WebAssembly.Module): void {
    new WebAssembly.Instance(module, this.#library);
  }

  /**
   * Has the host compile the code of a region now instead of when it is first called: called without budget, it returns
   * at once. All threads of the process share what the host compiles.
   */
  prepareRegion(number: number, vcpu: number): void {
    const region = this.#exports.table.get(REGION_TABLE + number) as (vcpu: Address, budget: number) => number;
    region(this.#address(vcpu), 0);
  }

  /** Takes regions `first` up to, not including, `end` out of this thread's table. */
  forget(first: number, end: number): void {
    const { table, region_missing } = this.#exports;
    for (let number = first; number < end; number++) table.set(REGION_TABLE + number, region_missing);
  }

  /** Runs the vCPU whose block is at `vcpu` for at most `budget` (1 to 2^31 - 1) steps. */
  run(vcpu: number, state: VcpuState, budget: number): Exit {
    this.#state = state;
    if (state.freshPages > state.freshLeast) this.#exports.return_frames(this.#address(vcpu));
    switch (this.#exports.run(this.#address(vcpu), budget)) {
      case EXIT.budget:
        return BUDGET;
      case EXIT.mmio:
        return {
          kind: 'mmio',
          gpa: Number(state.exitGpa),
          bytes: state.exitBytes,
          isWrite: state.exitIsWrite !== 0,
          value: state.exitValue,
        };
      case EXIT.call:
        return CALL;
      case EXIT.wait:
        return WAIT;
      case EXIT.breakpoint:
        return BREAKPOINT;
      case EXIT.codeFull:
        return CODE_FULL;
      case EXIT.memoryFull:
        return MEMORY_FULL;
      case EXIT.fenceInstruction:
        return FENCE_INSTRUCTION;
      case EXIT.illegal:
        return { kind: 'illegal', bits: Number(state.exitValue) };
      case EXIT.trapped:
        return { kind: 'trapped', bits: Number(state.exitValue), policy: Number(state.exitGpa) };
      case EXIT.overlay:
        return OVERLAY_WANTED;
      case EXIT.copyPage:
        return { kind: 'copyPage', gpa: Number(state.exitGpa) };
      default:
        throw new AssertionError(`unknown exit ${state.exitKind}`);
    }
  }

  /** To be called after state that translation depends on was changed from outside (reset, restore, debugger). */
  contextChanged(vcpu: number): void {
    this.#exports.flush_translation(this.#address(vcpu));
    this.#exports.context(this.#address(vcpu));
  }

  /** Drops the regions that have instructions of a decoded page. */
  dropRegions(vcpu: number, page: number): void {
    this.#exports.drop_regions(this.#address(vcpu), this.#address(page));
  }

  /**
   * A fence of `bytes` from `va` on, of an ASID or (-1) of all, for whom `scope` names (fence-scope.ts): page by page, or where
   * that would take longer than to find the translations again, of all pages. Between runs.
   */
  fence(
    vcpu: number,
    state: VcpuState,
    { va, bytes, asid, scope }: { va: bigint; bytes: bigint; asid: bigint; scope: bigint },
  ): void {
    const at = this.#address(vcpu);
    state.fencesRemote++;
    const isAll = (va === 0n && bytes === 0n) || bytes > MOST_FENCED_BYTES;
    if (isAll) {
      this.#exports.flush_space(at, asid, scope);
      return;
    }
    const end = va + bytes;
    for (let page = va & ~0xfffn; page < end; page += 4096n)
      this.#exports.flush_page(at, BigInt.asIntN(64, page), asid, scope);
  }

  flushTranslation(vcpu: number): void {
    this.#exports.flush_translation(this.#address(vcpu));
  }

  /** Recomputes STIP from time and stimecmp. */
  updateTimer(vcpu: number): void {
    this.#exports.timer(this.#address(vcpu));
  }

  /** Bytes at a linear address were written by somebody else than this vCPU's code: decoded code is dropped. */
  written(vcpu: number, host: number, bytes: number): void {
    this.#exports.written(this.#address(vcpu), this.#address(host), bytes);
  }

  /**
   * Guest-physical address of `va` for a load in `mode`, or undefined. Leaves no trap behind. For a debugger, of a vCPU
   * that stands still: it reads page tables that the guest itself may not read, too.
   */
  translate(vcpu: number, state: VcpuState, va: bigint, mode: number): bigint | undefined {
    this.settleContext(vcpu, state);
    const tables = state.protection.slice();
    state.protection.fill(0n);
    const [at, address] = [this.#address(vcpu), BigInt.asIntN(64, va)];
    const gpa =
      state.virtual === 0n
        ? this.#exports.walk(at, address, 1, mode)
        : this.#exports.walk_virtual(at, address, 1, mode, 0);
    state.protection.set(tables);
    // What it found on its way must not lead the guest past a check.
    if (tables.some((table) => table !== 0n)) dropTranslations(state);
    state.fault = 0;
    return gpa === -1n ? undefined : BigInt.asUintN(64, gpa);
  }

  /** Where the instruction at `pc` lies in the machine's memory; undefined if it faults or has no page to itself. */
  fetchAddress(vcpu: number, state: VcpuState, pc: bigint): number | undefined {
    this.settleContext(vcpu, state);
    const host = Number(this.#exports.host_address(this.#address(vcpu), BigInt.asIntN(64, pc), 2, ACCESS.fetch));
    state.fault = 0;
    return host === 0 || state.cacheable === 0 ? undefined : host;
  }

  /** Takes the trap of the instruction at the vCPU's pc, whose bits are given. */
  raise(vcpu: number, state: VcpuState, bits: number, { cause, tval }: { cause: number; tval: bigint }): void {
    state.faultCause = BigInt(cause);
    state.faultTval = tval;
    this.#exports.describe_fault?.(this.#address(vcpu), bits);
    this.#exports.take_trap(this.#address(vcpu), BigInt.asIntN(64, state.pc));
  }

  /** Drops now what is to be dropped before the vCPU's next instruction: for who executes one in its place. */
  settleContext(vcpu: number, state: VcpuState): void {
    if (state.contextStale !== 0) this.#exports.context(this.#address(vcpu));
  }

  /** A load or store as the vCPU's own: what became of it is in its fault fields (see FAULT). */
  load(vcpu: number, va: bigint, bytes: number): bigint {
    return BigInt.asUintN(64, this.#exports.load_slow(this.#address(vcpu), BigInt.asIntN(64, va), bytes));
  }
  store(vcpu: number, va: bigint, bytes: number, value: bigint): void {
    this.#exports.store_slow(this.#address(vcpu), BigInt.asIntN(64, va), bytes, BigInt.asIntN(64, value));
  }

  /**
   * The CSR's value as machine mode reads it; undefined where there is none. Machine mode is no guest: of a hart that
   * executes one, sepc is the hypervisor's and vsepc the guest's.
   */
  readCsr(vcpu: number, state: VcpuState, number: number): bigint | undefined {
    const value = this.#asMachine(vcpu, state, (at) => this.#exports.csr_read(at, number));
    return value === undefined ? undefined : BigInt.asUintN(64, value);
  }

  /** Writes as machine mode would; false where there is no such CSR. */
  writeCsr(vcpu: number, state: VcpuState, number: number, value: bigint): boolean {
    const done = this.#asMachine(vcpu, state, (at) => {
      const old = this.#exports.csr_read(at, number);
      this.#exports.csr_write(at, number, BigInt.asIntN(64, value), -1n, old);
      return true;
    });
    this.contextChanged(vcpu);
    return done === true;
  }

  /** Acts in machine mode of a vCPU that stands still, whose mode is as before afterwards; undefined if that faulted. */
  #asMachine<T>(vcpu: number, state: VcpuState, act: (at: Address) => T): T | undefined {
    const at = this.#address(vcpu);
    const { mode, virtual } = state;
    if (virtual !== 0n) this.#exports.select_host?.(at);
    state.mode = 3n;
    const result = act(at);
    state.mode = mode;
    if (virtual !== 0n) this.#exports.select_guest?.(at);
    const hasFaulted = state.fault !== 0;
    state.fault = 0;
    return hasFaulted ? undefined : result;
  }

  #address(value: number): Address {
    return this.#isWide ? BigInt(value) : value;
  }
}

const BUDGET: Exit = { kind: 'budget' };
const CALL: Exit = { kind: 'call' };
const WAIT: Exit = { kind: 'wait' };
const BREAKPOINT: Exit = { kind: 'breakpoint' };
const CODE_FULL: Exit = { kind: 'codeFull' };
const FENCE_INSTRUCTION: Exit = { kind: 'fenceInstruction' };
const OVERLAY_WANTED: Exit = { kind: 'overlay' };
const MEMORY_FULL: Exit = { kind: 'memoryFull' };

export { vcpuState };
