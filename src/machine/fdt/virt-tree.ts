/**
 * The device tree of the `virt` machine, with QEMU's names, properties and compatible strings, so that guests and
 * firmware find what they find there.
 *
 *     /  chosen  aliases  memory@80000000  cpus { cpu@n { interrupt-controller } cpu-map }  poweroff  reboot
 *        soc { clint | mswi, mtimer  plic | aplics, imsics  test  rtc  serial  virtio_mmio@...  pci@30000000 }
 *
 * A machine that starts its guest in supervisor mode itself (built-in SBI) shows it what OpenSBI would leave: no
 * machine-mode timer, machine-mode PLIC contexts marked as absent, nothing of AIA's machine level.
 * Left out: flash, fw_cfg, platform bus, PMU events.
 */
import { assert } from '../../base/assert.ts';
import { isaNames, isaString } from '../../isa/index.ts';
import type { Aia } from '../interrupt-controller.ts';
import {
  highPcieWindow,
  PCIE_PINS,
  TIMEBASE_HZ,
  UART_CLOCK_HZ,
  VIRT,
  VIRTIO_SLOT_BYTES,
  VIRTIO_SLOTS,
  virtioSlot,
} from '../virt-map.ts';
import { type InterruptNodes, interruptNodes, TRIGGER } from './interrupt-nodes.ts';
import { node, type PropertyValue, type TreeNode, two, u64 } from './tree.ts';
import { writeDeviceTree } from './writer.ts';

export interface VirtDescription {
  /** 1 or more; hart ids are 0 to harts - 1. */
  readonly harts: number;
  readonly memoryBytes: number;
  /** What the harts have, as `parseCpu` says it. */
  readonly extensions: ReadonlySet<string>;
  /** The largest paging mode; `none` for harts without supervisor mode. */
  readonly mmuType: 'sv39' | 'sv48' | 'sv57' | 'none';
  /** Started in supervisor mode by a built-in SBI, or in machine mode by firmware. */
  readonly startsIn: 'S' | 'M';
  /** The interrupt controller; a PLIC by default. */
  readonly aia?: Aia;
  readonly aiaGuests?: number;
  /** One CLINT node (default) or the ACLINT's pair. Same device, same addresses. */
  readonly timer?: 'clint' | 'aclint';
  readonly bootargs?: string;
  /** Guest-physical; `end` is the first byte behind it. */
  readonly initrd?: { readonly start: number; readonly end: number };
  /** Entropy for the kernel, 32 bytes or more is useful. Never reuse it for another boot. */
  readonly rngSeed?: Uint8Array;
  /** virtio-mmio slots, 8 by default; empty ones show as devices without a driver. */
  readonly virtioSlots?: number;
  /** Whether there is a PCIe root. */
  readonly pcie?: boolean;
  /** Whether there is a generation id, which QEMU's machine has not. */
  readonly generation?: boolean;
  /** More nodes under /soc. */
  readonly extraSocNodes?: readonly TreeNode[];
}

/** Interrupt numbers at a hart's local controller. */
const IRQ = { M_SOFT: 3, M_TIMER: 7 } as const;
/** Bytes of a cache block, for Zicbom, Zicbop and Zicboz. */
const CACHE_BLOCK_BYTES = 64;

/** The flattened tree; its size does not depend on the initrd's place or the seed's value. */
export function virtDeviceTree(of: VirtDescription): Uint8Array {
  return writeDeviceTree(virtTree(of));
}

