/**
 * The daemon's door to its cluster. It is always there and knows little: whether this host is in a cluster, and how it came to be.
 * What a cluster needs is loaded when there is one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import type { Settings } from '../../cluster/index.ts';
import type { ImageShelf } from '../api/service.ts';
import type { Partitions } from '../partitions/index.ts';
import type { ClusterReport, DrillRequest, DrillResult, InitRequest, JoinRequest } from '../schemas/cluster.ts';
import type { ClusterHistory } from '../schemas/partition.ts';
import type { HostCertificates } from './certificates.ts';
import { type ClusterConfig, hasCluster, readConfig, removeConfig, tokenText } from './cluster-config.ts';
import type { GuestVerbs } from './guest-verbs.ts';
import type { ClusterMember, OpenHands } from './member.ts';

export interface ClusterDoorOptions {
  readonly stateFolder: string;
  readonly partitions: Partitions;
  readonly images: ImageShelf;
  /** For tests. */
  readonly settings?: Settings;
  readonly openHands?: OpenHands;
  failed(error: unknown): void;
}

/** What could not be opened is tried again so often: an address may come later than the daemon. */
const AGAIN_MS = 2000;

export class ClusterDoor implements AsyncDisposable {
  readonly #options: ClusterDoorOptions;
  readonly #ending = new AbortController();
  #open: { readonly member: ClusterMember; readonly guests: GuestVerbs } | undefined;
  #opening: Promise<void> = Promise.resolve();
  #problem: string | undefined;
  #isBusy = false;

  constructor(options: ClusterDoorOptions) {
    this.#options = options;
  }

  /** Goes on with the cluster that this host was in. Never rejects: partitions of this host alone do not depend on it. */
  async begin(): Promise<void> {
    const { stateFolder, failed } = this.#options;
    if (!hasCluster(stateFolder)) return;
    try {
      await this.#start(this.#config());
    } catch (error) {
      this.#problem = messageOf(error);
      failed(error);
      this.#opening = this.#retry();
    }
  }

  /** Undefined: this host is in no cluster, or cannot be heard yet. */
  get member(): ClusterMember | undefined {
    return this.#open?.member;
  }

  get guests(): GuestVerbs | undefined {
    return this.#open?.guests;
  }

