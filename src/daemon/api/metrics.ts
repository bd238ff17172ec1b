/**
 * Metrics in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/). Counters stand in the
 * machines; they are read when somebody asks. Which of them are metrics is a table: a name, and where in a machine's
 * statistics its values are, `{label}` for a step that becomes a label.
 */
import type { MachineStats } from '../../host/index.ts';
import { partitionStates } from '../schemas/partition.ts';
import { type Labels, type Sample, metricText as text } from './metric-text.ts';
import type { Service } from './service.ts';

interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  /** In a machine's statistics. */
  readonly path: string;
  /** What a value is multiplied by, for the unit that the name says. */
  readonly scale?: number;
}

/** What a machine waits to be asked for its statistics. */
const WITHIN_MS = 3_000;

const METRICS: readonly Metric[] = [
  ...rows('counter', [
    ['vcpu_instructions_total', 'Instructions that harts executed', 'vcpus.{vcpu}.instructions'],
    ['vcpu_translated_instructions_total', 'Of these, by translated code', 'vcpus.{vcpu}.translated'],
    ['vcpu_sleeps_total', 'Times that a hart waited for an interrupt', 'vcpus.{vcpu}.sleeps'],
    ['exits_total', 'Exits of harts from the engine', 'exits.{cause}'],
    ['sbi_calls_total', 'Calls of the built-in SBI', 'vcpus.{vcpu}.sbiCalls'],
    ['promotion_promoted_total', 'Sensitive instructions promoted', 'promotion.promoted'],
    ['promotion_demoted_total', 'Sensitive instructions demoted', 'promotion.demoted'],
    ['promotion_accesses_total', 'Device accesses that did not leave the engine', 'promotion.accesses'],
    ['promotion_calls_total', 'SBI calls that did not leave the engine', 'promotion.calls'],
    ['shadow_hits_total', 'Roots of page tables whose shadow was there', 'vcpus.{vcpu}.shadows.hits'],
    ['shadow_misses_total', 'Roots whose shadow was made', 'vcpus.{vcpu}.shadows.misses'],
    ['shadow_evictions_total', 'Shadows that made room', 'vcpus.{vcpu}.shadows.evictions'],
    ['shadow_refills_total', 'Translations taken from a shadow', 'vcpus.{vcpu}.shadows.refillsByShadow'],
    ['shadow_walks_total', 'Translations made by walking page tables', 'vcpus.{vcpu}.shadows.refillsByWalk'],
    ['shadow_fences_total', 'Fences by scope', 'vcpus.{vcpu}.shadows.fences.{scope}'],
    ['nested_entries_total', 'Entries into a nested guest', 'vcpus.{vcpu}.nested.entries.{by}'],
    ['nested_exits_total', 'Exits from a nested guest', 'vcpus.{vcpu}.nested.exits.{to}.{cause}'],
    ['interrupts_total', 'Interrupts of PCI Express functions', 'interrupts.requesters.{requester}.interrupts'],
    ['interrupt_polls_total', 'Times that functions were asked', 'interrupts.requesters.{requester}.polls'],
    ['protection_violations_total', 'Forbidden accesses', 'protection.domains.{domain}.{access}'],
    ['overlay_executions_total', 'Instructions that substitutes emulated', 'overlay.executions'],
    ['overlay_emulations_total', 'Instructions emulated by trap', 'overlay.emulations'],
    ['translation_regions_total', 'Regions of code that were made', 'translation.regions'],
    ['translation_dropped_total', 'Regions dropped as their code was written', 'translation.dropped'],
    ['translation_evicted_total', 'Regions that made room', 'translation.evicted'],
    ['code_flushes_total', 'Times that all code was dropped', 'memory.codeFlushes'],
    ['path_switches_total', 'Changes of the uplink in force', 'paths.mappings.{interface}.switches'],
    ['interface_sent_bytes_total', 'Bytes from the guest', 'paths.mappings.{interface}.bytesOut'],
    ['interface_received_bytes_total', 'Bytes to the guest', 'paths.mappings.{interface}.bytesIn'],
    ['uplink_sent_bytes_total', 'Bytes to the segment', 'paths.uplinks.{uplink}.bytesOut'],
    ['uplink_received_bytes_total', 'Bytes from the segment', 'paths.uplinks.{uplink}.bytesIn'],
    ['uplink_failures_total', 'Times that an uplink was lost', 'paths.uplinks.{uplink}.failures'],
    ['device_events_total', 'What devices count', 'devices.{device}.{counter}'],
  ]),
  ...rows('gauge', [
    ['memory_bytes', 'Guest memory', 'memory.guestBytes'],
    ['memory_touched_bytes', 'Of it, what has frames', 'memory.touchedBytes'],
    ['code_bytes', 'Memory of decoded and translated code', 'memory.codeBytes'],
    ['code_limit_bytes', 'What it may be', 'memory.codeLimitBytes'],
    ['promotion_bytes', 'Bytes of promotion code', 'promotion.bytes'],
    ['translation_regions', 'Regions that stand', 'translation.inUse'],
    ['translation_host_bytes', "Estimate of the host's machine code for them", 'translation.hostBytes'],
    ['protection_rules', 'Ranges with something denied', 'protection.rules'],
  ]),
  {
    ...{ name: 'vcpu_seconds_total', type: 'counter', help: 'Seconds of processors used', scale: 1e-3 },
    path: 'vcpus.{vcpu}.usedMs',
  },
];

