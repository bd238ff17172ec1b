/**
 * What a partition is made of: the machine's options as the library has them (host/machine/machine-api.ts), where they
 * can be said as data, and the image or snapshot that they are about. A member that is misspelt is refused.
 */
import * as z from 'zod';
import type { MachineOptions } from '../../host/index.ts';
import { NETDEV_KINDS } from '../../network/index.ts';
import { failover } from './failover.ts';
import { count, nameText, path, text } from './words.ts';

const onOff = z.boolean();
const portName = text(160);

const drive = z
  .strictObject({
    file: z
      .string()
      .max(4096)
      .regex(/^(\/|nbds?(\+unix)?:\/\/)[^\0]*$/, 'is neither an absolute path nor an address of NBD')
      .describe('An absolute path, or what a server exports: `nbd://HOST/EXPORT`.'),
    format: z.enum(['raw', 'qcow2']).exactOptional(),
    readOnly: onOff.exactOptional(),
    overlay: z
      .union([z.boolean(), path])
      .describe('Writes go to a layer that is forgotten with the partition, or to an overlay file.')
      .exactOptional(),
    backing: onOff.exactOptional(),
    discard: z.enum(['unmap', 'ignore']).exactOptional(),
    reconnectDelaySeconds: z.number().min(0).max(1e6).exactOptional(),
  })
  .meta({ id: 'Drive', description: 'A disk.' });

const share = z
  .strictObject({ host: path, guest: path, readOnly: onOff.exactOptional() })
  .meta({ id: 'Share', description: 'A folder of the host that the guest has, too.' });

const duration = z.number().min(0).max(86_400_000).exactOptional();
const health = z
  .strictObject({
    command: z.union([text(1 << 16), z.array(text(1 << 16)).max(1024)]),
    ...{ intervalMs: duration, timeoutMs: duration, startPeriodMs: duration, startIntervalMs: duration },
    retries: z.int().min(1).max(1000).exactOptional(),
  })
  .meta({ id: 'HealthCheck', description: "Checks of the guest's health, as docker's HEALTHCHECK." });

const vsock = z
  .strictObject({ socket: path.exactOptional(), cid: z.int().min(3).max(0xffff_fffe).exactOptional() })
  .meta({ id: 'Vsock', description: 'Sockets between guest and host.' });

export const netdev = z
  .strictObject({
    kind: z.enum(NETDEV_KINDS),
    id: portName.exactOptional(),
    network: text(64).exactOptional(),
    mtuBytes: z.int().min(576).max(65_535).exactOptional(),
    speedMbps: z.int().min(1).max(1_000_000).exactOptional(),
    probing: z.enum(['arp', 'mutual', 'none']).exactOptional(),
    targets: z.array(text(15)).max(16).exactOptional(),
    user: text().exactOptional(),
    ifname: text(15).exactOptional(),
    server: onOff.exactOptional(),
    path: path.exactOptional(),
    host: text(255).exactOptional(),
    port: z.int().min(0).max(65_535).exactOptional(),
    reconnectMs: z.int().min(0).max(3_600_000).exactOptional(),
  })
  .meta({ id: 'Netdev', description: 'An uplink, as `--netdev` has it.' });

const pci = z
  .strictObject({
    ports: z
      .array(
        z.strictObject({
          id: text(64),
          device: z.int().min(0).max(31),
          func: z.int().min(0).max(7),
          slot: z.int().min(0).max(8191).exactOptional(),
          isPlugged: onOff.exactOptional(),
        }),
      )
      .max(31),
    functions: z
      .array(
        z.strictObject({
          id: text(64),
          kind: z.literal('rng').exactOptional(),
          port: text(64).exactOptional(),
          device: z.int().min(0).max(31),
          func: z.int().min(0).max(7),
          queues: z.int().min(1).max(15).exactOptional(),
        }),
      )
      .max(64),
  })
  .meta({ id: 'PciPlan', description: 'Root ports, and the places of devices.' });

/** Of an uplink that a guest has: when it goes back to one that it prefers. */
const failback = z.enum(['always', 'better', 'failure']);
export const publish = z.array(text(256)).max(1024);
export const weight = z.int().min(2).max(262_144);
export const cap = z.number().gt(0).max(32);
export const pin = z.array(z.int().min(0).max(31)).max(32);
export const promotionMode = z.enum(['off', 'auto', 'always']).meta({ id: 'PromotionMode' });

