/** The counters of a board, as plain data: what `kage stats` shows of it. May be read while it runs. */
import type { Device } from '../devices/index.ts';
import { type OverlayCounters, REGIONS } from '../engine/index.ts';
import { EXIT_KINDS, type Vcpu } from '../hypervisor/index.ts';
import type { Board } from './board.ts';

export interface VcpuStats {
  readonly id: number;
  readonly mode: number;
  readonly pc: string;
  readonly instructions: number;
  /** Of these, those that translated code executed. */
  readonly translated: number;
  readonly sbiCalls: number;
  readonly sleeps: number;
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

export interface BoardStats {
  readonly vcpus: readonly VcpuStats[];
  readonly memory: Readonly<
    Record<'guestBytes' | 'touchedBytes' | 'codeBytes' | 'codeLimitBytes' | 'codeFlushes', number>
  >;
  /** Regions of translated code: made, dropped because their code was written; how many fit; modules they stand in. */
  readonly translation: Readonly<Record<'regions' | 'dropped' | 'slots' | 'slotLimit' | 'modules', number>>;
  readonly overlay: OverlayStats;
  readonly devices: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export function boardStats(board: Board): BoardStats {
  const { header } = board.memory;
  return {
    vcpus: board.vcpus.map((vcpu) => ({
      id: vcpu.id,
      mode: Number(vcpu.state.mode),
      pc: `0x${vcpu.state.pc.toString(16)}`,
      instructions: Number(vcpu.state.instret),
      translated: Number(vcpu.state.regionSteps),
      sbiCalls: vcpu.hart.calls,
      sleeps: vcpu.hart.sleeps,
      exits: Object.fromEntries(EXIT_KINDS.map((kind, i) => [kind, vcpu.hart.exits[i] ?? 0])),
    })),
    memory: {
      guestBytes: board.config.memoryBytes,
      touchedBytes: board.memory.framesUsed * 4096,
      codeBytes: board.memory.codeBytes,
      codeLimitBytes: header.decodedEnd - header.decodedFirst,
      codeFlushes: header.codeFlushes,
    },
    translation: {
      regions: header.regionsMade,
      dropped: header.regionsDropped,
      slots: header.regionNext - 1,
      slotLimit: REGIONS - 1,
      modules: header.modules,
    },
    overlay: overlayStats(board),
    devices: Object.fromEntries(board.devices.map((device) => [device.name, counters(device)])),
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
function counters(device: Device): Record<string, number> {
  const own = (device as { counters?: Record<string, number> }).counters;
  const state = device.state as Record<string, unknown>;
  const names = Object.keys(device.layout.fields).filter((name) =>
    /^(unassigned|kicks|interrupts|outputDropped)/.test(name),
  );
  return { ...Object.fromEntries(names.map((name) => [name, state[name] as number])), ...own };
}
