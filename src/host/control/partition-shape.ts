/** What a partition is asked for with, on a machine's control socket. Files are the machine's process's to find. */
import type { PartitionOptions } from '../machine/machine-api.ts';
import { agentOption, healthOptions, intervalMs } from './agent-shape.ts';
import { driveOptions } from './drive-shape.ts';
import { failback, netdevOptions } from './network-shape.ts';
import { pciOptions } from './pci-shape.ts';
import { integer, listOf, number, oneOf, optional, record, type Shape, text, truth } from './shape.ts';

const PATH = 4096;

export const partitionOptions: Shape<Omit<PartitionOptions, 'signal'>> = record({
  name: optional(text(64)),
  cpus: optional(integer(1, 4096)),
  memoryBytes: optional(integer(1, Number.MAX_SAFE_INTEGER)),
  weight: optional(integer(2, 262_144)),
  cap: optional(number(0, 32)),
  pin: optional(listOf(integer(0, 31), 32)),
  kernel: optional(text(PATH)),
  initrd: optional(text(PATH)),
  append: optional(text(1 << 16)),
  bios: optional(text(PATH)),
  drives: optional(listOf(driveOptions, 64)),
  shares: optional(listOf(record({ host: text(PATH), guest: text(PATH), readOnly: optional(truth) }), 64)),
  balloon: optional(truth),
  vsock: optional(record({ socket: optional(text(PATH)), cid: optional(integer(3, 0xffff_fffe)) })),
  network: optional(truth),
  netdevs: optional(listOf(netdevOptions, 16)),
  mac: optional(text(17)),
  failback: optional(failback),
  publish: optional(listOf(text(256), 1024)),
  agent: optional(agentOption),
  heartbeatMs: optional(intervalMs),
  health: optional(healthOptions),
  seed: optional(integer(0, 2 ** 32 - 1)),
  startPaused: optional(truth),
  shadows: optional(integer(1, 64)),
  shadowModel: optional(oneOf('fence', 'tracked')),
  asidBits: optional(integer(0, 16)),
  combinedShadows: optional(truth),
  nested: optional(truth),
  aia: optional(oneOf('none', 'aplic', 'aplic-imsic')),
  aiaGuests: optional(integer(0, 7)),
  pci: optional(pciOptions),
  protection: optional(truth),
  protectionLog: optional(text(PATH)),
});
