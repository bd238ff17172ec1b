/**
 * The agents of one guest on their ports: ours on org.kagemusha.agent.0, QEMU's on org.qemu.guest_agent.0 (where its
 * packages look for it). Which of them is used follows from which answers; ours is preferred, for it can do more.
 */
import { randomInt } from 'node:crypto';
import { must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import { type ConsolePort, type ConsolePortOptions, DEFAULT_CONSOLE_PORTS } from '../../devices/index.ts';
import { checkHealthOptions, checkHeartbeat, type GuestAgent, GuestCare, QemuAgent } from '../agent/index.ts';
import { AgentLink, restoredNow, type SavedConversation } from './agent-link.ts';
import type { GuestOutputs } from './guest-outputs.ts';
import type { AgentChoice, MachineOptions } from './machine-api.ts';
import { nodeClock } from './node-clock.ts';
import { PortWriter } from './port-writer.ts';

const QEMU_PORT = 'org.qemu.guest_agent.0';

export function agentChoice({ agent = 'auto' }: Pick<MachineOptions, 'agent'>): AgentChoice {
  if (agent === true) return 'auto';
  return agent === false ? 'off' : agent;
}

/** Of the guest's console device: a guest sees a port for QEMU's agent only where it would be listened to. */
export function consolePorts(options: Pick<MachineOptions, 'agent'>): readonly ConsolePortOptions[] {
  const choice = agentChoice(options);
  const isFor = choice === 'auto' || choice === 'qemu';
  return isFor ? [...DEFAULT_CONSOLE_PORTS, { name: QEMU_PORT, isConsole: false }] : DEFAULT_CONSOLE_PORTS;
}

/** Throws OperatorError for what no agent could be asked. */
export function checkCare({ health, heartbeatMs, agent }: MachineOptions): void {
  if (health !== undefined) checkHealthOptions(health);
  if (heartbeatMs !== undefined) checkHeartbeat(heartbeatMs);
  if (agentChoice({ ...(agent === undefined ? {} : { agent }) }) !== 'off') return;
  if (health === undefined && (heartbeatMs ?? 0) === 0) return;
  const fix = 'Leave out --agent off (--no-agent), or the health command and the heartbeat';
  throw new OperatorError('bad-usage', 'without an agent nobody checks health or hears a heart beat', fix);
}

export interface GuestAgentsOptions {
  readonly options: MachineOptions;
  readonly ports: readonly ConsolePort[];
  readonly saved: SavedConversation | undefined;
  readonly isRestored: boolean;
  /** The same guest as before, in another process. */
  readonly isSame: boolean;
  /** What agents say is output as any other. */
  readonly outputs: Pick<GuestOutputs, 'send'>;
  readonly standsStill: () => boolean;
}

export class GuestAgents {
  /** Ours; it is there, whether anybody answers on it or not. */
  readonly link: AgentLink;
  readonly care: GuestCare;
  readonly #qemu: QemuAgent | undefined;

  constructor({ options, ports, saved, isRestored, isSame, outputs, standsStill }: GuestAgentsOptions) {
    const ours = must(ports.find((port) => !port.isConsole));
    this.link = new AgentLink(ours, saved, { isRestored, isSame, outputs });
    const port = ports.find(({ name }) => name === QEMU_PORT);
    if (port !== undefined) this.#qemu = qemuAgent(port, saved !== undefined && !isSame, outputs);
    const choice = agentChoice(options);
    const agents: GuestAgent[] = choice === 'qemu' ? [] : [this.link.agent];
    if (this.#qemu !== undefined) agents.push(this.#qemu);
    const { heartbeatMs, health } = options;
    this.care = new GuestCare({
      agents,
      clock: nodeClock,
      standsStill,
      wallMs: () => Date.now(),
      ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
      ...(health === undefined ? {} : { health }),
    });
  }

  close(): void {
    this.care.close();
    this.link.session.close();
    this.#qemu?.conversation.end();
  }
}

function qemuAgent(port: ConsolePort, goesOn: boolean, outputs: GuestAgentsOptions['outputs']): QemuAgent {
  const writer = new PortWriter(port);
  const agent = new QemuAgent(writer, {
    clock: nodeClock,
    random: () => randomInt(1, 2 ** 31 - 1),
    ...(goesOn ? { restored: restoredNow } : {}),
  });
  const { conversation } = agent;
  port.onData = (bytes) => {
    const copy = bytes.slice();
    outputs.send(copy.length, () => conversation.onData(copy));
  };
  port.onDrain = () => writer.flush();
  port.onOpen = () => conversation.opened();
  port.onClose = () => {
    writer.waiting = [];
    conversation.closed();
  };
  return agent;
}
