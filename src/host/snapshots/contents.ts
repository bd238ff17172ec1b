/**
 * What stands in a snapshot beside memory and disks, and the checks of it when it is read: the head (which machine,
 * made how, of which layouts) and the state (blocks, clock, network, agent). Files are hostile: what is not as it
 * should be is refused before anything of it is used.
 */
import type { SavedBoard } from '../../machine/index.ts';
import { agentOption, healthOptions, intervalMs } from '../control/agent-shape.ts';
import { driveOptions } from '../control/drive-shape.ts';
import { failback, netdevOptions } from '../control/network-shape.ts';
import { pciOptions } from '../control/pci-shape.ts';
import {
  integer,
  listOf,
  mapOf,
  number,
  object,
  oneOf,
  optional,
  record,
  type Shape,
  ShapeError,
  text,
  truth,
} from '../control/shape.ts';
import { savedSession } from './share-shape.ts';

const PATH = 4096;
/** What was on its way to the guest's agent, or typed: more was never accepted at a time. */
const MOST_WAITING_BYTES = 4 << 20;

const share = record({ host: text(PATH), guest: text(PATH), readOnly: optional(truth) });

/** Of a machine's options, those that a restored machine is made with again. */
const savedOptions = record({
  cpus: integer(1, 4096),
  processors: optional(integer(1, 32)),
  weight: optional(integer(2, 262_144)),
  cap: optional(number(0, 32)),
  pin: optional(listOf(integer(0, 31), 32)),
  protection: optional(truth),
  memoryBytes: integer(1, Number.MAX_SAFE_INTEGER),
  cpu: optional(text()),
  kernel: optional(text(PATH)),
  initrd: optional(text(PATH)),
  append: optional(text(1 << 16)),
  bios: optional(text(PATH)),
  drives: optional(listOf(driveOptions, 64)),
  shares: optional(listOf(share, 64)),
  network: optional(truth),
  netdevs: optional(listOf(netdevOptions, 16)),
  mac: optional(text(17)),
  failback: optional(failback),
  pathFailover: optional(truth),
  publish: optional(listOf(text(256), 1024)),
  vsock: optional(record({ socket: optional(text(PATH)), cid: optional(integer(3, 0xffff_fffe)) })),
  agent: optional(agentOption),
  heartbeatMs: optional(intervalMs),
  health: optional(healthOptions),
  clock: optional(oneOf('real', 'instructions')),
  seed: optional(integer(0, 2 ** 32 - 1)),
  codeMemoryBytes: optional(integer(1, Number.MAX_SAFE_INTEGER)),
  translate: optional(truth),
  hotThreshold: optional(integer(1, 65535)),
  promotion: optional(oneOf('off', 'auto', 'always')),
  overlay: optional(truth),
  shadows: optional(integer(1, 64)),
  shadowModel: optional(oneOf('fence', 'tracked')),
  asidBits: optional(integer(0, 16)),
  nested: optional(truth),
  combinedShadows: optional(truth),
  relay: optional(truth),
  interruptRate: optional(integer(100, 10_000_000)),
  aia: optional(oneOf('none', 'aplic', 'aplic-imsic')),
  aiaGuests: optional(integer(0, 7)),
  pci: optional(pciOptions),
  traps: optional(listOf(text(256), 64)),
});

export const snapshotHead = record({
  /** Another for every snapshot: increments name their base by it. */
  id: text(64),
  createdAt: text(64),
  program: text(64),
  name: text(64),
  xlen: integer(0, 1024),
  harts: integer(1, 4096),
  options: savedOptions,
  /** What its harts execute, in rising order: what is on by default may be another set in another version. */
  extensions: listOf(text(64), 256),
  layouts: mapOf(text(32), 64),
  /** For each drive: what its file was, and whether what the guest wrote is in this file. */
  drives: listOf(record({ identity: text(512), sizeBytes: integer(0, Number.MAX_SAFE_INTEGER), isHere: truth }), 64),
  /** The snapshot that this one is an increment of: its id, and its path from this one's folder. */
  base: optional(record({ id: text(64), path: text(PATH) })),
});
export type SnapshotHead = ReturnType<typeof snapshotHead>;

const bytes: Shape<Uint8Array> = (value, at) => {
  const encoded = text(Math.ceil(MOST_WAITING_BYTES / 3) * 4)(value, at);
  return new Uint8Array(Buffer.from(encoded, 'base64'));
};

const ticks: Shape<bigint> = (value, at) => {
  const digits = text(19)(value, at);
  if (!/^\d+$/.test(digits)) throw new ShapeError(`${at} is no number of ticks`);
  return BigInt(digits);
};

const address: Shape<string> = (value, at) => {
  const digits = text(18)(value, at);
  if (!/^0x[0-9a-f]{1,13}$/.test(digits)) throw new ShapeError(`${at} is no address`);
  return digits;
};

/** The board's blocks are checked against their layouts by whoever restores them. */
const savedBoard = record({
  vcpus: listOf(record({ state: object, hart: object }), 4096),
  devices: mapOf(object, 256),
  interrupts: optional(object),
}) as Shape<unknown> as Shape<SavedBoard>;

export const snapshotState = record({
  /** The machine's clock when it stood still. */
  ticks,
  board: savedBoard,
  /** As network/snapshot.ts has it. */
  network: optional(object),
  /** Fids of the shared folders, in their order. */
  shares: optional(listOf(savedSession, 64)),
  agent: record({ nextId: integer(1, 999_999_999), waiting: bytes }),
  /** Typed, and not taken by the UART. */
  input: bytes,
  /** What is denied to the guest's domains, as ProtectionRule has it. */
  rules: listOf(record({ domain: text(64), start: address, end: address, denied: text(3) }), 4096),
});
export type SnapshotState = ReturnType<typeof snapshotState>;

export const snapshotEnd = record({
  pages: integer(0, Number.MAX_SAFE_INTEGER),
  clusters: integer(0, Number.MAX_SAFE_INTEGER),
});
