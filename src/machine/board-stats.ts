/** The counters of a board, as plain data: what `kage stats` shows of it. May be read while it runs. */
import type { Model } from '../devices/index.ts';
import {
  FRAME_BYTES,
  globalEntries,
  type OverlayCounters,
  PLAN,
  REGIONS,
  type ShadowInfo,
  type ShadowStats,
  SITE_BYTES,
  SITES,
  shadowList,
  shadowStats,
} from '../engine/index.ts';
import { EXIT_KINDS, type Vcpu } from '../hypervisor/index.ts';
import { ModuleLog, type PromotionMode, promotionMode } from '../translator/index.ts';
import type { Board } from './board.ts';
import type { FabricStats } from './interrupts/index.ts';
import { type NestedStats, nestedStats } from './nested-stats.ts';
import { type ProtectionDomain, type ProtectionReport, protectionReport } from './protection-report.ts';

export interface VcpuStats {
  readonly id: number;
  readonly mode: number;
  readonly pc: string;
  readonly instructions: number;
  /** Of these, those that translated code executed. */
  readonly translated: number;
  readonly shadows: ShadowStats & {
    /** Global translations, and which shadow belongs to which root of the guest, the last used first. */
    readonly globalEntries: number;
    readonly roots: readonly ShadowInfo[];
  };
  /** Exits and entries of its guest, by cause; absent where it is without the hypervisor extension. */
  readonly nested?: NestedStats;
  readonly sbiCalls: number;
  readonly sleeps: number;
  /** Milliseconds on a processor; 0 where one thread runs all harts in turns. */
  readonly usedMs: number;
  readonly exits: Readonly<Record<string, number>>;
}

/** Code overlays and what they are for (docs/mechanisms/code-overlay.md). */
export interface OverlayStats extends OverlayCounters {
  /** Instructions emulated by substitutes, by trap; executions trapped by policy, by its name; of these, by trap. */
  readonly executions: number;
  readonly emulations: number;
  readonly traps: Readonly<Record<string, number>>;
  readonly trapExits: number;
}

/** Sensitive instructions and what became of them (docs/mechanisms/promotion.md). */
export interface PromotionStats {
  /** Which of them are promoted, at the moment. */
  readonly mode: PromotionMode;
  /** Sites promoted and demoted so far; bytes of promotion code now, and at most so far. */
  readonly promoted: number;
  readonly demoted: number;
  readonly bytes: number;
  readonly peakBytes: number;
  /** Executions by promotion code of sites that are promoted now. */
  readonly executions: number;
  /** Accesses to devices, and calls of the SBI, that did not leave the engine. */
  readonly accesses: number;
  readonly calls: number;
}

/** Protection tables, by domain what they forbade (docs/mechanisms/protection-tables.md). */
export interface ProtectionStats extends Pick<ProtectionReport, 'changes' | 'tables'> {
  /** Ranges with something denied to a domain. */
  readonly rules: number;
  readonly domains: Readonly<Record<string, ProtectionDomain['violations']>>;
}

export interface TranslationStats {
  /** Regions: made, dropped because their code was written, evicted (cold while code memory was nearly full, or with all code), standing. */
  readonly regions: number;
  readonly dropped: number;
  readonly evicted: number;
  readonly inUse: number;
  /** Guest instructions in the regions that stand. */
  readonly instructions: number;
  /** Regions' numbers given out since code was last dropped, and how many there are. */
  readonly slots: number;
  readonly slotLimit: number;
  /** Modules that the regions stand in, their bytes, and the estimate of the host's machine code for them. */
  readonly modules: number;
  readonly moduleBytes: number;
  readonly hostBytes: number;
  /** What it took so far, in milliseconds, on whichever thread. */
  readonly tookMs: Readonly<Record<'find' | 'write' | 'compile' | 'install', number>>;
}

/** Who runs the harts (docs/partitions.md). */
export interface SchedulingStats {
  /** Threads that run harts; 0: one runs them in turns. */
  readonly processors: number;
  /** Periods in which the guest's cap was reached. */
  readonly throttled: number;
  /** How often a processor turned to one of its harts from another guest's. */
  readonly switches: number;
}

