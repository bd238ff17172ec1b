/**
 * A drill: a guest is failed over in a double of it, while it runs on. The host that has the guest directs it: it takes a snapshot where
 * one is needed, has the double go on (or boot) on the host that would take over, and ends it when it has answered.
 *
 *     cold   the double boots there
 *     warm   the snapshot lies there already; the double is restored from it
 *     hot    a double here is replicated there; it is killed, and its standby promoted
 *
 * What is measured is from the order to the double's answer. A real takeover waits before that until a host's death is certain: that
 * time is the cluster's settings', and added.
 */
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { HostError, OperatorError } from '../../base/errors.ts';
import { DEFAULT_SETTINGS, detectionMs, type Method } from '../../cluster/index.ts';
import { type DrillRequest, type DrillResult, drillRequest, drillResult } from '../schemas/cluster.ts';
import { clusterFolder } from './cluster-config.ts';
import type { ClusterGuest } from './cluster-view.ts';
import { DrillDoubles } from './drill-double.ts';
import { isGated, withGeneration } from './gated-drives.ts';
import type { ClusterMember } from './member.ts';

/** Plan, claim, fence: requests one after the other (cluster/planner/estimate.ts). */
const ORDER_MS = 250;
const REPLICATED_MS = 120_000;

const answered = z.object({ tookMs: z.number().exactOptional() });
const listening = z.object({ address: z.string().max(512) });

type Step = DrillResult['steps'][number];

/** From whichever host it is asked: the one that has the guest does it. Errors: `no-such-partition`, `not-running`, `no-target` ... */
export async function drill(member: ClusterMember, request: DrillRequest, signal: AbortSignal): Promise<DrillResult> {
  const guest = member.view.guest(request.guest);
  if (guest === undefined)
    throw new OperatorError(
      'no-such-partition',
      `the cluster has no partition ${request.guest}`,
      'See "kage cluster status"',
    );
  const { host, state } = guest.line;
  if (state !== 'running' || host === undefined)
    throw new OperatorError('not-running', `${guest.name} does not run`, `Start it with "kage start ${guest.name}"`);
  if (host === member.name) return await direct(member, guest, request, signal);
  return drillResult.parse(await member.channel.ask(host, 'drill-here', guest.name, request, signal));
}

/** What other hosts may ask of this one. */
export function serveDrills(member: ClusterMember): DrillDoubles {
  const { partitions, stateFolder, listenHost, tlsFolder } = member.place;
  const doubles = new DrillDoubles({ partitions, stateFolder, listenHost, tlsFolder });
  doubles.serve(member.channel);
  member.channel.serve('drill-here', async ({ name, body }) => {
    const read = drillRequest.safeParse(body);
    const guest = member.view.guest(name);
    if (!read.success || guest?.line.host !== member.name)
      throw new OperatorError('not-running', `${name} does not run here`, 'Ask again');
    return await direct(member, guest, read.data, new AbortController().signal);
  });
  return doubles;
}

async function direct(
  member: ClusterMember,
  guest: ClusterGuest,
  request: DrillRequest,
  signal: AbortSignal,
): Promise<DrillResult> {
  const { host: target, method } = chosen(member, guest, request);
  return await new Drill(member, guest, target, method, signal).run();
}

/** The association in force, or as it is asked for. */
function chosen(
  member: ClusterMember,
  { name, line, record }: ClusterGuest,
  { host, method }: DrillRequest,
): { readonly host: string; readonly method: Method } {
  const [inForce] = line.associations;
  const of = line.associations.find((one) => one.method === method) ?? inForce;
  const target = host ?? of?.host;
  const by = method ?? of?.method ?? 'cold';
  if (target === undefined || (target !== member.name && !member.view.hosts().includes(target)))
    throw new OperatorError(
      'no-target',
      `no other host is there for ${name}`,
      'Have another one join, or name one with --host',
    );
  if (by === 'pair')
    throw new OperatorError(
      'no-double',
      'the other of a pair runs already, and cannot be doubled',
      'Choose another --method',
    );
  if (by !== 'cold' && (record.spec.drives ?? []).some(isGated))
    throw new OperatorError(
      'drill-disk',
      `a double of ${name} that goes on from its memory would write to its disk`,
      'Drill a cold start with --method cold: it gets a layer over the disk',
    );
  return { host: target, method: by };
}

