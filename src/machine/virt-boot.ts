/** Plans the boot of a machine with this board: boot files of planBoot, and the device tree that shows the board. */
import { type BootPlan, type BootRequest, planBoot } from './boot/index.ts';
import { virtDeviceTree } from './fdt/index.ts';
import type { Aia } from './interrupt-controller.ts';

export interface VirtBoot extends Omit<BootRequest, 'deviceTree'> {
  readonly harts: number;
  readonly extensions: ReadonlySet<string>;
  /** The interrupt controller; a PLIC by default. */
  readonly aia?: Aia;
  readonly aiaGuests?: number;
  /** There is a PCI Express root complex. */
  readonly pcie?: boolean;
  /** The kernel's command line. */
  readonly append?: string;
  /** 64 bytes for the kernel's generator. */
  readonly seed: Uint8Array;
}

/** Throws OperatorError as planBoot does. */
export function planVirtBoot(boot: VirtBoot): BootPlan {
  const { harts, extensions, append, seed, aia, aiaGuests, pcie = false, ...request } = boot;
  return planBoot({
    ...request,
    deviceTree: (initrd) =>
      virtDeviceTree({
        harts,
        memoryBytes: boot.memoryBytes,
        extensions,
        mmuType: extensions.has('sv57') ? 'sv57' : extensions.has('sv48') ? 'sv48' : 'sv39',
        startsIn: boot.firmware === 'built-in' ? 'S' : 'M',
        ...(append === undefined ? {} : { bootargs: append }),
        ...(initrd === undefined ? {} : { initrd }),
        rngSeed: seed,
        ...(aia === undefined ? {} : { aia }),
        ...(aiaGuests === undefined ? {} : { aiaGuests }),
        pcie,
        generation: true,
      }),
  });
}
