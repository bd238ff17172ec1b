/**
 * The nodes of the interrupt controller, and how other nodes refer to it: a PLIC, or the APLIC's domains and, with messages,
 * the IMSIC's files by level (bindings `riscv,aplic` and `riscv,imsics`, with QEMU's names and properties).
 */
import { IDENTITIES } from '../../isa/index.ts';
import { type Aia, imsicFileBits } from '../interrupt-controller.ts';
import { type MapRow, VIRT } from '../virt-map.ts';
import { node, type PropertyValue, type TreeNode, two } from './tree.ts';

export interface InterruptDescription {
  readonly aia: Aia;
  readonly aiaGuests: number;
  readonly harts: number;
  readonly startsIn: 'S' | 'M';
}

/** Interrupt numbers at a hart's local controller. */
const IRQ = { S_EXTERNAL: 9, M_EXTERNAL: 11, ABSENT: 0xffff_ffff } as const;
/** As the bindings number them: how a source interrupts. A PLIC's sources are all by level. */
export const TRIGGER = { edge: 1, level: 4 } as const;
const PLIC_SOURCES = 95;
const APLIC_SOURCES = 96;
const PAGE_BYTES = 4096;

export interface InterruptNodes {
  readonly nodes: readonly TreeNode[];
  /** Phandle of the node that devices' interrupts go to, and of the one that messages go to. */
  readonly parent: number;
  readonly messages: number | undefined;
  /** What a device's `interrupts` says, and what stands in an interrupt map behind the parent. */
  cells(irq: number, trigger?: number): number[];
}

/** `phandle`: the first of five that are the controller's. `toHarts`: pairs of each local controller and these interrupts. */
export function interruptNodes(
  of: InterruptDescription,
  phandle: number,
  toHarts: (...irqs: number[]) => number[],
): InterruptNodes {
  if (of.aia === 'none') {
    return {
      nodes: [plicNode(of, phandle, toHarts)],
      ...{ parent: phandle, messages: undefined },
      cells: (irq) => [irq],
    };
  }
  const phandles = {
    machine: phandle,
    supervisor: phandle + 1,
    machineFiles: phandle + 2,
    supervisorFiles: phandle + 3,
  };
  const isMessages = of.aia === 'aplic-imsic';
  const to = (irq: number, files: number): Record<string, PropertyValue> =>
    isMessages ? { 'msi-parent': files } : { 'interrupts-extended': toHarts(irq) };
  const machine = aplicNode(VIRT.aplicM, phandles.machine, {
    ...to(IRQ.M_EXTERNAL, phandles.machineFiles),
    'riscv,children': phandles.supervisor,
    'riscv,delegation': [phandles.supervisor, 1, APLIC_SOURCES],
    'riscv,delegate': [phandles.supervisor, 1, APLIC_SOURCES],
  });
  const supervisor = aplicNode(VIRT.aplicS, phandles.supervisor, to(IRQ.S_EXTERNAL, phandles.supervisorFiles));
  const bits = imsicFileBits(of.aiaGuests);
  const machineFiles = imsicNode(VIRT.imsicM, phandles.machineFiles, of.harts, toHarts(IRQ.M_EXTERNAL));
  const supervisorFiles = imsicNode(
    VIRT.imsicS,
    phandles.supervisorFiles,
    of.harts << bits,
    toHarts(IRQ.S_EXTERNAL),
    bits,
  );
  const hasMachineMode = of.startsIn === 'M';
  return {
    nodes: [
      ...(hasMachineMode ? [machine] : []),
      supervisor,
      ...(isMessages && hasMachineMode ? [machineFiles] : []),
      ...(isMessages ? [supervisorFiles] : []),
    ],
    parent: phandles.supervisor,
    messages: isMessages ? phandles.supervisorFiles : undefined,
    cells: (irq, trigger = TRIGGER.level) => [irq, trigger],
  };
}

function plicNode(of: InterruptDescription, phandle: number, toHarts: (...irqs: number[]) => number[]): TreeNode {
  return node(`plic@${VIRT.plic.base.toString(16)}`, {
    '#interrupt-cells': 1,
    '#address-cells': 0,
    compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
    'interrupt-controller': true,
    'interrupts-extended': toHarts(of.startsIn === 'M' ? IRQ.M_EXTERNAL : IRQ.ABSENT, IRQ.S_EXTERNAL),
    reg: reg(VIRT.plic.base, VIRT.plic.sizeBytes),
    'riscv,ndev': PLIC_SOURCES,
    phandle,
  });
}

function aplicNode(
  { base, sizeBytes }: MapRow,
  phandle: number,
  properties: Readonly<Record<string, PropertyValue>>,
): TreeNode {
  return node(`interrupt-controller@${base.toString(16)}`, {
    compatible: ['qemu,aplic', 'riscv,aplic'],
    '#interrupt-cells': 2,
    '#address-cells': 0,
    'interrupt-controller': true,
    reg: reg(base, sizeBytes),
    'riscv,num-sources': APLIC_SOURCES,
    ...properties,
    phandle,
  });
}

function imsicNode(
  { base }: MapRow,
  phandle: number,
  pages: number,
  interrupts: readonly number[],
  guestBits = 0,
): TreeNode {
  return node(`interrupt-controller@${base.toString(16)}`, {
    compatible: ['qemu,imsics', 'riscv,imsics'],
    '#interrupt-cells': 0,
    'interrupt-controller': true,
    'msi-controller': true,
    'interrupts-extended': [...interrupts],
    reg: reg(base, pages * PAGE_BYTES),
    'riscv,num-ids': IDENTITIES,
    'riscv,guest-index-bits': guestBits === 0 ? undefined : guestBits,
    phandle,
  });
}

function reg(base: number, sizeBytes: number): number[] {
  return [...two(base), ...two(sizeBytes)];
}
