/** Verbs on partitions of the cluster, over a store whose folders are heard of at different moments, as those of etcd are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClusterStore, MemoryStore, SPEC } from '../../cluster/index.ts';
import { fakeImages } from '../daemon.testing.ts';
import { ClusterView } from './cluster-view.ts';
import { GuestVerbs } from './guest-verbs.ts';
import type { ClusterMember } from './member.ts';

const timers = {
  after: (delayMs: number, run: () => void) => {
    const timer = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

test('what was created is there when that is answered, though its parts are heard of one after the other', async () => {
  const memory = new MemoryStore(timers);
  const store: ClusterStore = {
    read: (...call) => memory.read(...call),
    commit: (...call) => memory.commit(...call),
    watch: (prefix, revision, on) =>
      memory.watch(prefix, revision, (event) => timers.after(prefix === SPEC.prefix ? 100 : 0, () => on(event))),
  };
  using view = new ClusterView(store, () => {});
  assert.ok(await view.mirror.until(() => view.mirror.isComplete, 1000));
  const verbs = new GuestVerbs({ store, view } as unknown as ClusterMember, fakeImages);
  await verbs.create('web', { kernel: '/k', failover: {} }, 'stopped');
  assert.equal((await verbs.find('web'))?.name, 'web');
});
