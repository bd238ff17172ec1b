/**
 * The machine's interrupt controller, of the three that QEMU's `virt` can have (its option `aia`): a PLIC; an APLIC that
 * delivers to harts directly; an APLIC that forwards messages to the harts' IMSICs. Where the built-in SBI is in
 * firmware's place, what machine level has is not in the guest's reach: no window, no node in the device tree.
 */
import type { SharedLock } from '../base/lock.ts';
import { type AnyLayout, roundUp } from '../base/struct.ts';
import { Aplic, type Block, type Device, Imsic, type InterruptLine, Plic } from '../devices/index.ts';
import { IRQ, type Vcpu } from '../hypervisor/index.ts';
import { FILE } from '../isa/index.ts';
import { VIRT } from './virt-map.ts';

export type Aia = 'none' | 'aplic' | 'aplic-imsic';

export interface InterruptOptions {
  readonly aia: Aia;
  /** Guest interrupt files of each hart. */
  readonly aiaGuests: number;
}

/** What a controller is built with. */
export interface ControllerPlace extends InterruptOptions {
  readonly vcpus: readonly Vcpu[];
  /** Firmware runs in machine mode. */
  readonly hasMachineMode: boolean;
  block(layout: AnyLayout): Block;
  /** Puts a device on the bus; without a base it is one, but nobody reaches it. Devices may share a lock. */
  map(base: number | undefined, device: Device, lock?: SharedLock): SharedLock;
}

export interface InterruptController {
  /** The line of a source, which may be set from any thread. */
  line(source: number): InterruptLine;
  /** A message that a device writes; false: there is no interrupt file at that address. From any thread. */
  send(gpa: number, data: number): boolean;
  /** After power-on. */
  start(): void;
  /** Drives every output again: after a restore. */
  drive(): void;
}

/** Bytes that the blocks of a controller take, and how many devices it is. */
export function controllerBytes(harts: number, { aia }: InterruptOptions): { bytes: number; devices: number } {
  const layouts =
    aia === 'none'
      ? [Plic.layout(harts)]
      : [Aplic.layout(harts), Aplic.layout(harts), ...(aia === 'aplic' ? [] : [Imsic.layout, Imsic.layout])];
  const bytes = layouts.reduce((sum, { sizeBytes }) => sum + roundUp(sizeBytes, 64) + 64, 0);
  return { bytes, devices: layouts.length };
}

/** The pages of a hart's files at supervisor level, as a power of two. */
export function imsicFileBits(aiaGuests: number): number {
  return Imsic.fileBits(1 + aiaGuests);
}

export function makeController(place: ControllerPlace): InterruptController {
  return place.aia === 'none' ? plicController(place) : aplicController(place);
}

function plicController({ vcpus, block, map }: ControllerPlace): InterruptController {
  const plic = new Plic(nameAt('plic', VIRT.plic.base), block(Plic.layout(vcpus.length)), vcpus.length, {
    setExternal: (context, level) => vcpus[context >> 1]?.setLine((context & 1) === 1 ? IRQ.sei : IRQ.mei, level),
  });
  const lock = map(VIRT.plic.base, plic);
  return {
    line: (source) => locked(lock, plic.line(source)),
    send: () => false,
    start: () => {},
    drive: () => lock.with(() => plic.drive()),
  };
}

function aplicController(place: ControllerPlace): InterruptController {
  const { vcpus, aia, aiaGuests: guests, hasMachineMode, block, map } = place;
  const harts = vcpus.length;
  const windows = aia === 'aplic' ? [] : imsicWindows(place);
  const messages = aia !== 'aplic';
  /** Messages reach interrupt files and nothing else, whatever firmware configures. */
  const send = (gpa: number, data: number): boolean => {
    const window = windows.find(({ base, imsic }) => gpa >= base && gpa < base + imsic.sizeBytes);
    window?.imsic.write(gpa - window.base, 4, data);
    return window !== undefined;
  };
  const layout = Aplic.layout(harts);
  const setExternal = (irq: number) => (hart: number, level: boolean) => vcpus[hart]?.setLine(irq, level);
  const root = new Aplic(
    nameAt('aplic', VIRT.aplicM.base),
    block(layout),
    { harts, messages, guests },
    { setExternal: setExternal(IRQ.mei), send },
  );
  const child = new Aplic(
    nameAt('aplic', VIRT.aplicS.base),
    block(layout),
    { harts, messages, guests, parent: root },
    { setExternal: setExternal(IRQ.sei), send },
  );
  // One lock: what happens at a wire of the root goes on in its child.
  const lock = map(hasMachineMode ? VIRT.aplicM.base : undefined, root);
  map(VIRT.aplicS.base, child, lock);
  const lowBits = Math.ceil(Math.log2(harts));
  return {
    line: (source) => locked(lock, root.line(source)),
    send,
    start: () => {
      if (hasMachineMode) return;
      const machine = { basePage: VIRT.imsicM.base / 4096, lowShift: 0, lowBits };
      const supervisor = { basePage: VIRT.imsicS.base / 4096, lowShift: imsicFileBits(guests), lowBits };
      lock.with(() => root.handOver(machine, supervisor));
    },
    drive: () => {
      lock.with(() => {
        root.drive();
        child.drive();
      });
      if (messages) for (const vcpu of vcpus) vcpu.driveFiles();
    },
  };
}

function imsicWindows({ vcpus, aiaGuests, hasMachineMode, block, map }: ControllerPlace) {
  const harts = vcpus.length;
  const window = (base: number, files: number, firstFile: (file: number) => number) => {
    const imsic = new Imsic(nameAt('imsic', base), block(Imsic.layout), { harts, files }, ({ hart, file, identity }) =>
      vcpus[hart]?.post(firstFile(file), identity),
    );
    map(base, imsic);
    return { base, imsic };
  };
  return [
    ...(hasMachineMode ? [window(VIRT.imsicM.base, 1, () => FILE.machine)] : []),
    window(VIRT.imsicS.base, 1 + aiaGuests, (file) => (file === 0 ? FILE.supervisor : FILE.guest + file - 1)),
  ];
}

function locked(lock: SharedLock, pin: InterruptLine): InterruptLine {
  return { set: (level) => lock.with(() => pin.set(level)) };
}

function nameAt(kind: string, base: number): string {
  return `${kind}@${base.toString(16)}`;
}
