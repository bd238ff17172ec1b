/**
 * The verbs on partitions of the cluster: what they change stands in its store. Which host has a guest, and its machine, is the
 * director's business.
 */
import { isDeepStrictEqual } from 'node:util';
import { HostError, OperatorError } from '../../base/errors.ts';
import {
  decode,
  find,
  type GuestLine,
  type GuestSpec,
  keyOf,
  OWNER,
  PLACEMENT,
  put,
  SPEC,
  type StoreEntry,
} from '../../cluster/index.ts';
import type { Images } from '../../host/index.ts';
import type { ClusterGuest } from './cluster-view.ts';
import type { ClusteredSpec } from './clustered-spec.ts';
import { guestSpecOf, newRecord, PARTITION } from './guest-record.ts';
import type { ClusterMember } from './member.ts';
import { readStore, transact } from './store-access.ts';

/** For a guest to be with somebody, or with nobody any more; what has not come about by then goes on without us. */
const START_MS = 30_000;
const STOP_MS = 60_000;

export class GuestVerbs {
  readonly #member: ClusterMember;
  readonly #images: Pick<Images, 'find'>;

  constructor(member: ClusterMember, images: Pick<Images, 'find'>) {
    this.#member = member;
    this.#images = images;
  }

  /** As far as it was heard of. */
  has(name: string): boolean {
    return this.#member.view.mirror.get(keyOf(PARTITION, name)) !== undefined;
  }

  /** Errors: `store-unreachable` where nothing was ever heard of the store. */
  async list(): Promise<ClusterGuest[]> {
    if (!this.#member.view.mirror.isComplete) await this.#member.view.status();
    return this.#member.view.guests();
  }

  async find(name: string): Promise<ClusterGuest | undefined> {
    return (await this.list()).find((one) => one.name === name);
  }

  /** Errors: `name-in-use`, `store-unreachable`. */
  async create(name: string, spec: ClusteredSpec, wanted: GuestSpec['wanted']): Promise<void> {
    const record = newRecord(spec);
    const guest = await guestSpecOf(name, spec, wanted, this.#images);
    await this.#transact(name, (entries) => {
      const [present, known] = [find(entries, PARTITION, name), find(entries, SPEC, name)];
      if (present.value?.id === record.id) return undefined;
      if (present.revision > 0)
        throw new OperatorError(
          'name-in-use',
          `the cluster has a partition ${name} already`,
          `Choose another name, or remove it with "kage rm ${name}"`,
        );
      return {
        compares: compares(name, present.revision, known.revision),
        puts: [put(PARTITION, name, record), put(SPEC, name, guest)],
      };
    });
    // Its records are in folders of their own, and heard of one after the other.
    await this.#heard(() => this.#member.view.guests().some((guest) => guest.name === name));
  }

  /** Another declaration of one that is there; its machine takes it when it starts next. */
  async respec(name: string, spec: ClusteredSpec): Promise<void> {
    const { wanted } = this.#specIn(await this.#entries(name), name);
    const guest = await guestSpecOf(name, spec, wanted, this.#images);
    await this.#transact(name, (entries) => {
      const [present, known] = [find(entries, PARTITION, name), find(entries, SPEC, name)];
      if (present.value === undefined) throw gone(name);
      const next = { ...guest, wanted: this.#specIn(entries, name).wanted };
      if (isDeepStrictEqual(present.value.spec, spec) && isDeepStrictEqual(known.value, next)) return undefined;
      return {
        compares: compares(name, present.revision, known.revision),
        puts: [put(PARTITION, name, { ...present.value, spec }), put(SPEC, name, next)],
      };
    });
  }

  /** Resolves when a host has it, or when none has had room for it for long; `signal`: it is not waited for any more. */
  async start(name: string, signal?: AbortSignal): Promise<void> {
    await this.#want(name, 'running');
    await this.#member.view.mirror.until(() => this.#line(name)?.state === 'running', START_MS, signal);
  }

  /** Resolves when no machine has it any more. Errors: HostError `still-running`. */
  async stop(name: string, signal?: AbortSignal): Promise<void> {
    await this.#want(name, 'stopped');
    const isGone = await this.#member.view.mirror.until(() => this.#line(name)?.state !== 'running', STOP_MS, signal);
    if (!isGone && signal?.aborted !== true)
      throw new HostError('still-running', `${name} has not ended yet on ${this.#line(name)?.host}; it is wanted so`);
  }

  /** Its owner's record stays: a namesake's generations go on from there, and its storage's gate with them. Errors: `partition-running`. */
  async remove(name: string, { force = false }: { force?: boolean }): Promise<void> {
    if (force) await this.stop(name);
    await this.#transact(name, (entries) => {
      const [present, known] = [find(entries, PARTITION, name), find(entries, SPEC, name)];
      if (present.revision === 0 && known.revision === 0) return undefined;
      const owner = find(entries, OWNER, name);
      if (known.value?.wanted === 'running' || this.#line(name)?.state === 'running')
        throw new OperatorError(
          'partition-running',
          `The partition ${name} runs`,
          `Stop it first, or remove it with "kage rm --force ${name}"`,
        );
      return {
        compares: [
          ...compares(name, present.revision, known.revision),
          { key: keyOf(OWNER, name), revision: owner.revision },
        ],
        deletes: [keyOf(PARTITION, name), keyOf(SPEC, name), keyOf(PLACEMENT, name)],
      };
    });
    await this.#heard(() => !this.has(name));
  }

  async #want(name: string, wanted: GuestSpec['wanted']): Promise<void> {
    await this.#transact(name, (entries) => {
      const spec = this.#specIn(entries, name);
      if (spec.wanted === wanted) return undefined;
      return {
        compares: [{ key: keyOf(SPEC, name), revision: find(entries, SPEC, name).revision }],
        puts: [put(SPEC, name, { ...spec, wanted })],
      };
    });
    await this.#heard(() => decode(SPEC, this.#member.view.mirror.get(keyOf(SPEC, name))?.value)?.wanted === wanted);
  }

  #specIn(entries: readonly StoreEntry[], name: string): GuestSpec {
    const spec = find(entries, SPEC, name).value;
    if (spec === undefined) throw gone(name);
    return spec;
  }

  #line(name: string): GuestLine | undefined {
    return this.#member.view.lines().find((line) => line.name === name);
  }

  async #entries(name: string): Promise<readonly StoreEntry[]> {
    return await readStore(this.#member.store, { keys: keys(name) });
  }

  async #transact(name: string, decide: Parameters<typeof transact>[2]): Promise<void> {
    await transact(this.#member.store, { keys: keys(name) }, decide);
  }

  /** What was written is seen by who asks next. */
  async #heard(condition: () => boolean): Promise<void> {
    await this.#member.view.mirror.until(condition, 2000);
  }
}

function keys(name: string): string[] {
  return [keyOf(PARTITION, name), keyOf(SPEC, name), keyOf(OWNER, name)];
}

function compares(name: string, partition: number, spec: number) {
  return [
    { key: keyOf(PARTITION, name), revision: partition },
    { key: keyOf(SPEC, name), revision: spec },
  ];
}

function gone(name: string): OperatorError {
  return new OperatorError('no-such-partition', `the cluster has no partition ${name}`, 'See "kage cluster status"');
}
