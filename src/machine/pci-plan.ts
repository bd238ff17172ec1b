/** Which of a machine's devices are PCI Express functions, and where: from its options. */
import { OperatorError } from '../base/errors.ts';
import { BLOCK_QUEUES_MAX, checkPlan, type FunctionPlan, NET_PAIRS_MAX, type PortPlan } from '../devices/index.ts';
import type { SlotConfig } from './board-shape.ts';
import type { FunctionConfig, PciConfig } from './pci-functions.ts';

/** A device in a place of its own. */
export interface PciFunctionOptions extends FunctionPlan {
  /** One of the machine's devices (`console0`, `rng0`, `net0`, `balloon0`, `disk0` and so on), or a new one's name. */
  readonly id: string;
  /** Of a new one; other kinds need what the machine's options give them. */
  readonly kind?: 'rng';
  /** Queues of a disk, pairs of queues of a network interface. Default 1. */
  readonly queues?: number;
}

export interface PciOptions {
  /** Root ports; those with no function are empty slots. */
  readonly ports: readonly PortPlan[];
  /** Devices that are not named stay in virtio-mmio slots. */
  readonly functions: readonly PciFunctionOptions[];
}

const MOST_PORTS = 31;
const MOST_FUNCTIONS = 64;
/** Of kinds that can have several. */
const MOST_QUEUES: Partial<Record<SlotConfig['kind'], number>> = { block: BLOCK_QUEUES_MAX, net: NET_PAIRS_MAX };

/**
 * `slots`: the devices that the machine has. `pci`: true puts each behind a root port of its own, from 00:01.0 on. Returns
 * those that stay in slots, and the fabric. Throws OperatorError for what cannot be.
 */
export function planPci(
  slots: readonly SlotConfig[],
  pci: boolean | PciOptions | undefined,
): { slots: readonly SlotConfig[]; pci?: PciConfig } {
  if (pci === undefined || pci === false) return { slots };
  const { ports, functions } = pci === true ? oneEach(slots) : pci;
  if (ports.length > MOST_PORTS || functions.length > MOST_FUNCTIONS)
    throw new OperatorError(
      'bad-pci',
      `there is room for ${MOST_PORTS} root ports and ${MOST_FUNCTIONS} functions`,
      'Give fewer.',
    );
  const plan = { ports, functions: functions.map((one) => functionOf(one, slots)) };
  checkPlan(plan);
  return { slots: slots.filter(({ id }) => !functions.some((one) => one.id === id)), pci: plan };
}

function oneEach(slots: readonly SlotConfig[]): PciOptions {
  return {
    ports: slots.map((_, i) => ({ id: `rp${i}`, device: i + 1, func: 0 })),
    functions: slots.map(({ id }, i) => ({ id, port: `rp${i}`, device: 0, func: 0 })),
  };
}

function functionOf(one: PciFunctionOptions, slots: readonly SlotConfig[]): FunctionConfig {
  const { id, kind: given, port, device, func, queues } = one;
  const own = slots.find((slot) => slot.id === id)?.kind;
  const kind = own ?? given;
  if (kind === undefined)
    throw new OperatorError(
      'bad-pci',
      `the machine has no device ${id}`,
      `Name one that it has (${slots.map((slot) => slot.id).join(', ')}), or say that it is a new rng.`,
    );
  if (own !== undefined && given !== undefined && given !== own)
    throw new OperatorError('bad-pci', `${id} is no ${given}`, 'Leave out its kind, or give it another id.');
  const most = MOST_QUEUES[kind] ?? 1;
  if (queues !== undefined && !(Number.isInteger(queues) && queues >= 1 && queues <= most))
    throw new OperatorError(
      'bad-pci',
      `${id} cannot have ${queues} queues`,
      most === 1 ? 'Leave them out.' : `Give it a number from 1 to ${most}.`,
    );
  return {
    ...{ id, kind, device, func },
    ...(port === undefined ? {} : { port }),
    ...(queues === undefined ? {} : { queues }),
  };
}