  /** Errors: `no-cluster`, `cluster-closed` where it could not be opened yet. */
  need(): { readonly member: ClusterMember; readonly guests: GuestVerbs } {
    if (this.#open !== undefined) return this.#open;
    if (!hasCluster(this.#options.stateFolder)) throw noCluster();
    throw new OperatorError(
      'cluster-closed',
      `this host does not take part in its cluster: ${this.#problem ?? 'it is being opened'}`,
      'Put that right: it is tried again and again',
    );
  }

  async init(request: InitRequest): Promise<{ name: string; token: string }> {
    return await this.#enter(async (folder) => await (await import('./cluster-acts.ts')).initCluster(folder, request));
  }

  async join(request: JoinRequest): Promise<{ name: string; token: string }> {
    return await this.#enter(async (folder) => await (await import('./cluster-acts.ts')).joinCluster(folder, request));
  }

  /** Errors: `no-cluster`, `last-host`, `not-joined`. */
  async leave({ force = false }: { force?: boolean }): Promise<void> {
    if (!hasCluster(this.#options.stateFolder)) throw noCluster();
    if (force) return await this.#forget();
    await this.#alone(async () => {
      await (await import('./cluster-operations.ts')).leaveCluster(this.need().member);
      await this.#forget();
    });
  }

  token(): { name: string; token: string } {
    return resultOf(this.#config());
  }

  async credentials(names: readonly string[]): Promise<HostCertificates> {
    return await (await import('./cluster-operations.ts')).credentialsOf(this.need().member, names);
  }

  async report(): Promise<ClusterReport> {
    const config = this.#config();
    const { reportOf, reportClosed } = await import('./cluster-operations.ts');
    if (this.#open === undefined) return reportClosed(config, this.#problem ?? 'it is being opened');
    return await reportOf(this.#open.member);
  }

  /** The switch of constant heartbeats, of this host's, until its daemon ends. */
  async setHeartbeats(mode: 'constant' | 'direct'): Promise<ClusterReport> {
    const { setHeartbeats } = await import('./cluster-operations.ts');
    setHeartbeats(this.need().member, mode);
    return await this.report();
  }

  async history(signal: AbortSignal): Promise<ClusterHistory> {
    const { historyOf } = await import('./cluster-operations.ts');
    return await historyOf(this.need().member, this.#options.partitions.store, signal);
  }

  async drain(host: string, undo: boolean): Promise<ClusterReport> {
    const { member } = this.need();
    await (await import('./cluster-operations.ts')).drainHost(member, host, undo);
    return await this.report();
  }

  async drill(request: DrillRequest, signal: AbortSignal): Promise<DrillResult> {
    return await (await import('./drill.ts')).drill(this.need().member, request, signal);
  }

  /** Prometheus's text; empty where this host is in no cluster. */
  async metricsText(): Promise<string> {
    const { member } = this;
    return member === undefined ? '' : (await import('./cluster-metrics.ts')).clusterMetrics(member);
  }

  /** The daemon ends; machines go on until their deadlines. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error('the daemon ends'));
    await this.#opening;
    await this.#close();
  }

  #config(): ClusterConfig {
    const config = readConfig(this.#options.stateFolder);
    if (config === undefined) throw noCluster();
    return config;
  }

  async #enter(act: (stateFolder: string) => Promise<ClusterConfig>): Promise<{ name: string; token: string }> {
    const { stateFolder } = this.#options;
    return await this.#alone(async () => {
      if (hasCluster(stateFolder))
        throw new OperatorError(
          'in-cluster',
          'this host is in a cluster already',
          'See "kage cluster status"; it leaves with "kage cluster leave"',
        );
      const config = await act(stateFolder);
      await this.#start(config);
      return resultOf(config);
    });
  }

  async #start(config: ClusterConfig): Promise<void> {
    const { stateFolder, partitions, images, settings, openHands, failed } = this.#options;
    const [{ ClusterMember }, { GuestVerbs }] = await Promise.all([import('./member.ts'), import('./guest-verbs.ts')]);
    const member = await ClusterMember.open({
      ...{ config, stateFolder, partitions, failed },
      ...(settings === undefined ? {} : { settings }),
      ...(openHands === undefined ? {} : { openHands }),
    });
    this.#open = { member, guests: new GuestVerbs(member, images) };
    this.#problem = undefined;
  }

  async #retry(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted && this.#open === undefined && hasCluster(this.#options.stateFolder)) {
      await sleep(AGAIN_MS, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted || !hasCluster(this.#options.stateFolder)) return;
      try {
        await this.#start(this.#config());
      } catch (error) {
        this.#problem = messageOf(error);
      }
    }
  }

  /** Also while it is being left in order, and the store does not answer. */
  async #forget(): Promise<void> {
    const { stateFolder, partitions } = this.#options;
    removeConfig(stateFolder);
    await this.#opening;
    await this.#close();
    this.#problem = undefined;
    for (const { name, spec } of partitions.store.list())
      if (spec.failover !== undefined) await partitions.remove(name, { force: true });
  }

  async #close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.member[Symbol.asyncDispose]();
  }

  /** Two who change this host's place in a cluster do not do it at once. */
  async #alone<T>(body: () => Promise<T>): Promise<T> {
    if (this.#isBusy)
      throw new OperatorError('cluster-busy', 'this host joins or leaves a cluster just now', 'Wait for that to end');
    this.#isBusy = true;
    try {
      return await body();
    } finally {
      this.#isBusy = false;
    }
  }
}

export function noCluster(): OperatorError {
  return new OperatorError(
    'no-cluster',
    'this host is in no cluster',
    'Begin one with "kage cluster init", or join one with "kage cluster join TOKEN"',
  );
}

function resultOf(config: ClusterConfig): { name: string; token: string } {
  return { name: config.name, token: tokenText(config) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
