/**
 * The modules of translated code that a machine has, in its memory: one thread makes a module, the others fetch it from
 * here when they meet one of its regions. The log takes its space from the pool of decoded pages. The machine code that
 * the host makes of modules is charged to that pool, too, by an estimate, and given back when it is; when the pool is
 * full, everything is dropped and begins anew.
 *
 *   pool:    decoded pages, records -> | free | <- charged for the host's machine code
 *   record:  u32 the record before (0: none), u32 its number from 1 on, u32 bytes, u32 first region, u32 regions | bytes
 */
import { must } from '../base/assert.ts';
import { roundUp } from '../base/struct.ts';
import { headerLayout, type MachineMemory, PLAN } from '../engine/index.ts';

const RECORD_BYTES = 32;
/** What V8 holds for each byte of a module: its copy, machine code, tables (measured: bench/memory.ts, 60 for 8.5 MiB). */
export const HOST_BYTES = 7;

export interface LoggedModule {
  readonly number: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly firstRegion: number;
  readonly regions: number;
}

export class ModuleLog {
  readonly #memory: MachineMemory;

  constructor(memory: MachineMemory) {
    this.#memory = memory;
  }

  /** How many modules there are. */
  get length(): number {
    return this.#memory.header.modules;
  }

  /** Bytes of all modules, and the estimate of the host's machine code for them. */
  get sizes(): { readonly moduleBytes: number; readonly hostBytes: number } {
    const { header, u32 } = this.#memory;
    let moduleBytes = 0;
    let at = header.lastModule;
    // Bounded, as the log may begin anew meanwhile.
    for (let left = header.modules; at !== 0 && left > 0; left--) {
      moduleBytes += u32[at / 4 + 2] ?? 0;
      at = u32[at / 4] ?? 0;
    }
    // Evicted modules are in the log still, and charged no more.
    return { moduleBytes, hostBytes: header.codeEnd - header.decodedLimit };
  }

  /** Appends a module; false where there is no room. The caller holds the lock of regions. */
  append(bytes: Uint8Array<ArrayBuffer>, firstRegion: number, regions: number): boolean {
    const { header, u8, u32 } = this.#memory;
    const sizeBytes = roundUp(RECORD_BYTES + bytes.length, 64);
    const at = this.#take(sizeBytes, bytes.length * HOST_BYTES);
    if (at === undefined) return false;
    Atomics.sub(u32, LIMIT, bytes.length * HOST_BYTES);
    u32.set([header.lastModule, header.modules + 1, bytes.length, firstRegion, regions], at / 4);
    u8.set(bytes, at + RECORD_BYTES);
    header.lastModule = at;
    Atomics.add(u32, (PLAN.header + headerLayout.offset.modules) / 4, 1);
    return true;
  }

  /**
   * Bytes of the pool, if `charged` more are free behind them. What is not there is never taken, not for a moment either:
   * vCPUs take decoded pages meanwhile.
   */
  #take(sizeBytes: number, charged: number): number | undefined {
    const { header, u32 } = this.#memory;
    const isThere = (at: number): boolean =>
      at + sizeBytes + charged <= Atomics.load(u32, LIMIT) + Atomics.load(u32, FREE) &&
      at + sizeBytes <= header.poolEnd;
    for (let at = Atomics.load(u32, NEXT); isThere(at); ) {
      const found = Atomics.compareExchange(u32, NEXT, at, at + sizeBytes);
      if (found === at) return at;
      at = found;
    }
    return undefined;
  }

  /** The host gave the machine code of a module of `moduleBytes` back. */
  release(moduleBytes: number): void {
    Atomics.add(this.#memory.u32, LIMIT, moduleBytes * HOST_BYTES);
  }

  /** The bytes of module `number`; undefined where it is not there (any more). Any thread, without a lock. */
  find(number: number): Uint8Array<ArrayBuffer> | undefined {
    const { header, u8, u32 } = this.#memory;
    let at = header.lastModule;
    // Bounded, as the log may begin anew meanwhile.
    for (let left = header.modules; at !== 0 && left > 0; left--) {
      const [before = 0, own, length = 0] = u32.subarray(at / 4, at / 4 + 3);
      if (own === number) return u8.slice(at + RECORD_BYTES, at + RECORD_BYTES + length);
      at = before;
    }
    return undefined;
  }

  /** The modules behind number `after`, oldest first. */
  since(after: number): readonly LoggedModule[] {
    const { header, u8, u32 } = this.#memory;
    const out: LoggedModule[] = [];
    for (let at = header.lastModule; at !== 0; at = must(u32[at / 4])) {
      const [, number = 0, length = 0, firstRegion = 0, regions = 0] = u32.subarray(at / 4, at / 4 + 5);
      if (number <= after) break;
      out.push({ number, bytes: u8.slice(at + RECORD_BYTES, at + RECORD_BYTES + length), firstRegion, regions });
    }
    return out.reverse();
  }
}

const NEXT = (PLAN.header + headerLayout.offset.decodedNext) / 4;
/** Pages that were taken back hold nothing: what they take may be charged for something else. */
const FREE = (PLAN.header + headerLayout.offset.decodedFreeBytes) / 4;
const LIMIT = (PLAN.header + headerLayout.offset.decodedLimit) / 4;
