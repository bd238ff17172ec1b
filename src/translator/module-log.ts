/**
 * The modules of translated code that a machine has, in its memory: one thread makes a module, the others fetch it from
 * here when they meet one of its regions. The log takes its space from the pool of decoded pages, and what the host holds
 * for a module counts there too (an estimate): the pool's end comes nearer. When it is full, everything is dropped and
 * begins anew. Where there are no others, a record is without its bytes.
 *
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

  /** Appends a module; false where there is no room. The caller holds the lock of regions. */
  append(
    bytes: Uint8Array<ArrayBuffer>,
    firstRegion: number,
    regions: number,
    options: { readonly keepsBytes: boolean },
  ): boolean {
    const { header, u8, u32 } = this.#memory;
    const kept = options.keepsBytes ? bytes : bytes.subarray(0, 0);
    const sizeBytes = roundUp(RECORD_BYTES + kept.length, 64);
    const hostBytes = bytes.length * HOST_BYTES;
    const next = (PLAN.header + headerLayout.offset.decodedNext) / 4;
    const limit = (PLAN.header + headerLayout.offset.decodedLimit) / 4;
    const before = header.decodedLimit;
    const end = before - hostBytes;
    if (header.decodedNext + sizeBytes > end) return false;
    // Others take decoded pages meanwhile, but no other module is appended: the limit moves only here.
    Atomics.store(u32, limit, end);
    const at = Atomics.add(u32, next, sizeBytes);
    if (at + sizeBytes > end) {
      Atomics.sub(u32, next, sizeBytes);
      Atomics.store(u32, limit, before);
      return false;
    }
    u32.set([header.lastModule, header.modules + 1, kept.length, firstRegion, regions], at / 4);
    u8.set(kept, at + RECORD_BYTES);
    header.lastModule = at;
    Atomics.add(u32, (PLAN.header + headerLayout.offset.modules) / 4, 1);
    return true;
  }

  /** The modules behind number `after`, oldest first; `bytes` is empty where they were not kept. */
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