/** The same as a value. */
export function virtTree(of: VirtDescription): TreeNode {
  assert(of.harts >= 1 && Number.isInteger(of.harts), `${of.harts} harts`);
  const phandles = {
    test: 2,
    cpu: (hart: number) => 3 + 2 * hart,
    localController: (hart: number) => 4 + 2 * hart,
  };
  const { aia = 'none', aiaGuests = 0, harts, startsIn } = of;
  const toHarts = (...irqs: number[]): number[] =>
    Array.from({ length: of.harts }, (_, hart) => irqs.flatMap((irq) => [phandles.localController(hart), irq])).flat();
  // A PLIC has one phandle, before those of the harts; others have theirs behind.
  const first = aia === 'none' ? 1 : 3 + 2 * harts;
  const interrupts = interruptNodes({ aia, aiaGuests, harts, startsIn }, first, toHarts);
  const interrupt = (irq: number, trigger?: number) => ({
    'interrupt-parent': interrupts.parent,
    interrupts: interrupts.cells(irq, trigger),
  });
  const reg = (base: number, sizeBytes: number) => [...two(base), ...two(sizeBytes)];
  const serial = unit('serial', VIRT.uart.base);

  const syscon = (name: string, value: number) =>
    node(name, { compatible: `syscon-${name}`, regmap: phandles.test, offset: 0, value });

  const virtio = Array.from({ length: of.virtioSlots ?? VIRTIO_SLOTS }, (_, slot) => {
    const { base, irq } = virtioSlot(slot);
    return node(unit('virtio_mmio', base), {
      compatible: 'virtio,mmio',
      reg: reg(base, VIRTIO_SLOT_BYTES),
      ...interrupt(irq),
    });
  });

  const { base, sizeBytes, irq } = VIRT.generation;
  const generationNode = node(unit('vmgenid', base), {
    compatible: 'microsoft,vmgenid',
    reg: reg(base, sizeBytes),
    ...interrupt(irq, TRIGGER.edge),
  });

  const soc = node('soc', { '#address-cells': 2, '#size-cells': 2, compatible: 'simple-bus', ranges: true }, [
    ...(of.startsIn === 'M' ? timerNodes(of.timer ?? 'clint', toHarts, reg) : []),
    ...interrupts.nodes,
    node(unit('test', VIRT.test.base), {
      compatible: ['sifive,test1', 'sifive,test0', 'syscon'],
      reg: reg(VIRT.test.base, VIRT.test.sizeBytes),
      phandle: phandles.test,
    }),
    node(unit('rtc', VIRT.rtc.base), {
      compatible: 'google,goldfish-rtc',
      reg: reg(VIRT.rtc.base, VIRT.rtc.sizeBytes),
      ...interrupt(VIRT.rtc.irq),
    }),
    ...(of.generation === true ? [generationNode] : []),
    node(serial, {
      compatible: 'ns16550a',
      reg: reg(VIRT.uart.base, VIRT.uart.sizeBytes),
      'clock-frequency': UART_CLOCK_HZ,
      ...interrupt(VIRT.uart.irq),
    }),
    ...virtio,
    ...(of.pcie === true ? [pcieNode(of.memoryBytes, interrupts, reg)] : []),
    ...(of.extraSocNodes ?? []),
  ]);

  const chosen: Record<string, PropertyValue> = {
    bootargs: of.bootargs,
    'stdout-path': `/soc/${serial}`,
    'linux,initrd-start': of.initrd && u64(of.initrd.start),
    'linux,initrd-end': of.initrd && u64(of.initrd.end),
    'rng-seed': of.rngSeed,
  };

  return node('', { '#address-cells': 2, '#size-cells': 2, compatible: 'riscv-virtio', model: 'riscv-virtio,qemu' }, [
    node('chosen', chosen),
    node('aliases', { serial0: `/soc/${serial}` }),
    node(unit('memory', VIRT.ram.base), { device_type: 'memory', reg: reg(VIRT.ram.base, of.memoryBytes) }),
    cpusNode(of, phandles),
    syscon('poweroff', 0x5555),
    syscon('reboot', 0x7777),
    soc,
  ]);
}

interface HartPhandles {
  cpu(hart: number): number;
  localController(hart: number): number;
}

