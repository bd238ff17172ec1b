/** What a running partition tells of itself and its mechanisms, and what can be changed while it runs. */
import * as z from 'zod';
import { CODE_STATUSES, MOST_VIOLATIONS, VIOLATION_ACCESSES, VIOLATORS } from '../../machine/index.ts';
import { PATH_EVENTS } from '../../network/index.ts';
import { netdev, promotionMode } from './spec.ts';
import { address, count, path, text } from './words.ts';

const counters = z.record(z.string(), z.number());

export const stats = z
  .looseObject({
    exits: counters.describe('Why harts left the engine.').exactOptional(),
    promotion: z
      .looseObject({
        mode: promotionMode.exactOptional(),
        ...{ promoted: count, demoted: count, bytes: count, peakBytes: count },
        ...{ executions: count, accesses: count, calls: count },
      })
      .describe('Sites promoted and demoted so far, bytes of promotion code, executions of sites promoted now.')
      .exactOptional(),
    memory: z
      .looseObject({ guestBytes: count, touchedBytes: count, codeBytes: count, codeLimitBytes: count })
      .exactOptional(),
    translation: z.looseObject({ regions: count, inUse: count, instructions: count, hostBytes: count }).exactOptional(),
    vcpus: z.array(z.looseObject({ id: count, instructions: count, translated: count })).exactOptional(),
  })
  .meta({ id: 'Stats', description: 'Counters by component; those named here are the ones that charts want.' });

const indicator = z.enum(['on', 'blink', 'off']);
const pciFunctions = z.array(
  z
    .object({
      ...{ id: text(64), place: text(16), kind: text(64), interrupts: z.enum(['intx', 'msi', 'msix']) },
      ...{ messages: count, asserts: count },
    })
    .meta({ id: 'PciFunction' }),
);
export const pciReport = z
  .object({
    ports: z.array(
      z.object({
        ...{ id: text(64), place: text(16), slot: count },
        ...{ card: z.enum(['in', 'leaving', 'out']), power: z.enum(['on', 'off']) },
        indicators: z.object({ power: indicator, attention: indicator }),
        functions: pciFunctions,
      }),
    ),
    functions: pciFunctions,
  })
  .meta({ id: 'PciReport', description: 'Root ports and what is in their slots.' });
export const slotChange = z.strictObject({ action: z.enum(['plug', 'unplug', 'pull']) }).meta({ id: 'SlotChange' });

export const balloonReport = z
  .object({
    ...{ memoryBytes: count, targetBytes: z.int(), balloonBytes: count, touchedBytes: count },
    ...{ inflatedBytes: count, reportedBytes: count, hasDriver: z.boolean(), guest: counters },
  })
  .meta({ id: 'BalloonReport', description: 'Memory that the guest gave back.' });
export const balloonChange = z.strictObject({ memoryBytes: count }).meta({ id: 'BalloonChange' });

const rights = z.string().regex(/^[rwx]{1,3}$/, 'is no list of rights: some of r, w, x');
const domain = text(128);
export const protectionChange = z
  .strictObject({
    action: z.enum(['deny', 'allow']),
    domains: z.array(domain).min(1).max(64),
    start: count.describe('Guest-physical: from the page of `start` to the page before `end`.'),
    end: count,
    rights,
  })
  .meta({ id: 'ProtectionChange' });
export const protectionReport = z
  .object({
    domains: z.array(z.object({ name: domain, violations: counters })),
    rules: z.array(z.object({ domain, start: address, end: address, denied: text(3) })),
    changes: count,
    tables: z.object({ tables: count, chunks: count, bytes: count }),
  })
  .meta({ id: 'ProtectionReport', description: 'Domains, what is denied to them, what they tried.' });
export const violations = z
  .object({
    violations: z.array(
      z.object({
        domain,
        by: z.enum(VIOLATORS),
        hart: count.exactOptional(),
        pc: address.exactOptional(),
        access: z.enum(VIOLATION_ACCESSES),
        missing: z.enum(['r', 'w', 'x']),
        address: address.exactOptional(),
        physical: address,
        frame: count,
      }),
    ),
  })
  .meta({ id: 'Violations' });
export const mostViolations = z.int().min(1).max(MOST_VIOLATIONS);

const port = text(160);
const traffic = {
  framesOut: count,
  bytesOut: count,
  framesIn: count,
  bytesIn: count,
  droppedOut: count,
  droppedIn: count,
};
const mappingCounters = z
  .object({
    ...traffic,
    ...{ localIn: count, localOut: count, stormsOut: count, noPath: count, switches: count, announcements: count },
  })
  .meta({ id: 'MappingCounters', description: 'Out: from the guest; in: to it.' });
const uplinkCounters = z
  .object({
    ...traffic,
    ...{ stormsIn: count, reflected: count, duplicates: count, notInForce: count, failures: count },
  })
  .meta({ id: 'UplinkCounters', description: 'Out: to the segment; in: from it.' });