export interface BoardStats {
  readonly vcpus: readonly VcpuStats[];
  readonly scheduling: SchedulingStats;
  readonly memory: Readonly<
    Record<'guestBytes' | 'touchedBytes' | 'codeBytes' | 'codeLimitBytes' | 'codeFlushes' | 'codePagesEvicted', number>
  > & {
    /** In a machine of several guests: of this one's memory what has frames, and what of it others have too; copies in all. */
    readonly shared?: Readonly<Record<'presentBytes' | 'sharedBytes' | 'framesCopied', number>>;
  };
  /** Why harts left the engine, all of them together. */
  readonly exits: Readonly<Record<string, number>>;
  readonly translation: TranslationStats;
  readonly promotion: PromotionStats;
  readonly overlay: OverlayStats;
  /** Interrupts of its PCI Express functions (docs/mechanisms/interrupt-relay.md); absent where it has none. */
  readonly interrupts?: FabricStats;
  /** Protection tables (docs/mechanisms/protection-tables.md); absent where they are off. */
  readonly protection?: ProtectionStats;
  readonly devices: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

function vcpuStats({ memory }: Board, vcpu: Vcpu): VcpuStats {
  const nested = nestedStats(vcpu.state);
  return {
    id: vcpu.id,
    mode: Number(vcpu.state.mode),
    pc: `0x${vcpu.state.pc.toString(16)}`,
    instructions: Number(vcpu.state.instret),
    translated: Number(vcpu.state.regionSteps),
    shadows: {
      ...shadowStats(vcpu.state),
      globalEntries: globalEntries(memory, vcpu.state),
      roots: shadowList(memory, vcpu.state),
    },
    ...(nested === undefined ? {} : { nested }),
    sbiCalls: vcpu.hart.calls,
    sleeps: vcpu.hart.sleeps,
    usedMs: Math.round(vcpu.scheduled?.scheduler.used(vcpu.scheduled.number) ?? 0),
    exits: Object.fromEntries(EXIT_KINDS.map((kind, i) => [kind, vcpu.hart.exits[i] ?? 0])),
  };
}

export function boardStats(board: Board): BoardStats {
  const { header } = board.memory;
  const { interrupts } = board.commons;
  return {
    vcpus: board.vcpus.map((vcpu) => vcpuStats(board, vcpu)),
    scheduling: {
      processors: board.config.processors,
      throttled: board.scheduler?.shares.throttles(board.partition) ?? 0,
      switches: board.scheduler?.shares.switches(board.partition) ?? 0,
    },
    memory: {
      guestBytes: board.config.memoryBytes,
      touchedBytes: board.memory.framesUsed * 4096,
      codeBytes: board.memory.codeBytes,
      codeLimitBytes: header.codeEnd - header.decodedFirst,
      codeFlushes: header.codeFlushes,
      ...(board.commons.hasRoom ? { shared: sharingStats(board) } : {}),
      codePagesEvicted: header.pagesEvicted,
    },
    exits: Object.fromEntries(
      EXIT_KINDS.map((kind, i) => [kind, board.vcpus.reduce((sum, vcpu) => sum + (vcpu.hart.exits[i] ?? 0), 0)]),
    ),
    translation: translationStats(board),
    promotion: promotionStats(board),
    overlay: overlayStats(board),
    ...(board.pci && interrupts ? { interrupts: interrupts.fabric.stats(board.partition) } : {}),
    ...(board.protection === undefined ? {} : { protection: protectionStats(board) }),
    devices: Object.fromEntries(board.devices.map((device) => [device.name, counters(device)])),
  };
}

function protectionStats(board: Board): ProtectionStats {
  const { domains, rules, changes, tables } = protectionReport(board);
  const violations = Object.fromEntries(domains.map((domain) => [domain.name, domain.violations]));
  return { changes, rules: rules.length, tables, domains: violations };
}

function promotionStats({ memory, vcpus, config }: Board): PromotionStats {
  const { header, u32 } = memory;
  const sum = (of: (vcpu: Vcpu) => number): number => vcpus.reduce((all, vcpu) => all + of(vcpu), 0);
  let executions = 0;
  for (let number = 1; number < Math.min(header.siteNext, SITES); number++)
    executions += u32[(PLAN.sites + number * SITE_BYTES) / 4] ?? 0;
  return {
    mode: config.translation === undefined ? 'off' : promotionMode(memory, config.translation.promotion),
    promoted: header.sitesPromoted,
    demoted: header.sitesDemoted,
    bytes: header.promotionBytes,
    peakBytes: header.promotionPeak,
    executions,
    accesses: sum(({ hart }) => hart.promotedAccesses),
    calls: sum(({ hart }) => hart.promotedCalls),
  };
}

function translationStats({ memory }: Board): TranslationStats {
  const { header } = memory;
  const { regions, instructions } = memory.regionsInUse;
  const ms = (phase: number): number => Math.round((header.translationTimes[phase] ?? 0) / 1000);
  return {
    regions: header.regionsMade,
    dropped: header.regionsDropped,
    evicted: header.regionsEvicted,
    inUse: regions,
    instructions,
    slots: header.regionNext - 1,
    slotLimit: REGIONS - 1,
    modules: header.modules,
    ...new ModuleLog(memory).sizes,
    tookMs: { find: ms(0), write: ms(1), compile: ms(2), install: ms(3) },
  };
}

function overlayStats(board: Board): OverlayStats {
  const sum = (of: (vcpu: Vcpu) => number): number => board.vcpus.reduce((all, vcpu) => all + of(vcpu), 0);
  return {
    ...board.memory.overlays.counters,
    executions: sum(({ state }) => Number(state.emulated)),
    emulations: sum(({ hart }) => hart.emulations),
    traps: Object.fromEntries(
      board.config.policies.map(({ name }, i) => [name, sum(({ state }) => Number(state.policyCounts[i] ?? 0n))]),
    ),
    trapExits: sum(({ hart }) => hart.policyTraps),
  };
}

/** A device's counters: the plain numbers of its state that count. */
function counters(device: Model): Record<string, number> {
  const own = (device as { counters?: Record<string, number> }).counters;
  const state = device.state as Record<string, unknown>;
  const names = Object.keys(device.layout.fields).filter((name) =>
    /^(unassigned|kicks|interrupts|outputDropped)/.test(name),
  );
  return { ...Object.fromEntries(names.map((name) => [name, state[name] as number])), ...own };
}

function sharingStats({ map, memory }: Board): NonNullable<BoardStats['memory']['shared']> {
  const { present, shared } = map.count();
  return {
    presentBytes: present * FRAME_BYTES,
    sharedBytes: shared * FRAME_BYTES,
    framesCopied: memory.header.framesCopied,
  };
}
