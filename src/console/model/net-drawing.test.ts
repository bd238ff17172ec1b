import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NetReport } from '../../client/index.ts';
import { NODE, netDrawing } from './net-drawing.ts';

const none = {} as never; // counters are not drawn
type Condition = NetReport['uplinks'][number]['condition'];

function report(inForce: string | undefined, conditions: readonly Condition[]): NetReport {
  const uplinks = conditions.map((condition, i) => ({
    ...{ name: `lan${i}`, kind: 'macvtap', network: 'lan', condition, probing: 'none' as const, targets: [] },
    ...{ mtuBytes: 1500, interfaces: [], counters: none },
  }));
  const row = {
    ...{ name: 'web/net0', network: 'lan', uplinks: uplinks.map(({ name }) => name), sinceWallMs: 0 },
    ...{
      why: 'carrier lost',
      failback: 'always' as const,
      linkUp: inForce !== undefined,
      addresses: 0,
      counters: none,
    },
    ...(inForce === undefined ? {} : { inForce }),
  };
  return { failover: true, interfaces: [row], uplinks };
}

describe('the drawing of the mapping', () => {
  for (const [what, given, kinds] of [
    ['both paths are well', report('lan0', ['up', 'up']), ['in-force', 'ready']],
    ['the preferred one has failed', report('lan1', ['down', 'up']), ['failed', 'in-force']],
    ['one is silent', report('lan0', ['up', 'silent']), ['in-force', 'failed']],
    ['one recovers', report('lan0', ['up', 'recovering']), ['in-force', 'ready']],
    ['all have failed', report(undefined, ['down', 'silent']), ['failed', 'failed']],
  ] as const)
    test(what, () =>
      assert.deepEqual(
        netDrawing(given).lines.map(({ kind }) => kind),
        kinds,
      ),
    );

  test('says it in words, too', () => {
    assert.equal(
      netDrawing(report('lan1', ['down', 'up'])).sentence,
      'web/net0 uses lan1 (carrier lost); lan0 is down.',
    );
    assert.match(netDrawing(report(undefined, ['down'])).sentence, /web\/net0 has no path/);
    assert.equal(netDrawing({ interfaces: [], uplinks: [] }).sentence, 'There is no interface.');
  });

  test('nothing overlaps, and all is inside', () => {
    const { uplinks, interfaces, width, height } = netDrawing(report('lan0', Array<Condition>(9).fill('up')));
    for (const nodes of [uplinks, interfaces])
      nodes.forEach(({ x, y }, i) => {
        assert.ok(x >= 0 && x + NODE.width <= width && y >= 0 && y + NODE.height <= height);
        assert.ok(i === 0 || y - (nodes[i - 1]?.y ?? 0) >= NODE.height);
      });
  });

  test('an uplink that is not reported has no line', () => {
    const { interfaces } = report('lan0', ['up']);
    assert.deepEqual(netDrawing({ interfaces, uplinks: [] }).lines, []);
  });
});
