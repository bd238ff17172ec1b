/**
 * What is asked of a machine that runs, and changed in it, while nobody has to do with its beginning or end: its mechanisms,
 * memory, slots, networks and agent.
 */
import { OperatorError } from '../../base/errors.ts';
import {
  type BalloonReport,
  type Board,
  balloonReport,
  boardStats,
  CodeExplainer,
  type CodeExplanation,
  changeSlot,
  type ExplainRequest,
  type HotRegion,
  hotRegions,
  latestViolations,
  type PciReport,
  type PromotedSite,
  type ProtectionChange,
  type ProtectionReport,
  pciReport,
  promotedSites,
  protectionReport,
  type SlotAction,
  setBalloon,
  setCap,
  switchesOf,
  throwSwitches,
  type Violation,
} from '../../machine/index.ts';
import type { CaptureOptions, NetReport, PathEvent } from '../../network/index.ts';
import type { AgentEvent, MachineHandle, MachineStats, NetChange, Switches } from './machine-api.ts';
import type { MachineBody } from './machine-body.ts';
import { changeNet } from './net-change.ts';
import { changeProtection } from './protection-change.ts';

type Monitored = Pick<
  MachineHandle,
  | 'stats'
  | 'explain'
  | 'switches'
  | 'setSwitches'
  | 'balloon'
  | 'setBalloon'
  | 'setCap'
  | 'pci'
  | 'changeSlot'
  | 'hotRegions'
  | 'promotedSites'
  | 'protection'
  | 'protect'
  | 'violations'
  | 'net'
  | 'changeNet'
  | 'netEvents'
  | 'capture'
  | 'setHeartbeat'
  | 'agentEvents'
>;

/** That part of a handle which any machine answers alike. */
export abstract class MachineMonitor implements Monitored {
  /** For those that make machines of machines: twins. */
  readonly body: MachineBody;
  #explainer: CodeExplainer | undefined;

  constructor(body: MachineBody) {
    this.body = body;
  }

  async stats(): Promise<MachineStats> {
    return this.body.end.lastStats ?? this.counted();
  }

  /** What is counted of a guest whose memory is still its own. */
  protected counted(): MachineStats {
    const { network, user, networks } = this.body.backends;
    return {
      ...boardStats(this.body.board),
      ...(user ? { network: user.stats() } : {}),
      ...(network ? { paths: networks.paths.stats() } : {}),
    };
  }

  async explain({ hart = 0, ...where }: Partial<ExplainRequest> = {}): Promise<CodeExplanation> {
    const board = this.#liveBoard();
    if (board.vcpus[hart] === undefined)
      throw new OperatorError(
        'no-such-hart',
        `The machine has no hart ${hart}`,
        `Give a number from 0 to ${board.vcpus.length - 1}`,
      );
    this.#explainer ??= new CodeExplainer(board, this.body.home.parts.signatures);
    return this.#explainer.explain({ hart, ...where });
  }

  async switches(): Promise<Switches> {
    return switchesOf(this.#liveBoard());
  }

  async setSwitches(change: Switches): Promise<void> {
    throwSwitches(this.#liveBoard(), change);
  }

  async balloon(): Promise<BalloonReport> {
    return balloonReport(this.#liveBoard());
  }

  async setBalloon(memoryBytes: number): Promise<void> {
    setBalloon(this.#liveBoard(), memoryBytes);
  }

  async setCap(cap: number): Promise<void> {
    setCap(this.#liveBoard(), cap);
  }

  async pci(): Promise<PciReport> {
    return pciReport(this.#liveBoard());
  }

  async changeSlot(port: string, action: SlotAction): Promise<void> {
    changeSlot(this.#liveBoard(), port, action);
  }

  async hotRegions(most = 20): Promise<readonly HotRegion[]> {
    return hotRegions(this.#liveBoard(), most);
  }

  async promotedSites(most = 20): Promise<readonly PromotedSite[]> {
    return promotedSites(this.#liveBoard(), most);
  }

  async protection(): Promise<ProtectionReport> {
    return protectionReport(this.#liveBoard());
  }

  async protect(change: ProtectionChange): Promise<void> {
    await changeProtection(this.#liveBoard(), change);
  }

  async violations(most = 100): Promise<readonly Violation[]> {
    return latestViolations(this.#liveBoard(), most);
  }

  async setHeartbeat(intervalMs: number): Promise<void> {
    this.body.end.checkStays();
    this.body.agents.care.setHeartbeat(intervalMs);
  }

  async agentEvents(since = 0, waitMs = 0, signal?: AbortSignal): Promise<readonly AgentEvent[]> {
    return await this.body.agents.care.events(since, waitMs, signal);
  }

  async net(): Promise<NetReport> {
    return this.body.backends.networks.paths.report();
  }

  async changeNet(change: NetChange): Promise<void> {
    const { end, backends, name } = this.body;
    end.checkStays();
    await changeNet(backends.networks, backends.network, { owner: name, change });
  }

  async netEvents(since = 0): Promise<readonly PathEvent[]> {
    return this.body.backends.networks.paths.events(since);
  }

  capture(options: CaptureOptions, write: (bytes: Uint8Array) => void): { close(): void } {
    const { end, backends } = this.body;
    end.checkStays();
    const { port } = options;
    const named = port === undefined ? options : { ...options, port: backends.network?.named(port) ?? port };
    return backends.networks.paths.capture(named, write);
  }

  /** Throws OperatorError where the guest has ended, and its memory serves others. */
  #liveBoard(): Board {
    this.body.end.checkStays();
    return this.body.board;
  }
}
