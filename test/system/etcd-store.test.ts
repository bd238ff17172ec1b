/** The cluster's store in a real etcd of Debian: what any store must do, and what becomes of it while members are silent. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { storeSuite } from '../../src/cluster/store/store-suite.testing.ts';
import { EtcdStore } from '../../src/host/cluster/etcd-store.ts';
import { commit, emptied, furtherSuite, listed, read, watched } from '../../src/host/cluster/store-suite.testing.ts';
import { requires } from '../capability.ts';
import { EtcdCluster } from '../etcd.testing.ts';

describe('a store in three members of etcd', { ...requires('apt'), timeout: 120_000 }, () => {
  let cluster: EtcdCluster;
  const opened: EtcdStore[] = [];
  const open = (urls = cluster.urls): EtcdStore => {
    const store = new EtcdStore(urls);
    opened.push(store);
    return store;
  };
  before(async () => {
    cluster = await EtcdCluster.start(3);
  });
  after(async () => {
    for (const store of opened) store.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  storeSuite('etcd', async () => {
    const store = open();
    await emptied(store);
    return { store, other: open(), close: async () => undefined };
  });
  furtherSuite('etcd', () => open());

  test('a silent leader: reads are answered by another, a write is unknown and is found out about', async () => {
    const leader = await cluster.leader();
    const { urls } = cluster;
    const store = open([urls[leader] ?? '', ...urls.filter((_, i) => i !== leader)]);
    const first = await commit(store, { compares: [], puts: [{ key: 's', value: '1' }] });
    assert.ok(first.kind === 'committed');
    const { count } = watched(store, 's', first.revision);
    cluster.freeze(leader);
    const put = { compares: [{ key: 's', revision: first.revision }], puts: [{ key: 's', value: '2' }] };
    const outcome = await commit(store, put, 700);
    assert.equal(outcome.kind, 'unknown');
    // The watch was with the silent one, and says so.
    assert.equal((await count(1))[0]?.kind, 'lost');
    let value: string | undefined;
    for (let attempt = 0; value !== '3' && attempt < 40; attempt += 1) {
      const found = await read(store, { keys: ['s'] }, 700);
      const [entry] = found.kind === 'read' ? found.entries : [];
      if (entry === undefined) continue;
      value = entry.value;
      if (value !== '3') {
        const again = { compares: [{ key: 's', revision: entry.revision }], puts: [{ key: 's', value: '3' }] };
        if ((await commit(store, again, 700)).kind === 'committed') value = '3';
      }
    }
    assert.equal(value, '3', 'a second leader serves');
    assert.ok(store.counters.silent > 0 && store.counters.unknown > 0);
    cluster.thaw(leader);
    await cluster.ready();
    await sleep(200);
    // Whatever the first leader had begun, it came too late: the revision that it compared is gone.
    assert.deepEqual(await listed(open([urls[leader] ?? '']), 's'), { s: '3' });
  });

  test('a silent member: a read is asked of another within the time', async () => {
    const leader = await cluster.leader();
    const silent = (leader + 1) % 3;
    const { urls } = cluster;
    const store = open([urls[silent] ?? '', ...urls.filter((_, i) => i !== silent)]);
    cluster.freeze(silent);
    assert.equal((await read(store, { keys: ['s'] }, 1500)).kind, 'read');
    assert.equal(store.counters.hedged, 1);
    cluster.thaw(silent);
    await cluster.ready();
  });

  test('without a quorum nothing is read, and no write is said to be refused', async () => {
    const store = open();
    const { urls } = cluster;
    await Promise.all([cluster.kill(0), cluster.kill(1)]);
    const found = await read(store, { keys: ['s'] }, 700);
    assert.equal(found.kind, 'failed');
    const alone = open([urls[2] ?? '']);
    assert.equal((await read(alone, { keys: ['s'] }, 700)).kind, 'failed');
    assert.equal((await commit(alone, { compares: [{ key: 's', revision: 1 }], puts: [] }, 700)).kind, 'unknown');
    cluster.begin(0);
    cluster.begin(1);
    await cluster.ready();
    assert.deepEqual(await listed(open(), 's'), { s: '3' });
  });

  test('what is no etcd, and where nobody is', async () => {
    const nobody = open(['http://127.0.0.1:9']);
    assert.equal((await read(nobody, { keys: ['s'] }, 500)).kind, 'failed');
    assert.equal((await commit(nobody, { compares: [], puts: [{ key: 's', value: 'x' }] }, 500)).kind, 'unknown');
    const { count } = watched(nobody, 's', 0);
    assert.equal((await count(1))[0]?.kind, 'lost');
    // One of several: the next one has it.
    const second = open(['http://127.0.0.1:9', ...cluster.urls]);
    assert.equal((await commit(second, { compares: [], puts: [{ key: 't', value: 'x' }] })).kind, 'committed');
  });
});
