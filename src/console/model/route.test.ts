import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hashOf, parseRoute, type Route } from './route.ts';

describe('routes', () => {
  const routes: readonly Route[] = [
    { kind: 'partitions' },
    { kind: 'create' },
    { kind: 'events' },
    { kind: 'cluster', section: 'hosts' },
    { kind: 'cluster', section: 'methods', guest: 'odd/name #1' },
    { kind: 'cluster', section: 'failovers' },
    { kind: 'partition', name: 'web', section: 'overview' },
    { kind: 'partition', name: 'a.b-c_1', section: 'mechanisms', detail: 'promotion' },
    { kind: 'partition', name: 'odd/name #1', section: 'logs' },
  ];
  for (const route of routes)
    test(`${hashOf(route)} leads back`, () => assert.deepEqual(parseRoute(hashOf(route)), route));

  for (const hash of ['', '#', '#/nowhere', '#/p', '#/p/', '#/p/%E0%A4%A'])
    test(`${hash || '(nothing)'} leads to the list`, () => assert.deepEqual(parseRoute(hash), { kind: 'partitions' }));

  test('a section that is not there is the first', () =>
    assert.deepEqual(parseRoute('#/p/web/secrets'), { kind: 'partition', name: 'web', section: 'overview' }));
});
