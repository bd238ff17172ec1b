/** Verbs on partitions: one suite, once without a daemon and once with one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fakePlatform, kage, ownRuntimeFolder, TestTerminal, until } from './terminal.testing.ts';

ownRuntimeFolder({ isEmptyBehindEach: false });

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-verbs-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** `kage serve`, until it is told to end; what it said. */
function serving(...flags: string[]): { terminal: TestTerminal; code: Promise<number> } {
  const terminal = new TestTerminal();
  const code = kage(['serve', ...flags], terminal, fakePlatform().platform).then((said) => said.code);
  return { terminal, code };
}

for (const daemon of [false, true]) {
  describe(daemon ? 'with a daemon' : 'without a daemon', () => {
    let served: ReturnType<typeof serving> | undefined;
    before(async () => {
      if (!daemon) return;
      served = serving();
      await until(() => served?.terminal.complained.includes('listening') === true);
    });
    after(async () => {
      served?.terminal.ending.abort(0);
      assert.equal((await served?.code) ?? 0, 0);
      assert.doesNotMatch(served?.terminal.complained ?? '', /bug/);
    });
    afterEach(async () => {
      const names = (await kage(['ps', '-aq'])).stdout.split('\n').filter((name) => name !== '');
      if (names.length > 0) await kage(['rm', '-f', ...names]);
    });

    test('a life: create, start, restart, stop, rm', async () => {
      assert.deepEqual(await kage(['create', '-q', '-n', 'web', '-m', '64M', '--restart', 'on-failure:2']), {
        ...{ code: 0, stdout: 'web\n', stderr: daemon ? '' : '' },
      });
      assert.equal((await kage(['ps', '-q'])).stdout, '');
      assert.match((await kage(['ps', '-a'])).stdout, /^web +created +1 +64M/m);
      assert.equal((await kage(['start', 'web'])).stdout, 'web\n');
      assert.match((await kage(['ps'])).stdout, /^web +running/m);
      assert.equal((await kage(['exec', 'web', '--', 'echo', 'hello'])).stdout, 'hello\n');
      const [before] = JSON.parse((await kage(['ps', '--format', 'json'])).stdout) as { pid: number }[];
      assert.equal((await kage(['restart', '-t', '1', 'web'])).stdout, 'web\n');
      const [again] = JSON.parse((await kage(['ps', '--format', 'json'])).stdout) as { pid: number }[];
      assert.notEqual(again?.pid, before?.pid);
      const busy = await kage(['rm', 'web']);
      assert.deepEqual([busy.code, busy.stdout], [125, '']);
      assert.match(
        busy.stderr,
        /^kage: The partition web runs\. Stop it first, or remove it with "kage rm --force web"\.\n$/,
      );
      assert.equal((await kage(['stop', 'web'])).stdout, 'web\n');
      assert.match((await kage(['ps', '-a'])).stdout, /^web +exited \(0\)/m);
      assert.equal((await kage(['rm', 'web'])).stdout, 'web\n');
      assert.match((await kage(['inspect', 'web'])).stderr, /^kage: There is no partition web\. See "kage ps -a"/);
    });

    test('run -d: it is there when it has ended, with its logs; a name is one partition', async () => {
      assert.equal((await kage(['run', '-q', '-d', '-n', 'web', '-p', '8080:80'])).stdout, 'web\n');
      const twice = await kage(['run', '-q', '-d', '-n', 'web']);
      assert.match(twice.stderr, /^kage: (A machine named web is running|there is a partition web already)\./);
      const [shown] = JSON.parse((await kage(['inspect', 'web'])).stdout) as Record<string, unknown>[];
      assert.deepEqual(shown?.['spec'], { image: 'debian', publish: ['8080:80'] });
      await kage(['exec', 'web', '--', 'echo']);
      const attached = new TestTerminal({ input: 'first\nsecond\n' });
      const attaching = kage(['attach', 'web'], attached);
      await until(() => attached.printed.includes('second'));
      await kage(['kill', 'web']);
      await attaching;
      assert.equal((await kage(['logs', 'web'])).stdout, 'first\nsecond\n');
      assert.equal((await kage(['logs', '--tail', '1', 'web'])).stdout, 'second\n');
      assert.equal((await kage(['wait', 'web'])).stdout, '137\n');
      const gone = await kage(['run', '-q', '-d', '-n', 'web']);
      assert.match(
        gone.stderr,
        /there is a partition web already\. Choose another name, or remove it with "kage rm web"/,
      );
    });

    test('run -d --rm: it goes at its end', async () => {
      await kage(['run', '-q', '-d', '-n', 'once', '--rm']);
      await kage(['stop', 'once']);
      assert.equal((await kage(['ps', '-aq'])).stdout, '');
    });

    test('pause, resume, update, fork, events', async () => {
      await kage(['run', '-q', '-d', '-n', 'web', '--forks', '2']);
      assert.equal((await kage(['pause', 'web'])).stdout, 'web\n');
      assert.match((await kage(['ps'])).stdout, /^web +paused/m);
      await kage(['resume', 'web']);
      await kage(['update', '--restart', 'always', 'web']);
      const [shown] = JSON.parse((await kage(['inspect', 'web'])).stdout) as Record<string, unknown>[];
      assert.deepEqual([shown?.['state'], shown?.['restartPolicy']], ['running', { name: 'always' }]);
      assert.equal((await kage(['fork', 'web', '-n', 'twin'])).stdout, 'twin\n');
      const events = (await kage(['events', '--format', 'json'])).stdout.trim().split('\n');
      const kinds = events.map((line) => JSON.parse(line) as { kind: string; partition: string });
      for (const kind of ['created', 'starting', 'started', 'paused', 'resumed', 'changed', 'forked'])
        assert.ok(
          kinds.some((one) => one.kind === kind && one.partition === 'web'),
          kind,
        );
    });

    test('logs -f ends with the guest', async () => {
      await kage(['run', '-q', '-d', '-n', 'web']);
      const terminal = new TestTerminal();
      const following = kage(['logs', '-f', 'web'], terminal);
      const attached = new TestTerminal({ input: 'said\n' });
      const attaching = kage(['attach', 'web'], attached);
      await until(() => terminal.printed.includes('said'));
      await kage(['stop', 'web']);
      assert.equal((await following).code, 0);
      await attaching;
    });

    test('apply: what a file says, and again', async () => {
      const file = join(folder, 'partitions.yaml');
      writeFileSync(file, 'partitions:\n  one: {image: debian, memory: 64M}\n  two: {image: other, restart: always}\n');
      assert.equal((await kage(['apply', '-f', file])).stdout, 'one created\ntwo created\n');
      writeFileSync(file, 'partitions:\n  one: {image: debian, memory: 64M}\n  two: {image: other, cpus: 2}\n');
      assert.equal((await kage(['apply', '-f', file])).stdout, 'one unchanged\ntwo changed\n');
      assert.match((await kage(['ps'])).stdout, /^two +running +2/m);
      writeFileSync(file, 'partitions:\n  bad: {kernel: /no/kernel}\n  two: {image: other, cpus: 2}\n');
      const said = await kage(['apply', '-f', file]);
      assert.deepEqual([said.code, said.stdout], [125, 'two unchanged\n']);
      assert.match(said.stderr, /^kage: There is no kernel \/no\/kernel/);
    });

    test('what cannot be is one line with a way out', async () => {
      for (const [args, says] of [
        [['start', 'nobody'], /There is no partition nobody/],
        [['run', '--restart', 'always', '-q'], /a machine of this terminal ends with it/],
        [['create', '--restart', 'sometimes', '-q'], /--restart sometimes is not possible/],
        [['create', '-q', '--rm', '--restart', 'always'], /what goes at its end cannot be restarted/],
        [['create', '-q', '-n', 'daemon'], /is the name of the daemon's socket/],
        [['logs', '--tail', 'x', 'web'], /--tail x is not a number/],
        [['apply', '-f', '/nowhere.yaml'], /\/nowhere\.yaml cannot be read/],
        [['create', '-q', '--', 'ls'], /a partition holds no command/],
      ] as const) {
        const { code, stdout, stderr } = await kage(args);
        assert.deepEqual([code, stdout], [125, ''], args.join(' '));
        assert.match(stderr, says);
        assert.match(stderr, /^kage: [^\n]+\n$/);
      }
    });
  });
}

describe('kage serve', () => {
  test('declares what its file says, reads it again at a hang-up, and leaves guests when it ends', async () => {
    const file = join(folder, 'served.yaml');
    writeFileSync(file, 'partitions:\n  web: {image: debian}\n');
    const terminal = new TestTerminal();
    const hangUps: (() => void)[] = [];
    const io = terminal.io;
    Object.defineProperty(terminal, 'io', {
      value: {
        ...io,
        onHangUp: (listener: () => void) => {
          hangUps.push(listener);
          return () => hangUps.pop();
        },
      },
    });
    const serve = kage(['serve', '--config', file], terminal);
    await until(() => hangUps.length === 1);
    assert.match(terminal.complained, /listening on .*daemon\.sock\n(.*\n)*kage: web created/);
    writeFileSync(file, 'partitions:\n  web: {image: debian}\n  more: {image: other}\n');
    hangUps[0]?.();
    await until(() => terminal.complained.includes('more created'));
    writeFileSync(file, 'partitions: 7\n');
    hangUps[0]?.();
    await until(() => terminal.complained.includes('partitions is no map'));
    terminal.ending.abort(0);
    assert.equal((await serve).code, 0);
    assert.equal((await kage(['ps', '-q'])).stdout, 'more\nweb\n');
    await kage(['rm', '-f', 'web', 'more']);
  });

  test('over TCP wants TLS, and a token that is its own', async () => {
    for (const [args, says] of [
      [
        ['--listen', '0'],
        /over TCP the daemon speaks TLS alone\. Give --tls-cert FILE and --tls-key FILE, or --tls-self-signed/,
      ],
      [['--tls-cert', 'x'], /a certificate and a token are for TCP/],
      [['--listen', '0', '--tls-cert', '/none', '--tls-key', '/none'], /the certificate or its key cannot be used/],
      [['--guests-on-exit', 'maybe'], /--guests-on-exit maybe is not possible/],
      [['--config', '/nowhere'], /\/nowhere cannot be read/],
    ] as const) {
      const { code, stderr } = await kage(['serve', ...args]);
      assert.equal(code, 125);
      assert.match(stderr, says);
    }
    const { terminal, code } = serving('--listen', '127.0.0.1:0', '--tls-self-signed');
    await until(() => /listening on https:\/\/127\.0\.0\.1:\d+/.test(terminal.complained));
    terminal.ending.abort(0);
    assert.equal(await code, 0);
  });
});
