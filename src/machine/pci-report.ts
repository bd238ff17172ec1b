/** A partition's PCI Express fabric, for its operator: what is in which slot; cards are put in and taken out. */
import { OperatorError } from '../base/errors.ts';
import { type PciFunction, type RootPort, requesterName } from '../devices/index.ts';
import type { Board } from './board.ts';
import type { PciConfig } from './pci-functions.ts';

export interface PciFunctionReport {
  readonly id: string;
  /** Device and function on its bus: `00.0`. */
  readonly place: string;
  /** As QEMU calls it: `virtio-net-pci`. */
  readonly kind: string;
  /** How it interrupts now: as the guest's driver has chosen. */
  readonly interrupts: 'intx' | 'msi' | 'msix';
  /** Sent so far: messages, and assertions of its pin. */
  readonly messages: number;
  readonly asserts: number;
}

export interface PciPortReport {
  readonly id: string;
  /** On the root bus: `01.0`. */
  readonly place: string;
  readonly slot: number;
  /** `leaving`: its removal was asked for, and the guest has not let it go yet. */
  readonly card: 'in' | 'leaving' | 'out';
  /** As the guest has switched it. */
  readonly power: 'on' | 'off';
  /** What the guest shows on the slot. */
  readonly indicators: { readonly power: 'on' | 'blink' | 'off'; readonly attention: 'on' | 'blink' | 'off' };
  /** Those of the card, in the slot or not. */
  readonly functions: readonly PciFunctionReport[];
}

export interface PciReport {
  readonly ports: readonly PciPortReport[];
  /** Those on the root bus, which stay. */
  readonly functions: readonly PciFunctionReport[];
}

/** `plug` puts the card in; `unplug` asks the guest to let it go; `pull` takes it out at once. */
export type SlotAction = 'plug' | 'unplug' | 'pull';

/** Throws OperatorError where the partition has no PCI Express. On any thread. */
export function pciReport(board: Board): PciReport {
  const { pci, config } = fabricOf(board);
  const functionsOf = (port: string | undefined): PciFunctionReport[] =>
    pci.functions.filter((one) => one.config.port === port).map((one) => functionReport(one.config.id, one.func));
  return {
    ports: pci.ports.map((port, i) => portReport(port, config.ports[i]?.id ?? '', functionsOf)),
    functions: functionsOf(undefined),
  };
}

/** The same, and where the slot or its card is not as the action needs it. */
export function changeSlot(board: Board, portId: string, action: SlotAction): void {
  const { pci, config } = fabricOf(board);
  const port = pci.port(portId);
  if (port === undefined)
    throw new OperatorError(
      'no-such-port',
      `there is no root port ${portId}`,
      `Name one of ${config.ports.map(({ id }) => id).join(', ')}.`,
    );
  if (action === 'plug' && port.behind.functions.length === 0)
    throw new OperatorError(
      'no-card',
      `there is no card for ${portId}`,
      'Give it functions where the machine is made.',
    );
  const { slot } = port;
  const isDone = port.func.lock.with(() => {
    if (action === 'plug') return slot.plug();
    return action === 'unplug' ? slot.requestRemoval() : slot.remove();
  });
  if (!isDone)
    throw new OperatorError(
      'slot-unchanged',
      action === 'plug' ? `the card of ${portId} is in` : `there is no card in ${portId}`,
      action === 'plug' ? 'Nothing is to be done.' : 'Plug it in first.',
    );
}

function fabricOf({ pci, config }: Board): { pci: NonNullable<Board['pci']>; config: PciConfig } {
  if (pci === undefined || config.pci === undefined)
    throw new OperatorError('no-pci', 'the machine has no PCI Express', 'Start it with --pci on.');
  return { pci, config: config.pci };
}

function portReport(
  { func, slot }: RootPort,
  id: string,
  functionsOf: (port: string) => PciFunctionReport[],
): PciPortReport {
  return {
    ...{ id, place: placeOf(func), slot: slot.number },
    card: slot.isRemoving ? 'leaving' : slot.isPresent ? 'in' : 'out',
    power: slot.isPowered ? 'on' : 'off',
    indicators: { power: slot.powerIndicator, attention: slot.attentionIndicator },
    functions: functionsOf(id),
  };
}

function functionReport(id: string, func: PciFunction): PciFunctionReport {
  const { messages, asserts } = func.interrupts.state;
  return {
    ...{ id, place: placeOf(func), kind: func.description.kind, interrupts: func.interruptMode },
    ...{ messages, asserts },
  };
}

/** Without the bus, whose number is the guest's. */
function placeOf({ requester }: PciFunction): string {
  return requesterName(requester).slice('00:'.length);
}
