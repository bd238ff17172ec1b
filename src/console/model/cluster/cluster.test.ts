import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { clusterReport, guestLine, hostLine, takeover, told } from './cluster.testing.ts';
import { clusterSample, samplesOf } from './figures.ts';
import { drillSentence, hostRows, methodTable, needsText, summary, waiting } from './lines.ts';
import { BOX, ringDrawing, ringOrder } from './ring-drawing.ts';
import { failoverSentence, failovers, timelineRows } from './timeline.ts';

describe('hosts and guests in words', () => {
  test('a host: its state, roles, load, and what is left of its lease', () => {
    const [a, b] = hostRows(clusterReport());
    assert.deepEqual([a?.state, a?.roles, a?.lease], ['active', ['this host'], '2.1 s']);
    assert.deepEqual([b?.roles, b?.lease], [['leader'], '2.2 s']);
    assert.deepEqual([a?.cores, a?.memory, a?.memoryPart], ['2 of 8 cores', '4 GiB of 32 GiB', 0.125]);
  });

  test('a host that is not heard is suspected; one that is fenced has no lease; of a stranger nothing is known', () => {
    const report = clusterReport();
    const [b] = report.heartbeats?.peers ?? [];
    assert.ok(report.heartbeats && b);
    const hosts = [...report.hosts, hostLine('d'), hostLine('e', { state: 'fenced' })];
    const heartbeats = { ...report.heartbeats, peers: [{ ...b, isSuspected: true, silentMs: 9000 }] };
    assert.deepEqual(
      hostRows({ ...report, hosts, heartbeats }).map(({ name, state, lease }) => [name, state, lease]),
      [
        ['a', 'active', '2.1 s'],
        ['b', 'suspected', '0 s'],
        ['c', 'active', 'not told here'],
        ['d', 'active', 'not told here'],
        ['e', 'fenced', 'none'],
      ],
    );
  });

  test('all of it in one line', () => {
    assert.equal(summary(clusterReport()), '3 hosts in · 1 guest: 1 running · b leads');
    const { leader: _, ...leaderless } = clusterReport({
      hosts: [hostLine('a'), hostLine('b', { state: 'fenced' })],
      guests: [guestLine('web', { state: 'waiting', missed: ['x'] })],
    });
    assert.equal(
      summary(leaderless),
      '1 host in, 1 not · 1 guest: 1 waiting · 1 guest with needs that are not met · nobody leads',
    );
  });

  test('a drill', () => {
    const took = {
      takeoverMs: 400,
      recoveryMs: 4260,
      recoveryTimeMs: 5000,
      startedAt: '2026-11-28T12:00:00Z',
      steps: [],
    };
    const result = { ...took, guest: 'web', host: 'b', method: 'hot' as const, isMet: true };
    assert.equal(
      drillSentence(result),
      "web would be back 4.3 s after its host's death, hot on b: within the 5 s that it needs.",
    );
    assert.match(drillSentence({ ...result, isMet: false }), /: not within/);
  });

  test('what waits, the most urgent first', () => {
    const guests = [
      guestLine('low', { state: 'waiting', priority: 1 }),
      guestLine('runs'),
      guestLine('high', { state: 'waiting', priority: 9 }),
    ];
    assert.deepEqual(
      waiting(clusterReport({ guests })).map(({ name }) => name),
      ['high', 'low'],
    );
  });

  test('needs', () => {
    assert.equal(needsText(guestLine('web')), 'back in 5 s, loses nothing, 50 % of its cores');
    const { dataLossMs: _, ...requirements } = guestLine('web').requirements;
    assert.match(needsText(guestLine('web', { requirements })), /may lose its memory/);
  });
});

describe('methods', () => {
  test('which is in force, which would do, which do not, and what each takes', () => {
    const { rows, limitPart, sentence } = methodTable(guestLine('web'));
    assert.deepEqual(
      rows.map(({ method, standing, recovery, loss, takes }) => [method, standing, recovery, loss, takes]),
      [
        ['cold', 'does not do', '24.1 s', 'loses its memory', 'nothing'],
        ['warm', 'does not do', '6.1 s', 'loses up to 5.1 s', '1 GiB of disk'],
        ['hot', 'in force', '4.3 s', 'loses nothing', '1 GiB of memory'],
        ['pair', 'not among its methods', '4.1 s', 'loses its memory', 'nothing'],
      ],
    );
    assert.ok(Math.abs(limitPart - 5 / 24.1) < 1e-9);
    assert.match(sentence, /^hot is in force for web: hot on b: .* It may take 5 s; cold takes 24.1 s/);
  });

  test('one that is fixed, one that is being made, and none', () => {
    const standing = (change: Parameters<typeof guestLine>[1]) =>
      methodTable(guestLine('web', change)).rows.map((row) => row.standing);
    const methods = guestLine('web').methods.map((one) => ({ ...one, isAllowed: one.method === 'hot' }));
    assert.deepEqual(standing({ fixed: 'hot', methods }), ['fixed to hot', 'fixed to hot', 'in force', 'fixed to hot']);
    assert.equal(standing({ next: { host: 'c', method: 'warm' } })[1], 'being made');
    assert.match(
      methodTable(guestLine('web', { associations: [], why: 'there is no other host' })).sentence,
      /^no method is in force for web: there is no other host/,
    );
  });
});

