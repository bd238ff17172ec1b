/** `kage cluster` and `--failover`: what is asked, what is shown, and ways out of what goes wrong. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { failoverOf, parseFailover } from './failover-flags.ts';
import { readPartitionFiles } from './partition-file.ts';
import { fakePlatform, kage, ownRuntimeFolder, TestTerminal, until } from './terminal.testing.ts';

ownRuntimeFolder({ isEmptyBehindEach: false });
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-cluster-verbs-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const wholly = {
  ...{ recoveryTimeMs: 5000, dataLossMs: 0, performanceFloor: 0.5, priority: 10, group: 'web', method: 'fixed:hot' },
  ...{ methods: ['cold', 'hot'], gate: 'tls:10.0.0.9:10811' },
} as const;

describe('--failover', () => {
  test('says what is needed; alone it takes defaults, and what stands behind it is the image', () => {
    const text =
      'recovery-time=5s,data-loss=0,performance-floor=50%,priority=10,group=web,methods=cold+hot,gate=tls:10.0.0.9:10811';
    assert.deepEqual(failoverOf('debian', { failover: text, method: 'fixed:hot' }), {
      image: 'debian',
      failover: wholly,
    });
    assert.deepEqual(failoverOf('debian', { failover: true }), { image: 'debian', failover: {} });
    assert.deepEqual(failoverOf(undefined, { failover: 'debian' }), { image: 'debian', failover: {} });
    assert.deepEqual(failoverOf('debian', {}), { image: 'debian' });
    assert.deepEqual(parseFailover('restart-command=systemctl restart a,,b'), {
      restartCommand: ['/bin/sh', '-c', 'systemctl restart a,b'],
    });
  });

  test('refuses what it does not know, with what would do', () => {
    for (const [value, message] of [
      ['recovery=5s', /does not know recovery/],
      ['recovery-time=5', /is not a time/],
      ['performance-floor=2', /no part of a whole/],
      ['priority=-1', /not a number/],
      ['methods=cold,hot', /does not know hot/],
      ['methods=cool', /no method cool/],
      ['gate=10.0.0.9', /no control of a gate/],
    ] as const)
      assert.throws(() => parseFailover(value), { code: 'bad-usage', message });
    assert.throws(() => failoverOf('debian', { failover: 'other' }), /no requirement/);
    assert.throws(() => failoverOf('debian', { method: 'auto' }), /--method is of a partition/);
    assert.throws(() => failoverOf('debian', { failover: true, method: 'hot' }), /--method hot is not possible/);
  });

  test('in YAML: a map of the same, or on', () => {
    const file = join(folder, 'partitions.yaml');
    writeFileSync(
      file,
      `partitions:
  web:
    image: debian
    failover: {recovery_time: 5s, data_loss: 0, performance_floor: 0.5, priority: 10, group: web,
      methods: [cold, hot], method: fixed:hot, gate: "tls:10.0.0.9:10811", restart_command: [systemctl, restart, web]}
  plain: {image: debian, failover: on}
  none: {image: debian}
`,
    );
    const [web, plain, none] = readPartitionFiles(file);
    assert.deepEqual(web?.spec.failover, { ...wholly, restartCommand: ['systemctl', 'restart', 'web'] });
    assert.deepEqual(plain?.spec.failover, {});
    assert.equal(none?.spec.failover, undefined);
    for (const [wrong, line] of [
      ['failover: {recovery_times: 5s}', /partitions\.yaml:4: .*recovery-times/],
      ['failover: {priority: [1]}', /:4: priority is no list/],
      ['failover: off', /:4: failover is off/],
      ['failovr: on', /Is it failover/],
    ] as const) {
      writeFileSync(file, `partitions:\n  web:\n    image: debian\n    ${wrong}\n`);
      assert.throws(
        () => readPartitionFiles(file),
        (error: Error & { fix: string }) => line.test(`${error.message} ${error.fix}`),
        wrong,
      );
    }
  });
});

test('without a daemon all of it says so, with the way out', async () => {
  for (const argv of [
    ['cluster', 'status'],
    ['cluster', 'init'],
    ['cluster', 'token'],
    ['cluster', 'join', 'x'],
    ['cluster', 'leave'],
    ['cluster', 'drain'],
    ['cluster', 'drill', 'web'],
    ['cluster', 'credentials', folder, '--for', 'x'],
    ['create', '-q', '-n', 'web', '--failover', '--kernel', '/k'],
  ]) {
    const { code, stdout, stderr } = await kage(argv);
    assert.deepEqual([code, stdout], [125, ''], argv.join(' '));
    assert.match(stderr, /^kage: no daemon runs here.*\. Start it with "kage serve"\.\n$/, argv.join(' '));
  }
});

describe('with a daemon', () => {
  const terminal = new TestTerminal();
  let code: Promise<number>;
  before(async () => {
    code = kage(['serve'], terminal, fakePlatform().platform).then((said) => said.code);
    await until(() => terminal.complained.includes('listening'));
  });
  after(async () => {
    terminal.ending.abort(0);
    assert.equal(await code, 0);
    assert.doesNotMatch(terminal.complained, /bug/);
  });

  test('a cluster of one: begun, shown, drained, left; a secret comes from stdin and is shown only where it is asked for', async () => {
    assert.match((await kage(['cluster', 'status'])).stderr, /^kage: this host is in no cluster\. Begin one with/);
    const port = 20_000 + (process.pid % 20_000);
    const init = [
      'cluster',
      'init',
      '--name',
      'a',
      '--address',
      `127.0.0.1:${port}`,
      '--label',
      'rack=1',
      '--memory',
      '2G',
    ];
    const begun = await kage(init);
    assert.equal(begun.code, 0, begun.stderr);
    assert.match(begun.stdout, /^kage-cluster-1\.[\w-]+\n$/);
    assert.match(begun.stderr, /^kage: the cluster has begun, with this host as a; its store is a file/);
    assert.equal((await kage(['cluster', 'token'])).stdout, begun.stdout);
    let stdout = '';
    while (!stdout.includes('(leads)')) ({ stdout } = await kage(['cluster', 'status']));
    assert.match(stdout, /^a is in; the store is sqlite:\/.*store\.db; a leads\n/);
    assert.match(
      stdout,
      new RegExp(`^a +active \\(leads\\) +0 +[0-9.]+ of \\d+ +0B of 2G +127.0.0.1:${port} +rack=1$`, 'm'),
    );
    assert.doesNotMatch(stdout, /kage-cluster-1/);
    const [report] = [JSON.parse((await kage(['cluster', 'status', '--format', 'json'])).stdout)];
    assert.equal(report.self.state, 'in');
    const made = await kage(['create', '-q', '-n', 'web', '--failover', 'priority=3,group=web', '--kernel', '/k']);
    assert.deepEqual([made.code, made.stdout], [0, 'web\n'], made.stderr);
    assert.match((await kage(['ps', '-a'])).stdout, /PID +HOST\nweb +created +1 +512M .* -$/m);
    assert.match((await kage(['cluster', 'status'])).stdout, /^web +stopped +- +- +3/m);
    assert.equal((await kage(['rm', 'web'])).stdout, 'web\n');
    const again = await kage(['cluster', 'join', '-'], new TestTerminal({ input: begun.stdout }));
    assert.match(again.stderr, /^kage: this host is in a cluster already/);
    assert.equal((await kage(['cluster', 'drain'])).stdout, 'a\n');
    assert.match((await kage(['cluster', 'status'])).stdout, /^a +draining/m);
    assert.equal((await kage(['cluster', 'drain', 'a', '--undo'])).stdout, 'a\n');
    const gate = join(folder, 'gate');
    assert.equal((await kage(['cluster', 'credentials', gate, '--for', '10.0.0.9'])).stdout, `${gate}\n`);
    assert.equal(statSync(join(gate, 'key.pem')).mode & 0o777, 0o600);
    assert.match(readFileSync(join(gate, 'cert.pem'), 'utf8'), /BEGIN CERTIFICATE/);
    const left = await kage(['cluster', 'leave']);
    assert.deepEqual([left.code, left.stderr], [0, '']);
    assert.match((await kage(['cluster', 'join', 'x'])).stderr, /^kage: that is no join token/);
    assert.equal(
      (
        await kage(
          ['cluster', 'join', '-', '--name', 'a', '--address', `127.0.0.1:${port}`],
          new TestTerminal({ input: begun.stdout }),
        )
      ).stdout,
      'a\n',
    );
    assert.equal((await kage(['cluster', 'leave', '--force'])).code, 0);
  });

  test('values that are none are told before anything is asked', async () => {
    for (const [argv, message] of [
      [['init', '--store', 'etcd:10.0.0.1'], /--store 10\.0\.0\.1 is no store/],
      [['init', '--store', 'zookeeper'], /--store zookeeper is no store/],
      [['init', '--label', 'rack'], /--label rack names no label/],
      [['init', '--memory', 'much'], /--memory much is not a size/],
      [['init', '--address', 'web.example'], /no address that heartbeats could come to/],
      [['credentials', folder], /required option '--for <name>' not specified/],
    ] as const) {
      const { code, stderr } = await kage(['cluster', ...argv]);
      assert.equal(code, 125, stderr);
      assert.match(stderr, message);
    }
  });
});