export const netReport = z
  .object({
    failover: z.boolean(),
    interfaces: z.array(
      z.object({
        name: port,
        network: port,
        mac: text(17).exactOptional(),
        uplinks: z.array(port).describe('The preferred one first.'),
        inForce: port.describe('None: the guest has no carrier.').exactOptional(),
        sinceWallMs: z.number(),
        why: text(),
        failback: z.enum(['always', 'better', 'failure']),
        linkUp: z.boolean(),
        addresses: count,
        counters: mappingCounters,
      }),
    ),
    uplinks: z.array(
      z.object({
        name: port,
        kind: text(32),
        network: port,
        condition: z.enum(['up', 'recovering', 'warming', 'silent', 'down']),
        probing: z.enum(['arp', 'mutual', 'none']),
        targets: z.array(text(15)),
        mtuBytes: count,
        interfaces: z.array(port).describe('Those that have it in force.'),
        counters: uplinkCounters,
      }),
    ),
  })
  .meta({ id: 'NetReport', description: 'Interfaces and uplinks: which is mapped to which, and how it is.' });
export const netChange = z
  .strictObject({
    action: z.enum(['map', 'unmap', 'prefer', 'add', 'failover']),
    interface: port.exactOptional(),
    uplinks: z.array(port).max(16).exactOptional(),
    netdev: netdev.exactOptional(),
    on: z.boolean().exactOptional(),
  })
  .meta({ id: 'NetChange', description: 'A change of the table, as `kage net` makes it.' });
export const pathEvent = z
  .object({
    ...{ sequence: count, wallMs: z.number(), kind: z.enum(PATH_EVENTS), subject: port },
    ...{ from: port.exactOptional(), to: port.exactOptional(), cause: text() },
  })
  .meta({ id: 'PathEvent', description: 'What happened to a path, and why.' });
export const pathEvents = z.object({ events: z.array(pathEvent) }).meta({ id: 'PathEvents' });

const region = { number: count, instructions: count, entered: count, module: count };
export const hotRegions = z
  .object({
    regions: z.array(
      z.object({
        ...region,
        ...{ at: address.exactOptional(), physical: address.exactOptional() },
        ...{ hart: count.exactOptional(), level: z.union([z.literal(1), z.literal(2)]).exactOptional() },
      }),
    ),
  })
  .meta({ id: 'HotRegions', description: 'Regions of translated code that were entered most.' });

export const promotedSites = z
  .object({
    sites: z.array(
      z.object({
        ...{ number: count, executions: count, physical: address, text: text(256), at: address.exactOptional() },
        ...{ hart: count.exactOptional(), level: z.union([z.literal(1), z.literal(2)]).exactOptional() },
      }),
    ),
  })
  .meta({
    id: 'PromotedSites',
    description: 'Sensitive instructions that are promoted now, those that ran most first.',
  });

const explainedRegion = z.object({ at: address, ...region }).meta({ id: 'ExplainedRegion' });
const instruction = z.object({ at: address, bits: text(8), text: text(256), emulated: z.boolean().exactOptional() });
export const explanation = z
  .object({
    hart: count,
    pc: address,
    mode: text(32),
    level: z.union([z.literal(1), z.literal(2)]),
    physical: address.exactOptional(),
    status: z.enum(CODE_STATUSES),
    summary: text(),
    reached: count,
    thresholds: z.array(count),
    page: z
      .object({
        ...{ at: address, decoded: count, hasOverlay: z.boolean() },
        ...{ regions: z.array(explainedRegion), touching: z.array(count) },
      })
      .exactOptional(),
    region: explainedRegion.exactOptional(),
    blocks: z.array(
      z.object({
        ...{ at: address, depth: count, instructions: z.array(instruction) },
        ending: z.enum(['goto', 'branch', 'register']),
        edges: z.array(z.object({ to: address, leaves: text(256).exactOptional() })),
        reached: count,
      }),
    ),
    wasm: z
      .object({ of: z.enum(['region', 'proposal']), isCurrent: z.boolean(), bytes: count, lines: z.array(z.string()) })
      .exactOptional(),
  })
  .meta({ id: 'Explanation', description: 'What the translator makes of guest code at an address.' });

export const switches = z
  .object({
    promotion: promotionMode.describe('Mechanism 3.').exactOptional(),
    pathFailover: z.boolean().describe('Mechanism 9.').exactOptional(),
  })
  .meta({ id: 'Switches', description: 'Switches of mechanisms that can be thrown while it runs, as they stand.' });
export const switchChange = z
  .strictObject({ promotion: promotionMode.exactOptional(), pathFailover: z.boolean().exactOptional() })
  .meta({ id: 'SwitchChange', description: 'Those to throw.' });
export type Switches = z.infer<typeof switches>;

export const snapshotRequest = z
  .strictObject({
    file: path,
    base: path.describe('An earlier snapshot: only memory that differs from it is written.').exactOptional(),
    stop: z.boolean().describe('The partition ends with its snapshot.').exactOptional(),
    compress: z.boolean().exactOptional(),
    quiesce: z.boolean().describe('Its file systems are frozen meanwhile.').exactOptional(),
  })
  .meta({ id: 'SnapshotRequest' });
export const snapshotResult = z
  .object({
    ...{ id: text(64), file: path, sizeBytes: count, pages: count, pausedMs: z.number() },
    quiesced: z.object({ count, left: count }).describe('File systems that were frozen, and were not.').exactOptional(),
  })
  .meta({ id: 'SnapshotResult' });