describe('the drawing of heartbeats', () => {
  test('hosts in the order of the ring; those that are not on it behind', () => {
    const { hosts } = clusterReport();
    assert.deepEqual(
      ringOrder([hostLine('x'), ...hosts.toReversed()]).map(({ name }) => name),
      ['c', 'a', 'b', 'x'],
    );
  });

  test('lines between peers, measured at this host alone; a guest is a dot, and adds no line', () => {
    const few = ringDrawing(clusterReport(), { sentPerS: 8, receivedPerS: 8 });
    const guests = Array.from({ length: 100 }, (_, i) => guestLine(`g${i}`));
    const many = ringDrawing(clusterReport({ guests }), { sentPerS: 8, receivedPerS: 8 });
    assert.deepEqual(many.exchanges, few.exchanges);
    assert.deepEqual(
      few.exchanges.map(({ from, to, kind, label }) => [from, to, kind, label]),
      [
        ['a', 'b', 'measured', '8.0/s'],
        ['a', 'c', 'measured', '8.0/s'],
        ['b', 'c', 'unseen', ''],
      ],
    );
    const [a] = many.hosts;
    assert.equal((a?.dots.length ?? 0) + (a?.moreDots ?? 0), 100);
    assert.match(
      few.sentence,
      /^a, one of 3 hosts, sends a heartbeat to 2 of them each 250 ms, 8.0 packets\/s measured/,
    );
  });

  test('while the host does not take part there is nothing to count', () => {
    const { heartbeats: _, ...opening } = clusterReport();
    assert.match(ringDrawing(opening).sentence, /^a does not take part yet/);
    assert.equal(clusterSample(opening, 5).values.get('heartbeats.sent'), undefined);
    assert.equal(hostRows(opening)[1]?.lease, 'not told here');
  });

  test('packets of all kinds are counted together, each way', () => {
    const { values } = clusterSample(clusterReport(), 0);
    assert.deepEqual(
      ['sent', 'received', 'sentBytes', 'localBeats'].map((name) => values.get(`heartbeats.${name}`)),
      [800, 790, 51_200, 100],
    );
  });

  test('figures of a guest: of the method in force', () => {
    const guests = [guestLine('a.b'), guestLine('a', { associations: [] })];
    const [sample] = samplesOf([clusterSample(clusterReport({ guests }), 0)], 'a.b');
    assert.deepEqual(
      ['price', 'recoveryS', 'memoryBytes', 'missed'].map((name) => sample?.values.get(`guest.${name}`)),
      [1.3, 4.3, 2 ** 30, 0],
    );
    const [none] = samplesOf([clusterSample(clusterReport({ guests }), 0)], 'a');
    assert.equal(none?.values.get('guest.price'), undefined);
  });

  test('a pair has a slave on its standby, too; a host that is not heard is silent', () => {
    const guests = [guestLine('web', { associations: [{ host: 'b', method: 'pair' }] })];
    const report = clusterReport({ guests });
    const [b, c] = report.heartbeats?.peers ?? [];
    assert.ok(report.heartbeats && b && c);
    const peers = [b, { ...c, isSuspected: true }];
    const { hosts, exchanges, sentence } = ringDrawing(
      { ...report, heartbeats: { ...report.heartbeats, peers } },
      { sentPerS: 8, receivedPerS: 4 },
    );
    assert.deepEqual(
      exchanges.flatMap(({ label }) => (label === '' ? [] : [label])),
      ['8.0/s', '4.0/s'],
    );
    assert.deepEqual(
      hosts.map(({ name, condition, dots }) => [name, condition, dots]),
      [
        ['a', 'up', ['active']],
        ['b', 'up', ['standby']],
        ['c', 'suspected', []],
      ],
    );
    assert.deepEqual(
      exchanges.filter(({ kind }) => kind === 'silent').map(({ from, to }) => [from, to]),
      [
        ['a', 'c'],
        ['b', 'c'],
      ],
    );
    assert.match(sentence, /it does not hear c/);
  });

  for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 9, 40])
    test(`${count} hosts: all is inside, and nothing overlaps`, () => {
      const names = Array.from({ length: count }, (_, i) => `h${i}`);
      const peersOf = (i: number) =>
        [i + 1, i - 1, i + 2, i - 2]
          .map((at) => names[(at + 2 * count) % count] ?? '')
          .filter((one) => one !== names[i]);
      const hosts = names.map((name, i) => hostLine(name, { peers: [...new Set(peersOf(i))] }));
      const drawing = ringDrawing(clusterReport({ self: { ...clusterReport().self, name: 'h0' }, hosts }));
      assert.ok(drawing.hosts.some(({ isSelf }) => isSelf));
      assert.equal(drawing.hosts.length + drawing.left, count);
      drawing.hosts.forEach(({ x, y }, i) => {
        assert.ok(x >= 0 && x + BOX.width <= drawing.width && y >= 0 && y + BOX.height <= drawing.height);
        for (const other of drawing.hosts.slice(i + 1))
          assert.ok(Math.abs(other.x - x) >= BOX.width || Math.abs(other.y - y) >= BOX.height, `${i}`);
      });
    });
});

