/** One failure of a host, from its beginning to the end of what came of it: what is measured of it, and what must be true then. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../../src/base/assert.ts';
import type { ClusterHost, ClusterWorld } from './cluster-hosts.testing.ts';

/** killed: its power is cut. frozen: all its processes stand still, and go on later. cut: from the store alone. */
export type Failure = 'killed' | 'frozen' | 'cut';

/** Milliseconds from the failure; undefined: that was not told. */
export interface FailureTimes {
  readonly suspected: number | undefined;
  readonly fenced: number | undefined;
  readonly claimed: number | undefined;
  readonly started: number | undefined;
  /** The guest answers somebody who has just come. */
  readonly answered: number;
  /** The method by which it was started. */
  readonly by: string;
  /** Of the guest that answered. */
  readonly boot: string;
  /** How long before the claim the lease had ended, as its holder had known it. */
  readonly leaseOver: number;
}

const ANSWER_MS = 90_000;

/** A host fails that has the guest; resolves when the guest answers elsewhere. The host is as it is then. */
export async function fail(world: ClusterWorld, guest: string, how: Failure): Promise<[ClusterHost, FailureTimes]> {
  const { generation, host: name } = must(await world.owner(guest));
  const host = world.host(name);
  // Anywhere between two renewals.
  await sleep(Math.random() * 500);
  const endsMs = await host.leaseEndsMs();
  const sinceMs = begin(world, host, how);
  const answering = how === 'killed' ? world.client.firstAnswer(world.guest(guest).address, ANSWER_MS) : undefined;
  await world.ownedAs(guest, (owner) => owner.generation > generation, ANSWER_MS);
  // One that stands still, or still has its lease, may answer before it is taken over.
  const answer = await (answering ?? world.client.firstAnswer(world.guest(guest).address, ANSWER_MS));
  assert.ok(answer, `${guest} does not answer\n${world.story(sinceMs)}`);
  const at = (event: string, of: string): number | undefined => world.toldAt(event, of, sinceMs);
  const after = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs - sinceMs);
  const claimedMs = must(at('claimed', guest), 'nobody told of a claim');
  // A host that is cut off renews once more what was under way.
  if (how !== 'cut')
    assert.ok(claimedMs >= endsMs, `${guest} was claimed before the lease had ended\n${world.story(sinceMs)}`);
  const times = {
    ...{ suspected: after(at('suspected', name)), fenced: after(at('fenced', name)), claimed: after(claimedMs) },
    ...{ started: after(at('started', guest)), answered: answer.atMs - sinceMs, leaseOver: claimedMs - endsMs },
    boot: answer.boot,
    by: String(world.toldOf('started', sinceMs).find(({ partition }) => partition === guest)?.detail?.['detail']),
  };
  return [host, times];
}

/** The host is as before, and in. */
export async function mend(world: ClusterWorld, host: ClusterHost, how: Failure): Promise<void> {
  if (how === 'killed') await host.boot();
  else if (how === 'frozen') host.cont();
  else world.heal(host, 'store');
  await world.until(() => world.isIn(host), `${host.name} is in again`, ANSWER_MS);
}

function begin(world: ClusterWorld, host: ClusterHost, how: Failure): number {
  if (how === 'killed') return host.kill();
  if (how === 'frozen') return host.stop();
  const atMs = Date.now();
  world.cut(host, 'store');
  return atMs;
}