const machine = {
  cpus: z.int().min(1).max(16).describe('Harts. 1 by default.'),
  memoryBytes: z.int().min(4096).multipleOf(4096).describe('Guest memory. 512 MiB by default.'),
  processors: z.int().min(1).max(32).describe('Threads that run the harts.'),
  weight: weight.describe("Its claim where harts wait for a processor; everybody's is 1024."),
  cap: cap.describe("Processors' worth of time that it may use at most."),
  pin: pin.describe('Processors that may run its harts.'),
  cpu: text(1024).describe('Extensions off, or emulated: `rv64,zba=off,zbb=emulate`.'),
  kernel: path.describe('A kernel of your own.'),
  initrd: path.describe('Its initial file system.'),
  append: text(1 << 16).describe("The kernel's command line; behind the image's own."),
  bios: z.union([z.literal('none'), path]).describe('Firmware for machine mode.'),
  drives: z.array(drive).max(64),
  shares: z.array(share).max(64),
  balloon: onOff,
  vsock,
  network: onOff,
  netdevs: z.array(netdev).max(16).describe('Uplinks of its interface, the preferred one first.'),
  mac: text(17),
  failback,
  pathFailover: onOff,
  publish: publish.describe('Published ports: `[HOSTIP:]HOSTPORT:GUESTPORT[/tcp|udp]`.'),
  agent: z
    .union([z.boolean(), z.enum(['auto', 'kagemusha', 'qemu', 'off'])])
    .describe("The guest's agent. `auto` by default."),
  heartbeatMs: z.int().min(0).max(86_400_000).describe("The guest's heart beats at this interval. 0: it does not."),
  health,
  interruptRate: z.int().min(100).max(10_000_000),
  clock: z.enum(['real', 'instructions']),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  gdbPort: z.int().min(0).max(65_535),
  startPaused: onOff,
  codeMemoryBytes: z.int().min(1),
  translate: onOff,
  hotThreshold: z.int().min(1).max(65_535),
  promotion: promotionMode,
  overlay: onOff,
  shadows: z.int().min(1).max(64),
  shadowModel: z.enum(['fence', 'tracked']),
  asidBits: z.int().min(0).max(16),
  nested: onOff,
  combinedShadows: onOff,
  relay: onOff,
  aia: z.enum(['none', 'aplic', 'aplic-imsic']),
  aiaGuests: z.int().min(0).max(7),
  pci: z.union([z.boolean(), pci]),
  traps: z.array(text(64)).max(64),
  trapLog: path,
  room: z.strictObject({ partitions: z.int().min(1).max(256).exactOptional(), memoryBytes: count.exactOptional() }),
  protection: onOff,
  protectionLog: path,
  bootSnapshot: onOff,
} satisfies Record<Exclude<keyof MachineOptions, 'name' | 'signal' | 'lease'>, z.ZodType>;

type Machine = { [K in keyof typeof machine]: z.ZodExactOptional<(typeof machine)[K]> };

/** Every member may be left out; none may be undefined. */
const optionalMachine = Object.fromEntries(
  Object.entries(machine).map(([name, schema]) => [name, schema.exactOptional()]),
) as Machine;

export const partitionSpec = z
  .strictObject({
    image: text(128)
      .describe(
        'A guest image; `debian` is fetched at first use. It gives kernel, initrd, disk where the spec does not.',
      )
      .exactOptional(),
    restoreFrom: path
      .describe(
        'A snapshot: each start begins where it stood. What of the machine can be other than in it may be said.',
      )
      .exactOptional(),
    beside: nameText
      .describe('In the machine of that partition, which has `room`: on its processors, in its process.')
      .exactOptional(),
    failover: failover.exactOptional(),
    ...optionalMachine,
  })
  .meta({
    id: 'PartitionSpec',
    description: 'What a partition is made of. Image, kernel, firmware or snapshot: one of them must be named.',
  });

export type PartitionSpec = z.infer<typeof partitionSpec>;