function rows(type: Metric['type'], all: readonly (readonly [name: string, help: string, path: string])[]): Metric[] {
  return all.map(([name, help, path]) => ({ type, name, help, path }));
}

export async function metricsText(service: Service): Promise<string> {
  const { partitions, version, startedAt, requests } = service;
  const all = await partitions.list();
  const stats = await Promise.all(
    all.map(async ({ name, machine }) => (machine === undefined ? undefined : await statsOf(service, name))),
  );
  const running = all.flatMap(({ name }, i) => (stats[i] === undefined ? [] : [{ name, stats: stats[i] }]));
  const partitionOf = (name: string): Labels => ({ partition: name });
  return [
    text('build_info', 'gauge', 'The daemon', [{ labels: { version }, value: 1 }]),
    text('start_time_seconds', 'gauge', 'When the daemon started', [
      { labels: {}, value: Date.parse(startedAt) / 1000 },
    ]),
    text('resident_memory_bytes', 'gauge', 'Memory of the daemon', [{ labels: {}, value: process.memoryUsage.rss() }]),
    text('http_requests_total', 'counter', 'Requests that were answered', [
      ...[...requests].map(([key, value]) => {
        const [operation = '', status = ''] = key.split(' ');
        return { labels: { operation, status }, value };
      }),
    ]),
    text('partitions', 'gauge', 'Partitions by state', [
      ...partitionStates.map((state) => ({
        labels: { state },
        value: all.filter((one) => one.state === state).length,
      })),
    ]),
    text('partition_restarts', 'gauge', 'Restarts by policy, since it was last started by hand', [
      ...all.map(({ name, restarts }) => ({ labels: partitionOf(name), value: restarts })),
    ]),
    text('partition_up', 'gauge', 'Whether a machine runs it, and answers', [
      ...all.map(({ name }, i) => ({ labels: partitionOf(name), value: stats[i] === undefined ? 0 : 1 })),
    ]),
    ...METRICS.map(({ name, type, help, path, scale = 1 }) =>
      text(
        name,
        type,
        help,
        running.flatMap(({ name: partition, stats }) =>
          [...samples(stats, path.split('.'), { partition })].map(({ labels, value }) => ({
            labels,
            value: value * scale,
          })),
        ),
      ),
    ),
    (await service.cluster?.metricsText()) ?? '',
  ].join('');
}

async function statsOf({ partitions }: Service, name: string): Promise<MachineStats | undefined> {
  try {
    await using machine = await partitions.machines.reach(name);
    const timer = setTimeout(() => void machine[Symbol.asyncDispose](), WITHIN_MS);
    return await machine.stats().finally(() => clearTimeout(timer));
  } catch {
    return undefined;
  }
}

/** The numbers at a path; what is not there has none. */
function* samples(value: unknown, [step, ...rest]: readonly string[], labels: Labels): Generator<Sample> {
  if (step === undefined) {
    if (typeof value === 'number' && Number.isFinite(value)) yield { labels, value };
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  const [, label] = /^\{(\w+)\}$/.exec(step) ?? [];
  if (label === undefined) {
    if (Object.hasOwn(value, step)) yield* samples((value as Record<string, unknown>)[step], rest, labels);
    return;
  }
  for (const [key, inner] of Object.entries(value)) yield* samples(inner, rest, { ...labels, [label]: key });
}
