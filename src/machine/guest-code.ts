/**
 * Guest code as an onlooker finds it: addresses are walked like a fetch by the hart, on paper. Nothing is written, no A bit,
 * no translation buffer, no frame at first touch; so neither the guest nor the machine can tell.
 */
import { must } from '../base/assert.ts';
import { fieldsOf } from '../base/struct.ts';
import { FRAME_BYTES, OVERLAY, vcpuState } from '../engine/index.ts';
import type { Vcpu } from '../hypervisor/index.ts';
import { FEATURE, type HartRegisters, type PageTableMemory, translate } from '../isa/index.ts';
import { type CodePage, codePage } from '../translator/index.ts';
import type { Board } from './board.ts';

/** The virtual ones are a nested guest's, level 2: VU and VS. */
export type ModeName = 'user' | 'supervisor' | 'machine' | 'virtual user' | 'virtual supervisor';

const MODES: Readonly<Record<ModeName, { readonly mode: bigint; readonly virtual: bigint }>> = {
  user: { mode: 0n, virtual: 0n },
  supervisor: { mode: 1n, virtual: 0n },
  machine: { mode: 3n, virtual: 0n },
  'virtual user': { mode: 0n, virtual: 1n },
  'virtual supervisor': { mode: 1n, virtual: 1n },
};
const PAGE = BigInt(FRAME_BYTES);

/** The machine's guest, or the guest of that guest. */
export type Level = 1 | 2;

export function levelOf(mode: ModeName): Level {
  return MODES[mode].virtual === 0n ? 1 : 2;
}

/** Where a fetch would come from. */
export type Place =
  | { readonly kind: 'fault'; readonly cause: number }
  /** A device, or nothing. */
  | { readonly kind: 'elsewhere'; readonly gpa: number }
  /** `host` is 0 for memory that nobody has touched. */
  | { readonly kind: 'memory'; readonly gpa: number; readonly host: number };

export class GuestCode {
  readonly mode: ModeName;
  readonly #board: Board;
  readonly #partition: number;
  readonly #registers: HartRegisters;

  /** As the hart would fetch in `mode` with its registers of now. */
  constructor(board: Board, vcpu: Vcpu, mode: ModeName) {
    this.mode = mode;
    this.#board = board;
    this.#partition = vcpu.state.partition;
    this.#registers = { ...fieldsOf(vcpuState, vcpu.state), ...MODES[mode] };
  }

  /** The modes worth trying, the hart's own first; those of `level` alone where it is given. None: it has no guest. */
  static modes(board: Board, vcpu: Vcpu, level?: Level): readonly ModeName[] {
    const names = Object.keys(MODES) as ModeName[];
    const { mode, virtual, features, hgatp } = vcpu.state;
    const own = must(names.find((name) => MODES[name].mode === mode && MODES[name].virtual === virtual));
    const hasGuest = (features & FEATURE.h) !== 0n && hgatp >> 60n !== 0n;
    // With the built-in SBI nothing executes in machine mode, where every address would be a physical one.
    const others: readonly ModeName[] = [
      ...(['supervisor', 'user'] as const),
      ...(board.hasSbi ? [] : (['machine'] as const)),
      ...(hasGuest ? (['virtual supervisor', 'virtual user'] as const) : []),
    ];
    const all = [own, ...others.filter((name) => name !== own)];
    return level === undefined ? all : all.filter((name) => levelOf(name) === level);
  }

  locate(va: bigint): Place {
    const found = translate(this.#registers, this.#tables, BigInt.asUintN(64, va), 'fetch', 2);
    if (found.kind === 'fault') return { kind: 'fault', cause: found.cause };
    const gpa = Number(must(found.parts[0]).address);
    const seen = this.#board.map.look(Math.floor(gpa / FRAME_BYTES));
    if (seen.kind === 'nothing') return { kind: 'elsewhere', gpa };
    return { kind: 'memory', gpa, host: seen.host === 0 ? 0 : seen.host + (gpa % FRAME_BYTES) };
  }

  /** The decoded page of the page at `va`, that of its overlay if it has one; undefined: nothing of it was executed. */
  page(va: bigint, offset: number): CodePage | undefined {
    const place = this.locate(va & -PAGE);
    const { memory } = this.#board;
    if (place.kind !== 'memory' || place.host === 0) return undefined;
    const home = memory.decodedPage(place.host);
    if (home === 0) return undefined;
    return codePage(memory, offset, this.#overlay(place.host) ?? home);
  }

  readonly #tables: PageTableMemory = {
    readEntry: (address) => {
      const seen = this.#board.map.look(Number(address / PAGE));
      if (seen.kind === 'nothing') return undefined;
      return seen.host === 0 ? 0n : this.#board.memory.u64[(seen.host + Number(address % PAGE)) / 8];
    },
    // The walk wants to set A: it may believe so.
    replaceEntry: () => true,
  };

  /** The sixteen bits that the guest has there; undefined where a fetch would fault or reach no memory. */
  halfword(va: bigint): number | undefined {
    const place = this.locate(va);
    if (place.kind !== 'memory') return undefined;
    const { u8 } = this.#board.memory;
    return place.host === 0 ? 0 : must(u8[place.host]) | (must(u8[place.host + 1]) << 8);
  }

  /** The entries of the partition's overlay of the frame that `host` lies in. */
  #overlay(host: number): number | undefined {
    const frame = host - (host % FRAME_BYTES);
    const found = this.#board.memory.overlays
      .list()
      .find((overlay) => overlay.frame === frame && overlay.partition === this.#partition);
    return found && found.at + OVERLAY.entries;
  }
}
