/**
 * The `virt` machine as data: QEMU's memory map and interrupt numbers (hw/riscv/virt), so that every image made for
 * it runs here unchanged. Addresses are guest-physical. Device tree, bus and docs/machine.md all read these rows.
 * Left out: CFI flash, fw_cfg and the platform bus, which no guest needs to boot; their addresses stay free.
 */
import { assert } from '../base/assert.ts';

/** A window of the guest-physical address space. */
export interface MapRow {
  readonly name: string;
  /** Guest-physical, page-aligned except for the UART's size. */
  readonly base: number;
  readonly sizeBytes: number;
  /** First PLIC source, where the device interrupts. */
  readonly irq?: number;
  readonly holds: string;
}

/** In order of address. RAM's size is the machine's own. */
export const VIRT = {
  resetRom: { name: 'reset ROM', base: 0x1000, sizeBytes: 0xf000, holds: 'reset vector and fw_dynamic_info' },
  test: { name: 'test', base: 0x10_0000, sizeBytes: 0x1000, holds: 'test finisher: power off, reset, exit code' },
  rtc: { name: 'rtc', base: 0x10_1000, sizeBytes: 0x1000, irq: 11, holds: 'goldfish real-time clock' },
  generation: { name: 'generation', base: 0x10_2000, sizeBytes: 0x1000, irq: 12, holds: 'generation id (vmgenid)' },
  clint: { name: 'clint', base: 0x200_0000, sizeBytes: 0x1_0000, holds: 'ACLINT: MSIP, mtimecmp, mtime' },
  pciePio: { name: 'pcie io', base: 0x300_0000, sizeBytes: 0x1_0000, holds: 'PCIe I/O ports' },
  plic: { name: 'plic', base: 0xc00_0000, sizeBytes: 0x60_0000, holds: 'PLIC: 95 sources, 2 contexts a hart' },
  aplicM: { name: 'aplic m', base: 0xc00_0000, sizeBytes: 0x8000, holds: 'APLIC, machine level, in place of the PLIC' },
  aplicS: { name: 'aplic s', base: 0xd00_0000, sizeBytes: 0x8000, holds: 'APLIC, supervisor level' },
  uart: { name: 'uart', base: 0x1000_0000, sizeBytes: 0x100, irq: 10, holds: 'ns16550a console' },
  virtio: { name: 'virtio', base: 0x1000_1000, sizeBytes: 0x8000, irq: 1, holds: '8 virtio-mmio slots of 4 KiB' },
  imsicM: { name: 'imsic m', base: 0x2400_0000, sizeBytes: 0x400_0000, holds: 'IMSIC files, machine level' },
  imsicS: { name: 'imsic s', base: 0x2800_0000, sizeBytes: 0x400_0000, holds: 'IMSIC files, supervisor level' },
  pcieEcam: { name: 'pcie ecam', base: 0x3000_0000, sizeBytes: 0x1000_0000, irq: 32, holds: 'PCIe configuration' },
  pcieMmio: { name: 'pcie mmio', base: 0x4000_0000, sizeBytes: 0x4000_0000, holds: 'PCIe windows below 4 GiB' },
  ram: { name: 'ram', base: 0x8000_0000, sizeBytes: 0, holds: 'memory, in one piece' },
} as const satisfies Record<string, MapRow>;

/** Slots for virtio-mmio devices; slot n interrupts by source 1 + n. */
export const VIRTIO_SLOTS = 8;
export const VIRTIO_SLOT_BYTES = 0x1000;
/** INTA to INTD, swizzled over the slots: sources 32 to 35. */
export const PCIE_PINS = 4;
/** Ticks per second of mtime and the `time` CSR. */
export const TIMEBASE_HZ = 10_000_000;
export const TICKS_PER_MS = TIMEBASE_HZ / 1000;
/** The UART's input clock, as its device-tree node says. */
export const UART_CLOCK_HZ = 3_686_400;
/** Where firmware expects what it hands over to, and where Linux wants to be loaded: 2 MiB into RAM. */
export const PAYLOAD_OFFSET = 0x20_0000;
/** Guest memory: a whole number of pages, from what firmware needs to what the map has room for. */
export const MEMORY_LIMITS = { leastBytes: 1 << 20, mostBytes: 512 * 2 ** 30 } as const;

const HIGH_MMIO_ALIGNMENT = 16 * 2 ** 30;

/** Base and interrupt source of virtio-mmio slot `slot`, 0 to 7. */
export function virtioSlot(slot: number): { base: number; irq: number } {
  assert(Number.isInteger(slot) && slot >= 0 && slot < VIRTIO_SLOTS, `no virtio slot ${slot}`);
  return { base: VIRT.virtio.base + slot * VIRTIO_SLOT_BYTES, irq: VIRT.virtio.irq + slot };
}

/** The 64-bit PCIe window: 16 GiB at the first multiple of 16 GiB behind RAM. */
export function highPcieWindow(memoryBytes: number): { base: number; sizeBytes: number } {
  const end = VIRT.ram.base + memoryBytes;
  return { base: Math.ceil(end / HIGH_MMIO_ALIGNMENT) * HIGH_MMIO_ALIGNMENT, sizeBytes: HIGH_MMIO_ALIGNMENT };
}

/** The memory map as a Markdown table: how docs/machine.md gets it. */
export function mapAsMarkdown(): string {
  const rows = Object.values<MapRow>(VIRT).map((row) => {
    const end = row.sizeBytes === 0 ? '' : hex(row.base + row.sizeBytes - 1);
    return `| ${hex(row.base)} | ${end} | ${row.name} | ${row.irq ?? ''} | ${row.holds} |`;
  });
  return ['| first byte | last byte | window | interrupt | what it holds |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
