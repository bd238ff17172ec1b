/** The PCI Express functions of a board: virtio devices in places of the fabric, and what their blocks take. */
import type { AnyLayout } from '../base/struct.ts';
import {
  type FabricPlan,
  type FunctionPlan,
  type FunctionSeat,
  functionLayout,
  type MadeFunction,
  PciFabric,
  PciTransport,
  virtioKind,
} from '../devices/index.ts';
import type { BoardPorts, SlotConfig, SlotDevice } from './board-shape.ts';
import { highPcieWindow, VIRT } from './virt-map.ts';

/** A virtio device and its place: plain data, the same on every thread. */
export interface FunctionConfig extends SlotConfig, FunctionPlan {}

/** Root ports and functions: plain data. */
export type PciConfig = FabricPlan<FunctionConfig>;

/** A function with the device behind it. */
export interface BoardFunction extends MadeFunction {
  readonly config: FunctionConfig;
  readonly device: SlotDevice;
}

const DEVICE_IDS: Readonly<Record<SlotConfig['kind'], number>> = {
  ...{ net: 1, block: 2, console: 3, rng: 4, balloon: 5, p9: 9, vsock: 19 },
};
/** Windows below and above 4 GiB, and of I/O ports. */
const WINDOWS = 3;

/** Windows and configuration space as the memory map has them. */
export function pciAddresses(memoryBytes: number) {
  const high = highPcieWindow(memoryBytes);
  const { pciePio, pcieMmio, pcieEcam } = VIRT;
  const window = (name: string, space: 'memory' | 'io', at: number, busAddress: number, sizeBytes: number) => ({
    ...{ name: `${name}@${at.toString(16)}`, space, at, busAddress, sizeBytes },
  });
  return {
    ecam: pcieEcam.base,
    windows: [
      window('pcie-io', 'io', pciePio.base, 0, pciePio.sizeBytes),
      window('pcie-mmio', 'memory', pcieMmio.base, pcieMmio.base, pcieMmio.sizeBytes),
      window('pcie-mmio-high', 'memory', high.base, high.base, high.sizeBytes),
    ],
  };
}

/** Makes a device by `ports.slot`, and shows it as a function. */
export function makeFunction(config: FunctionConfig, seat: FunctionSeat, ports: BoardPorts): BoardFunction {
  const vectors = vectorsOf(config);
  const block = seat.block(functionLayout(vectors));
  const doorbell = seat.doorbell ?? { ring: () => undefined };
  const device = ports.slot(config, { name: config.id, block: seat.block(ports.slotLayout(config)), doorbell });
  const name = `${virtioKind(device.deviceId).name}@${seat.place}`;
  const transport = new PciTransport(device, {
    ...{ name: `${name}/virtio`, block: seat.block(PciTransport.layout), vectors },
    function: { ...seat, name, block },
  });
  return { config, device, func: transport.function, models: [device, transport] };
}

export function functionLayouts(config: FunctionConfig, ports: Pick<BoardPorts, 'slotLayout'>): readonly AnyLayout[] {
  return [functionLayout(vectorsOf(config)), ports.slotLayout(config), PciTransport.layout];
}

/** Bytes that the blocks of a board's fabric take, and how many locks it has. */
export function pciBytes(
  config: PciConfig | undefined,
  ports: Pick<BoardPorts, 'slotLayout'>,
): { bytes: number; locks: number } {
  if (config === undefined) return { bytes: 0, locks: 0 };
  return PciFabric.account(config, WINDOWS, { layouts: (one) => functionLayouts(one, ports) });
}

function vectorsOf({ kind, queues = 1 }: FunctionConfig): number {
  return virtioKind(DEVICE_IDS[kind]).vectors(queues);
}