class Drill {
  readonly #member: ClusterMember;
  readonly #guest: ClusterGuest;
  readonly #target: string;
  readonly #method: Method;
  readonly #signal: AbortSignal;
  readonly #steps: Step[] = [];
  readonly #startedAt = new Date().toISOString();
  readonly #file: string;

  constructor(member: ClusterMember, guest: ClusterGuest, target: string, method: Method, signal: AbortSignal) {
    this.#member = member;
    this.#guest = guest;
    this.#target = target;
    this.#method = method;
    this.#signal = signal;
    this.#file = join(clusterFolder(member.place.stateFolder), 'drills', `${guest.name}.source.kage`);
  }

  async run(): Promise<DrillResult> {
    try {
      const takeoverMs = await this.#takeover();
      this.#steps.push({ step: 'answer', tookMs: takeoverMs });
      return this.#result(takeoverMs);
    } finally {
      await this.#ask('end').catch(() => {}); // the host is gone: so is its double
      await this.#member.doubles.end(this.#guest.name);
      await rm(this.#file, { force: true });
    }
  }

  async #takeover(): Promise<number> {
    switch (this.#method) {
      case 'warm':
        await this.#snapshot();
        await this.#step('send', () => this.#send());
        await this.#ask('restore');
        return await this.#answer();
      case 'hot':
        return await this.#promote();
      default:
        await this.#ask('boot');
        return await this.#answer();
    }
  }

  async #promote(): Promise<number> {
    const { doubles, place } = this.#member;
    const { name, record } = this.#guest;
    if (this.#target === this.#member.name)
      throw new OperatorError('no-target', 'a hot standby is on another host', 'Name one with --host');
    await this.#snapshot();
    const source = await this.#step('double', () => doubles.restoreHere(name, record.spec, this.#file));
    const { address } = listening.parse(await this.#ask('stand-by'));
    await this.#step('replicate', () =>
      source.ask((one) => one.replicate({ to: address, tls: place.tlsFolder, onLoss: 'go-on' }), REPLICATED_MS),
    );
    await this.#step('kill', () => source.end({ kind: 'killed' }));
    await this.#ask('promote');
    return await this.#answer();
  }

  async #snapshot(): Promise<void> {
    mkdirSync(join(this.#file, '..'), { recursive: true, mode: 0o700 });
    await this.#step('snapshot', async () => {
      await using machine = await this.#member.place.partitions.machines.reach(this.#guest.name);
      await machine.snapshot(this.#file, {});
    });
  }

  async #send(): Promise<unknown> {
    const { name, record } = this.#guest;
    const body = { step: 'restore', spec: record.spec };
    return await this.#member.channel.send(this.#target, 'drill', name, this.#file, body, this.#signal);
  }

  /** Milliseconds from the order to the double's answer, by the clock of the host that has it. */
  async #answer(): Promise<number> {
    for (;;) {
      const { tookMs } = answered.parse(await this.#ask('wait'));
      if (tookMs !== undefined) return tookMs;
      this.#signal.throwIfAborted();
    }
  }

  async #ask(step: string): Promise<unknown> {
    const { name, record, line } = this.#guest;
    // The gate lets nobody in who names no generation; the guest's own is as good, for who only reads.
    const { drives } = record.spec;
    const gated = drives === undefined ? {} : { drives: withGeneration(drives, line.generation).drives };
    const body = { step, spec: { ...record.spec, ...gated } };
    if (this.#target === this.#member.name) return await this.#member.doubles.answer({ name, body, files: undefined });
    const signal = step === 'end' ? undefined : this.#signal;
    return await this.#member.channel.ask(this.#target, 'drill', name, body, signal);
  }

  async #step<T>(step: string, body: () => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted();
    const sinceMs = performance.now();
    const result = await body();
    this.#steps.push({ step, tookMs: performance.now() - sinceMs });
    return result;
  }

  #result(takeoverMs: number): DrillResult {
    const { requirements } = this.#member.view.spec(this.#guest.name) ?? {};
    if (requirements === undefined) throw new HostError('gone', `${this.#guest.name} was removed meanwhile`);
    const { recoveryTimeMs } = requirements;
    const recoveryMs = detectionMs(DEFAULT_SETTINGS) + ORDER_MS + takeoverMs;
    return {
      ...{ guest: this.#guest.name, host: this.#target, method: this.#method, startedAt: this.#startedAt },
      ...{ steps: this.#steps, takeoverMs, recoveryMs, recoveryTimeMs, isMet: recoveryMs <= recoveryTimeMs },
    };
  }
}