describe('a failover in time', () => {
  test('counts from the last sign of the host that was lost to the first beat', () => {
    const [one] = failovers(takeover());
    assert.ok(one);
    assert.deepEqual(
      one.steps.map(({ kind, sinceMs }) => [kind, sinceMs]),
      [
        ['last-sign', 0],
        ['suspected', 1200],
        ['fenced', 3300],
        ['planned', 3340],
        ['claimed', 3400],
        ['gate-raised', 3430],
        ['starting', 3431],
        ['started', 3560],
        ['first-beat', 3900],
      ],
    );
    assert.equal(failoverSentence(one), 'web went from a to b, and was back 3.9 s after the last sign of a.');
    const rows = timelineRows(one);
    assert.deepEqual([rows[0]?.end, rows.at(-1)?.end, rows.at(-1)?.time], [0, 1, '+3.90 s']);
    rows.forEach(({ start, end }, i) => assert.ok(start <= end && start === (rows[i - 1]?.end ?? 0)));
  });

  test('what is not told here is left out; without a sign, times count from the first step', () => {
    const [one] = failovers(
      takeover().filter(({ detail }) => !['suspected', 'fenced'].includes(`${detail?.['event']}`)),
    );
    assert.deepEqual([one?.isFromFirstStep, one?.steps[0]?.kind, one?.steps[0]?.sinceMs], [true, 'planned', 0]);
    const [other] = failovers(takeover().filter(({ detail }) => detail?.['event'] !== 'suspected'));
    assert.deepEqual([other?.isFromFirstStep, other?.steps[1]?.sinceMs], [false, 2760]);
  });

  test('a host that was heard again in between was suspected for another reason', () => {
    const early = [
      told(-60_000, 'suspected', { host: 'a', silentMs: 1200 }),
      told(-59_000, 'heard-again', { host: 'a' }),
    ];
    assert.equal(failovers([...early, ...takeover()])[0]?.steps[1]?.sinceMs, 1200);
    const back = [told(4500, 'heard-again', { host: 'a' }), told(90_000, 'suspected', { host: 'a', silentMs: 1200 })];
    assert.deepEqual(failovers([...takeover(), ...back]), failovers(takeover()));
  });

  test('one under way is not back yet; a new guest is no failover; others are not mixed in', () => {
    const [one] = failovers(takeover().slice(0, 5));
    assert.equal(one?.tookMs, undefined);
    assert.match(one === undefined ? '' : failoverSentence(one), /is not back yet/);
    assert.deepEqual(failovers([told(0, 'claimed', { host: 'b', generation: 1, from: 'web' }, 'new')]), []);
    assert.deepEqual(
      failovers([...takeover('web'), ...takeover('db')]).map(({ guest, steps }) => [guest, steps.length]),
      [
        ['db', 9],
        ['web', 9],
      ],
    );
    assert.equal(failovers([...takeover('web'), ...takeover('db')], 'web').length, 1);
  });

  test('events of other kinds, and broken ones, are passed by', () => {
    const odd = { id: 9, at: 'never', kind: 'cluster' as const, detail: { event: 'claimed' } };
    assert.deepEqual(failovers([odd, { ...odd, at: '2026-11-28T12:00:00Z', kind: 'ended' }]), []);
  });
});