function cpusNode(of: VirtDescription, phandles: HartPhandles): TreeNode {
  const names = isaNames(of.extensions);
  const isa = isaString(of.extensions);
  const block = (extension: string) => (names.includes(extension) ? CACHE_BLOCK_BYTES : undefined);
  const harts = Array.from({ length: of.harts }, (_, hart) =>
    node(
      `cpu@${hart.toString(16)}`,
      {
        device_type: 'cpu',
        reg: hart,
        status: 'okay',
        compatible: 'riscv',
        'riscv,cbom-block-size': block('zicbom'),
        'riscv,cbop-block-size': block('zicbop'),
        'riscv,cboz-block-size': block('zicboz'),
        'riscv,isa-extensions': names,
        'riscv,isa-base': 'rv64i',
        'riscv,isa': isa,
        'mmu-type': `riscv,${of.mmuType}`,
        phandle: phandles.cpu(hart),
      },
      [
        node('interrupt-controller', {
          '#interrupt-cells': 1,
          '#address-cells': 0,
          'interrupt-controller': true,
          compatible: 'riscv,cpu-intc',
          phandle: phandles.localController(hart),
        }),
      ],
    ),
  );
  const cores = harts.map((_, hart) => node(`core${hart}`, { cpu: phandles.cpu(hart) }));
  const map = node('cpu-map', {}, [node('cluster0', {}, cores)]);
  return node('cpus', { '#address-cells': 1, '#size-cells': 0, 'timebase-frequency': TIMEBASE_HZ }, [...harts, map]);
}

function timerNodes(
  timer: 'clint' | 'aclint',
  toHarts: (...irqs: number[]) => number[],
  reg: (base: number, sizeBytes: number) => number[],
): TreeNode[] {
  const { base, sizeBytes } = VIRT.clint;
  if (timer === 'clint') {
    return [
      node(unit('clint', base), {
        compatible: ['sifive,clint0', 'riscv,clint0'],
        reg: reg(base, sizeBytes),
        'interrupts-extended': toHarts(IRQ.M_SOFT, IRQ.M_TIMER),
      }),
    ];
  }
  const compare = base + 0x4000;
  const time = base + 0xbff8;
  return [
    node(unit('mswi', base), {
      compatible: 'riscv,aclint-mswi',
      reg: reg(base, 0x4000),
      'interrupts-extended': toHarts(IRQ.M_SOFT),
      'interrupt-controller': true,
      '#interrupt-cells': 0,
      '#address-cells': 0,
    }),
    node(unit('mtimer', compare), {
      compatible: 'riscv,aclint-mtimer',
      reg: [...reg(time, base + sizeBytes - time), ...reg(compare, time - compare)],
      'interrupts-extended': toHarts(IRQ.M_TIMER),
    }),
  ];
}

function pcieNode(
  memoryBytes: number,
  interrupts: InterruptNodes,
  reg: (base: number, sizeBytes: number) => number[],
): TreeNode {
  const high = highPcieWindow(memoryBytes);
  // Space codes of the first cell: 1 I/O, 2 memory of 32 bits, 3 memory of 64 bits (IEEE 1275 PCI binding).
  const window = (space: number, pci: number, cpu: number, sizeBytes: number) => [
    space * 0x100_0000,
    ...two(pci),
    ...two(cpu),
    ...two(sizeBytes),
  ];
  const map: number[] = [];
  for (let slot = 0; slot < PCIE_PINS; slot++) {
    for (let pin = 0; pin < PCIE_PINS; pin++) {
      const irq = VIRT.pcieEcam.irq + ((slot + pin) % PCIE_PINS);
      map.push(slot << 11, 0, 0, pin + 1, interrupts.parent, ...interrupts.cells(irq));
    }
  }
  return node(unit('pci', VIRT.pcieEcam.base), {
    '#address-cells': 3,
    '#interrupt-cells': 1,
    '#size-cells': 2,
    compatible: 'pci-host-ecam-generic',
    device_type: 'pci',
    'linux,pci-domain': 0,
    'bus-range': [0, 0xff],
    'dma-coherent': true,
    'msi-parent': interrupts.messages,
    reg: reg(VIRT.pcieEcam.base, VIRT.pcieEcam.sizeBytes),
    ranges: [
      ...window(1, 0, VIRT.pciePio.base, VIRT.pciePio.sizeBytes),
      ...window(2, VIRT.pcieMmio.base, VIRT.pcieMmio.base, VIRT.pcieMmio.sizeBytes),
      ...window(3, high.base, high.base, high.sizeBytes),
    ],
    'interrupt-map-mask': [0x1800, 0, 0, 7],
    'interrupt-map': map,
  });
}

function unit(name: string, base: number): string {
  return `${name}@${base.toString(16)}`;
}
